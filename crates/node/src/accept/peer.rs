//! One incoming peer, from its first byte to its session.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hardline_proto::preamble::Preamble;
use rustls::ServerConfig;
use rustls::server::ClientHello;
use tokio::time::timeout;
use tracing::debug;

use super::door::{HandshakeSlot, TunnelSlot};
use super::{Acceptor, Service};
use crate::backend::BackendStream;
use crate::clock;
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
struct Peer<'a> {
    service: &'a Service,
    session: Box<dyn ListenerSession>,
    /// Whether it sent the service's password, or there is none.
    is_allowed: bool,
    /// Of a tunnel that was asked for by connecting.
    backend: Option<BackendStream>,
    _slot: TunnelSlot,
}

impl Acceptor {
    /// Serves one peer. `handshake_slot` is given back when its first tunnel begins, or its session
    /// is idle.
    pub(super) async fn serve<I>(&self, incoming: I, addr: SocketAddr, handshake_slot: HandshakeSlot)
    where
        I: Incoming<Connection: Connection>,
    {
        // Each step on the heap and apart: what it needs is not kept for the next, nor for the life
        // of a tunnel.
        let greeted = tokio::select! {
            () = self.drain.stop.cancelled() => return,
            greeted = Box::pin(self.greet_in_time(incoming, addr)) => greeted,
        };
        drop(handshake_slot);
        match greeted {
            Ok(Peer { service, mut session, backend: Some(mut backend), _slot, .. }) => {
                Box::pin(self.carry(service, &mut *session, &mut backend, addr)).await;
            }
            Ok(Peer { service, session, is_allowed, backend: None, _slot }) => {
                Box::pin(self.serve_session(service, session, is_allowed, addr)).await;
            }
            Err(refused) => debug!(%addr, error = %chain(&refused), "peer refused"),
        }
    }

    async fn greet_in_time<I>(&self, incoming: I, addr: SocketAddr) -> Result<Peer<'_>, Refused>
    where
        I: Incoming<Connection: Connection>,
    {
        let greeting = async {
            let (connection, (service, slot)) = incoming.answer(|hello| self.choose(hello, addr)).await?;
            Box::pin(self.greet(connection, service, slot)).await
        };
        timeout(self.handshake_timeout, greeting).await.unwrap_or(Err(Refused::Slow(self.handshake_timeout)))
    }

    /// Says how a hello is answered: as which service, with which TLS settings.
    fn choose(
        &self,
        hello: &ClientHello<'_>,
        addr: SocketAddr,
    ) -> Result<(Arc<ServerConfig>, (&Service, TunnelSlot)), Unserved> {
        let service = hello.server_name().and_then(|name| self.service(name)).ok_or(Unserved::UnknownName)?;
        // Before the handshake, which is what costs.
        let slot = self.door.tunnel(addr.ip(), service.key).map_err(Unserved::Limit)?;
        Ok((service.tls.choose(hello), (service, slot)))
    }

    async fn greet<'a, C: Connection>(
        &'a self,
        connection: C,
        service: &'a Service,
        slot: TunnelSlot,
    ) -> Result<Peer<'a>, Refused> {
        let ours = Preamble { wan_hosts: Some(self.reach.hosts()), password: None };
        let Begun { mut session, preamble } = connection.listen(ours, service.password.is_some()).await?;
        let is_allowed = service.allows(&preamble);
        let backend = if session.asks_at_once() {
            let open = poll_fn(|cx| session.poll_next_tunnel(cx)).await?;
            let backend = self.decide(service, is_allowed, open).await.map_err(Refused::Tunnel)?;
            session.grant().await?;
            Some(backend)
        } else {
            None
        };
        Ok(Peer { service, session, is_allowed, backend, _slot: slot })
    }

    fn service(&self, sni: &str) -> Option<&Service> {
        self.services.get(&self.names.find(sni, clock::today())?)
    }
}

impl Service {
    /// Whether `theirs`, a dialler's preamble, has the password that is asked for. Browsers lower
    /// the case of host names.
    fn allows(&self, theirs: &Preamble) -> bool {
        let is_it = |password: &String| theirs.password.as_ref().is_some_and(|it| it.eq_ignore_ascii_case(password));
        self.password.as_ref().is_none_or(is_it)
    }
}

/// An error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
