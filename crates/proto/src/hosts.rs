//! `host:port` lists, as `WANHosts` and the store carry them.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// Most entries kept of one list. A publisher has an IPv4, a few IPv6 and a mesh address; the rest is noise.
pub const MAX_HOSTS: usize = 16;

/// A host, by number or by name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    /// An IP address.
    Ip(IpAddr),
    /// A DNS name, lower case, letters, digits, `-`, `_` and `.` only, at most 253 bytes.
    Name(String),
}

/// A host and a TCP port; written `host:port`, IPv6 in brackets.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostPort {
    /// Where.
    pub host: Host,
    /// TCP port, never 0.
    pub port: u16,
}

impl From<SocketAddr> for HostPort {
    fn from(addr: SocketAddr) -> Self {
        Self { host: Host::Ip(addr.ip()), port: addr.port() }
    }
}

/// Why a text is not a `host:port`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HostPortError {
    /// No port behind the last colon, or not 1 to 65535.
    #[error("{0:?} has no port between 1 and 65535 behind its last colon")]
    Port(String),
    /// The part in front is neither an address nor a name.
    #[error("{0:?} is neither an IP address nor a host name")]
    Host(String),
}

impl FromStr for HostPort {
    type Err = HostPortError;

    /// Reads `host:port`; an IPv6 address may lack its brackets, the last colon parts the port.
    fn from_str(text: &str) -> Result<Self, HostPortError> {
        let _ = text;
        todo!()
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let _ = f;
        todo!()
    }
}

/// Addresses of one service, best first, without repeats, at most [`MAX_HOSTS`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostList(Vec<HostPort>);

impl HostList {
    /// Reads a comma-separated list as peers send it: entries that cannot be read are left out, not an error, because
    /// one odd address must not hide the good ones.
    #[must_use]
    pub fn parse_lenient(text: &str) -> Self {
        let _ = text;
        todo!()
    }

    /// The entries, best first.
    #[must_use]
    pub fn as_slice(&self) -> &[HostPort] {
        &self.0
    }
}

impl FromIterator<HostPort> for HostList {
    fn from_iter<I: IntoIterator<Item = HostPort>>(iter: I) -> Self {
        let _ = iter;
        todo!()
    }
}

impl fmt::Display for HostList {
    /// Comma-separated, as `WANHosts` wants it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let _ = f;
        todo!()
    }
}
