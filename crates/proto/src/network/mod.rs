//! The networks that this host is in: its addresses, and its route to the internet.

mod local_addr; // when an address is lost

use std::net::{IpAddr, Ipv4Addr};

pub use local_addr::{LocalAddr, MOVED};

/// An address of one of this host's interfaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterfaceAddr {
    /// The address.
    pub ip: IpAddr,
    /// Length of its network's prefix, in bits.
    pub prefix_len: u8,
    /// Name of the interface, as the system shows it.
    pub interface: String,
    /// Whether the interface is up and has a carrier. A pulled cable changes this alone.
    pub is_up: bool,
    /// Whether the address will soon be another: privacy addresses (RFC 8981) and deprecated ones.
    pub is_short_lived: bool,
    /// Whether multicast may be used there. A phone says no while it saves its battery.
    pub may_multicast: bool,
}

/// The IPv4 route to everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DefaultRoute {
    /// The router.
    pub gateway: Ipv4Addr,
    /// This host's address towards it.
    pub local: Ipv4Addr,
}

/// The state of this host's networks at one time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetworkState {
    /// How often the addresses have changed: a connection made in an earlier generation may lead
    /// nowhere. A carrier or a route that comes or goes does not count.
    pub generation: u64,
    /// Every address of every interface, in the order of the system.
    pub addrs: Vec<InterfaceAddr>,
    /// `None` when there is none, or when it leads over a link without a router.
    pub default_route: Option<DefaultRoute>,
}

impl NetworkState {
    /// The state after another look at the system; `None` when nothing has changed.
    #[must_use]
    pub fn next(&self, addrs: Vec<InterfaceAddr>, default_route: Option<DefaultRoute>) -> Option<Self> {
        let next = Self { generation: self.generation, addrs, default_route };
        let has_moved = !next.has_addrs_of(self);
        (next != *self).then(|| Self { generation: self.generation + u64::from(has_moved), ..next })
    }

    /// Addresses of all interfaces, those without a carrier too.
    pub fn ips(&self) -> impl Iterator<Item = IpAddr> {
        self.addrs.iter().map(|addr| addr.ip)
    }

    /// Addresses of interfaces that are up.
    pub fn up(&self) -> impl Iterator<Item = &InterfaceAddr> {
        self.addrs.iter().filter(|addr| addr.is_up)
    }

    /// Whether both have the same addresses: this host is in the same networks, as far as it can
    /// tell, even if it has been elsewhere in between. Link-local addresses of IPv6 do not count:
    /// every interface has one, a container's too, and gives it to itself in any network.
    #[must_use]
    pub fn has_addrs_of(&self, other: &Self) -> bool {
        let sorted = |state: &Self| {
            let is_given = |ip: &IpAddr| !matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
            let mut ips: Vec<_> = state.ips().filter(is_given).collect();
            ips.sort_unstable();
            ips
        };
        sorted(self) == sorted(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(ip: &str, is_up: bool) -> InterfaceAddr {
        let interface = "eth0".to_owned();
        InterfaceAddr {
            ip: ip.parse().unwrap(),
            prefix_len: 24,
            interface,
            is_up,
            is_short_lived: false,
            may_multicast: true,
        }
    }

    #[test]
    fn a_generation_ends_when_addresses_change_and_with_nothing_else() {
        let route = Some(DefaultRoute { gateway: [10, 0, 0, 1].into(), local: [10, 0, 0, 2].into() });
        let (home, away) = ("10.0.0.2", "192.168.1.2");
        let first = NetworkState::default().next(vec![addr(away, true), addr(home, true)], None).unwrap();
        assert_eq!(first.next(first.addrs.clone(), None), None);
        let unplugged = first.next(vec![addr(home, false), addr(away, true)], None).unwrap();
        let routed = unplugged.next(unplugged.addrs.clone(), route).unwrap();
        assert_eq!((first.generation, routed.generation), (1, 1));
        assert!(routed.has_addrs_of(&first));
        let linked = routed.next([&routed.addrs[..], &[addr("fe80::1", true)]].concat(), route).unwrap();
        assert!(linked.has_addrs_of(&routed) && linked.generation == 1);
        let moved = routed.next(vec![addr(away, true)], None).unwrap();
        assert_eq!(moved.generation, 2);
        let back = moved.next(first.addrs.clone(), None).unwrap();
        assert!(back.has_addrs_of(&first) && back.generation == 3);
    }
}
