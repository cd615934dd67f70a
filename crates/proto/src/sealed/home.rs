//! Private addresses of a publisher, for who is behind the same router.
//!
//! Where the network swallows multicast and the router leads nobody from inside back in, neither
//! LAN discovery nor the public address helps. Who is seen from outside at the publisher's address
//! is most likely in its network, and may try there. A carrier's customers share one address too:
//! those try an address of their own network in vain, and learn from the pin that it is somebody
//! else's.

use std::net::{IpAddr, Ipv4Addr};

use crate::hosts::{Host, HostList, HostPort};
use crate::portmap::is_public;

/// Private addresses kept of one record.
pub const MAX_INSIDE: usize = 4;

/// A publisher's network behind a router.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Home {
    outside: Option<Ipv4Addr>,
    inside: Vec<HostPort>,
}

impl Home {
    /// The network that others see at `outside`, in which the publisher is reached at `inside`. Of
    /// these the first [`MAX_INSIDE`] count that are private; and none without a public address
    /// outside.
    #[must_use]
    pub fn new(outside: Option<Ipv4Addr>, inside: impl IntoIterator<Item = HostPort>) -> Self {
        let inside: HostList = inside.into_iter().filter(is_private).collect();
        let inside = inside.as_slice().iter().take(MAX_INSIDE).cloned().collect::<Vec<_>>();
        match outside.filter(|outside| is_public(*outside) && !inside.is_empty()) {
            Some(outside) => Self { outside: Some(outside), inside },
            None => Self::default(),
        }
    }

    /// What to write: the address outside, and those inside; `None` if there is nothing to tell.
    pub(super) fn parts(&self) -> Option<(Ipv4Addr, &[HostPort])> {
        Some((self.outside?, &self.inside))
    }

    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.outside.is_none()
    }

    /// The addresses to try for a computer that others see at `seen`: none unless it is seen where
    /// this home is.
    #[must_use]
    pub fn addresses_for(&self, seen: &[IpAddr]) -> &[HostPort] {
        let is_here = |outside: Ipv4Addr| seen.iter().any(|seen| seen.to_canonical() == IpAddr::V4(outside));
        if self.outside.is_some_and(is_here) { &self.inside } else { &[] }
    }
}

/// Whether `at` is an address of home networks: RFC 1918, or RFC 4193.
fn is_private(at: &HostPort) -> bool {
    let Host::Ip(ip) = &at.host else { return false };
    at.port != 0
        && match ip.to_canonical() {
            IpAddr::V4(ip) => ip.is_private(),
            IpAddr::V6(ip) => ip.is_unique_local(),
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home(outside: &str, inside: &str) -> Home {
        Home::new(outside.parse().ok(), HostList::parse_lenient(inside).as_slice().iter().cloned())
    }

    #[track_caller]
    fn check(home: &Home, seen: &[&str], expected: &[&str]) {
        let seen: Vec<IpAddr> = seen.iter().map(|seen| seen.parse().unwrap()).collect();
        let found: Vec<_> = home.addresses_for(&seen).iter().map(ToString::to_string).collect();
        assert_eq!(found, expected, "{seen:?}");
    }

    #[test]
    fn private_addresses_are_for_who_is_seen_at_the_same_address_alone() {
        let home = home("203.0.113.5", "192.168.1.2:7008,[fd00::2]:7008");
        let inside = ["192.168.1.2:7008", "[fd00::2]:7008"];
        check(&home, &["203.0.113.5"], &inside);
        check(&home, &["2001:db8::1", "::ffff:203.0.113.5"], &inside);
        check(&home, &["203.0.113.6"], &[]);
        check(&home, &["192.168.1.2"], &[]);
        check(&home, &[], &[]);
        check(&Home::default(), &["203.0.113.5"], &[]);
    }

    #[test]
    fn only_private_addresses_count_and_only_a_few() {
        let home = home(
            "203.0.113.5",
            "127.0.0.1:22,203.0.113.9:1,[fe80::1]:1,[2001:db8::1]:1,[200::1]:1,router.home:80,10.0.0.1:1,172.16.0.1:1,\
             100.64.0.1:1,192.168.0.1:1,10.0.0.2:1,10.0.0.3:1",
        );
        check(&home, &["203.0.113.5"], &["10.0.0.1:1", "172.16.0.1:1", "192.168.0.1:1", "10.0.0.2:1"]);
    }

    #[test]
    fn a_home_without_an_address_outside_tells_nothing() {
        for outside in ["", "100.64.0.9", "192.168.0.2"] {
            assert!(home(outside, "192.168.1.2:7008").is_empty(), "{outside}");
        }
        assert!(home("203.0.113.5", "").is_empty());
        assert!(!home("203.0.113.5", "192.168.1.2:7008").is_empty());
    }
}
