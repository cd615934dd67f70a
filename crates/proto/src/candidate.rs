//! Addresses a service may answer at, and who says so.

mod policy; // which addresses may be dialled
mod set; // what all sources have found

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use crate::hosts::{Host, HostPort, HostPortError};

pub use policy::{DialPolicy, is_private};
pub use set::{AskedSource, CandidateSet, MAX_CANDIDATES_PER_SOURCE};

/// How far away is who is asked, the nearest first. A lookup asks one tier after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Tier {
    /// This computer, without a word to anybody.
    Local,
    /// The local network, and beside it what is stored here.
    Lan,
    /// Everybody else.
    Wan,
}

/// Who stands behind an address, the most trusted first. It decides what may be dialled
/// ([`DialPolicy`]) and in which order; whoever answers must prove the key all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Trust {
    /// This very process publishes the service.
    Own,
    /// A neighbour answered from this address.
    Neighbour,
    /// The person who uses this computer named it.
    Person,
    /// The service itself, in what it signed or said on a verified connection.
    Service,
    /// Somebody who knows the key hash.
    KeyHolder,
    /// Anybody.
    Stranger,
}

/// What a source of addresses is. Sources come in order of tier, then of trust.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceInfo {
    /// How far away it is.
    pub tier: Tier,
    /// How far it is believed.
    pub trust: Trust,
    /// Its name in reports, one word.
    pub name: &'static str,
    /// What is asked, in words: "the local network".
    pub label: &'static str,
}

impl SourceInfo {
    /// What decides which of two sources is better: the lesser is.
    #[must_use]
    pub fn rank(&self) -> (Tier, Trust) {
        (self.tier, self.trust)
    }
}

impl serde::Serialize for SourceInfo {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name)
    }
}

/// An address and how a connection is made to it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum TransportAddr {
    /// TLS over TCP.
    Tcp(HostPort),
    /// QUIC, over UDP.
    Quic(SocketAddr),
}

/// In front of an address for QUIC, where it is written down.
const QUIC: &str = "quic://";

impl TransportAddr {
    /// The host and its port, whatever the transport.
    #[must_use]
    pub fn host_port(&self) -> HostPort {
        match self {
            Self::Tcp(at) => at.clone(),
            Self::Quic(addr) => (*addr).into(),
        }
    }
}

impl TransportAddr {
    /// Reads what a person at this computer typed: see [`HostPort::typed`].
    ///
    /// # Errors
    /// As [`FromStr`].
    pub fn typed(text: &str) -> Result<Self, HostPortError> {
        text.parse().or_else(|error| HostPort::typed(text).map(Self::Tcp).map_err(|_| error))
    }
}

/// `HOST:PORT` for TCP, `quic://IP:PORT` for QUIC.
impl FromStr for TransportAddr {
    type Err = HostPortError;

    fn from_str(text: &str) -> Result<Self, HostPortError> {
        let Some(at) = text.strip_prefix(QUIC) else { return Ok(Self::Tcp(text.parse()?)) };
        match at.parse()? {
            HostPort { host: Host::Ip(ip), port } => Ok(Self::Quic(SocketAddr::new(ip, port))),
            HostPort { host: Host::Name(_) | Host::LinkLocal(..), .. } => Err(HostPortError::Host(text.to_owned())),
        }
    }
}

impl fmt::Display for TransportAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(at) => at.fmt(f),
            Self::Quic(addr) => write!(f, "{QUIC}{addr}"),
        }
    }
}

/// TCP, as everywhere where nothing else is said.
impl From<HostPort> for TransportAddr {
    fn from(at: HostPort) -> Self {
        Self::Tcp(at)
    }
}

/// TCP, as everywhere where nothing else is said.
impl From<SocketAddr> for TransportAddr {
    fn from(addr: SocketAddr) -> Self {
        Self::Tcp(addr.into())
    }
}

/// How a way to an address goes, as far as who named it knows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Way {
    /// To the computer itself.
    #[default]
    Straight,
    /// Through NATs that both sides have opened.
    Punched,
    /// To a relay that the service uses.
    Relayed,
}

/// One address to try.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Candidate {
    /// Where, and how.
    pub addr: TransportAddr,
    /// Who says so.
    pub source: SourceInfo,
    /// The version of the tunnel that is spoken there, as the source says, if it does.
    pub version: Option<u16>,
    /// What kind of way that is.
    pub way: Way,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_says_its_transport_where_that_is_not_tcp() {
        for text in ["192.0.2.1:7008", "home.example.org:7008", "quic://192.0.2.1:7008", "quic://[2001:db8::1]:7008"] {
            assert_eq!(text.parse::<TransportAddr>().unwrap().to_string(), text);
        }
        assert_eq!("quic://192.0.2.1:7008".parse(), Ok(TransportAddr::Quic(([192, 0, 2, 1], 7008).into())));
        for text in ["quic://home.example.org:7008", "quic://192.0.2.1", "quic://", "udp://192.0.2.1:1", "192.0.2.1"] {
            assert!(text.parse::<TransportAddr>().is_err(), "{text}");
        }
    }
}
