//! What is known of the computers dialled before.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hardline_proto::KeyHash;
use rustls::ClientConfig;

use crate::session::{Version, client_tls};

/// Services kept. Each has room for a few resumption tickets, of some hundred bytes each.
const MAX_PEERS: usize = 256;

/// What is known of each service, for as long as this process runs.
#[derive(Debug)]
pub(super) struct Peers {
    own_records: bool,
    known: Mutex<HashMap<KeyHash, Peer>>,
}

#[derive(Debug)]
struct Peer {
    /// With the TLS sessions to resume: what one service gave is never shown to another.
    tls: Arc<ClientConfig>,
    /// What it spoke; `None` before it was reached.
    version: Option<Version>,
}

impl Peers {
    pub(super) fn new(own_records: bool) -> Self {
        Self { own_records, known: Mutex::default() }
    }

    /// The TLS configuration for `key`, and what its listener speaks, if it was reached.
    pub(super) fn get(&self, key: KeyHash) -> (Arc<ClientConfig>, Option<Version>) {
        let mut peers = self.lock();
        if peers.len() >= MAX_PEERS && !peers.contains_key(&key) {
            // Who is forgotten pays one full handshake, and is called as others say it may be.
            let any = peers.keys().next().copied();
            any.map(|key| peers.remove(&key));
        }
        let fresh = || Peer { tls: client_tls(key, self.own_records), version: None };
        let peer = peers.entry(key).or_insert_with(fresh);
        (Arc::clone(&peer.tls), peer.version)
    }

    /// Notes what the listener of `key` speaks, or that it is not known any more.
    pub(super) fn note(&self, key: KeyHash, version: Option<Version>) {
        if let Some(peer) = self.lock().get_mut(&key) {
            peer.version = version;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<KeyHash, Peer>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
