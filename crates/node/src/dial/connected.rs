//! Which services are connected now, and over what.

use std::collections::BTreeMap;
use std::sync::Arc;

use hardline_proto::KeyHash;
use hardline_proto::candidate::TransportAddr;
use hardline_proto::path::Path;
use serde::Serialize;

use super::elsewhere::Elsewhere;
use crate::json::as_text;
use crate::session::{Pool, Route};
use crate::tunnel::OpenTunnels;

/// A service that this computer is connected to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Peer {
    /// Its name.
    #[serde(serialize_with = "as_text")]
    pub key: KeyHash,
    /// Where it was reached.
    #[serde(serialize_with = "as_text")]
    pub at: TransportAddr,
    /// Over what.
    pub path: Path,
    /// Tunnels that are open there.
    pub tunnels: usize,
    /// Sessions that wait for their next tunnel.
    pub idle: usize,
}

impl Peer {
    /// What a person wants to know of it.
    #[must_use]
    pub fn sentence(&self) -> String {
        format!("Connected to {}: {}; {}.", self.key.short(), self.path, OpenTunnels(self.tunnels))
    }
}

/// The connections of a dialler.
#[derive(Debug, Clone)]
pub(crate) struct Connected {
    pub(super) pool: Arc<Pool>,
    pub(super) tunnels: Arc<Elsewhere>,
}

impl Connected {
    /// The services that this computer is connected to, each once for every address. Nothing is
    /// sent for it.
    pub(crate) fn peers(&self) -> Vec<Peer> {
        let mut peers = BTreeMap::new();
        // Those with tunnels first: their round trip is followed where bytes are sent, and grows
        // with what waits on the way.
        for (key, route) in self.tunnels.routes() {
            let peer = peer(&mut peers, key, &route);
            peer.tunnels += 1;
            peer.path.round_trip = peer.path.round_trip.max(route.path().round_trip);
        }
        for (key, route) in self.pool.routes() {
            peer(&mut peers, key, &route).idle += 1;
        }
        peers.into_values().collect()
    }
}

fn peer<'a>(peers: &'a mut BTreeMap<(KeyHash, TransportAddr), Peer>, key: KeyHash, route: &Arc<Route>) -> &'a mut Peer {
    let at = route.candidate.addr.clone();
    let new = || Peer { key, at: at.clone(), path: route.path(), tunnels: 0, idle: 0 };
    peers.entry((key, at.clone())).or_insert_with(new)
}
