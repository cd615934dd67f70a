//! Own addresses → values of the DHT: kept alive, made anew when addresses change, and read back
//! from the network.

mod announcer; // one service: when to publish what
mod status; // what came of it, in sentences
mod values; // addresses → a value for every key

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use hardline_proto::KeyHash;
use hardline_proto::hosts::HostList;
use hardline_proto::sealed::Home;
use rustls::sign::CertifiedKey;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use status::{Copy, Kind, PublishState, PublishStatus};

use crate::drivers::dht::shared::SharedDht;
use crate::services::Table;
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
    /// Whether released clients may find it too.
    pub(crate) is_plain: bool,
}

/// What all announcers share.
#[derive(Debug, Clone)]
pub(crate) struct PublishContext {
    /// The network.
    pub(crate) dht: Arc<SharedDht>,
    /// Addresses of this computer, live.
    pub(crate) hosts: watch::Receiver<HostList>,
    /// Those of them that are relays'.
    pub(crate) relays: watch::Receiver<HostList>,
    /// Those of them of which nobody knows that they lead here. Whenever that changes, `hosts` is
    /// marked as changed.
    pub(crate) unproven: watch::Receiver<HostList>,
    /// Where this computer speaks QUIC. Whenever that changes, `hosts` is marked as changed.
    pub(crate) quic: watch::Receiver<Vec<SocketAddr>>,
    /// Where this computer is reached from its own network. Likewise.
    pub(crate) home: watch::Receiver<Home>,
    /// Where it is to be called, likewise.
    pub(crate) punch: watch::Receiver<Vec<SocketAddr>>,
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
    running: Mutex<Vec<Running>>,
    context: PublishContext,
    shutdown: CancellationToken,
    tasks: TaskTracker,
}

/// The task of one service.
#[derive(Debug)]
struct Running {
    key: KeyHash,
    is_plain: bool,
    /// Whether it is of the table, and ends when it is not there any more.
    is_of_table: bool,
    state: watch::Receiver<PublishState>,
    stop: CancellationToken,
}

impl Publisher {
    /// Starts a task for each of `always` and each service of `table` that wants it, and follows
    /// the table; all belong to `tasks` and end on `shutdown`.
    pub(crate) fn start(
        always: Vec<Announced>,
        mut table: watch::Receiver<Arc<Table>>,
        context: PublishContext,
        shutdown: &CancellationToken,
        tasks: &TaskTracker,
    ) -> Arc<Self> {
        let (running, shutdown, tasks) = (Mutex::default(), shutdown.clone(), tasks.clone());
        let publisher = Arc::new(Self { running, context, shutdown, tasks });
        for service in always {
            publisher.publish(service, false);
        }
        publisher.follow(&table.borrow_and_update());
        let following = Arc::clone(&publisher);
        publisher.tasks.spawn(async move {
            let stop = following.shutdown.clone();
            let changes = async {
                while table.changed().await.is_ok() {
                    let now = Arc::clone(&table.borrow_and_update());
                    following.follow(&now);
                }
            };
            stop.run_until_cancelled(changes).await;
        });
        publisher
    }

    /// Ends the tasks of services that are gone or shall not be published, and starts those that
    /// are missing.
    fn follow(&self, table: &Table) {
        let is_wanted = |it: &Running| {
            let service = table.get(&it.key).filter(|service| service.config.dht);
            service.is_some_and(|service| service.config.private != it.is_plain)
        };
        for ended in self.lock().extract_if(.., |it| it.is_of_table && !is_wanted(it)) {
            ended.stop.cancel();
        }
        for service in table.services.iter().filter(|service| service.config.dht) {
            if !self.lock().iter().any(|it| it.key == service.key()) {
                let certified = Arc::clone(&service.identity.certified);
                let is_plain = !service.config.private;
                self.publish(Announced { key: service.key(), certified, is_plain }, true);
            }
        }
    }

    fn publish(&self, service: Announced, is_of_table: bool) {
        let (sender, state) = watch::channel(PublishState::Starting);
        let (key, is_plain, stop) = (service.key, service.is_plain, self.shutdown.child_token());
        self.tasks.spawn(Announcer::new(service, self.context.clone(), sender).run(stop.clone()));
        self.lock().push(Running { key, is_plain, is_of_table, state, stop });
    }

    /// What came of it, service by service.
    pub(crate) fn status(&self) -> Vec<PublishStatus> {
        let one = |it: &Running| PublishStatus { key: it.key, state: it.state.borrow().clone() };
        self.lock().iter().map(one).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The system's clock.
pub(crate) fn system_clock() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
