//! What is known of the computers dialled before.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use hardline_proto::KeyHash;
use rustls::ClientConfig;

use crate::tls;

/// Services kept. Each has room for a few resumption tickets, of some hundred bytes each.
const MAX_PEERS: usize = 256;

/// TLS sessions to resume, per service: what one service gave is never shown to another.
#[derive(Debug, Default)]
pub(super) struct Peers(Mutex<HashMap<KeyHash, Arc<ClientConfig>>>);

impl Peers {
    /// The TLS configuration for `key`, with the sessions of earlier connections.
    pub(super) fn tls(&self, key: KeyHash) -> Arc<ClientConfig> {
        let mut peers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if peers.len() >= MAX_PEERS && !peers.contains_key(&key) {
            // Who is forgotten pays one full handshake.
            let any = peers.keys().next().copied();
            any.map(|key| peers.remove(&key));
        }
        Arc::clone(peers.entry(key).or_insert_with(|| tls::config::client_v2(key)))
    }
}
