//! Which tunnels are open.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Numbers and counts the tunnels of a node. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tunnels(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    begun: AtomicU64,
    ended: AtomicU64,
}

/// One open tunnel; dropping it ends it.
#[derive(Debug)]
pub(crate) struct OpenTunnel {
    /// Its number, from 1, unique within this process.
    pub(crate) id: u64,
    counters: Arc<Counters>,
}

impl Tunnels {
    pub(crate) fn begin(&self) -> OpenTunnel {
        let id = self.0.begun.fetch_add(1, Ordering::Relaxed) + 1;
        OpenTunnel { id, counters: Arc::clone(&self.0) }
    }

    /// Tunnels open now.
    pub(crate) fn open(&self) -> u64 {
        let ended = self.0.ended.load(Ordering::Relaxed);
        self.0.begun.load(Ordering::Relaxed).saturating_sub(ended)
    }
}

impl Drop for OpenTunnel {
    fn drop(&mut self) {
        self.counters.ended.fetch_add(1, Ordering::Relaxed);
    }
}
