//! Addresses a service may answer at.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::hosts::{Host, HostPort};

/// Most candidates of one source in one lookup. What a stranger tells us cannot make us dial more hosts than this, and
/// a flood of forged answers of one source does not take the place of what another source knows.
pub const MAX_CANDIDATES_PER_SOURCE: usize = 8;

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

/// Whether `at`, told by `source`, is worth dialling and safe to dial. Ask again with the addresses a name resolves to.
///
/// Left out are port 0, unspecified, multicast and broadcast addresses, and link-local IPv6 addresses, which cannot be
/// dialled without the interface they belong to. Loopback is for this process and the person only: from anyone else it
/// would aim our dialler at this computer's own services.
#[must_use]
pub fn is_dialable(at: &HostPort, source: Source) -> bool {
    // A loopback address cannot come from another computer: on the LAN it is a second process of this one.
    let may_be_loopback = matches!(source, Source::Own | Source::Given | Source::Lan);
    let host_fits = match &at.host {
        Host::Name(name) => may_be_loopback || !is_localhost(name),
        Host::Ip(addr) => {
            let addr = addr.to_canonical();
            (may_be_loopback || !addr.is_loopback()) && is_unicast(addr)
        }
    };
    at.port != 0 && host_fits
}

/// Whether `name` means this computer (RFC 6761, section 6.3).
fn is_localhost(name: &str) -> bool {
    name.strip_suffix("localhost").is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// Whether `addr` is one host's, and complete.
fn is_unicast(addr: IpAddr) -> bool {
    match addr {
        // All of 0.0.0.0/8 is "this network" (RFC 1122, section 3.2.1.3).
        IpAddr::V4(addr) => addr.octets()[0] != 0 && !addr.is_multicast() && addr != Ipv4Addr::BROADCAST,
        IpAddr::V6(addr) => addr != Ipv6Addr::UNSPECIFIED && !addr.is_multicast() && !addr.is_unicast_link_local(),
    }
}
