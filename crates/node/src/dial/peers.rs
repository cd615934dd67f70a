//! What is known of the computers dialled before.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hardline_proto::KeyHash;
use rustls::ClientConfig;

use crate::tls;

/// Services kept. Each has room for a few resumption tickets, of some hundred bytes each.
const MAX_PEERS: usize = 256;

/// What is known of each service, for as long as this process runs.
#[derive(Debug, Default)]
pub(super) struct Peers(Mutex<HashMap<KeyHash, Peer>>);

#[derive(Debug)]
struct Peer {
    /// With the TLS sessions to resume: what one service gave is never shown to another.
    tls: Arc<ClientConfig>,
    speaks_v2: bool,
}

impl Peers {
    /// The TLS configuration for `key`, and whether its listener is known to speak version 2.
    pub(super) fn get(&self, key: KeyHash) -> (Arc<ClientConfig>, bool) {
        let mut peers = self.lock();
        if peers.len() >= MAX_PEERS && !peers.contains_key(&key) {
            // Who is forgotten pays one full handshake, and is called by its plain name once.
            let any = peers.keys().next().copied();
            any.map(|key| peers.remove(&key));
        }
        let peer = peers.entry(key).or_insert_with(|| Peer { tls: tls::config::client_v2(key), speaks_v2: false });
        (Arc::clone(&peer.tls), peer.speaks_v2)
    }

    /// Notes which version the listener of `key` speaks, or that it is not known any more.
    pub(super) fn note(&self, key: KeyHash, speaks_v2: bool) {
        if let Some(peer) = self.lock().get_mut(&key) {
            peer.speaks_v2 = speaks_v2;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<KeyHash, Peer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
