//! Addresses a service may answer at.

mod policy; // which addresses may be dialled

use crate::hosts::HostPort;

pub use policy::DialPolicy;

/// Most candidates of one source in one lookup. What a stranger tells us cannot make us dial more
/// hosts than this, and a flood of forged answers of one source does not take the place of what
/// another source knows.
pub const MAX_CANDIDATES_PER_SOURCE: usize = 8;

/// Who told us of an address, the nearest and most trusted first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Source {
    /// This very process publishes the service.
    Own,
    /// The person, by hand.
    Given,
    /// An answer on the LAN.
    Lan,
    /// The store: it worked before, or the service told us through a verified channel.
    Remembered,
    /// A record in the DHT that the service signed.
    Sealed,
    /// A value in the DHT under the rolling key: whoever knows the key hash can write it.
    Rolling,
    /// A value in the DHT under the plain key: anybody can write it.
    Plain,
    /// A value that a proxy of the DHT gave, under the rolling or the plain key.
    Proxy,
}

impl Source {
    /// Every source, in the order of trust.
    pub const ALL: [Self; 8] =
        [Self::Own, Self::Given, Self::Lan, Self::Remembered, Self::Sealed, Self::Rolling, Self::Plain, Self::Proxy];
}

/// One address to try.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Candidate {
    /// Where.
    pub at: HostPort,
    /// Who said so.
    pub source: Source,
}
