//! This computer's addresses → what a listener tells its diallers (`WANHosts`), so that they find it again from elsewhere.

mod temporary;

use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use hardline_proto::hosts::{Host, HostList, HostPort};
use tracing::debug;

/// How long an answer of the system is used again: a change is told within this time, and a burst of tunnels asks once.
const REFRESH: Duration = Duration::from_secs(1);

/// Addresses at which this computer can be reached from outside its LAN, as far as it knows itself.
#[derive(Debug)]
pub(crate) struct Reach {
    by_hand: Vec<HostPort>,
    /// The P2P port.
    port: u16,
    /// Addresses the P2P side listens at; empty is all of them.
    bound: Vec<IpAddr>,
    latest: Mutex<Option<(Instant, HostList)>>,
}

impl Reach {
    pub(crate) fn new(by_hand: Vec<HostPort>, port: u16, bound: Vec<IpAddr>) -> Self {
        Self { by_hand, port, bound, latest: Mutex::default() }
    }

    /// The addresses now, best first. Follows interfaces as they come and go.
    pub(crate) fn hosts(&self) -> HostList {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        match &*latest {
            Some((asked, hosts)) if asked.elapsed() < REFRESH => hosts.clone(),
            _ => {
                let hosts = self.ask();
                *latest = Some((Instant::now(), hosts.clone()));
                hosts
            }
        }
    }

    fn ask(&self) -> HostList {
        let interfaces = if_addrs::get_if_addrs().unwrap_or_else(|error| {
            debug!(%error, "own addresses not known");
            Vec::new()
        });
        let short_lived = temporary::short_lived();
        let own = interfaces.iter().map(if_addrs::Interface::ip).filter(|addr| !short_lived.contains(addr));
        let own = own.filter(|addr| self.bound.is_empty() || self.bound.contains(addr));
        advertised(&self.by_hand, own.collect(), self.port)
    }
}

/// What to tell: addresses set by hand, then public IPv4, global IPv6, Yggdrasil.
fn advertised(by_hand: &[HostPort], mut own: Vec<IpAddr>, port: u16) -> HostList {
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

    #[test]
    fn only_addresses_that_are_listened_at_are_told() {
        let by_hand: Vec<HostPort> = vec!["203.0.113.5:7008".parse().unwrap()];
        let reach = Reach::new(by_hand, 7008, vec!["127.0.0.1".parse().unwrap()]);
        assert_eq!(reach.hosts().to_string(), "203.0.113.5:7008");
    }
}
