//! Addresses of this computer that others can use, and their order.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use hardline_proto::hosts::{Host, HostPort};
use hardline_proto::network::NetworkState;
use hardline_proto::portmap::{Outside, is_public};
use hardline_proto::sealed::Home;
use serde::Serialize;

use super::ReachConfig;
use super::proofs::AddressState;
use super::route::translated;
use super::status::{ReachStatus, RouterStatus};
use crate::json::as_text;

/// Addresses that lead here from elsewhere, of interfaces that are up; only those in `bound` unless
/// that is empty.
pub(super) fn addresses(network: &NetworkState, bound: &[IpAddr], port: u16) -> Vec<(SocketAddr, Basis)> {
    let lasting = network.up().filter(|addr| !addr.is_short_lived).map(|addr| addr.ip);
    // On other links it means another computer.
    let leads_here = |addr: &IpAddr| !matches!(addr, IpAddr::V6(ip) if ip.is_unicast_link_local());
    let listened_at = lasting.filter(|addr| leads_here(addr) && (bound.is_empty() || bound.contains(addr)));
    listened_at.map(|addr| (SocketAddr::new(addr, port), Basis::Interface)).collect()
}

/// Why an address is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// The person has set it.
    Set,
    /// It is an interface's.
    Interface,
    /// The router has opened the port, and says that this is its address.
    Router,
    /// Others see this address, and the port may be forwarded by hand.
    Seen,
    /// Others see this address, and the router has opened the port without telling a public address
    /// of its own.
    Mapped,
}

/// An address that others are told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OwnAddress {
    /// The address.
    #[serde(serialize_with = "as_text")]
    pub at: HostPort,
    /// Why it is told.
    pub basis: Basis,
    /// Whether it is known to lead here.
    #[serde(flatten)]
    pub state: AddressState,
}

/// Where this computer is reached through its router, as far as that can work.
///
/// A router's own address decides; the one that others see is told beside it, or in its place where
/// the router does not tell one. Behind a carrier's NAT no address is told, since none can work.
/// When the router does not help, a port may be forwarded by hand: then it is the P2P port, at the
/// address that others see, and works without a word.
pub(super) fn behind_router(router: &RouterStatus, seen: Option<Ipv4Addr>, port: u16) -> Vec<(SocketAddr, Basis)> {
    let seen_at = |port| move |seen| SocketAddr::from((seen, port));
    match router {
        RouterStatus::Open(open) | RouterStatus::Away(open) => {
            let told = open.external.map(|external| (SocketAddr::V4(external), Basis::Router));
            let basis = if told.is_some() { Basis::Seen } else { Basis::Mapped };
            let seen = seen.map(seen_at(open.port)).map(|seen| (seen, basis));
            let seen = seen.filter(|(seen, _)| told.is_none_or(|(told, _)| told != *seen));
            told.into_iter().chain(seen).collect()
        }
        RouterStatus::Willing { address, .. } => match Outside::of(*address) {
            Outside::Public(address) => vec![(SocketAddr::from((address, port)), Basis::Router)],
            _ => seen.map(seen_at(port)).map(|seen| (seen, Basis::Mapped)).into_iter().collect(),
        },
        RouterStatus::NotPublic { .. } | RouterStatus::Searching => Vec::new(),
        RouterStatus::Off | RouterStatus::NoGateway | RouterStatus::Refused { .. } | RouterStatus::Silent { .. } => {
            seen.map(seen_at(port)).map(|seen| (seen, Basis::Seen)).into_iter().collect()
        }
    }
}

/// Addresses of interfaces by which this computer is reached over IPv6.
pub(super) fn by_ipv6(status: &ReachStatus) -> Vec<Ipv6Addr> {
    let of_interface = status.addresses.iter().filter(|address| address.basis == Basis::Interface);
    let global = of_interface.filter_map(|address| match &address.at.host {
        Host::Ip(IpAddr::V6(ip)) if is_global(ip) => Some(*ip),
        _ => None,
    });
    global.collect()
}

/// Where this computer is reached from its own network, for who is seen outside where it is. Only
/// one behind a router has such a network.
pub(super) fn home(config: &ReachConfig, network: &NetworkState, status: &ReachStatus) -> Home {
    if translated(network, &config.bound).is_none() {
        return Home::default();
    }
    let told = match &status.router {
        RouterStatus::Open(open) | RouterStatus::Away(open) => open.external.map(|external| *external.ip()),
        _ => None,
    };
    let inside = addresses(network, &config.bound, config.port).into_iter().map(|(addr, _)| addr.into());
    // As the readers of the record are seen.
    Home::new(status.seen.or(told), inside)
}

/// What to tell: addresses set by hand, then public IPv4, global IPv6, Yggdrasil; and what the
/// router does not vouch for last.
pub(super) fn advertised(by_hand: &[HostPort], mut addresses: Vec<(SocketAddr, Basis)>) -> Vec<(HostPort, Basis)> {
    addresses.retain(|(addr, _)| rank(&addr.ip()).is_some());
    addresses.sort_by_key(|(addr, basis)| (*basis == Basis::Mapped, rank(&addr.ip())));
    let by_hand = by_hand.iter().map(|at| (at.clone(), Basis::Set));
    by_hand.chain(addresses.into_iter().map(|(addr, basis)| (addr.into(), basis))).collect()
}

/// The addresses of interfaces that others can use, the best first.
pub(super) fn useful(mut addresses: Vec<(SocketAddr, Basis)>) -> Vec<SocketAddr> {
    addresses.retain(|(addr, _)| rank(&addr.ip()).is_some());
    addresses.sort_by_key(|(addr, _)| rank(&addr.ip()));
    addresses.into_iter().map(|(addr, _)| addr).collect()
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
pub(super) fn is_global(addr: &Ipv6Addr) -> bool {
    addr.segments()[0] & 0xe000 == 0x2000
}

/// 200::/7, the addresses of the Yggdrasil mesh.
pub(super) fn is_yggdrasil(addr: &Ipv6Addr) -> bool {
    addr.segments()[0] & 0xfe00 == 0x0200
}

/// Whether a host is one of the mesh.
pub(super) fn is_mesh(host: &Host) -> bool {
    matches!(host, Host::Ip(IpAddr::V6(addr)) if is_yggdrasil(addr))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reach::{OpenPort, Protocol};

    #[track_caller]
    fn check(by_hand: &[&str], own: &[&str], told: &str) {
        let by_hand: Vec<_> = by_hand.iter().map(|at| at.parse().unwrap()).collect();
        let own = own.iter().map(|addr| (SocketAddr::new(addr.parse().unwrap(), 7008), Basis::Interface)).collect();
        assert_eq!(texts(advertised(&by_hand, own)), told);
    }

    fn texts(advertised: Vec<(HostPort, Basis)>) -> String {
        advertised.iter().map(|(at, _)| at.to_string()).collect::<Vec<_>>().join(",")
    }

    #[test]
    fn what_the_router_does_not_vouch_for_comes_last() {
        let found = [
            ("203.0.113.5:7010", Basis::Mapped),
            ("[200:1::1]:7008", Basis::Interface),
            ("[2001:db8::1]:7008", Basis::Interface),
        ];
        let found = found.map(|(addr, basis)| (addr.parse().unwrap(), basis)).to_vec();
        assert_eq!(texts(advertised(&[], found)), "[2001:db8::1]:7008,[200:1::1]:7008,203.0.113.5:7010");
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

    /// Nor do they stand in what only the home is told.
    #[test]
    fn link_local_addresses_are_told_nobody() {
        let addr = |ip: &str| hardline_proto::network::InterfaceAddr {
            ip: ip.parse().unwrap(),
            prefix_len: 64,
            interface: "eth0".to_owned(),
            is_up: true,
            is_short_lived: false,
            may_multicast: true,
        };
        let network = NetworkState { addrs: vec![addr("fe80::1"), addr("fd00::1")], ..NetworkState::default() };
        let told: Vec<_> = addresses(&network, &[], 7008).into_iter().map(|(addr, _)| addr.to_string()).collect();
        assert_eq!(told, ["[fd00::1]:7008"]);
    }

    #[track_caller]
    fn check_router(router: &RouterStatus, seen: &str, expected: &[&str]) {
        let expected: Vec<SocketAddr> = expected.iter().map(|addr| addr.parse().unwrap()).collect();
        let found: Vec<_> = behind_router(router, seen.parse().ok(), 7008).into_iter().map(|(addr, _)| addr).collect();
        assert_eq!(found, expected, "{router:?}");
    }

    #[test]
    fn a_router_is_believed_and_so_are_others_unless_it_has_no_public_address() {
        let gateway = Ipv4Addr::new(192, 168, 1, 1);
        let external = Some("203.0.113.5:7010".parse().unwrap());
        let open = OpenPort { protocol: Protocol::Upnp, gateway, port: 7010, address: None, external };
        check_router(&RouterStatus::Open(open), "", &["203.0.113.5:7010"]);
        check_router(&RouterStatus::Open(open), "198.51.100.9", &["203.0.113.5:7010", "198.51.100.9:7010"]);
        check_router(&RouterStatus::Away(open), "", &["203.0.113.5:7010"]);
        let silent = RouterStatus::Open(OpenPort { external: None, ..open });
        check_router(&silent, "198.51.100.9", &["198.51.100.9:7010"]);
        check_router(&silent, "", &[]);
        check_router(&RouterStatus::Open(open), "203.0.113.5", &["203.0.113.5:7010"]);
        check_router(&RouterStatus::NotPublic { gateway, address: None }, "198.51.100.9", &[]);
        check_router(&RouterStatus::Silent { gateway }, "198.51.100.9", &["198.51.100.9:7008"]);
        check_router(&RouterStatus::Off, "198.51.100.9", &["198.51.100.9:7008"]);
        check_router(&RouterStatus::Silent { gateway }, "", &[]);
    }
}
