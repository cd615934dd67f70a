//! `Host` header → what the browser wants.

use std::fmt;
use std::net::Ipv6Addr;

use crate::key::KeyHash;

/// What a `Host` header names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authority {
    /// The gateway itself: `localhost`, `127.0.0.1` or `[::1]`.
    Gateway,
    /// A service: `KEYHASH.localhost`, with what stands around the key.
    Service(ServiceName),
}

/// A service as a person addresses it. Its `Debug` text hides the password.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ServiceName {
    /// Whose certificate must answer.
    pub key: KeyHash,
    /// The text in front of the first `-` of the label that holds the key; sent as `password`.
    /// Never empty; lower case, as host names are.
    pub password: Option<String>,
}

impl fmt::Debug for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let password = self.password.as_ref().map(|_| "MASKED");
        f.debug_struct("ServiceName").field("key", &self.key).field("password", &password).finish()
    }
}

/// Why a `Host` is not served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// Not a host name with an optional port: answer 400.
    #[error("malformed host")]
    Malformed,
    /// Some other computer's name, so a page may be trying DNS rebinding: answer 421.
    #[error("not a local name")]
    NotLocal,
    /// Below `localhost`, but the label in front of it is no key hash: answer 404.
    #[error("no key hash in front of .localhost")]
    NoKey,
}

/// Longest host name, in bytes, without a trailing dot (RFC 1035, section 2.3.4).
const MAX_NAME: usize = 253;

/// Longest label, in bytes (RFC 1035, section 2.3.4). The key hash takes 40, so a password has room
/// for 22 and a `-`.
const MAX_LABEL: usize = 63;

/// Digits of a key hash.
const KEY_DIGITS: usize = 2 * KeyHash::LEN;

/// Reads a `Host` header's value: case and one trailing dot do not matter, a port may follow,
/// labels left of the key are allowed (`www.KEYHASH.localhost`), `password-KEYHASH.localhost`
/// carries a password. More free text may stand between password and key
/// (`password-of-my-camera-KEYHASH.localhost`).
///
/// # Errors
/// [`HostError`] says which answer fits.
pub fn parse_host(value: &[u8]) -> Result<Authority, HostError> {
    let text = std::str::from_utf8(value).map_err(|_| HostError::Malformed)?;
    let host = strip_port(text)?;
    if let Some(literal) = host.strip_prefix('[') {
        let literal = literal.strip_suffix(']').ok_or(HostError::Malformed)?;
        let addr: Ipv6Addr = literal.parse().map_err(|_| HostError::Malformed)?;
        return if addr == Ipv6Addr::LOCALHOST { Ok(Authority::Gateway) } else { Err(HostError::NotLocal) };
    }
    let name = normalized_name(host)?;
    if name == "localhost" || name == "127.0.0.1" {
        return Ok(Authority::Gateway);
    }
    below_localhost(&name).ok_or(HostError::NotLocal).and_then(service_of_labels).map(Authority::Service)
}

/// Reads a server name (SNI or host name without port) that names a service: `KEYHASH`,
/// `text-KEYHASH`, or a name below `.localhost` as [`parse_host`] takes it.
///
/// # Errors
/// [`HostError`] as for [`parse_host`]; a name without a key hash, `localhost` itself among them,
/// is [`HostError::NoKey`].
pub fn parse_service_name(name: &str) -> Result<ServiceName, HostError> {
    let name = normalized_name(name)?;
    match below_localhost(&name) {
        Some(labels) => service_of_labels(labels),
        None if !name.contains('.') => service_of_labels(&name),
        None => Err(HostError::NotLocal),
    }
}

/// Takes `:port` off a host, if there is one. An empty port counts as none (RFC 3986, section
/// 3.2.3).
pub(crate) fn strip_port(text: &str) -> Result<&str, HostError> {
    match text.rsplit_once(':') {
        // The colon stands inside the brackets of an IPv6 address.
        Some((_, last)) if last.ends_with(']') => Ok(text),
        Some((host, "")) => Ok(host),
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok() => Ok(host),
        Some(_) => Err(HostError::Malformed),
        None => Ok(text),
    }
}

/// The name in lower case and without one trailing dot, if browsers would take it for a host name.
fn normalized_name(name: &str) -> Result<String, HostError> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let well_formed = name.len() <= MAX_NAME && name.split('.').all(is_label);
    if well_formed { Ok(name.to_ascii_lowercase()) } else { Err(HostError::Malformed) }
}

/// Whether browsers would take `label` for a part of a host name: ASCII without the forbidden
/// domain code points of the WHATWG URL standard, and without the comma that joins two `Host`
/// headers. Wider than DNS, because a password stands in such a label.
fn is_label(label: &str) -> bool {
    (1..=MAX_LABEL).contains(&label.len())
        && label.bytes().all(|b| b.is_ascii_graphic() && !br"#%,/:<>?@[\]^|".contains(&b))
}

/// What stands in front of `.localhost`.
fn below_localhost(name: &str) -> Option<&str> {
    name.strip_suffix("localhost")?.strip_suffix('.')
}

/// The service named by the last of `labels`.
fn service_of_labels(labels: &str) -> Result<ServiceName, HostError> {
    let label = labels.rsplit('.').next().unwrap_or(labels);
    let start = label.len().checked_sub(KEY_DIGITS).ok_or(HostError::NoKey)?;
    let (text, key) = label.split_at_checked(start).ok_or(HostError::NoKey)?;
    let key = key.parse().map_err(|_| HostError::NoKey)?;
    if !text.is_empty() && !text.ends_with('-') {
        return Err(HostError::NoKey);
    }
    // Released peers, which send it and which compare it, take the text in front of the first `-`.
    let password = text.split('-').next().filter(|text| !text.is_empty()).map(str::to_owned);
    Ok(ServiceName { key, password })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "e868423731872b8235a0adc9102bb45bb9e8321e";

    /// Reads `text`, with `KEY` replaced.
    #[track_caller]
    fn check(text: &str, expected: Result<Authority, HostError>) {
        let text = text.replace("KEY", KEY);
        assert_eq!(parse_host(text.as_bytes()), expected, "{text:?}");
    }

    fn service(password: Option<&str>) -> Result<Authority, HostError> {
        Ok(Authority::Service(ServiceName { key: KEY.parse().unwrap(), password: password.map(str::to_owned) }))
    }

    #[test]
    fn the_gateways_own_names_are_known_in_any_spelling() {
        for name in ["localhost", "LocalHost", "localhost.", "127.0.0.1", "127.0.0.1.", "[::1]", "[0:0:0:0:0:0:0:1]"] {
            for port in ["", ":", ":7009", ":0", ":65535"] {
                check(&format!("{name}{port}"), Ok(Authority::Gateway));
            }
        }
    }

    #[test]
    fn a_service_is_named_by_the_label_in_front_of_localhost() {
        check("KEY.localhost", service(None));
        check("KEY.localhost:7009", service(None));
        check("KEY.localhost.", service(None));
        check("KEY.localhost.:7009", service(None));
        check(&format!("{}.LOCALHOST", KEY.to_uppercase()), service(None));
        check("www.KEY.localhost", service(None));
        check("a.b.c.KEY.localhost:1", service(None));
        check(&format!("{KEY}.KEY.localhost"), service(None));
    }

    #[test]
    fn the_text_in_front_of_the_first_hyphen_is_the_password() {
        check("pw-KEY.localhost", service(Some("pw")));
        check("Two-Words-KEY.localhost:7009", service(Some("two")));
        check("www.pw-KEY.localhost", service(Some("pw")));
        check("pw--KEY.localhost", service(Some("pw")));
        check("--KEY.localhost", service(None));
        check("-pw-KEY.localhost", service(None));
        check("-KEY.localhost", service(None));
        check("a_b!c$d&e'(f)*+;=~-KEY.localhost", service(Some("a_b!c$d&e'(f)*+;=~")));
        check(&format!("{}-KEY.localhost", "p".repeat(22)), service(Some(&"p".repeat(22))));
        check(&format!("{}-KEY.localhost", "p".repeat(23)), Err(HostError::Malformed));
    }

    #[test]
    fn a_local_name_without_a_key_hash_is_told_apart() {
        for name in ["www.localhost", "KEY.www.localhost", "xKEY.localhost", "KEY-pw.localhost", "pw_KEY.localhost"] {
            check(name, Err(HostError::NoKey));
        }
        check(&format!("{}.localhost", &KEY[1..]), Err(HostError::NoKey));
        check(&format!("{}g.localhost", &KEY[1..]), Err(HostError::NoKey));
        check("xn--pss-wrd.localhost", Err(HostError::NoKey));
    }

    #[test]
    fn names_of_other_computers_are_refused_against_dns_rebinding() {
        for name in [
            "example.org",
            "KEY.example.org",
            "KEY.localhost.example.org",
            "KEY",
            "notlocalhost",
            "KEY.notlocalhost",
            "localhost.localdomain",
            "0.0.0.0",
            "127.0.0.2",
            "127.1",
            "192.168.1.5:7009",
            "[::]",
            "[::ffff:127.0.0.1]:7009",
            "[2001:db8::1]",
        ] {
            check(name, Err(HostError::NotLocal));
        }
    }

    #[test]
    fn what_is_no_host_is_malformed() {
        for text in [
            "",
            " ",
            ".",
            "..",
            ":7009",
            ".localhost",
            "KEY..localhost",
            "KEY.localhost..",
            "KEY.localhost:70090",
            "KEY.localhost:-1",
            "KEY.localhost:+1",
            "KEY.localhost:http",
            "KEY.localhost:1:2",
            "KEY.localhost/",
            "KEY.localhost ",
            "KEY .localhost",
            "user@KEY.localhost",
            "http://KEY.localhost",
            "KEY.localhost,KEY.localhost",
            "pw\0-KEY.localhost",
            "pw%20-KEY.localhost",
            "pw<script>-KEY.localhost",
            "pässwort-KEY.localhost",
            "::1",
            "[::1",
            "::1]",
            "[]",
            "[::1]x",
            "[::1%lo]",
            "[localhost]",
            "[127.0.0.1]",
        ] {
            check(text, Err(HostError::Malformed));
        }
        check(&format!("{}.KEY.localhost", "a".repeat(64)), Err(HostError::Malformed));
        check(&format!("{}aa.KEY.localhost", "a.".repeat(100)), service(None)); // 253 bytes
        check(&format!("{}aaa.KEY.localhost", "a.".repeat(100)), Err(HostError::Malformed));
        assert_eq!(parse_host(b"\xff.localhost"), Err(HostError::Malformed));
    }

    #[test]
    fn a_server_name_may_be_the_bare_key() {
        let name = |text: &str| parse_service_name(&text.replace("KEY", KEY)).map(Authority::Service);
        for text in ["KEY", "KEY.", "KEY.localhost", "www.KEY.localhost"] {
            assert_eq!(name(text), service(None), "{text}");
        }
        assert_eq!(name("pw-KEY"), service(Some("pw")));
        assert_eq!(name("pw-KEY.localhost"), service(Some("pw")));
        for text in ["localhost", "www", "www.localhost"] {
            assert_eq!(name(text), Err(HostError::NoKey), "{text}");
        }
        for text in ["www.KEY", "KEY.example.org", "127.0.0.1"] {
            assert_eq!(name(text), Err(HostError::NotLocal), "{text}");
        }
        for text in ["", "KEY:7009", "[::1]", "ä"] {
            assert_eq!(name(text), Err(HostError::Malformed), "{text}");
        }
    }

    #[test]
    fn a_password_does_not_reach_a_log() {
        let name = ServiceName { key: KEY.parse().unwrap(), password: Some("hunter2".to_owned()) };
        assert_eq!(format!("{name:?}"), format!("ServiceName {{ key: KeyHash({KEY}), password: Some(\"MASKED\") }}"));
    }
}
