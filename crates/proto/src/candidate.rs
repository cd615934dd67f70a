//! Addresses a service may answer at.

use crate::hosts::HostPort;

/// Most candidates of one lookup. What a stranger tells us cannot make us dial more hosts than this.
pub const MAX_CANDIDATES: usize = 16;

/// Who told us of an address.
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
}

/// One address to try.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Candidate {
    /// Where.
    pub at: HostPort,
    /// Who said so.
    pub source: Source,
}
