//! The monitor of this host's networks. It alone lists interfaces and waits for changes; all other
//! parts observe its [`NetworkState`].
//!
//! Linux tells of changes by netlink (`rustix`): an idle program sleeps, and "has anything
//! changed?" is one system call that does not wait, instead of the twenty that list the interfaces.
//! `if-watch` tells of changes elsewhere; `if-addrs` lists the interfaces. Both are small, and run
//! on Linux, macOS and Windows. Runners-up: `if-watch` on Linux too, which tells of addresses
//! alone, not of carriers and routes, and cannot be asked without a task; `netwatch` 0.20, which
//! wakes every 15 s, waits 250 ms before it tells, cannot be asked without a task either, and
//! brings twice as many crates on Windows (82 instead of 37), a UDP stack among them.

mod given; // what others tell, where the system does not
mod interfaces; // what addresses there are
mod route; // the router in front of this host

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;

use crate::system::events::Events;
use crate::system::netlink::Netlink;

pub(crate) use self::given::GivenNetworks;
pub use self::interfaces::interface_addrs;
pub(crate) use self::interfaces::interface_index;
pub(crate) use self::route::{RouterV6, default_router_v6};
#[cfg(test)]
pub(crate) use given::tests::on_wifi;
pub use hardline_proto::network::{DefaultRoute, InterfaceAddr, NetworkState};

/// Time between two looks where the system does not tell of every change. A pulled cable changes no
/// address, so `if-watch` does not tell of it; two seconds are the most that it may go unnoticed.
const LOOK_INTERVAL: Duration = Duration::from_millis(1500);

/// The same where netlink tells. Some systems (gVisor, the first WSL) accept the socket and never
/// say a word. Whoever is caught at that is looked at every [`LOOK_INTERVAL`] from then on.
const SLOW_LOOK_INTERVAL: Duration = Duration::from_secs(60);

/// Least time between two looks that nobody waits for: a computer that starts fifty containers has
/// hundreds of changes in a second.
const SETTLE: Duration = Duration::from_millis(100);

/// How long a look is used again for who asks, where netlink does not tell: a page opens many
/// connections at once, and looking costs some ten microseconds, or a hundred when nobody has
/// looked for a while. Whatever a person does between two requests takes longer.
const REFRESH: Duration = Duration::from_millis(50);

/// What is looked at.
trait System: fmt::Debug + Send + Sync {
    fn addrs(&self) -> io::Result<Vec<InterfaceAddr>>;
    fn default_route(&self) -> Option<DefaultRoute>;
}

/// The operating system.
#[derive(Debug)]
struct Host;

impl System for Host {
    fn addrs(&self) -> io::Result<Vec<InterfaceAddr>> {
        interfaces::interface_addrs()
    }

    fn default_route(&self) -> Option<DefaultRoute> {
        route::default_route()
    }
}

/// Why to look.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Occasion {
    /// Somebody wants the state of this moment.
    Asked,
    /// The system tells of a change.
    Told,
    /// Nobody has told anything for some time.
    Time,
}

/// Handle of the monitor. Cheap to clone.
#[derive(Debug, Clone)]
pub struct NetworkMonitor(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    system: Box<dyn System>,
    /// Where the kernel tells of changes.
    netlink: Option<Arc<Netlink>>,
    /// Whether a change has come that `netlink` did not tell of.
    is_unreliable: AtomicBool,
    /// When the system was looked at last; `None` when it did not answer then. Held while it is.
    looked: Mutex<Option<Instant>>,
    state: watch::Sender<Arc<NetworkState>>,
    /// There is somebody who observes.
    observed: Notify,
}

impl NetworkMonitor {
    /// Looks at the system and starts the task that follows it; it belongs to `tasks` and ends on
    /// `shutdown`. The task sleeps while nobody observes.
    #[must_use]
    pub fn start(shutdown: CancellationToken, tasks: &TaskTracker) -> Self {
        let monitor = Self::of_host();
        tasks.spawn(monitor.clone().run(shutdown));
        monitor
    }

    /// Without a task: it is current for who asks.
    fn of_host() -> Self {
        // Before the first look, so that nothing is missed.
        let netlink = Netlink::listen(Netlink::GROUPS).inspect_err(|error| debug!(%error, "no news of networks"));
        Self::new(Box::new(Host), netlink.ok())
    }

    fn new(system: Box<dyn System>, netlink: Option<Netlink>) -> Self {
        let (looked, state, observed) = (Mutex::default(), watch::Sender::default(), Notify::new());
        let (netlink, is_unreliable) = (netlink.map(Arc::new), AtomicBool::new(false));
        let shared = Shared { system, netlink, is_unreliable, looked, state, observed };
        shared.look(Occasion::Asked);
        Self(Arc::new(shared))
    }

    /// The state at this moment, whether or not the task has run since the last change: a lookup
    /// right after a move must not see the network before it. At most [`REFRESH`] old where netlink
    /// does not tell.
    #[must_use]
    pub fn now(&self) -> Arc<NetworkState> {
        self.0.look(Occasion::Asked);
        Arc::clone(&self.0.state.borrow())
    }

    /// [`NetworkState::generation`] at this moment.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.0.look(Occasion::Asked);
        self.0.state.borrow().generation
    }

    /// The state, live.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Arc<NetworkState>> {
        self.0.look(Occasion::Asked);
        let receiver = self.0.state.subscribe();
        self.0.observed.notify_one();
        receiver
    }

    /// Waits until this host is no longer in the networks of `here`. Cancel safe.
    pub(crate) async fn left(&self, here: &NetworkState) {
        // The sender is our own.
        let _ = self.watch().wait_for(|now| !now.has_addrs_of(here)).await;
    }

    async fn run(self, shutdown: CancellationToken) {
        shutdown.run_until_cancelled(self.0.follow()).await;
    }
}

impl Shared {
    async fn follow(&self) {
        let mut events = Events::new(self.netlink.as_ref());
        let mut looked_at = Instant::now();
        loop {
            while self.state.receiver_count() == 0 {
                self.observed.notified().await;
            }
            let is_settled = self.is_told() && self.looked().is_some();
            let interval = if is_settled { SLOW_LOOK_INTERVAL } else { LOOK_INTERVAL };
            let has_looked = tokio::select! {
                () = events.next() => self.look(Occasion::Told),
                // News that does not matter does not put it off.
                () = sleep_until(looked_at + interval) => self.look(Occasion::Time),
            };
            if has_looked {
                looked_at = Instant::now();
            }
            sleep(SETTLE).await;
        }
    }

    /// Whether nothing changes without netlink telling.
    fn is_told(&self) -> bool {
        self.netlink.is_some() && !self.is_unreliable.load(Ordering::Relaxed)
    }

    /// Looks at the system if that is due, and publishes what is new. Returns whether it was due.
    fn look(&self, occasion: Occasion) -> bool {
        let mut looked = self.looked();
        // Heard in any case: what is seen next is newer than all of it.
        let is_news = self.netlink.as_ref().map(|netlink| netlink.has_news());
        let is_due = match (occasion, *looked) {
            _ if is_news == Some(true) => true,
            (Occasion::Time, _) | (_, None) => true,
            (Occasion::Told, _) => is_news.is_none(),
            (Occasion::Asked, Some(at)) => !self.is_told() && at.elapsed() >= REFRESH,
        };
        if !is_due {
            return false;
        }
        // Who asks often waits for what is cheap alone; the task sees the rest.
        let is_quick = occasion == Occasion::Asked && looked.is_some() && !self.is_told();
        let has_changed = self.publish(is_quick);
        let is_untold = has_changed == Some(true) && looked.is_some() && is_news == Some(false);
        if is_untold && !self.is_unreliable.swap(true, Ordering::Relaxed) {
            debug!("networks change without a word of the system");
        }
        *looked = has_changed.map(|_| Instant::now());
        true
    }

    fn looked(&self) -> MutexGuard<'_, Option<Instant>> {
        self.looked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks, and returns whether there was a change; `None` when the system does not answer.
    fn publish(&self, is_quick: bool) -> Option<bool> {
        let addrs = match self.system.addrs() {
            Ok(addrs) => addrs,
            // What was known stands: nobody has said that it has changed.
            Err(error) => {
                debug!(%error, "interfaces not listed");
                return None;
            }
        };
        let route = if is_quick { self.state.borrow().default_route } else { self.system.default_route() };
        Some(self.state.send_if_modified(|known| {
            let next = known.next(addrs, route).map(Arc::new);
            next.map(|next| *known = next).is_some()
        }))
    }
}

#[cfg(test)]
pub(crate) mod simulated {
    //! Networks that a test changes.

    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    /// A host whose addresses are what the test says.
    #[derive(Debug, Clone, Default)]
    pub(crate) struct Addresses(Arc<Mutex<Vec<IpAddr>>>, Arc<Mutex<Option<Ipv4Addr>>>);

    impl Addresses {
        /// Addresses from now on.
        pub(crate) fn set(&self, ips: &[&str]) {
            *self.0.lock().unwrap() = ips.iter().map(|ip| ip.parse().unwrap()).collect();
        }

        /// The router in front of it from now on.
        pub(crate) fn set_gateway(&self, gateway: [u8; 4]) {
            *self.1.lock().unwrap() = Some(gateway.into());
        }

        /// A monitor of this host, which is looked at now and then.
        pub(crate) fn monitor(&self) -> NetworkMonitor {
            let monitor = NetworkMonitor::new(Box::new(self.clone()), None);
            tokio::spawn(monitor.clone().run(CancellationToken::new()));
            monitor
        }
    }

    impl System for Addresses {
        fn addrs(&self) -> io::Result<Vec<InterfaceAddr>> {
            let addr = |ip: &IpAddr| InterfaceAddr {
                ip: *ip,
                prefix_len: 24,
                interface: "eth0".into(),
                is_up: true,
                is_short_lived: false,
                may_multicast: true,
            };
            Ok(self.0.lock().unwrap().iter().map(addr).collect())
        }

        fn default_route(&self) -> Option<DefaultRoute> {
            let gateway = (*self.1.lock().unwrap())?;
            let own = self.0.lock().unwrap().iter().find_map(|ip| match ip {
                IpAddr::V4(ip) => Some(*ip),
                IpAddr::V6(_) => None,
            });
            Some(DefaultRoute { gateway, local: own? })
        }
    }
}

#[cfg(test)]
mod tests;
