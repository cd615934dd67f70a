//! The sockets of one node.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::{QuicEndpoint, QuicListener};

/// Every socket that a node has for QUIC. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct QuicSockets {
    listening: Arc<Mutex<Vec<QuicEndpoint>>>,
    tasks: TaskTracker,
}

impl QuicSockets {
    /// None yet; everything that runs for them will be a task of `tasks`.
    pub(crate) fn new(tasks: TaskTracker) -> Self {
        Self { listening: Arc::default(), tasks }
    }

    /// Lets others in at `addrs` over UDP, at another port where that one is taken. Without a
    /// socket TCP is all there is.
    pub(crate) fn listen(&self, addrs: &[SocketAddr]) -> Vec<QuicListener> {
        let bind = |addr: &SocketAddr| {
            let next = |error| {
                debug!(%addr, %error, "another UDP port is used");
                QuicEndpoint::bind(Some(SocketAddr::new(addr.ip(), 0)), self.tasks.clone())
            };
            let bound = QuicEndpoint::bind(Some(*addr), self.tasks.clone()).or_else(next);
            bound.inspect_err(|error| warn!(%addr, %error, "no UDP socket: not reached over QUIC")).ok()
        };
        let endpoints: Vec<_> = addrs.iter().filter_map(bind).collect();
        self.lock().extend(endpoints.iter().cloned());
        endpoints.into_iter().map(QuicListener::new).collect()
    }

    /// Where others are let in.
    pub(crate) fn addrs(&self) -> Vec<SocketAddr> {
        self.lock().iter().flat_map(QuicEndpoint::local_addr).collect()
    }

    /// Notes that this computer has moved to another network.
    pub(crate) fn moved(&self) {
        self.lock().iter().for_each(QuicEndpoint::moved);
    }

    /// Lets go of the sockets. Each is closed when its last connection has ended.
    pub(crate) fn close(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, Vec<QuicEndpoint>> {
        self.listening.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
