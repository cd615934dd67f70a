//! Addresses of this computer that others can use.

use std::net::{IpAddr, Ipv6Addr};

use hardline_proto::hosts::{Host, HostList, HostPort};
use tracing::debug;

use super::temporary;

/// Addresses that lead here from elsewhere, of interfaces that are up; only those in `bound` unless that is empty.
pub(super) fn addresses(bound: &[IpAddr]) -> Vec<IpAddr> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_else(|error| {
        debug!(%error, "own addresses not known");
        Vec::new()
    });
    let short_lived = temporary::short_lived();
    let up = interfaces.iter().filter(|interface| interface.is_oper_up()).map(if_addrs::Interface::ip);
    let lasting = up.filter(|addr| !short_lived.contains(addr));
    lasting.filter(|addr| rank(addr).is_some() && (bound.is_empty() || bound.contains(addr))).collect()
}

/// What to tell: addresses set by hand, then public IPv4, global IPv6, Yggdrasil.
pub(super) fn advertised(by_hand: &[HostPort], mut own: Vec<IpAddr>, port: u16) -> HostList {
    own.retain(|addr| rank(addr).is_some());
    own.sort_by_key(rank);
    let own = own.into_iter().map(|addr| HostPort { host: Host::Ip(addr), port });
    by_hand.iter().cloned().chain(own).collect()
}

/// Place of an address among its kinds; `None` if others cannot use it. Documentation networks count as public: they stand
/// for the internet wherever a network is only built for a test.
fn rank(addr: &IpAddr) -> Option<u8> {
    match addr {
        IpAddr::V4(addr) => {
            let [first, second, ..] = addr.octets();
            let is_shared = first == 100 && second & 0xc0 == 64; // RFC 6598
            let is_elsewhere_unknown = addr.is_private() || addr.is_loopback() || addr.is_link_local() || is_shared;
            (!is_elsewhere_unknown && !addr.is_unspecified() && first < 224).then_some(0)
        }
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
fn is_yggdrasil(addr: &Ipv6Addr) -> bool {
    addr.segments()[0] & 0xfe00 == 0x0200
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(by_hand: &[&str], own: &[&str], told: &str) {
        let by_hand: Vec<_> = by_hand.iter().map(|at| at.parse().unwrap()).collect();
        let own = own.iter().map(|addr| addr.parse().unwrap()).collect();
        assert_eq!(advertised(&by_hand, own, 7008).to_string(), told);
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
}
