//! Key hash → what a person opens.

use hardline_node::config::DEFAULT_GATEWAY_PORT;
use hardline_node::proto::KeyHash;
use hardline_node::proto::host::ServiceName;
use hardline_node::proto::link::parse_link;

use crate::failure::{Exit, Failure};

/// The link of a service for browsers whose gateway has `port`.
pub(crate) fn link(key: KeyHash, password: Option<&str>, port: u16) -> String {
    match password {
        Some(password) => format!("http://{password}-{key}.localhost:{port}/"),
        None => format!("http://{key}.localhost:{port}/"),
    }
}

/// The link for other computers, whose gateways have the usual port.
pub(crate) fn link_elsewhere(key: KeyHash, password: Option<&str>) -> String {
    link(key, password, DEFAULT_GATEWAY_PORT)
}

/// Reads what a person typed or pasted.
pub(crate) fn read(text: &str) -> Result<ServiceName, Failure> {
    parse_link(text).map_err(|err| {
        Failure::new(Exit::Usage, format_args!("{text:?} is no link: {err}"))
            .remedy("write the link as it was printed, or its 40 hexadecimal digits")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_read_as_they_are_written() {
        let key = KeyHash::from_bytes([0xab; 20]);
        for password in [None, Some("sesame")] {
            let name = read(&link(key, password, 1234)).unwrap();
            assert_eq!((name.key, name.password.as_deref()), (key, password));
        }
        assert!(link_elsewhere(key, None).ends_with(".localhost:7009/"));
    }

    #[test]
    fn what_is_no_link_is_refused_with_the_exit_code_of_a_command_line() {
        assert_eq!(read("http://example.org/").unwrap_err().exit(), Exit::Usage);
    }
}
