//! Closes tunnels whose local address is gone.
//!
//! What they send gets nowhere and nothing comes, but the kernel gives such a connection up only
//! after minutes, and while data is under way only after a quarter of an hour: keepalive does not
//! run then.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use hardline_proto::network::LocalAddr;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::limits::{KEEPALIVE_IDLE, KEEPALIVE_INTERVAL, KEEPALIVE_RETRIES};
use crate::network::{NetworkMonitor, NetworkState};

/// Time that an address may be missing while no other has come: as long as a peer that is gone has.
const GONE: Duration = KEEPALIVE_IDLE.saturating_add(KEEPALIVE_INTERVAL.saturating_mul(KEEPALIVE_RETRIES));

/// Time after which addresses without tunnels are forgotten, and the network is observed no longer.
const FORGET: Duration = Duration::from_secs(60);

/// Knows which of this host's addresses tunnels use. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct LocalAddressWatch(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Ends every tunnel. So a tunnel waits for one thing instead of two: there are thousands of
    /// them.
    kill: Arc<CancellationToken>,
    used: Mutex<HashMap<IpAddr, Used>>,
    /// There is one more.
    added: Notify,
}

/// An address that tunnels use.
#[derive(Debug)]
struct Used {
    addr: LocalAddr,
    /// Cancelled when the address is lost; every tunnel that uses it holds it.
    lost: Weak<CancellationToken>,
}

impl LocalAddressWatch {
    /// `kill` ends all tunnels, whatever address they use.
    pub(crate) fn new(kill: CancellationToken) -> Self {
        let (used, added) = (Mutex::default(), Notify::new());
        Self(Arc::new(Shared { kill: Arc::new(kill), used, added }))
    }

    /// What is cancelled when this host has lost `own`, an address of its own, or when all tunnels
    /// are ended. To be held as long as the tunnel uses the address.
    pub(crate) fn lost(&self, own: Option<IpAddr>) -> Arc<CancellationToken> {
        let own = own.map(|own| own.to_canonical()).filter(|own| !own.is_loopback());
        own.map_or_else(|| Arc::clone(&self.0.kill), |own| self.hold(own))
    }

    /// Observes `network` while tunnels use addresses of this host, until `stop`.
    pub(crate) async fn run(&self, network: &NetworkMonitor, stop: &CancellationToken) {
        let watching = async {
            loop {
                self.0.added.notified().await;
                self.watch_used(network).await;
            }
        };
        stop.run_until_cancelled(watching).await;
    }

    /// Returns when no tunnel uses an address any more.
    async fn watch_used(&self, network: &NetworkMonitor) {
        let mut state = network.watch();
        loop {
            let now = Instant::now();
            let next = self.look(now, &state.borrow_and_update());
            if self.lock().is_empty() {
                return;
            }
            tokio::select! {
                // The monitor is there as long as `network`.
                Ok(()) = state.changed() => {}
                () = self.0.added.notified() => {}
                () = sleep_until(next.unwrap_or(now + FORGET)) => {}
            }
        }
    }

    /// Ends the tunnels whose address is lost. Returns when the next one is, unless something
    /// changes.
    fn look(&self, now: Instant, network: &NetworkState) -> Option<Instant> {
        let here: Vec<IpAddr> = network.ips().collect();
        let mut used = self.lock();
        used.retain(|_, used| used.look(now, &here));
        used.values().filter_map(|used| used.addr.poll_lost()).min().map(Instant::from_std)
    }

    fn hold(&self, own: IpAddr) -> Arc<CancellationToken> {
        let mut used = self.lock();
        if let Some(lost) = used.get(&own).and_then(|used| used.lost.upgrade()) {
            return lost;
        }
        let lost = Arc::new(self.0.kill.child_token());
        used.insert(own, Used { addr: LocalAddr::new(own, GONE), lost: Arc::downgrade(&lost) });
        self.0.added.notify_one();
        lost
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, Used>> {
        self.0.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Used {
    /// Ends the tunnels when the address is lost. Returns whether there are any left.
    fn look(&mut self, now: Instant, here: &[IpAddr]) -> bool {
        let Some(lost) = self.lost.upgrade() else { return false };
        self.addr.handle_addrs(now.into_std(), here);
        let is_lost = self.addr.poll_lost().is_some_and(|at| at <= now.into_std());
        if is_lost {
            lost.cancel();
        }
        !is_lost
    }
}

#[cfg(test)]
mod tests {
    use hardline_proto::network::MOVED;
    use tokio::time::sleep;

    use super::*;
    use crate::network::simulated::Addresses;

    const HOME: &str = "192.168.1.2";
    const BRIDGE: &str = "172.17.0.1";
    const ELSEWHERE: &str = "10.0.0.7";

    /// Most time that a change goes unnoticed.
    const NOTICED: Duration = Duration::from_secs(2);

    /// A computer, with one tunnel that uses [`HOME`].
    struct Computer {
        addresses: Addresses,
        stop: CancellationToken,
        tunnel: tokio::task::JoinHandle<()>,
        watch: LocalAddressWatch,
    }

    impl Computer {
        async fn new() -> Self {
            let (watch, stop) = (LocalAddressWatch::new(CancellationToken::new()), CancellationToken::new());
            let addresses = Addresses::default();
            addresses.set(&[BRIDGE, HOME]);
            let computer = Self { addresses, stop, tunnel: tunnel(&watch, Some(HOME)), watch };
            let (network, stop) = (computer.addresses.monitor(), computer.stop.clone());
            let watch = computer.watch.clone();
            tokio::spawn(async move { watch.run(&network, &stop).await });
            sleep(NOTICED).await;
            computer
        }

        /// Has these addresses for so long.
        async fn has(&self, addresses: &[&str], time: Duration) {
            self.addresses.set(addresses);
            sleep(time).await;
        }

        fn is_told(&self) -> bool {
            self.tunnel.is_finished()
        }
    }

    /// A tunnel that uses this address.
    fn tunnel(watch: &LocalAddressWatch, own: Option<&str>) -> tokio::task::JoinHandle<()> {
        let lost = watch.lost(own.map(ip));
        tokio::spawn(async move { lost.cancelled().await })
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_moved_to_another_address_is_told_soon() {
        let computer = Computer::new().await;
        computer.has(&[BRIDGE, ELSEWHERE], MOVED - Duration::from_secs(1)).await;
        assert!(!computer.is_told());
        computer.has(&[BRIDGE, ELSEWHERE], 2 * NOTICED).await;
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
        computer.has(&[BRIDGE], GONE - NOTICED).await;
        assert!(!computer.is_told());
        computer.has(&[BRIDGE], 2 * NOTICED).await;
        assert!(computer.is_told());
    }

    #[tokio::test(start_paused = true)]
    async fn a_tunnel_within_this_computer_lasts_and_one_that_has_ended_is_forgotten() {
        let computer = Computer::new().await;
        let inside = tunnel(&computer.watch, Some("::ffff:127.0.0.1"));
        let nowhere = tunnel(&computer.watch, None);
        computer.tunnel.abort();
        computer.has(&[], 2 * GONE).await;
        assert!(!inside.is_finished() && !nowhere.is_finished());
        assert!(computer.watch.lock().is_empty());
        computer.stop.cancel();
    }

    #[tokio::test(start_paused = true)]
    async fn all_are_ended_whatever_address_they_use() {
        let computer = Computer::new().await;
        let inside = tunnel(&computer.watch, None);
        computer.watch.0.kill.cancel();
        inside.await.unwrap();
        computer.tunnel.await.unwrap();
    }
}
