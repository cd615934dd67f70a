//! Addresses a service may answer at, and who says so.

mod policy; // which addresses may be dialled
mod set; // what all sources have found

use std::fmt;
use std::net::SocketAddr;

use crate::hosts::HostPort;

pub use policy::DialPolicy;
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
}

impl TransportAddr {
    /// The host and its port, whatever the transport.
    #[must_use]
    pub fn host_port(&self) -> &HostPort {
        match self {
            Self::Tcp(at) => at,
        }
    }
}

impl fmt::Display for TransportAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(at) => at.fmt(f),
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

/// One address to try.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Candidate {
    /// Where, and how.
    pub addr: TransportAddr,
    /// Who says so.
    pub source: SourceInfo,
    /// The version of the tunnel that is spoken there, as the source says, if it does.
    pub version: Option<u16>,
}
