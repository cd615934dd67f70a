//! QUIC in a node.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::accept::Acceptor;
use crate::network::NetworkMonitor;
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

/// Lets others in.
#[cfg(feature = "quic")]
pub(super) fn accept(listening: QuicListening, acceptor: &Arc<Acceptor>, tasks: &TaskTracker) {
    for listener in listening.into_listeners() {
        tasks.spawn(Arc::clone(acceptor).run(listener, tasks.clone()));
    }
}

#[cfg(not(feature = "quic"))]
pub(super) fn accept(_listening: QuicListening, _acceptor: &Arc<Acceptor>, _tasks: &TaskTracker) {}
