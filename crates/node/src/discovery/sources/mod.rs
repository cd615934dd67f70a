//! The sources of addresses, one file each.

mod asked; // several questions to the DHT at once
#[cfg(feature = "quic")]
mod calls; // the service itself, which is called
mod dht_proxy; // proxies of the DHT
mod dht_sealed; // the DHT: what the service signed
mod dht_text; // the DHT: what others may have written
mod lan; // neighbours
mod own; // this process
mod recent; // where the service was reached last
mod records; // values of the DHT → addresses
#[cfg(feature = "quic")]
mod relayed_calls; // the service itself, which is called through a relay
mod static_addresses; // what the person gave by hand
mod stored; // what is remembered on disk

#[cfg(feature = "quic")]
pub use calls::CALL;
pub use dht_proxy::DHT_PROXY;
pub use dht_sealed::DHT_SEALED;
pub use dht_text::{DHT_PLAIN, DHT_ROLLING};
pub use lan::LAN;
pub use own::OWN;
pub use recent::RECENT;
#[cfg(feature = "quic")]
pub use relayed_calls::RELAYED_CALL;
pub use static_addresses::STATIC;
pub use stored::STORE;

use std::sync::Arc;
use std::time::Duration;

use self::dht_proxy::DhtProxy;
use self::dht_sealed::DhtSealed;
use self::dht_text::DhtText;
use self::lan::Neighbours;
use self::own::Own;
use self::recent::Recent;
use self::records::NewestRecords;
use self::static_addresses::Static;
use self::stored::Stored;
use super::SourceContext;
use super::rules::DialRules;
use super::source::AddressSource;
use crate::clock::unix_time;
use crate::drivers::dht::shared::SharedDht;
use crate::transport::quic::QuicSockets;

/// Pause before the DHT is asked again while somebody waits and no node answers: one may be back.
const ASK_AGAIN: Duration = Duration::from_secs(4);

/// The same for the DHT itself, whose nodes say what is new meanwhile. One of them may have been
/// lost.
const ASK_LISTENING_AGAIN: Duration = Duration::from_secs(12);

/// The pause before nodes of the DHT are asked again.
fn ask_again(dht: &SharedDht) -> Duration {
    let is_connected = dht.status().is_some_and(|status| status.is_connected());
    if is_connected { ASK_LISTENING_AGAIN } else { ASK_AGAIN }
}

/// Values looked at per key, in one question. More are a flood.
const MAX_VALUES: usize = 1024;

/// Every source that `context` has something for.
pub(super) fn all(context: &SourceContext, rules: &DialRules) -> Vec<Box<dyn AddressSource>> {
    let SourceContext { own, static_addresses, last_known_good, store, lan, dht: shared_dht, punching } = context;
    let mut sources: Vec<Box<dyn AddressSource>> = vec![
        Box::new(Own(Arc::clone(own))),
        Box::new(Static::new(static_addresses.clone(), store.clone())),
        Box::new(Recent(Arc::clone(last_known_good))),
    ];
    sources.extend(store.clone().map(|store| Box::new(Stored(store)) as _));
    sources.extend(lan.clone().map(|lan| Box::new(Neighbours(lan)) as _));
    #[cfg(feature = "quic")]
    sources.extend(
        punching.clone().map(|quic| Box::new(relayed_calls::CalledThroughRelay::new(shared_dht.clone(), quic)) as _),
    );
    sources.extend(shared_dht.iter().flat_map(|shared| dht(shared, punching.as_ref(), rules)));
    sources
}

/// The sources that draw from the DHT.
fn dht(dht: &Arc<SharedDht>, punching: Option<&QuicSockets>, rules: &DialRules) -> Vec<Box<dyn AddressSource>> {
    let newest = NewestRecords::default();
    let mut sources: Vec<Box<dyn AddressSource>> = Vec::new();
    if dht.has_node() {
        sources.push(Box::new(DhtSealed { dht: Arc::clone(dht), newest: newest.clone() }));
        for info in [DHT_ROLLING, DHT_PLAIN] {
            sources.push(Box::new(DhtText { info, dht: Arc::clone(dht), rules: rules.clone() }));
        }
        #[cfg(not(feature = "quic"))]
        let _ = punching; // there is no socket to do it from
        #[cfg(feature = "quic")]
        sources.extend(
            punching.map(|quic| Box::new(calls::Called::new(Arc::clone(dht), quic.clone(), newest.clone())) as _),
        );
    }
    if !dht.proxies().is_empty() {
        sources.push(Box::new(DhtProxy { dht: Arc::clone(dht), newest, rules: rules.clone() }));
    }
    sources
}
