//! This computer's addresses → what a listener tells its diallers (`WANHosts`), so that they find it again from elsewhere.

mod gateway; // the router in front of this computer
mod own; // addresses of the interfaces, and what to tell of all
mod router; // the task that keeps a port of it open
mod status; // for programs and in sentences
mod temporary; // addresses that are about to go

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use hardline_proto::hosts::{HostList, HostPort};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;

use self::gateway::Via;
use self::router::Keeper;
use crate::interfaces::Changes;

pub use self::router::Protocol;
pub use self::status::{OpenPort, Probe, ReachStatus, RouterStatus, Sentence};

/// Time between two rechecks when nothing seems to change.
const RECHECK: Duration = Duration::from_secs(8 * 60);

/// What [`Reach`] is told at its start.
#[derive(Debug, Clone, Default)]
pub struct ReachConfig {
    /// Addresses set by hand; they come first.
    pub by_hand: Vec<HostPort>,
    /// The P2P port that is listened at.
    pub port: u16,
    /// Addresses the P2P side listens at; empty is all of them.
    pub bound: Vec<IpAddr>,
    /// Whether the router is asked to open the port.
    pub port_mapping: bool,
}

/// Asks the router in front of this computer what it can do, and opens nothing; `None` when there is none.
pub async fn probe(bound: &[IpAddr]) -> Option<Probe> {
    Some(router::probe(gateway::via(bound)?).await)
}

/// Handle of the task that keeps the addresses current. The task ends on the token it was started with.
#[derive(Debug)]
pub struct Reach {
    hosts: watch::Receiver<HostList>,
    status: watch::Receiver<ReachStatus>,
}

impl Reach {
    /// Looks at the interfaces and starts the task that follows them; it belongs to `tasks` and ends on `shutdown`.
    ///
    /// `public` are the addresses of this computer that DHT nodes agree on, at most one of each family; a channel whose
    /// sender is gone never changes.
    #[must_use]
    pub fn start(
        config: ReachConfig,
        public: watch::Receiver<Vec<IpAddr>>,
        shutdown: CancellationToken,
        tasks: &TaskTracker,
    ) -> Arc<Self> {
        let (hosts_sender, hosts) = watch::channel(HostList::default());
        let (status_sender, status) = watch::channel(ReachStatus::default());
        let first = if config.port_mapping { RouterStatus::Searching } else { RouterStatus::Off };
        let (router_sender, router) = watch::channel(first);
        let (via, via_receiver) = watch::channel(None);
        let port = config.port;
        let is_mapping = config.port_mapping;
        let follower = Follower { config, public, router, via, hosts: hosts_sender, status: status_sender };
        follower.look();
        if is_mapping {
            let keeper = Keeper::new(port, router_sender);
            tasks.spawn(keeper.run(via_receiver, shutdown.clone()));
        }
        tasks.spawn(follower.run(shutdown));
        Arc::new(Self { hosts, status })
    }

    /// The addresses now, best first.
    #[must_use]
    pub fn hosts(&self) -> HostList {
        self.hosts.borrow().clone()
    }

    /// The addresses, live: marked as changed only when they differ from what they were.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<HostList> {
        self.hosts.clone()
    }

    /// What is known of the way here from outside.
    #[must_use]
    pub fn status(&self) -> ReachStatus {
        self.status.borrow().clone()
    }
}

/// The task.
struct Follower {
    config: ReachConfig,
    public: watch::Receiver<Vec<IpAddr>>,
    router: watch::Receiver<RouterStatus>,
    via: watch::Sender<Option<Via>>,
    hosts: watch::Sender<HostList>,
    status: watch::Sender<ReachStatus>,
}

impl Follower {
    async fn run(mut self, shutdown: CancellationToken) {
        let mut changes = Changes::new();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = changes.next() => {}
                Ok(()) = self.public.changed() => {}
                Ok(()) = self.router.changed() => {}
                () = sleep(RECHECK) => {}
            }
            self.look();
        }
    }

    fn look(&self) {
        let via = gateway::via(&self.config.bound);
        self.via.send_if_modified(|known| std::mem::replace(known, via) != via);
        let (port, router, seen) = (self.config.port, self.router.borrow().clone(), self.seen());
        let mut addresses = own::addresses(&self.config.bound, port);
        if via.is_some() {
            addresses.extend(own::behind_router(&router, seen, port));
        }
        let advertised = own::advertised(&self.config.by_hand, addresses);
        let status = ReachStatus { port, advertised: advertised.clone(), router, seen };
        self.status.send_if_modified(|known| {
            let is_news = *known != status;
            *known = status;
            is_news
        });
        self.hosts.send_if_modified(|known| {
            let is_changed = *known != advertised;
            if is_changed {
                debug!(hosts = %advertised, "own addresses changed");
                *known = advertised;
            }
            is_changed
        });
    }

    /// The public IPv4 address that others see.
    fn seen(&self) -> Option<Ipv4Addr> {
        self.public.borrow().iter().find_map(|addr| match addr {
            IpAddr::V4(addr) => Some(*addr),
            IpAddr::V6(_) => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_addresses_that_are_listened_at_are_told() {
        let shutdown = CancellationToken::new();
        let _stop = shutdown.clone().drop_guard();
        let config = ReachConfig {
            by_hand: vec!["203.0.113.5:7008".parse().unwrap()],
            port: 7008,
            bound: vec!["127.0.0.1".parse().unwrap()],
            port_mapping: true,
        };
        let reach = Reach::start(config, watch::channel(Vec::new()).1, shutdown, &TaskTracker::new());
        assert_eq!(reach.hosts().to_string(), "203.0.113.5:7008");
        assert_eq!(serde_json::to_value(reach.status()).unwrap()["advertised"][0], "203.0.113.5:7008");
    }
}
