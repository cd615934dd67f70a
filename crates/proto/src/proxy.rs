//! Requests to a proxy for services, and nothing else (RFC 9110, section 9.3.6; RFC 9112, sections
//! 3.2.2 and 3.2.3).

use crate::host::{Authority, HostError, ServiceName, parse_service_name};

/// How a request's target is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TargetForm {
    /// A path, as browsers ask a site itself.
    #[default]
    Origin,
    /// A whole address, as a proxy is asked.
    Absolute {
        /// The port in it, if there is one.
        port: Option<u16>,
    },
    /// Of `CONNECT`: a host and a port to be tunnelled to.
    Connect,
}

/// The service that a `CONNECT` asks for. Its port must be there, and does not matter: a service
/// has one.
///
/// # Errors
/// [`HostError`]; nothing but a service is [`HostError::NotLocal`] or [`HostError::NoKey`].
pub(crate) fn connect_target(target: &str) -> Result<ServiceName, HostError> {
    let (host, port) = target.rsplit_once(':').ok_or(HostError::Malformed)?;
    let is_digits = port.bytes().all(|b| b.is_ascii_digit());
    match port.parse::<u16>() {
        Ok(1..) if is_digits && host.starts_with('[') => Err(HostError::NotLocal),
        Ok(1..) if is_digits => parse_service_name(host),
        _ => Err(HostError::Malformed),
    }
}

/// A request head that was sent to a proxy, as the service itself is asked: the path in place of
/// the address, the address's host in `Host`, and no header for the proxy. The connection ends with
/// the answer, unless another protocol is asked for: the next request may be for another service.
///
/// `None` if `head` is no whole request with an address for a target.
#[must_use]
pub fn to_origin(head: &[u8]) -> Option<Vec<u8>> {
    let mut headers = [httparse::EMPTY_HEADER; crate::head::MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    request.parse(head).ok().filter(httparse::Status::is_complete)?;
    let (method, minor) = (request.method?, request.version?);
    let (host, path) = split_absolute(request.path?)?;
    let path = if path.is_empty() && method == "OPTIONS" { "*".into() } else { rooted(path) };
    let mut out = format!("{method} {path} HTTP/1.{minor}\r\nHost: {host}\r\n").into_bytes();
    let is = |name: &str, wanted: &str| name.eq_ignore_ascii_case(wanted);
    let upgrades = request.headers.iter().any(|header| is(header.name, "upgrade"));
    for header in &*request.headers {
        let is_for_proxy = ["host", "proxy-connection", "proxy-authorization", "keep-alive"];
        if is_for_proxy.iter().any(|name| is(header.name, name)) || (is(header.name, "connection") && !upgrades) {
            continue;
        }
        out.extend_from_slice(header.name.as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(header.value);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(if upgrades { b"\r\n" } else { b"Connection: close\r\n\r\n" });
    Some(out)
}

/// The host with its port, and what follows it, of `http://HOST…`.
pub(crate) fn split_absolute(target: &str) -> Option<(&str, &str)> {
    let scheme = target.get(.."http://".len()).filter(|scheme| scheme.eq_ignore_ascii_case("http://"))?;
    let rest = &target[scheme.len()..];
    Some(rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len())))
}

/// A path that begins with `/`, without a fragment, which no server should see.
fn rooted(path: &str) -> String {
    let path = path.split('#').next().unwrap_or_default();
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}

/// The port of an absolute target's host.
pub(crate) fn port_of(host: &str) -> Option<u16> {
    host.rsplit_once(':').and_then(|(_, port)| port.parse().ok())
}

/// The form of a request's target.
pub(crate) fn form_of(method: &str, target: &str) -> TargetForm {
    match split_absolute(target) {
        _ if method == "CONNECT" => TargetForm::Connect,
        Some((host, _)) => TargetForm::Absolute { port: port_of(host) },
        None => TargetForm::Origin,
    }
}

/// Whether a proxied request may pass to `authority` at a gateway that listens at `own_port`: to a
/// service always, to the gateway's own pages by their own address. Another port of this computer
/// is another program's.
#[must_use]
pub fn may_pass(form: TargetForm, authority: &Authority, own_port: u16) -> bool {
    match (form, authority) {
        (_, Authority::Service(_)) | (TargetForm::Origin, Authority::Gateway) => true,
        (TargetForm::Absolute { port }, Authority::Gateway) => port == Some(own_port),
        (TargetForm::Connect, Authority::Gateway) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "e868423731872b8235a0adc9102bb45bb9e8321e";

    #[track_caller]
    fn check_connect(target: &str, expected: Result<&str, HostError>) {
        let name = connect_target(&target.replace("KEY", KEY)).map(|name| name.key.to_string());
        assert_eq!(name, expected.map(str::to_owned), "{target}");
    }

    #[test]
    fn connect_names_a_service_and_any_port() {
        for target in ["KEY.localhost:80", "KEY.localhost:65535", "pw-KEY.LOCALHOST.:22", "KEY:22"] {
            check_connect(target, Ok(KEY));
        }
        for target in ["example.org:443", "127.0.0.1:22", "[::1]:22", "KEY.example.org:80"] {
            check_connect(target, Err(HostError::NotLocal));
        }
        check_connect("localhost:7009", Err(HostError::NoKey));
        for target in ["KEY.localhost", "KEY.localhost:", "KEY.localhost:0", "KEY.localhost:+1", "KEY.localhost:70000"]
        {
            check_connect(target, Err(HostError::Malformed));
        }
    }

    #[track_caller]
    fn check_origin(head: &str, expected: Option<&str>) {
        let form = |text: &str| text.replace('\n', "\r\n");
        let out = to_origin(form(head).as_bytes()).map(|bytes| String::from_utf8(bytes).unwrap());
        assert_eq!(out, expected.map(form), "{head}");
    }

    #[test]
    fn a_service_is_asked_for_a_path_under_its_own_name() {
        check_origin(
            "GET http://KEY.localhost/a%20b?c#d HTTP/1.1\nHost: other\nProxy-Connection: keep-alive\nX-A:  b \n\n",
            Some("GET /a%20b?c HTTP/1.1\nHost: KEY.localhost\nX-A: b\nConnection: close\n\n"),
        );
        check_origin(
            "GET HTTP://k.localhost:7009?q HTTP/1.0\nHost: k\n\n",
            Some("GET /?q HTTP/1.0\nHost: k.localhost:7009\nConnection: close\n\n"),
        );
        check_origin(
            "OPTIONS http://k.localhost HTTP/1.1\nHost: k\n\n",
            Some("OPTIONS * HTTP/1.1\nHost: k.localhost\nConnection: close\n\n"),
        );
        check_origin(
            "GET http://k.localhost/ws HTTP/1.1\nConnection: Upgrade\nUpgrade: websocket\n\n",
            Some("GET /ws HTTP/1.1\nHost: k.localhost\nConnection: Upgrade\nUpgrade: websocket\n\n"),
        );
    }

    #[test]
    fn what_was_not_sent_to_a_proxy_stays_as_it_is() {
        for head in ["GET / HTTP/1.1\nHost: k\n\n", "GET http://k.localhost/ HTTP/1.1\nHost: k\n", "\0"] {
            check_origin(head, None);
        }
    }

    #[test]
    fn another_port_of_this_computer_is_not_reached_through_the_proxy() {
        let passes = |target: &str| may_pass(form_of("GET", target), &Authority::Gateway, 7009);
        assert!(passes("/") && passes("http://localhost:7009/proxy.pac"));
        assert!(!passes("http://localhost/") && !passes("http://127.0.0.1:3000/") && !passes("http://[::1]/"));
        assert!(!may_pass(form_of("CONNECT", "localhost:7009"), &Authority::Gateway, 7009));
    }
}
