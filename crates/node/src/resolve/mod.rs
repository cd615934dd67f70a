//! Key hash → stream of candidates, from all sources, the near ones first.

mod board; // what a search has found so far
mod far; // what is asked far away
mod recent; // what was reached lately
mod records; // values of the DHT → addresses
mod report; // what was tried, for pages and logs
mod search; // one search per service, shared
mod sources; // what is asked nearby

pub(crate) use recent::Recent;
pub(crate) use report::Journal;
pub use report::{AttemptReport, Outcome, Report, SourceReport};
pub(crate) use search::Lookup;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use hardline_proto::KeyHash;
use hardline_proto::candidate::DialPolicy;
use hardline_proto::sealed::Newest;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::search::Searches;
use crate::config::GivenAddress;
use crate::drivers::dht::shared::SharedDht;
use crate::drivers::lan::Lan;
use crate::network::NetworkMonitor;
use crate::services::OwnAddresses;
use crate::store::Store;

/// Everything that may know where a service is.
#[derive(Debug)]
pub(crate) struct Resolver {
    /// Services of this process and where they listen.
    own: OwnAddresses,
    given: Vec<GivenAddress>,
    /// Of the services with given addresses, those that spoke version 2 when they were reached
    /// last; once it is known.
    given_v2: OnceLock<HashSet<KeyHash>>,
    pub(crate) recent: Recent,
    pub(crate) store: Option<Store>,
    pub(crate) lan: Option<Arc<Lan>>,
    dht: Option<Arc<SharedDht>>,
    /// Which sealed records are not to be believed because there was a newer one.
    newest: Mutex<Newest>,
    pub(crate) network: NetworkMonitor,
    policy: RwLock<DialPolicy>,
    searches: Searches,
    /// Ends every search.
    stop: CancellationToken,
    /// Searches, and writing down what was learned, go on behind the tunnel's back.
    pub(crate) tasks: TaskTracker,
}

/// What a [`Resolver`] asks, and by whom it is ended.
#[derive(Debug)]
pub(crate) struct Sources {
    /// Services of this process and where they listen.
    pub(crate) own: OwnAddresses,
    /// Addresses given by hand.
    pub(crate) given: Vec<GivenAddress>,
    pub(crate) store: Option<Store>,
    pub(crate) lan: Option<Arc<Lan>>,
    pub(crate) dht: Option<Arc<SharedDht>>,
}

impl Resolver {
    /// A resolver that asks `sources` until `stop`; its tasks are tracked by `tasks`.
    pub(crate) fn new(
        sources: Sources,
        network: NetworkMonitor,
        policy: DialPolicy,
        stop: CancellationToken,
        tasks: TaskTracker,
    ) -> Arc<Self> {
        let Sources { own, given, store, lan, dht } = sources;
        let (recent, newest, searches) = (Recent::default(), Mutex::default(), Searches::default());
        let (given_v2, policy) = (OnceLock::new(), RwLock::new(policy));
        Arc::new(Self { own, given, given_v2, recent, store, lan, dht, newest, network, policy, searches, stop, tasks })
    }

    /// Notes where this process listens: there its own services are, and nobody else.
    pub(crate) fn listen_at(&self, at: SocketAddr) {
        self.own.listen_at(at);
        self.policy.write().unwrap_or_else(PoisonError::into_inner).own_ports.push(at.port());
    }

    /// Looks up what is remembered of services with given addresses, before somebody waits for it.
    pub(crate) async fn recall(&self) {
        let mut spoke_v2 = HashSet::new();
        for GivenAddress { key, .. } in &self.given {
            if self.was_v2(*key).await {
                spoke_v2.insert(*key);
            }
        }
        // Set once: there is one start.
        let _ = self.given_v2.set(spoke_v2);
    }

    /// Whether the service spoke version 2 of the tunnel when it was reached last.
    async fn was_v2(&self, key: KeyHash) -> bool {
        let Some(store) = &self.store else { return false };
        store.tunnel(key).await.ok().flatten().is_some_and(|version| version >= 2)
    }

    /// Whether the DHT is asked where nearer sources do not know.
    pub(crate) fn asks_far_away(&self) -> bool {
        self.dht.is_some()
    }

    /// Whether there is an address that needs no asking.
    fn has_at_hand(&self, key: &KeyHash) -> bool {
        self.own.get(key).is_some()
            || self.given.iter().any(|given| given.key == *key)
            || self.recent.address(key, &self.network.now()).is_some()
    }
}
