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
    /// The free text in front of the last `-` before the key; sent as `password`. Never empty; lower case, as host names
    /// are.
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

/// Longest label, in bytes (RFC 1035, section 2.3.4). The key hash takes 40, so a password has room for 22 and a `-`.
const MAX_LABEL: usize = 63;

/// Digits of a key hash.
const KEY_DIGITS: usize = 2 * KeyHash::LEN;

/// Reads a `Host` header's value: case and one trailing dot do not matter, a port may follow, labels left of the key
/// are allowed (`www.KEYHASH.localhost`), `freetext-KEYHASH.localhost` carries a password.
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

/// Reads a server name (SNI or host name without port) that names a service: `KEYHASH`, `text-KEYHASH`, or a name
/// below `.localhost` as [`parse_host`] takes it.
///
/// # Errors
/// [`HostError`] as for [`parse_host`]; a name without a key hash, `localhost` itself among them, is
/// [`HostError::NoKey`].
pub fn parse_service_name(name: &str) -> Result<ServiceName, HostError> {
    let name = normalized_name(name)?;
    match below_localhost(&name) {
        Some(labels) => service_of_labels(labels),
        None if !name.contains('.') => service_of_labels(&name),
        None => Err(HostError::NotLocal),
    }
}

/// Takes `:port` off a host, if there is one. An empty port counts as none (RFC 3986, section 3.2.3).
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

/// Whether browsers would take `label` for a part of a host name: ASCII without the forbidden domain code points of the
/// WHATWG URL standard. Wider than DNS, because a password stands in such a label.
fn is_label(label: &str) -> bool {
    (1..=MAX_LABEL).contains(&label.len())
        && label.bytes().all(|b| b.is_ascii_graphic() && !br"#%/:<>?@[\]^|".contains(&b))
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
    let password = match text {
        "" | "-" => None,
        _ => Some(text.strip_suffix('-').ok_or(HostError::NoKey)?.to_owned()),
    };
    Ok(ServiceName { key, password })
}
