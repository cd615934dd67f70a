//! This computer's addresses → what a listener tells its diallers (`WANHosts`), so that they find it again from elsewhere.

mod own; // addresses of the interfaces
mod temporary; // those that are about to go

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hardline_proto::hosts::{HostList, HostPort};
use serde::{Serialize, Serializer};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;

use crate::interfaces::Changes;

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
}

/// How this computer is reached from outside its LAN, as far as it knows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ReachStatus {
    /// The P2P port that is listened at.
    pub port: u16,
    /// Addresses told to diallers, best first.
    #[serde(serialize_with = "as_texts")]
    pub advertised: HostList,
}

fn as_texts<S: Serializer>(hosts: &HostList, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(hosts.as_slice().iter().map(ToString::to_string))
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
        let follower = Follower { config, public, hosts: hosts_sender, status: status_sender };
        follower.look();
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
                () = sleep(RECHECK) => {}
            }
            self.look();
        }
    }

    fn look(&self) {
        let own = own::addresses(&self.config.bound);
        let advertised = own::advertised(&self.config.by_hand, own, self.config.port);
        self.status.send_replace(ReachStatus { port: self.config.port, advertised: advertised.clone() });
        self.hosts.send_if_modified(|known| {
            let is_changed = *known != advertised;
            if is_changed {
                debug!(hosts = %advertised, "own addresses changed");
                *known = advertised;
            }
            is_changed
        });
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
        };
        let reach = Reach::start(config, watch::channel(Vec::new()).1, shutdown, &TaskTracker::new());
        assert_eq!(reach.hosts().to_string(), "203.0.113.5:7008");
        assert_eq!(serde_json::to_value(reach.status()).unwrap()["advertised"][0], "203.0.113.5:7008");
    }
}
