//! A session, from idle to idle.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hardline_proto::tunnel::{Kind, Open, Reason, Refusal};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{Instrument, debug, info_span};

use super::Acceptor;
use super::peer::Peer;
use super::visitors::Visit;
use crate::backend::BackendStream;
use crate::limits::CROWDED_IDLE_LIMIT;
use crate::services::Service;
use crate::session::ListenerSession;
use crate::tunnel::{Seat, Side, relay};
use crate::visitors::Guest;

/// What a dialler is told whose tunnel is one too many.
const AT_A_LIMIT: &str = "limit";

/// What one is told who may not use a private service any more.
const PRIVATE: &str = "private";

/// Tunnels that a session has detached. Most never do, and have no room for them.
#[derive(Default)]
struct Detached(Option<JoinSet<()>>);

impl Detached {
    fn is_empty(&self) -> bool {
        self.0.as_ref().is_none_or(JoinSet::is_empty)
    }

    /// Waits for one of them to end; `None` when there is none.
    async fn join_next(&mut self) -> Option<()> {
        self.0.as_mut()?.join_next().await.map(drop)
    }
}

impl Acceptor {
    /// Serves tunnels until the dialler ends the session or does not use it any more: one after the
    /// other, or all at once where the session has them detached. The backend is not touched before
    /// a tunnel is asked for.
    pub(super) async fn serve_session(self: &Arc<Self>, mut peer: Box<Peer>) {
        let mut detached = Detached::default();
        while let Some(open) = self.next_open(&mut peer, &mut detached).await {
            let Some(now) = self.services.now().get(&peer.service.key()).cloned() else { break };
            peer.service = now;
            if let Some(tunnel) = peer.session.detach() {
                let (this, service, password) = (Arc::clone(self), Arc::clone(&peer.service), peer.password.clone());
                let (visit, guest) = (Arc::clone(&peer.visit), peer.guest.clone());
                detached
                    .0
                    .get_or_insert_default()
                    .spawn(async move { this.serve_detached(&service, tunnel, open, (password, guest), &visit).await });
                continue;
            }
            if self.serve_tunnel(&mut peer, open).await.is_err() {
                return;
            }
        }
        // They end by themselves, or with the service, or with the node.
        while detached.join_next().await.is_some() {}
        // Only an idle session says goodbye: see there.
        let _ = timeout(self.handshake_timeout, peer.session.close()).await;
    }

    /// Serves one tunnel of a session that carries one at a time.
    ///
    /// # Errors
    /// When the session is not idle afterwards, and so of no more use.
    async fn serve_tunnel(&self, peer: &mut Peer, open: Open) -> Result<(), ()> {
        let Peer { service, session, password, slot, visit, guest, .. } = peer;
        let (addr, kind) = (visit.addr, open.kind);
        match self.decide(service, password.as_deref(), open, addr, guest.as_ref()).await {
            Ok(mut backend) => {
                session.grant(kind).await.map_err(drop)?;
                self.carry(service, &mut **session, &mut backend, (visit, &slot.seat), guest.as_ref()).await;
            }
            Err(refusal) => {
                debug!(%addr, %refusal, "tunnel refused");
                // A dialler that does not end its side loses the session, no more.
                let _ = timeout(self.handshake_timeout, session.refuse(refusal)).await;
            }
        }
        if session.is_idle() { Ok(()) } else { Err(()) }
    }

    /// Serves the only tunnel of a session.
    async fn serve_detached(
        &self,
        service: &Service,
        mut session: Box<dyn ListenerSession>,
        open: Open,
        (password, guest): (Option<String>, Option<Guest>),
        visit: &Arc<Visit>,
    ) {
        let (addr, kind) = (visit.addr, open.kind);
        // The connection has one place, and each tunnel another.
        let place = self.gate.tunnel(addr.ip(), service.key());
        let decided = match place {
            Ok(ref slot) => {
                let decided = self.decide(service, password.as_deref(), open, addr, guest.as_ref()).await;
                decided.map(|backend| (backend, &slot.seat))
            }
            Err(limit) => {
                debug!(%addr, ?limit, "tunnel refused");
                Err(Refusal { reason: Reason::Other(AT_A_LIMIT.to_owned()), unknown: open.unknown })
            }
        };
        match decided {
            Ok((mut backend, seat)) => {
                if session.grant(kind).await.is_ok() {
                    self.carry(service, &mut *session, &mut backend, (visit, seat), guest.as_ref()).await;
                }
            }
            Err(refusal) => {
                debug!(%addr, %refusal, "tunnel refused");
                let _ = timeout(self.handshake_timeout, session.refuse(refusal)).await;
            }
        }
    }

    /// Waits for the next question while the session is idle, or carries `detached` tunnels. `None`
    /// when there will be none.
    async fn next_open(&self, peer: &mut Peer, detached: &mut Detached) -> Option<Open> {
        let Peer { service, session, password, slot, visit, guest, .. } = peer;
        loop {
            let place = self.idle.enter(visit.addr.ip()).filter(|_| detached.is_empty());
            let patience = match &place {
                _ if !detached.is_empty() => Duration::MAX,
                Some(_) if service.access.allows(password.as_deref()) => self.idle.time(),
                // Who does not know the password may ask, to be told so, and has no other business
                // here.
                Some(_) => self.handshake_timeout,
                // The question may be on its way.
                None => CROWDED_IDLE_LIMIT,
            };
            tokio::select! {
                () = self.drain.stop.cancelled() => return None,
                () = service.removed().cancelled() => return None,
                () = slot.seat.evicted() => return None,
                () = Guest::gone(guest.as_ref()) => return None,
                Some(_) = detached.join_next() => {}
                asked = timeout(patience, poll_fn(|cx| session.poll_next_tunnel(cx))) => return asked.ok()?.ok(),
            }
        }
    }

    /// Reaches the backend, or says why not.
    pub(super) async fn decide(
        &self,
        service: &Service,
        password: Option<&str>,
        open: Open,
        addr: SocketAddr,
        guest: Option<&Guest>,
    ) -> Result<BackendStream, Refusal> {
        let refusal = |reason| Refusal { reason, unknown: open.unknown.clone() };
        match guest {
            // It has become private since the session began, or the visitor had to go.
            None if service.config.private => return Err(refusal(Reason::Other(PRIVATE.to_owned()))),
            Some(Guest::Visitor(visitor)) if !visitor.is_in() => {
                return Err(refusal(Reason::Other(PRIVATE.to_owned())));
            }
            // Whatever kind of tunnel the service takes: its program is not touched.
            Some(Guest::Invited(invited, key)) if open.kind == Kind::Stream => {
                return Ok(BackendStream::Inside(self.enrolled.reception(invited, *key)));
            }
            Some(Guest::Invited(..)) => return Err(refusal(Reason::NoUdp)),
            None | Some(Guest::Visitor(_)) => {}
        }
        if !service.access.allows(password) {
            return Err(refusal(Reason::Password));
        }
        match (service.backend.kind(), open.kind) {
            (Kind::Datagrams, Kind::Stream) => return Err(refusal(Reason::Udp)),
            (Kind::Stream, Kind::Datagrams) => return Err(refusal(Reason::NoUdp)),
            (Kind::Stream, Kind::Stream) | (Kind::Datagrams, Kind::Datagrams) => {}
        }
        service.backend.connect(addr.ip()).await.map_err(|error| {
            self.note_missing_backend(service, &error);
            refusal(Reason::Backend)
        })
    }

    /// Carries a tunnel that was granted.
    pub(super) async fn carry(
        &self,
        service: &Service,
        session: &mut dyn ListenerSession,
        backend: &mut BackendStream,
        (visit, seat): (&Arc<Visit>, &Arc<Seat>),
        guest: Option<&Guest>,
    ) {
        let (mut open, _counted) = (self.metrics.tunnel(), visit.tunnel());
        let _of_guest = guest.and_then(Guest::tunnel);
        let span = info_span!("tunnel", side = "listener", id = open.id, key = %service.key().short());
        let carrying = async {
            debug!(addr = %visit.addr, "tunnel opened");
            let ends = guest.and_then(Guest::drain).unwrap_or(&service.identity.drain);
            let drain = ends.at(seat).measuring(visit.round_trip());
            relay(backend, Side::Service, session, &drain).await.count(&mut open);
            open.datagrams_dropped = session.datagrams_dropped();
        };
        carrying.instrument(span).await;
    }
}
