//! What a person types or pastes → key hash and password.

use crate::host::{HostError, ServiceName, parse_service_name, strip_port};

/// Reads a link in any of the forms people have: `KEYHASH`, `text-KEYHASH`, `KEYHASH.localhost`,
/// `http://KEYHASH.localhost:7009/path`, with white space around it. Scheme, port and path do not
/// matter.
///
/// # Errors
/// [`HostError`] when no key hash can be found in it.
pub fn parse_link(text: &str) -> Result<ServiceName, HostError> {
    let text = text.trim();
    let after_scheme = text.split_once("://").map_or(text, |(_scheme, rest)| rest);
    let authority = after_scheme.split(['/', '?', '#']).next().unwrap_or(after_scheme);
    parse_service_name(strip_port(authority)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "e868423731872b8235a0adc9102bb45bb9e8321e";

    /// Reads `text`, with `KEY` replaced.
    #[track_caller]
    fn check(text: &str, expected: Result<Option<&str>, HostError>) {
        let text = text.replace("KEY", KEY);
        let name =
            |password: Option<&str>| ServiceName { key: KEY.parse().unwrap(), password: password.map(str::to_owned) };
        assert_eq!(parse_link(&text), expected.map(name), "{text:?}");
    }

    #[test]
    fn every_form_people_have_is_read() {
        for text in [
            "KEY",
            "  KEY\r\n",
            "KEY.localhost",
            "KEY.localhost:7009",
            "KEY:7009",
            "www.KEY.localhost",
            "http://KEY.localhost:7009",
            "http://KEY.localhost:7009/path?query#fragment",
            "HTTPS://KEY.LOCALHOST/",
            "http://KEY.localhost?x=http://example.org",
        ] {
            check(text, Ok(None));
        }
        check(&KEY.to_uppercase(), Ok(None));
    }

    #[test]
    fn a_password_is_kept() {
        for text in ["pw-KEY", "PW-KEY.localhost", "http://www.pw-KEY.localhost:7009/"] {
            check(text, Ok(Some("pw")));
        }
    }

    #[test]
    fn a_link_without_a_key_hash_is_refused() {
        check("", Err(HostError::Malformed));
        check("http://", Err(HostError::Malformed));
        check("KEY KEY", Err(HostError::Malformed));
        check("http://user@KEY.localhost/", Err(HostError::Malformed));
        check("http://localhost:7009/KEY", Err(HostError::NoKey));
        check("hello", Err(HostError::NoKey));
        check("http://KEY.example.org/", Err(HostError::NotLocal));
    }
}
