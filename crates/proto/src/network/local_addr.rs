//! When an address that this host had, and that its tunnels use, is lost for good.

use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Time for an address to come back when another has come meanwhile: a network that is joined again
/// hands out its addresses one after the other. Runner-up: none, which such a network would not
/// survive.
pub const MOVED: Duration = Duration::from_secs(5);

/// One address, and since when it is missing.
#[derive(Debug, Clone)]
pub struct LocalAddr {
    ip: IpAddr,
    /// Time to come back when no other address has come meanwhile.
    gone: Duration,
    /// What addresses there were beside it when it was there last.
    beside: Vec<IpAddr>,
    missing_since: Option<Instant>,
    moved_since: Option<Instant>,
}

impl LocalAddr {
    /// An address of this host, which may be missing for as long as `gone`: a Wi-Fi that comes back
    /// breaks nothing.
    #[must_use]
    pub fn new(ip: IpAddr, gone: Duration) -> Self {
        Self { ip, gone, beside: Vec::new(), missing_since: None, moved_since: None }
    }

    /// Takes note of the addresses that this host has at `now`.
    pub fn handle_addrs(&mut self, now: Instant, here: &[IpAddr]) {
        if here.contains(&self.ip) {
            self.beside = here.to_vec();
            (self.missing_since, self.moved_since) = (None, None);
            return;
        }
        self.missing_since.get_or_insert(now);
        let has_moved = here.iter().any(|other| leads_out(other) && !self.beside.contains(other));
        self.moved_since = has_moved.then(|| self.moved_since.unwrap_or(now));
    }

    /// When the address is lost, unless the addresses change before. `None` while it is there.
    #[must_use]
    pub fn poll_lost(&self) -> Option<Instant> {
        let gone = self.missing_since.map(|since| since + self.gone);
        let moved = self.moved_since.map(|since| since + MOVED);
        gone.into_iter().chain(moved).min()
    }
}

/// Whether an address leads to other networks. Those that a computer gives to itself (RFC 3927, RFC
/// 4291) come before the network's own.
fn leads_out(addr: &IpAddr) -> bool {
    match addr {
        IpAddr::V4(addr) => !addr.is_loopback() && !addr.is_link_local(),
        IpAddr::V6(addr) => !addr.is_loopback() && !addr.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: &str = "192.168.1.2";
    const BRIDGE: &str = "172.17.0.1";
    const ELSEWHERE: &str = "10.0.0.7";
    const GONE: Duration = Duration::from_secs(120);

    /// Each step: the time, in seconds, the addresses from then on, and when the address is lost if
    /// they stay.
    #[track_caller]
    fn check(steps: &[(u64, &[&str], Option<u64>)]) {
        let start = Instant::now();
        let mut addr = LocalAddr::new(HOME.parse().unwrap(), GONE);
        for (at, here, lost) in steps {
            let here: Vec<IpAddr> = here.iter().map(|ip| ip.parse().unwrap()).collect();
            addr.handle_addrs(start + Duration::from_secs(*at), &here);
            assert_eq!(addr.poll_lost(), lost.map(|lost| start + Duration::from_secs(lost)), "at {at}");
        }
    }

    #[test]
    fn who_has_another_address_has_moved() {
        check(&[
            (0, &[BRIDGE, HOME], None),
            (10, &[BRIDGE], Some(130)),
            (20, &[BRIDGE, ELSEWHERE], Some(25)),
            (24, &[BRIDGE, ELSEWHERE, "fe80::1"], Some(25)),
        ]);
    }

    #[test]
    fn what_a_computer_calls_itself_is_no_other_address() {
        check(&[(0, &[HOME], None), (10, &["127.0.0.1", "169.254.9.9", "::1", "fe80::9"], Some(130))]);
    }

    #[test]
    fn an_address_that_comes_back_starts_anew() {
        check(&[
            (0, &[HOME], None),
            (10, &[], Some(130)),
            (100, &["2001:db8::9"], Some(105)),
            (103, &["2001:db8::9", HOME], None),
            (200, &["2001:db8::9"], Some(320)),
        ]);
    }

    #[test]
    fn another_address_that_goes_again_was_no_move() {
        check(&[(0, &[HOME], None), (10, &[ELSEWHERE], Some(15)), (12, &[], Some(130))]);
    }
}
