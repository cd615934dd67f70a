//! Which addresses are worth dialling from here, and safe to dial.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{TransportAddr, Trust};
use crate::hosts::Host;
use crate::network::NetworkState;

/// Ranges that many networks use, each for itself: an address in one means something only beside
/// an interface in it. (RFC 1918; RFC 6598, carrier NAT; RFC 3927; RFC 4193; Yggdrasil.)
const PRIVATE_RANGES: [(IpAddr, u32); 7] = [
    (IpAddr::V4(Ipv4Addr::new(10, 0, 0, 0)), 8),
    (IpAddr::V4(Ipv4Addr::new(172, 16, 0, 0)), 12),
    (IpAddr::V4(Ipv4Addr::new(192, 168, 0, 0)), 16),
    (IpAddr::V4(Ipv4Addr::new(100, 64, 0, 0)), 10),
    (IpAddr::V4(Ipv4Addr::new(169, 254, 0, 0)), 16),
    (IpAddr::V6(Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0)), 7),
    (IpAddr::V6(Ipv6Addr::new(0x0200, 0, 0, 0, 0, 0, 0, 0)), 7),
];

/// What must not be dialled because it is this process itself, or because of where it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DialPolicy {
    /// TCP ports this process listens at: at its own addresses, nobody else is there.
    pub own_ports: Vec<u16>,
    /// Whether loopback is a network like others. Only test networks that live on one computer say
    /// so.
    pub is_loopback_shared: bool,
    /// Whether QUIC can be spoken from here.
    pub has_quic: bool,
}

impl DialPolicy {
    /// Whether `addr`, behind which `trust` stands, is worth dialling from `network` and safe to
    /// dial. Ask again with the addresses a name resolves to.
    ///
    /// Left out are:
    /// - QUIC, where it is not spoken;
    /// - port 0, unspecified, multicast and broadcast addresses, and link-local IPv6 addresses,
    ///   which cannot be dialled without the interface they belong to;
    /// - this process itself, unless it publishes the service;
    /// - loopback, unless the person said so or a neighbour on it answered: whoever tells us such
    ///   an address would aim our dialler at this computer's own ports;
    /// - names, where nobody vouches for them: a stranger could have us ask any name server, and
    ///   dial whom it names;
    /// - addresses in private ranges that no interface is in, unless the person said so or a
    ///   neighbour answered.
    #[must_use]
    pub fn permits(&self, network: &NetworkState, addr: &TransportAddr, trust: Trust) -> bool {
        let at = addr.host_port();
        let has_transport = self.has_quic || !matches!(addr, TransportAddr::Quic(_));
        has_transport
            && at.port != 0
            && match &at.host {
                Host::Name(name) => may_name(trust) && (is_near(trust) || !is_localhost(name)),
                Host::Ip(ip) => self.permits_ip(network, ip.to_canonical(), at.port, trust),
                // Only the person knows what our interfaces are called, and a packet where it came
                // from.
                Host::LinkLocal(ip, _) => is_near(trust) && !self.is_this_process(network, IpAddr::V6(*ip), at.port),
            }
    }

    fn permits_ip(&self, network: &NetworkState, ip: IpAddr, port: u16, trust: Trust) -> bool {
        is_unicast(ip)
            && (trust == Trust::Own || !self.is_this_process(network, ip, port))
            && (is_near(trust) || self.is_loopback_shared || !ip.is_loopback())
            && (is_near(trust) || is_routed(network, ip))
    }

    fn is_this_process(&self, network: &NetworkState, ip: IpAddr, port: u16) -> bool {
        self.own_ports.contains(&port) && (ip.is_loopback() || network.ips().any(|own| own == ip))
    }
}

/// Whether `ip` is public, or in a private range that this computer is in as well.
fn is_routed(network: &NetworkState, ip: IpAddr) -> bool {
    range_of(ip).is_none_or(|range| network.ips().any(|own| range_of(own) == Some(range)))
}

/// Whether who stands behind an address may name this computer and every network: the person, a
/// neighbour whose packet came from there.
fn is_near(trust: Trust) -> bool {
    trust <= Trust::Person
}

/// Whether who stands behind an address may give a name in its place: the person, the verified
/// service. (A LAN answer never is a name.)
fn may_name(trust: Trust) -> bool {
    matches!(trust, Trust::Own | Trust::Person | Trust::Service)
}

/// Whether `ip` is in a range that many networks use, each for itself.
#[must_use]
pub fn is_private(ip: IpAddr) -> bool {
    range_of(ip.to_canonical()).is_some()
}

/// Which private range `ip` is in.
fn range_of(ip: IpAddr) -> Option<usize> {
    PRIVATE_RANGES.iter().position(|(network, prefix_len)| match (network, ip) {
        (IpAddr::V4(network), IpAddr::V4(ip)) => (network.to_bits() ^ ip.to_bits()) >> (32 - prefix_len) == 0,
        (IpAddr::V6(network), IpAddr::V6(ip)) => (network.to_bits() ^ ip.to_bits()) >> (128 - prefix_len) == 0,
        _ => false,
    })
}

/// Whether `name` means this computer (RFC 6761, section 6.3).
fn is_localhost(name: &str) -> bool {
    name.strip_suffix("localhost").is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// Whether `ip` is one host's, and complete.
fn is_unicast(ip: IpAddr) -> bool {
    match ip {
        // All of 0.0.0.0/8 is "this network" (RFC 1122, section 3.2.1.3).
        IpAddr::V4(ip) => ip.octets()[0] != 0 && !ip.is_multicast() && ip != Ipv4Addr::BROADCAST,
        IpAddr::V6(ip) => ip != Ipv6Addr::UNSPECIFIED && !ip.is_multicast() && !ip.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hosts::HostPort;
    use crate::network::InterfaceAddr;
    use Trust::{KeyHolder, Neighbour, Own, Person, Service, Stranger};

    const ALL: [Trust; 6] = [Own, Neighbour, Person, Service, KeyHolder, Stranger];

    fn network() -> NetworkState {
        let addrs = ["192.168.1.2", "200:1::2", "127.0.0.1"].map(|ip| InterfaceAddr {
            ip: ip.parse().unwrap(),
            prefix_len: 24,
            interface: String::new(),
            is_up: true,
            is_short_lived: false,
            may_multicast: true,
        });
        NetworkState { addrs: addrs.to_vec(), ..NetworkState::default() }
    }

    fn policy() -> DialPolicy {
        DialPolicy { own_ports: vec![7008], is_loopback_shared: false, has_quic: false }
    }

    fn tcp(at: &str) -> TransportAddr {
        TransportAddr::Tcp(at.parse().unwrap())
    }

    /// `at` is permitted with `permitted` behind it, and with nobody else.
    #[track_caller]
    fn check(at: &str, permitted: &[Trust]) {
        let addr = tcp(at);
        let found: Vec<_> = ALL.into_iter().filter(|trust| policy().permits(&network(), &addr, *trust)).collect();
        assert_eq!(found, permitted, "{at}");
    }

    #[test]
    fn one_hosts_address_may_be_dialled_whoever_names_it() {
        for at in ["203.0.113.5:1", "255.255.255.254:7008", "172.32.0.1:80", "100.128.0.1:80", "[2001:db8::1]:7008"] {
            check(at, &ALL);
        }
    }

    #[test]
    fn a_private_address_needs_an_interface_in_its_range() {
        for at in ["192.168.77.5:7008", "[200::1]:7008", "[3ff::1]:7008"] {
            check(at, &ALL);
        }
        for at in ["10.0.0.5:7008", "172.31.0.1:80", "100.64.0.1:80", "169.254.7.7:80", "[fd00::1]:7008"] {
            check(at, &[Own, Neighbour, Person]);
        }
    }

    #[test]
    fn a_name_needs_somebody_who_vouches_for_it() {
        for at in ["home.example.org:7008", "notlocalhost:7008", "localhost.example.org:7008"] {
            check(at, &[Own, Person, Service]);
        }
    }

    #[test]
    fn a_link_local_address_needs_the_person_or_a_packet_that_came_from_there() {
        let addr = TransportAddr::Tcp(HostPort::typed("[fe80::9%eth0]:7008").unwrap());
        let permitted: Vec<_> = ALL.into_iter().filter(|trust| policy().permits(&network(), &addr, *trust)).collect();
        assert_eq!(permitted, [Own, Neighbour, Person]);
        let heard = HostPort::scoped("[fe80::9%2]:7008".parse().unwrap());
        assert_eq!(heard.to_string(), "[fe80::9%2]:7008");
        assert_eq!(HostPort::scoped("[2001:db8::9]:7008".parse().unwrap()).to_string(), "[2001:db8::9]:7008");
    }

    #[test]
    fn nobody_far_away_may_name_this_computers_loopback() {
        for at in ["127.0.0.1:22", "127.9.9.9:22", "[::1]:22"] {
            check(at, &[Own, Neighbour, Person]);
        }
        for at in ["localhost:22", "x.LOCALHOST:22", "localhost.:22"] {
            check(at, &[Own, Person]);
        }
        let shared = DialPolicy { is_loopback_shared: true, ..policy() };
        for trust in [Service, KeyHolder, Stranger] {
            assert!(shared.permits(&network(), &tcp("127.0.0.1:22"), trust), "{trust:?}");
        }
    }

    #[test]
    fn this_process_is_dialled_for_its_own_services_only() {
        check("192.168.1.2:7008", &[Own]);
        check("127.0.0.1:7008", &[Own]);
        check("192.168.1.2:7010", &ALL);
        check("192.168.1.3:7008", &ALL);
    }

    #[test]
    fn quic_is_dialled_where_it_is_spoken_and_to_the_same_hosts_as_tcp() {
        let with = DialPolicy { has_quic: true, ..policy() };
        for (at, is_permitted) in [("203.0.113.5:7008", true), ("127.0.0.1:22", false), ("10.0.0.5:7008", false)] {
            let addr = TransportAddr::Quic(at.parse().unwrap());
            assert_eq!(with.permits(&network(), &addr, Service), is_permitted, "{at}");
            assert!(!policy().permits(&network(), &addr, Service), "{at}");
        }
    }

    #[test]
    fn what_is_not_one_host_is_never_dialled() {
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
            check(at, &[]);
        }
    }

    #[test]
    fn a_hand_made_value_is_not_trusted_to_be_canonical() {
        let mapped = |v4: &str| Host::Ip(IpAddr::V6(v4.parse::<Ipv4Addr>().unwrap().to_ipv6_mapped()));
        for (host, port) in [(mapped("127.0.0.1"), 22), (mapped("224.0.0.1"), 22), (mapped("192.0.2.1"), 0)] {
            assert!(!policy().permits(&network(), &HostPort { host, port }.into(), Service));
        }
        let at = HostPort { host: mapped("192.0.2.1"), port: 1 };
        assert!(policy().permits(&network(), &at.into(), Service));
    }
}
