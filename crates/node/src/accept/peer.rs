//! One incoming peer, from its first byte to its session.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hardline_proto::candidate::Way;
use hardline_proto::path::Path;
use hardline_proto::preamble::Preamble;
use rustls::ServerConfig;
use rustls::server::ClientHello;
use tokio::time::timeout;
use tracing::debug;

use super::Acceptor;
use super::gate::{HandshakeSlot, TunnelSlot};
use crate::backend::BackendStream;
use crate::clock;
use crate::services::Service;
use crate::session::{Begun, Connection, ListenerSession, PreambleFailure, SessionEnd};
use crate::transport::{Incoming, Unserved};

/// Why a peer got no session.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("nothing whole within {0:?}")]
    Slow(Duration),
    #[error(transparent)]
    Unserved(#[from] Unserved),
    #[error("preamble")]
    Preamble(#[from] PreambleFailure),
    #[error(transparent)]
    Session(#[from] SessionEnd),
    #[error("tunnel refused: {0}")]
    Tunnel(hardline_proto::tunnel::Refusal),
}

/// A peer behind the handshake and the preambles.
struct Peer {
    service: Arc<Service>,
    session: Box<dyn ListenerSession>,
    /// What it sent, to be looked at for each tunnel: the service's own may change.
    password: Option<String>,
    /// Of a tunnel that was asked for by connecting.
    backend: Option<BackendStream>,
    slot: TunnelSlot,
}

/// The service that a peer asks for, and its place there.
type Chosen = (Arc<Service>, TunnelSlot);

impl Acceptor {
    /// Serves one peer. `handshake_slot` is given back when its first tunnel begins, or its session
    /// is idle.
    pub(super) async fn serve<I>(self: &Arc<Self>, incoming: I, addr: SocketAddr, handshake_slot: HandshakeSlot)
    where
        I: Incoming<Connection: Connection>,
    {
        // Each step on the heap and apart: what it needs is not kept for the next, nor for the life
        // of a tunnel.
        let (from, way) = incoming.origin(addr);
        let greeted = tokio::select! {
            () = self.drain.stop.cancelled() => return,
            greeted = Box::pin(self.greet_in_time(incoming, way, addr)) => greeted,
        };
        drop(handshake_slot);
        let visit = |service: &Service, state| {
            let path = Path::new(&from, way, None, &self.network.now());
            self.visitors.enter(service.key(), addr, path, state)
        };
        match greeted {
            Ok(Peer { service, mut session, backend: Some(mut backend), slot, .. }) => {
                let visit = visit(&service, session.path_state());
                Box::pin(self.carry(&service, &mut *session, &mut backend, (&visit, &slot.seat))).await;
            }
            Ok(Peer { service, session, password, backend: None, slot }) => {
                let visit = visit(&service, session.path_state());
                Box::pin(self.serve_session(service, session, password, (&visit, &slot.seat))).await;
            }
            Err(refused) => debug!(%addr, error = %chain(&refused), "peer refused"),
        }
    }

    async fn greet_in_time<I>(self: &Arc<Self>, incoming: I, way: Way, addr: SocketAddr) -> Result<Peer, Refused>
    where
        I: Incoming<Connection: Connection>,
    {
        let greeting = async {
            let this = Arc::clone(self);
            let (connection, (service, slot)) = incoming.answer(move |hello| this.choose(hello, addr)).await?;
            Box::pin(self.greet(connection, way == Way::Relayed, (service, slot), addr)).await
        };
        timeout(self.handshake_timeout, greeting).await.unwrap_or(Err(Refused::Slow(self.handshake_timeout)))
    }

    /// Says how a hello is answered: as which service, with which TLS settings.
    fn choose(&self, hello: &ClientHello<'_>, addr: SocketAddr) -> Result<(Arc<ServerConfig>, Chosen), Unserved> {
        let service = hello.server_name().and_then(|name| self.service(name)).ok_or(Unserved::UnknownName)?;
        // Before the handshake, which is what costs.
        let slot = self.gate.tunnel(addr.ip(), service.key()).map_err(Unserved::Limit)?;
        Ok((service.identity.tls.choose(hello), (service, slot)))
    }

    async fn greet<C: Connection>(
        &self,
        connection: C,
        is_relayed: bool,
        (service, slot): Chosen,
        addr: SocketAddr,
    ) -> Result<Peer, Refused> {
        let ours = Preamble { wan_hosts: Some(self.reach.hosts()), password: None, is_relayed };
        let Begun { mut session, preamble, .. } = connection.listen(ours, service.access.wants_password()).await?;
        let password = preamble.password;
        let backend = if session.asks_at_once() {
            let open = poll_fn(|cx| session.poll_next_tunnel(cx)).await?;
            let kind = open.kind;
            let decided = self.decide(&service, password.as_deref(), open, addr).await;
            let backend = decided.map_err(Refused::Tunnel)?;
            session.grant(kind).await?;
            Some(backend)
        } else {
            None
        };
        Ok(Peer { service, session, password, backend, slot })
    }

    fn service(&self, sni: &str) -> Option<Arc<Service>> {
        let table = self.services.now();
        let key = self.sni_index.find(sni, clock::today(), table.generation, table.keys())?;
        table.get(&key).cloned()
    }
}

/// An error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
