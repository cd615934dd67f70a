//! `Host` header → what the browser wants.

use crate::key::KeyHash;

/// What a `Host` header names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authority {
    /// The gateway itself: `localhost`, `127.0.0.1` or `[::1]`.
    Gateway,
    /// A service: `KEYHASH.localhost`, with what stands around the key.
    Service(ServiceName),
}

/// A service as a person addresses it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServiceName {
    /// Whose certificate must answer.
    pub key: KeyHash,
    /// The free text in front of the last `-` before the key; sent as `password`. Lower case, as host names are.
    pub password: Option<String>,
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

/// Reads a `Host` header's value: case and one trailing dot do not matter, a port may follow, labels left of the key
/// are allowed (`www.KEYHASH.localhost`), `freetext-KEYHASH.localhost` carries a password.
///
/// # Errors
/// [`HostError`] says which answer fits.
pub fn parse_host(value: &[u8]) -> Result<Authority, HostError> {
    let _ = value;
    todo!()
}

/// Reads a server name (SNI or host name without port) that names a service: `KEYHASH`, `KEYHASH.localhost`,
/// `text-KEYHASH.localhost`.
///
/// # Errors
/// [`HostError`] as for [`parse_host`].
pub fn parse_service_name(name: &str) -> Result<ServiceName, HostError> {
    let _ = name;
    todo!()
}
