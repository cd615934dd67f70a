//! One incoming peer, from its first byte to its session.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hardline_proto::candidate::{TransportAddr, Way};
use hardline_proto::path::Path;
use hardline_proto::preamble::Preamble;
use rustls::server::ClientHello;
use tokio::time::timeout;
use tracing::debug;

use super::Acceptor;
use super::gate::{HandshakeSlot, TunnelSlot};
use super::visitors::Visit;
use crate::backend::BackendStream;
use crate::clock;
use crate::services::Service;
use crate::session::{Begun, BoxFuture, Connection, ListenerSession, PreambleFailure, SessionEnd};
use crate::transport::{Incoming, ServiceTls, Unserved};
use crate::visitors::{Caller, Guest};

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
    #[error("no visitor of this private service")]
    NoVisitor,
    #[error("tunnel refused: {0}")]
    Tunnel(hardline_proto::tunnel::Refusal),
}

/// A peer behind the handshake and the preambles.
pub(super) struct Peer {
    pub(super) service: Arc<Service>,
    pub(super) session: Box<dyn ListenerSession>,
    /// What it sent, to be looked at for each tunnel: the service's own may change.
    pub(super) password: Option<String>,
    /// Who it is, to a private service.
    pub(super) guest: Option<Guest>,
    /// Of a tunnel that was asked for by connecting.
    backend: Option<BackendStream>,
    pub(super) slot: TunnelSlot,
    pub(super) visit: Arc<Visit>,
}

/// The service that a peer asks for, and its place there; of a private one, who says hello.
type Chosen = (Arc<Service>, TunnelSlot, Option<Caller>);

/// Where a peer comes from, by what way, and at which address it is itself.
struct Origin {
    from: TransportAddr,
    way: Way,
    addr: SocketAddr,
}

impl Acceptor {
    /// Serves one peer. `handshake_slot` is given back when its first tunnel begins, or its session
    /// is idle.
    ///
    /// Each step is on the heap and apart, the first one from before the task begins: what it needs
    /// is not kept for the next, nor for the life of a tunnel.
    pub(super) fn serve<I>(
        self: Arc<Self>,
        incoming: I,
        addr: SocketAddr,
        handshake_slot: HandshakeSlot,
    ) -> impl Future<Output = ()> + Send
    where
        I: Incoming<Connection: Connection>,
    {
        let receiving = Box::pin(Arc::clone(&self).receive(incoming, addr, handshake_slot));
        async move {
            if let Some(peer) = receiving.await {
                self.serve_peer(peer).await;
            }
        }
    }

    /// Waits until a peer has said all that it must.
    async fn receive<I>(
        self: Arc<Self>,
        incoming: I,
        addr: SocketAddr,
        _handshake_slot: HandshakeSlot,
    ) -> Option<Box<Peer>>
    where
        I: Incoming<Connection: Connection>,
    {
        let (from, way) = incoming.origin(addr);
        let greeting = pin!(self.greet_in_time(incoming, Origin { from, way, addr }));
        let greeted = tokio::select! {
            () = self.drain.stop.cancelled() => return None,
            greeted = greeting => greeted,
        };
        greeted.inspect_err(|refused| debug!(%addr, error = %chain(refused), "peer refused")).ok()
    }

    fn serve_peer(self: &Arc<Self>, mut peer: Box<Peer>) -> BoxFuture<'_, ()> {
        match peer.backend.take() {
            Some(mut backend) => Box::pin(async move {
                let Peer { service, session, slot, visit, guest, .. } = &mut *peer;
                self.carry(service, &mut **session, &mut backend, (visit, &slot.seat), guest.as_ref()).await;
            }),
            None => Box::pin(self.serve_session(peer)),
        }
    }

    async fn greet_in_time<I>(self: &Arc<Self>, incoming: I, origin: Origin) -> Result<Box<Peer>, Refused>
    where
        I: Incoming<Connection: Connection>,
    {
        let greeting = async {
            let (this, addr) = (Arc::clone(self), origin.addr);
            let (connection, chosen) = incoming.answer(move |hello| this.choose(hello, addr)).await?;
            Box::pin(self.greet(connection, chosen, origin)).await
        };
        timeout(self.handshake_timeout, greeting).await.unwrap_or(Err(Refused::Slow(self.handshake_timeout)))
    }

    /// Says how a hello is answered: as which service, with which TLS settings.
    fn choose(&self, hello: &ClientHello<'_>, addr: SocketAddr) -> Result<(ServiceTls, Chosen), Unserved> {
        let service = hello.server_name().and_then(|name| self.service(name)).ok_or(Unserved::UnknownName)?;
        let (tls, caller) = if service.config.private {
            // To everybody else it is as if no service had this name.
            let caller = self.enrolled.caller(&service.key(), hello).ok_or(Unserved::UnknownName)?;
            let tls = service.identity.tls.choose_private(hello, caller.key());
            (tls.ok_or(Unserved::UnknownName)?, Some(caller))
        } else {
            (service.identity.tls.choose(hello), None)
        };
        // Before the handshake, which is what costs.
        let slot = self.gate.tunnel(addr.ip(), service.key()).map_err(Unserved::Limit)?;
        Ok((tls, (service, slot, caller)))
    }

    async fn greet<C: Connection>(
        &self,
        connection: C,
        (service, slot, caller): Chosen,
        Origin { from, way, addr }: Origin,
    ) -> Result<Box<Peer>, Refused> {
        let guest = match caller {
            Some(caller) => Some(caller.proven(connection.proven_peer()).ok_or(Refused::NoVisitor)?),
            None => None,
        };
        let is_relayed = way == Way::Relayed;
        let ours = Preamble { wan_hosts: Some(self.reach.hosts()), password: None, is_relayed };
        let Begun { mut session, preamble, .. } = connection.listen(ours, service.access.wants_password()).await?;
        let password = preamble.password;
        let backend = if session.asks_at_once() {
            let open = poll_fn(|cx| session.poll_next_tunnel(cx)).await?;
            let kind = open.kind;
            let decided = self.decide(&service, password.as_deref(), open, addr, guest.as_ref()).await;
            let backend = decided.map_err(Refused::Tunnel)?;
            session.grant(kind).await?;
            Some(backend)
        } else {
            None
        };
        let path = Path::new(&from, way, None, &self.network.now());
        if let Some(Guest::Visitor(visitor)) = &guest {
            self.enrolled.saw(visitor, &path);
        }
        let name = guest.as_ref().and_then(Guest::name);
        let visit = self.visitors.enter(service.key(), addr, path, session.path_state(), name);
        Ok(Box::new(Peer { service, session, password, guest, backend, slot, visit }))
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
