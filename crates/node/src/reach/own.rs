//! Addresses of this computer that others can use, and their order.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use hardline_proto::hosts::{HostList, HostPort};
use hardline_proto::network::NetworkState;
use hardline_proto::portmap::is_public;

use super::status::RouterStatus;

/// Addresses that lead here from elsewhere, of interfaces that are up; only those in `bound` unless
/// that is empty.
pub(super) fn addresses(network: &NetworkState, bound: &[IpAddr], port: u16) -> Vec<SocketAddr> {
    let lasting = network.up().filter(|addr| !addr.is_short_lived).map(|addr| addr.ip);
    let listened_at = lasting.filter(|addr| bound.is_empty() || bound.contains(addr));
    listened_at.map(|addr| SocketAddr::new(addr, port)).collect()
}

/// Where this computer is reached through its router, as far as that can work.
///
/// A router's own address decides; the one that others see is told beside it. Behind a carrier's
/// NAT no address is told, since none can work. When the router does not help, a port may be
/// forwarded by hand: then it is the P2P port, at the address that others see, and works without a
/// word.
pub(super) fn behind_router(router: &RouterStatus, seen: Option<Ipv4Addr>, port: u16) -> Vec<SocketAddr> {
    match router {
        RouterStatus::Open(open) | RouterStatus::Away(open) => {
            let seen = seen.map(|seen| SocketAddr::from((seen, open.external.port())));
            [Some(SocketAddr::V4(open.external)), seen].into_iter().flatten().collect()
        }
        RouterStatus::NotPublic { .. } | RouterStatus::Searching => Vec::new(),
        RouterStatus::Off | RouterStatus::NoGateway | RouterStatus::Refused { .. } | RouterStatus::Silent { .. } => {
            seen.map(|seen| SocketAddr::from((seen, port))).into_iter().collect()
        }
    }
}

/// What to tell: addresses set by hand, then public IPv4, global IPv6, Yggdrasil.
pub(super) fn advertised(by_hand: &[HostPort], addresses: Vec<SocketAddr>) -> HostList {
    by_hand.iter().cloned().chain(useful(addresses).into_iter().map(HostPort::from)).collect()
}

/// Those that others can use, the best first.
pub(super) fn useful(mut addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    addresses.retain(|addr| rank(&addr.ip()).is_some());
    addresses.sort_by_key(|addr| rank(&addr.ip()));
    addresses
}

/// Place of an address among its kinds; `None` if others cannot use it.
fn rank(addr: &IpAddr) -> Option<u8> {
    match addr {
        IpAddr::V4(addr) => is_public(*addr).then_some(0),
        IpAddr::V6(addr) if is_global(addr) => Some(1),
        IpAddr::V6(addr) if is_yggdrasil(addr) => Some(2),
        IpAddr::V6(_) => None,
    }
}

/// 2000::/3 (RFC 4291, section 2.4).
fn is_global(addr: &Ipv6Addr) -> bool {
    addr.segments()[0] & 0xe000 == 0x2000
}

/// 200::/7, the addresses of the Yggdrasil mesh.
pub(super) fn is_yggdrasil(addr: &Ipv6Addr) -> bool {
    addr.segments()[0] & 0xfe00 == 0x0200
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reach::{OpenPort, Protocol};

    #[track_caller]
    fn check(by_hand: &[&str], own: &[&str], told: &str) {
        let by_hand: Vec<_> = by_hand.iter().map(|at| at.parse().unwrap()).collect();
        let own = own.iter().map(|addr| SocketAddr::new(addr.parse().unwrap(), 7008)).collect();
        assert_eq!(advertised(&by_hand, own).to_string(), told);
    }

    #[test]
    fn the_best_comes_first() {
        check(
            &["home.example.org:443"],
            &["200:1::1", "2001:db8::1", "203.0.113.5", "2001:db8::2"],
            "home.example.org:443,203.0.113.5:7008,[2001:db8::1]:7008,[2001:db8::2]:7008,[200:1::1]:7008",
        );
    }

    #[test]
    fn addresses_that_mean_nothing_elsewhere_are_not_told() {
        let local = ["127.0.0.1", "10.0.0.1", "192.168.1.2", "172.16.0.1", "169.254.1.1", "100.64.0.1", "0.0.0.0"];
        check(&[], &local, "");
        check(&[], &["::1", "fe80::1", "fd00::2", "ff02::1", "::", "::ffff:192.168.1.2"], "");
        check(
            &[],
            &["100.128.0.1", "172.32.0.1", "300:1::1", "400::1"],
            "100.128.0.1:7008,172.32.0.1:7008,[300:1::1]:7008",
        );
    }

    #[track_caller]
    fn check_router(router: &RouterStatus, seen: &str, expected: &[&str]) {
        let expected: Vec<SocketAddr> = expected.iter().map(|addr| addr.parse().unwrap()).collect();
        assert_eq!(behind_router(router, seen.parse().ok(), 7008), expected, "{router:?}");
    }

    #[test]
    fn a_router_is_believed_and_so_are_others_unless_it_has_no_public_address() {
        let gateway = Ipv4Addr::new(192, 168, 1, 1);
        let external = "203.0.113.5:7010".parse().unwrap();
        let open = OpenPort { protocol: Protocol::Upnp, gateway, external };
        check_router(&RouterStatus::Open(open), "", &["203.0.113.5:7010"]);
        check_router(&RouterStatus::Open(open), "198.51.100.9", &["203.0.113.5:7010", "198.51.100.9:7010"]);
        check_router(&RouterStatus::Away(open), "", &["203.0.113.5:7010"]);
        check_router(&RouterStatus::NotPublic { gateway, address: None }, "198.51.100.9", &[]);
        check_router(&RouterStatus::Silent { gateway }, "198.51.100.9", &["198.51.100.9:7008"]);
        check_router(&RouterStatus::Off, "198.51.100.9", &["198.51.100.9:7008"]);
        check_router(&RouterStatus::Silent { gateway }, "", &[]);
    }
}
