//! One candidate → TCP, TLS with the pin, opening lines.

use std::net::SocketAddr;
use std::sync::Arc;

use hardline_proto::hosts::HostPort;
use hardline_proto::opening::Opening;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::limits::{CONNECT_TIMEOUT, DIAL_HANDSHAKE_TIMEOUT};
use crate::net;
use crate::resolve::Outcome;
use crate::tls::pin::wrong_key;
use crate::tunnel::{OpeningFailure, TunnelStream, exchange_as_dialler};

/// What every attempt of one race does.
pub(super) struct Job {
    /// Pinned to the key hash.
    pub(super) tls: Arc<ClientConfig>,
    pub(super) server_name: ServerName<'static>,
    pub(super) opening: Opening,
}

/// A verified listener that has said its opening line.
#[derive(Debug)]
pub(super) struct Reached {
    pub(super) tunnel: TunnelStream,
    /// The listener's line.
    pub(super) opening: Opening,
    pub(super) addr: SocketAddr,
}

impl Job {
    /// Dials one address, within [`CONNECT_TIMEOUT`] and [`DIAL_HANDSHAKE_TIMEOUT`].
    pub(super) async fn dial(&self, at: &HostPort) -> Result<Reached, Outcome> {
        let unreachable = |error: std::io::Error| Outcome::Unreachable { reason: error.to_string() };
        let tcp = net::connect(at, CONNECT_TIMEOUT).await.map_err(unreachable)?;
        let addr = tcp.peer_addr().map_err(unreachable)?;
        timeout(DIAL_HANDSHAKE_TIMEOUT, async {
            let connecting = TlsConnector::from(Arc::clone(&self.tls)).connect(self.server_name.clone(), tcp);
            let mut tls = connecting.await.map_err(|error| match wrong_key(&error) {
                Some(wrong) => Outcome::WrongKey { got: wrong.got },
                None => Outcome::Handshake { reason: error.to_string() },
            })?;
            let (opening, early) =
                exchange_as_dialler(&mut tls, &self.opening).await.map_err(|failure| match failure {
                    OpeningFailure::Closed => Outcome::Closed,
                    other => Outcome::Protocol { reason: other.to_string() },
                })?;
            Ok(Reached { tunnel: TunnelStream::new(early, tls.into()), opening, addr })
        })
        .await
        .unwrap_or_else(|_| {
            Err(Outcome::Handshake { reason: format!("silent for {} s", DIAL_HANDSHAKE_TIMEOUT.as_secs()) })
        })
    }
}
