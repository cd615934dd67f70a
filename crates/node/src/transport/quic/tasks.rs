//! Tasks of QUIC, by who waits for them.

use std::time::Duration;

use tokio::time::timeout;
use tokio_util::task::TaskTracker;

/// Time for connections to say that they have ended.
const GOODBYE: Duration = Duration::from_millis(500);

/// What runs for QUIC.
#[derive(Debug, Clone)]
pub(crate) struct QuicTasks {
    /// Of the node: what connections and sockets need beside their users. A stop waits for them.
    pub(super) node: TaskTracker,
    /// Those of quinn, which move packets. One goes on behind the end of its connection, for three
    /// timeouts (RFC 9000, section 10.2): half a minute where a path was bad. It has said by then
    /// that the connection has ended, and a stop does not wait for it.
    pub(super) drivers: TaskTracker,
}

impl QuicTasks {
    /// Those that a stop waits for are tasks of `node`.
    pub(crate) fn new(node: TaskTracker) -> Self {
        Self { node, drivers: TaskTracker::new() }
    }

    /// Returns when what has ended has said so, and its packets are on their way.
    pub(super) async fn said_goodbye(&self) {
        self.drivers.close();
        // Those that go on end by themselves.
        let _ = timeout(GOODBYE, self.drivers.wait()).await;
    }
}
