//! QUIC in a node.

use std::sync::Arc;

#[cfg(feature = "quic")]
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::accept::Acceptor;
use crate::network::NetworkMonitor;
#[cfg(feature = "quic")]
use crate::transport::quic::WAY_LIFETIME;
use crate::transport::quic::{QuicListening, QuicSockets};

/// Tells `sockets` when this computer moves to another network, and lets go of them when the node
/// stops.
pub(super) fn follow(sockets: QuicSockets, network: &NetworkMonitor, stop: CancellationToken, tasks: &TaskTracker) {
    let mut network = network.watch();
    tasks.spawn(async move {
        let moving = async {
            while network.changed().await.is_ok() {
                sockets.moved();
            }
        };
        stop.run_until_cancelled(moving).await;
        sockets.close();
    });
}

/// Lets others in, and those who were called at sockets that were opened for them.
#[cfg(feature = "quic")]
pub(super) fn accept(listening: QuicListening, acceptor: &Arc<Acceptor>, tasks: &TaskTracker) {
    let (listeners, mut newcomers) = listening.into_parts();
    for listener in listeners {
        tasks.spawn(Arc::clone(acceptor).run(listener, tasks.clone()));
    }
    let (acceptor, tracker) = (Arc::clone(acceptor), tasks.clone());
    tasks.spawn(async move {
        // Ends when the sockets are let go.
        while let Some(listener) = newcomers.recv().await {
            let accepting = Arc::clone(&acceptor).run(listener, tracker.clone());
            // A connection that came in goes on without its listener.
            tracker.spawn(async move { timeout(WAY_LIFETIME, accepting).await });
        }
    });
}

#[cfg(not(feature = "quic"))]
pub(super) fn accept(_listening: QuicListening, _acceptor: &Arc<Acceptor>, _tasks: &TaskTracker) {}
