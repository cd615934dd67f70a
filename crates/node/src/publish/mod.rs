//! Own addresses → values of the DHT: kept alive, made anew when addresses change, and read back
//! from the network.

mod announcer; // one service: when to publish what
mod status; // what came of it, in sentences
mod values; // addresses → a value for every key

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use hardline_proto::KeyHash;
use hardline_proto::hosts::HostList;
use rustls::sign::CertifiedKey;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use status::{Copy, Kind, PublishState, PublishStatus};

use crate::drivers::dht::shared::SharedDht;
use crate::store::Store;
use announcer::Announcer;

/// Tells Unix time in milliseconds.
pub(crate) type Clock = fn() -> u64;

/// A service to publish.
#[derive(Debug, Clone)]
pub(crate) struct Announced {
    /// Its name.
    pub(crate) key: KeyHash,
    /// Its certificate, and the key that signs records.
    pub(crate) certified: Arc<CertifiedKey>,
}

/// What all announcers share.
#[derive(Debug, Clone)]
pub(crate) struct Means {
    /// The network.
    pub(crate) dht: Arc<SharedDht>,
    /// Addresses of this computer, live.
    pub(crate) hosts: watch::Receiver<HostList>,
    /// Those of them that are relays'.
    pub(crate) relays: watch::Receiver<HostList>,
    /// Where sequences are kept.
    pub(crate) store: Store,
    /// Whether to publish where released clients look.
    pub(crate) plain: bool,
    /// The time.
    pub(crate) clock: Clock,
}

/// Handle of the tasks that publish, one a service.
#[derive(Debug)]
pub(crate) struct Publisher {
    services: Vec<(KeyHash, watch::Receiver<PublishState>)>,
}

impl Publisher {
    /// Starts a task for each service; they belong to `tasks` and end on `shutdown`.
    pub(crate) fn start(
        services: Vec<Announced>,
        means: &Means,
        shutdown: &CancellationToken,
        tasks: &TaskTracker,
    ) -> Self {
        let start = |service: Announced| {
            let (sender, status) = watch::channel(PublishState::Starting);
            let key = service.key;
            tasks.spawn(Announcer::new(service, means.clone(), sender).run(shutdown.clone()));
            (key, status)
        };
        Self { services: services.into_iter().map(start).collect() }
    }

    /// What came of it, service by service.
    pub(crate) fn status(&self) -> Vec<PublishStatus> {
        let one = |(key, state): &(KeyHash, watch::Receiver<PublishState>)| PublishStatus {
            key: *key,
            state: state.borrow().clone(),
        };
        self.services.iter().map(one).collect()
    }
}

/// The system's clock.
pub(crate) fn system_clock() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
