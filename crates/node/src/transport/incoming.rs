//! Who comes in: accepted, and answered as the service that is asked for.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hardline_proto::admission::Limit;
use hardline_proto::candidate::{TransportAddr, Way};
use rustls::ServerConfig;
use rustls::server::ClientHello;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::log_throttle::LogThrottle;
use crate::tls::visitor::AskedFor;

/// Pause after a failed accept. Out of descriptors, the next try would fail at once, and the next.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// Connections accepted in a row before others have their turn. A flood of them must not hold up
/// who is in.
const ACCEPTED_IN_A_ROW: u32 = 8;

/// Where others come in.
pub(crate) trait Listener: Send + Sync {
    /// Who comes in, not verified, and maybe silent.
    type Incoming: Send;

    /// Waits for the next one. Cancel safe.
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Incoming, SocketAddr)>> + Send;
}

/// A peer that came in.
pub(crate) trait Incoming: Send + 'static {
    /// What it becomes: a connection over which our key was proven.
    type Connection: Send;

    /// Where it came from, being at `addr` itself, and by what way.
    fn origin(&self, addr: SocketAddr) -> (TransportAddr, Way) {
        (addr.into(), Way::Straight)
    }

    /// Reads what the peer asks for, lets `choose` say how it is answered, and finishes the
    /// handshake. The caller sets the time for it.
    fn answer<T: Send + 'static>(
        self,
        choose: impl FnOnce(&ClientHello<'_>) -> Result<(ServiceTls, T), Unserved> + Send + 'static,
    ) -> impl Future<Output = Result<(Self::Connection, T), Unserved>> + Send;
}

/// How a hello is answered.
#[derive(Debug, Clone)]
pub(crate) struct ServiceTls {
    /// As which service, and with whose certificate.
    pub(crate) config: Arc<ServerConfig>,
    /// Whose certificate is asked for, where the service is private. `config` says the same.
    pub(crate) asked_for: Option<Arc<AskedFor>>,
}

impl From<Arc<ServerConfig>> for ServiceTls {
    fn from(config: Arc<ServerConfig>) -> Self {
        Self { config, asked_for: None }
    }
}

/// Why a peer that came in is not served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unserved {
    #[error("speaks no TLS")]
    NoTls,
    #[error("TLS handshake")]
    Handshake(#[source] io::Error),
    /// The peer is told.
    #[error("asked for no service of ours")]
    UnknownName,
    #[error("a limit is reached: {0:?}")]
    Limit(Limit),
    /// It came to the relay that runs here.
    #[error("left to the relay")]
    Relayed,
    /// It was a relay that tries whether this computer is reached.
    #[error("a dial-back that was asked for")]
    DialBack,
}

/// Hands everybody who comes to `serve`, which must not wait, until `stop`.
pub(crate) async fn accept_each<L: Listener>(
    listener: &L,
    stop: &CancellationToken,
    mut serve: impl FnMut(L::Incoming, SocketAddr),
) {
    let failures = LogThrottle::default();
    for number in 1_u32.. {
        if number.is_multiple_of(ACCEPTED_IN_A_ROW) {
            tokio::task::yield_now().await;
        }
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((incoming, addr)) => serve(incoming, addr),
            Err(error) => {
                if let Some(times) = failures.count() {
                    warn!(%error, times, "connections not accepted");
                }
                sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
}
