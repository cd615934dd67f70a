//! Tunnels whose computer has left the address that they stand on. What they send gets nowhere and nothing comes, but the
//! kernel gives such a connection up only after minutes, and while data is under way only after a quarter of an hour.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::limits::{KEEPALIVE_IDLE, KEEPALIVE_INTERVAL, KEEPALIVE_RETRIES};

/// Time between two looks, while there are tunnels to other computers.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// Time for an address to come back when another has come meanwhile: a network that is joined again hands out its
/// addresses one after the other.
const MOVED: Duration = Duration::from_secs(5);

/// The same when none has: a Wi-Fi that is gone for a while breaks nothing. A peer that is gone has as much time.
const GONE: Duration = KEEPALIVE_IDLE.saturating_add(KEEPALIVE_INTERVAL.saturating_mul(KEEPALIVE_RETRIES));

/// Knows which of this computer's addresses tunnels stand on. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Anchors(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Ends every tunnel. So a tunnel waits for one thing instead of two: there are thousands of them.
    kill: Arc<CancellationToken>,
    anchors: Mutex<HashMap<IpAddr, Anchor>>,
    wanted: Notify,
}

/// An address that tunnels stand on.
#[derive(Debug)]
struct Anchor {
    /// Cancelled when the address is gone for good; every tunnel on it holds it.
    gone: Weak<CancellationToken>,
    /// What addresses there were beside it when it was there last.
    beside: Vec<IpAddr>,
    missing_since: Option<Instant>,
    moved_since: Option<Instant>,
}

impl Anchors {
    /// `kill` ends all tunnels, wherever they stand.
    pub(crate) fn new(kill: CancellationToken) -> Self {
        let (anchors, wanted) = (Mutex::default(), Notify::new());
        Self(Arc::new(Shared { kill: Arc::new(kill), anchors, wanted }))
    }

    /// What is cancelled when this computer has left `own`, an address of its own, for good, or all tunnels are ended. To be
    /// held as long as the tunnel stands there.
    pub(crate) fn under(&self, own: Option<IpAddr>) -> Arc<CancellationToken> {
        let own = own.map(|own| own.to_canonical()).filter(|own| !own.is_loopback());
        own.map_or_else(|| Arc::clone(&self.0.kill), |own| self.hold(own))
    }

    /// Asks for this computer's addresses now and then, while tunnels stand on some, until `stop`.
    pub(crate) async fn watch(&self, own_addresses: impl Fn() -> Vec<IpAddr>, stop: &CancellationToken) {
        let watching = async {
            loop {
                if self.lock().is_empty() {
                    self.0.wanted.notified().await;
                }
                sleep(LOOK_INTERVAL).await;
                let (here, now) = (own_addresses(), Instant::now());
                self.lock().retain(|own, anchor| anchor.look(*own, &here, now));
            }
        };
        stop.run_until_cancelled(watching).await;
    }

    fn hold(&self, own: IpAddr) -> Arc<CancellationToken> {
        let mut anchors = self.lock();
        if let Some(gone) = anchors.get(&own).and_then(|anchor| anchor.gone.upgrade()) {
            return gone;
        }
        let gone = Arc::new(self.0.kill.child_token());
        let (missing_since, moved_since) = (None, None);
        anchors.insert(own, Anchor { gone: Arc::downgrade(&gone), beside: Vec::new(), missing_since, moved_since });
        self.0.wanted.notify_one();
        gone
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, Anchor>> {
        self.0.anchors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Anchor {
    /// Ends the tunnels on `own` when they stand on nothing. Returns whether there are any left.
    fn look(&mut self, own: IpAddr, here: &[IpAddr], now: Instant) -> bool {
        let Some(gone) = self.gone.upgrade() else { return false };
        if here.contains(&own) {
            self.beside = here.to_vec();
            (self.missing_since, self.moved_since) = (None, None);
            return true;
        }
        let missing_since = *self.missing_since.get_or_insert(now);
        let has_moved = here.iter().any(|other| leads_out(other) && !self.beside.contains(other));
        self.moved_since = has_moved.then(|| self.moved_since.unwrap_or(now));
        let is_lost = now - missing_since >= GONE || self.moved_since.is_some_and(|since| now - since >= MOVED);
        if is_lost {
            gone.cancel();
        }
        !is_lost
    }
}

/// Whether an address leads to other networks. Those that a computer gives to itself (RFC 3927, RFC 4291) come before the
/// network's own.
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

    /// A computer, with one tunnel that stands on [`HOME`].
    struct Computer {
        addresses: Arc<Mutex<Vec<IpAddr>>>,
        stop: CancellationToken,
        tunnel: tokio::task::JoinHandle<()>,
        anchors: Anchors,
    }

    impl Computer {
        async fn new() -> Self {
            let (anchors, stop) = (Anchors::new(CancellationToken::new()), CancellationToken::new());
            let addresses = Arc::default();
            let tunnel = stand(&anchors, Some(HOME));
            let computer = Self { addresses, stop, tunnel, anchors };
            let (addresses, stop) = (Arc::clone(&computer.addresses), computer.stop.clone());
            let anchors = computer.anchors.clone();
            tokio::spawn(async move { anchors.watch(|| addresses.lock().unwrap().clone(), &stop).await });
            computer.has(&[BRIDGE, HOME], LOOK_INTERVAL * 2).await;
            computer
        }

        /// Has these addresses for so long.
        async fn has(&self, addresses: &[&str], time: Duration) {
            *self.addresses.lock().unwrap() = addresses.iter().map(|addr| ip(addr)).collect();
            sleep(time).await;
        }

        fn is_told(&self) -> bool {
            self.tunnel.is_finished()
        }
    }

    /// A tunnel that stands on this address.
    fn stand(anchors: &Anchors, own: Option<&str>) -> tokio::task::JoinHandle<()> {
        let ground = anchors.under(own.map(ip));
        tokio::spawn(async move { ground.cancelled().await })
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_moved_to_another_address_is_told_soon() {
        let computer = Computer::new().await;
        computer.has(&[BRIDGE, ELSEWHERE], MOVED - Duration::from_secs(1)).await;
        assert!(!computer.is_told());
        computer.has(&[BRIDGE, ELSEWHERE], 2 * LOOK_INTERVAL).await;
        assert!(computer.is_told());
    }

    #[tokio::test(start_paused = true)]
    async fn a_network_that_comes_back_breaks_nothing() {
        let computer = Computer::new().await;
        for _ in 0..3 {
            computer.has(&[BRIDGE], GONE - Duration::from_secs(10)).await;
            // What the computer calls itself until the network has told it.
            computer.has(&[BRIDGE, "169.254.9.9", "fe80::9"], Duration::from_secs(5)).await;
            computer.has(&[BRIDGE, "2001:db8::9"], Duration::from_secs(3)).await;
            computer.has(&[BRIDGE, "2001:db8::9", HOME], Duration::from_secs(60)).await;
        }
        assert!(!computer.is_told());
    }

    #[tokio::test(start_paused = true)]
    async fn a_network_that_does_not_come_back_is_given_as_long_as_a_peer() {
        let computer = Computer::new().await;
        computer.has(&[BRIDGE], GONE - LOOK_INTERVAL).await;
        assert!(!computer.is_told());
        computer.has(&[BRIDGE], 2 * LOOK_INTERVAL).await;
        assert!(computer.is_told());
    }

    #[tokio::test(start_paused = true)]
    async fn a_tunnel_within_this_computer_stands_for_ever_and_one_that_has_ended_is_forgotten() {
        let computer = Computer::new().await;
        let inside = stand(&computer.anchors, Some("::ffff:127.0.0.1"));
        let nowhere = stand(&computer.anchors, None);
        computer.tunnel.abort();
        computer.has(&[], 2 * GONE).await;
        assert!(!inside.is_finished() && !nowhere.is_finished());
        assert!(computer.anchors.lock().is_empty());
        computer.stop.cancel();
    }

    #[tokio::test(start_paused = true)]
    async fn all_are_ended_wherever_they_stand() {
        let computer = Computer::new().await;
        let inside = stand(&computer.anchors, None);
        computer.anchors.0.kill.cancel();
        inside.await.unwrap();
        computer.tunnel.await.unwrap();
    }
}
