//! Who comes in over QUIC.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hardline_proto::candidate::{TransportAddr, Way};
use quinn::{ServerConfig, TransportConfig, VarInt};
use rustls::server::ClientHello;
use tokio_util::task::TaskTracker;
use tracing::debug;

use super::connection::QuicConnection;
use super::endpoint::{QuicEndpoint, bounded};
use super::tls::Choice;
use crate::transport::{Incoming, Listener, ServiceTls, Unserved};

/// Handshakes under way at once with peers whose address is not proven. Anybody can write another's
/// address on a packet; beyond these, a newcomer is asked to prove its own first (RFC 9000, section
/// 8.1.2), which costs it a round trip and us no memory.
const UNPROVEN: usize = 32;

/// Newcomers that wait to be looked at. Beyond them packets are dropped, and honest peers repeat
/// theirs.
const BACKLOG: usize = 256;

/// Bytes kept of each meanwhile: what a dialler sends before it is answered.
const BACKLOG_EACH: u64 = 8 * 1024;

/// Bytes kept of all of them.
const BACKLOG_ALL: u64 = 1024 * 1024;

/// Tunnels open at once over one connection. Who wants more makes another.
const STREAMS: u32 = 256;

/// Bytes of one stream that may come before they are read: uploads.
const STREAM: u32 = 2 * 1024 * 1024;

/// Bytes of all streams of a connection that may come before they are read.
const WINDOW: u32 = 2 * STREAM;

/// Where peers come in over QUIC.
#[derive(Debug)]
pub(crate) struct QuicListener {
    at: QuicEndpoint,
    config: ServerConfig,
    unproven: Arc<AtomicUsize>,
    most_unproven: usize,
}

impl QuicListener {
    /// Lets others in at `at`.
    pub(crate) fn new(at: QuicEndpoint) -> Self {
        Self::asking_beyond(at, UNPROVEN)
    }

    /// Where that is.
    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.at.local_addr()
    }

    /// The same, with another number of handshakes without a proven address.
    pub(super) fn asking_beyond(at: QuicEndpoint, most_unproven: usize) -> Self {
        // Every peer gets settings of its own, which know its services; these answer nobody.
        let nobody = Choice::new(|_| Err::<(_, ()), _>(Unserved::UnknownName));
        let mut config = ServerConfig::with_crypto(nobody.server());
        config.max_incoming(BACKLOG).incoming_buffer_size(BACKLOG_EACH).incoming_buffer_size_total(BACKLOG_ALL);
        config.transport_config(Arc::new(listening()));
        at.endpoint.set_server_config(Some(config.clone()));
        Self { at, config, unproven: Arc::default(), most_unproven }
    }
}

fn listening() -> TransportConfig {
    let mut config = bounded(STREAM, WINDOW);
    config.max_concurrent_bidi_streams(VarInt::from_u32(STREAMS));
    config
}

impl Listener for QuicListener {
    type Incoming = QuicIncoming;

    async fn accept(&self) -> io::Result<(QuicIncoming, SocketAddr)> {
        loop {
            let incoming = self.at.endpoint.accept().await.ok_or(io::ErrorKind::NotConnected)?;
            let addr = incoming.remote_address();
            let place = if incoming.remote_address_validated() {
                None
            } else if self.unproven.load(Ordering::Relaxed) >= self.most_unproven {
                debug!(%addr, "asked to prove its address");
                let _ = incoming.retry(); // fails for those alone who have proven it
                continue;
            } else {
                self.unproven.fetch_add(1, Ordering::Relaxed);
                Some(Unproven(Arc::clone(&self.unproven)))
            };
            let (config, tasks) = (self.config.clone(), self.at.tasks.node.clone());
            let is_punched = self.at.has_probed(addr);
            return Ok((QuicIncoming { incoming, config, tasks, place, is_punched }, addr));
        }
    }
}

/// A handshake with a peer whose address is not proven; over when dropped.
#[derive(Debug)]
struct Unproven(Arc<AtomicUsize>);

impl Drop for Unproven {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A peer that came in over QUIC.
#[derive(Debug)]
pub(crate) struct QuicIncoming {
    incoming: quinn::Incoming,
    config: ServerConfig,
    tasks: TaskTracker,
    place: Option<Unproven>,
    /// Whether both sides have opened their NATs for it.
    is_punched: bool,
}

impl Incoming for QuicIncoming {
    type Connection = QuicConnection;

    fn origin(&self, addr: SocketAddr) -> (TransportAddr, Way) {
        (TransportAddr::Quic(addr), if self.is_punched { Way::Punched } else { Way::Straight })
    }

    async fn answer<T: Send + 'static>(
        self,
        choose: impl FnOnce(&ClientHello<'_>) -> Result<(ServiceTls, T), Unserved> + Send + 'static,
    ) -> Result<(QuicConnection, T), Unserved> {
        let choice = Choice::new(choose);
        let mut config = self.config;
        config.crypto = choice.server();
        let failed = |error| match choice.take() {
            Err(Some(unserved)) => unserved,
            _ => Unserved::Handshake(io::Error::other(error)),
        };
        let connection = self.incoming.accept_with(Arc::new(config)).map_err(failed)?.await.map_err(failed)?;
        drop(self.place);
        let chosen = choice.take().map_err(|why| why.unwrap_or(Unserved::NoTls))?;
        Ok((QuicConnection::new(connection, WINDOW, self.tasks), chosen))
    }
}
