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
/// dialled without the interface they belong to. Loopback is not for remembered addresses: a service that tells us one
/// would aim our dialler at this computer's own ports.
#[must_use]
pub fn is_dialable(at: &HostPort, source: Source) -> bool {
    // An answer on the LAN names the address it came from; from loopback, that is another process of this computer.
    let may_be_loopback = source != Source::Remembered;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(at: &str, when_remembered: bool, otherwise: bool) {
        let at = at.parse().unwrap();
        assert_eq!(is_dialable(&at, Source::Remembered), when_remembered, "{at}");
        for source in [Source::Own, Source::Given, Source::Lan] {
            assert_eq!(is_dialable(&at, source), otherwise, "{at} {source:?}");
        }
    }

    #[test]
    fn one_hosts_address_is_dialable_whoever_names_it() {
        for at in [
            "192.168.1.5:7008",
            "169.254.7.7:7008",
            "100.64.0.1:7008",
            "203.0.113.5:1",
            "255.255.255.254:7008",
            "[2001:db8::1]:7008",
            "[200::1]:7008",
            "[fd00::1]:7008",
            "home.example.org:7008",
            "notlocalhost:7008",
            "localhost.example.org:7008",
        ] {
            check(at, true, true);
        }
    }

    #[test]
    fn loopback_is_not_dialable_when_remembered() {
        for at in ["127.0.0.1:22", "127.9.9.9:22", "[::1]:22", "localhost:22", "x.LOCALHOST:22", "localhost.:22"] {
            check(at, false, true);
        }
    }

    #[test]
    fn what_is_not_one_host_is_never_dialable() {
        for at in [
            "0.0.0.0:7008",
            "0.1.2.3:7008",
            "224.0.0.1:7008",
            "239.192.152.143:6771",
            "255.255.255.255:7008",
            "[::]:7008",
            "[ff02::1]:7008",
            "[fe80::1]:7008",
        ] {
            check(at, false, false);
        }
    }

    #[test]
    fn a_hand_made_value_is_not_trusted_to_be_canonical() {
        let mapped = |v4: &str| Host::Ip(IpAddr::V6(v4.parse::<Ipv4Addr>().unwrap().to_ipv6_mapped()));
        for (host, port) in [(mapped("127.0.0.1"), 22), (mapped("224.0.0.1"), 22), (mapped("192.0.2.1"), 0)] {
            assert!(!is_dialable(&HostPort { host, port }, Source::Remembered));
        }
        assert!(is_dialable(&HostPort { host: mapped("192.0.2.1"), port: 1 }, Source::Remembered));
    }
}
