//! Incoming peer → TLS, service by SNI → backend → tunnel.

mod listen;
mod peer;

pub(crate) use listen::{Listening, bind};

use std::collections::HashMap;
use std::sync::Arc;

use hardline_proto::KeyHash;
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use tracing::debug;

use crate::backend::Backend;
use crate::limits::{MAX_HANDSHAKES, MAX_TUNNELS};
use crate::net::accept_each;
use crate::reach::Reach;
use crate::tunnel::{Drain, Tunnels};

/// One service, ready to be served.
pub(crate) struct Service {
    pub(crate) key: KeyHash,
    pub(crate) tls: Arc<ServerConfig>,
    pub(crate) backend: Backend,
    pub(crate) password: Option<String>,
}

/// What the tasks of the listening side share.
pub(crate) struct Acceptor {
    services: HashMap<KeyHash, Service>,
    reach: Arc<Reach>,
    handshakes: Arc<Semaphore>,
    tunnels: Arc<Semaphore>,
    open: Tunnels,
    drain: Drain,
}

impl Acceptor {
    pub(crate) fn new(services: HashMap<KeyHash, Service>, reach: Arc<Reach>, open: Tunnels, drain: Drain) -> Self {
        Self {
            services,
            reach,
            handshakes: Arc::new(Semaphore::new(MAX_HANDSHAKES)),
            tunnels: Arc::new(Semaphore::new(MAX_TUNNELS)),
            open,
            drain,
        }
    }

    /// Accepts until the node stops. Each peer has a task of its own from the first byte, so none delays another.
    pub(crate) async fn run(self: Arc<Self>, listener: TcpListener, tasks: TaskTracker) {
        accept_each(&listener, &self.drain.stop, |tcp, addr| match Arc::clone(&self.handshakes).try_acquire_owned() {
            Ok(slot) => {
                let acceptor = Arc::clone(&self);
                tasks.spawn(async move { acceptor.serve(tcp, addr, slot).await });
            }
            Err(_full) => debug!(%addr, "peer refused, all handshake slots in use"),
        })
        .await;
    }
}
