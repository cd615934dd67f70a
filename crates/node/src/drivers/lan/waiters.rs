//! Who is told of what was found.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use hardline_proto::KeyHash;
use tokio::sync::mpsc;

/// Everybody who waits for addresses, by service. A waiter that does not read misses what does not
/// fit its channel.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    by_key: BTreeMap<KeyHash, Vec<mpsc::Sender<SocketAddr>>>,
}

impl Waiters {
    pub(super) fn add(&mut self, key: KeyHash, waiter: mpsc::Sender<SocketAddr>) {
        self.by_key.entry(key).or_default().push(waiter);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    pub(super) fn tell(&self, key: KeyHash, addr: SocketAddr) {
        for waiter in self.by_key.get(&key).into_iter().flatten() {
            let _ = waiter.try_send(addr);
        }
    }

    /// Forgets those who stopped waiting. Returns the services nobody waits for any more.
    pub(super) fn prune(&mut self) -> Vec<KeyHash> {
        let mut unwanted = Vec::new();
        self.by_key.retain(|key, waiters| {
            waiters.retain(|waiter| !waiter.is_closed());
            if waiters.is_empty() {
                unwanted.push(*key);
            }
            !waiters.is_empty()
        });
        unwanted
    }
}
