//! Key hash → candidates: addresses at which the service may answer, from all sources.
//!
//! A source of addresses is an `AddressSource`, one file in `sources`. A search asks the sources
//! tier by tier and merges what they name: there it is capped, freed of duplicates, and checked
//! against what may be dialled from here.

mod last_known_good; // where each service was reached last
mod report; // what was tried, for pages and logs
mod rules; // what may be dialled from here
mod search; // one search per service, shared
mod source; // what a source of addresses is
mod sources; // the sources, one file each, and the list of them
mod state; // what a search has found so far

pub(crate) use last_known_good::LastKnownGood;
pub(crate) use report::AttemptLog;
pub use report::{AttemptReport, Outcome, Report, SourceReport};
pub(crate) use search::Lookup;
#[cfg(feature = "quic")]
pub use sources::{CALL, RELAYED_CALL};
pub use sources::{DHT_PLAIN, DHT_PROXY, DHT_ROLLING, DHT_SEALED, LAN, OWN, RECENT, STATIC, STORE};

use std::net::SocketAddr;
use std::sync::Arc;

use hardline_proto::candidate::DialPolicy;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::rules::DialRules;
use self::search::Searches;
use self::source::AddressSource;
use crate::config::StaticAddress;
use crate::drivers::dht::shared::SharedDht;
use crate::drivers::lan::Lan;
use crate::network::NetworkMonitor;
use crate::services::OwnAddresses;
use crate::store::Store;
use crate::transport::quic::QuicSockets;

/// Asks every source that there is.
#[derive(Debug)]
pub(crate) struct Resolver {
    sources: Vec<Box<dyn AddressSource>>,
    pub(crate) context: SourceContext,
    pub(crate) network: NetworkMonitor,
    rules: DialRules,
    searches: Searches,
    /// Ends every search.
    stop: CancellationToken,
    /// Searches, and writing down what was learned, go on behind the tunnel's back.
    pub(crate) tasks: TaskTracker,
}

/// What the sources draw from.
#[derive(Debug, Default)]
pub(crate) struct SourceContext {
    /// Services of this process and where they listen.
    pub(crate) own: Arc<OwnAddresses>,
    /// Addresses given by hand.
    pub(crate) static_addresses: Vec<StaticAddress>,
    pub(crate) last_known_good: Arc<LastKnownGood>,
    pub(crate) store: Option<Store>,
    pub(crate) lan: Option<Arc<Lan>>,
    pub(crate) dht: Option<Arc<SharedDht>>,
    /// From where a way through NATs is made, if it is.
    pub(crate) punching: Option<QuicSockets>,
}

impl Resolver {
    /// A resolver that asks the sources of `context` until `stop`; its tasks are tracked by
    /// `tasks`.
    pub(crate) fn new(
        context: SourceContext,
        network: NetworkMonitor,
        policy: DialPolicy,
        stop: CancellationToken,
        tasks: TaskTracker,
    ) -> Arc<Self> {
        let (rules, searches) = (DialRules::new(policy), Searches::default());
        Arc::new(Self { sources: sources::all(&context, &rules), context, network, rules, searches, stop, tasks })
    }

    /// Notes where this process listens: there its own services are, and nobody else.
    pub(crate) fn listen_at(&self, at: SocketAddr) {
        self.context.own.listen_at(at);
        self.rules.add_own_port(at.port());
    }

    /// What may be dialled, and sent to.
    #[cfg(feature = "quic")]
    pub(crate) fn policy(&self) -> DialPolicy {
        self.rules.now()
    }

    /// Does what is slow the first time, before somebody waits for it.
    pub(crate) async fn warm_up(&self) {
        for source in &self.sources {
            source.warm_up().await;
        }
    }
}
