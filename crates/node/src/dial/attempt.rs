//! One attempt of a race: a candidate → a verified connection → a session, with its tunnel if one
//! is wanted.

use std::net::SocketAddr;
#[cfg(feature = "quic")]
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hardline_proto::candidate::{Candidate, TransportAddr, Way};
#[cfg(feature = "quic")]
use hardline_proto::hosts::{Host, HostPort};
use hardline_proto::network::NetworkState;
use hardline_proto::path::Path;
use hardline_proto::preamble::Preamble;
#[cfg(feature = "quic")]
use hardline_proto::tunnel::Kind;
use rustls::pki_types::ServerName;
#[cfg(feature = "quic")]
use tokio::time::timeout;
use tokio::time::{Instant, timeout_at};

use super::first::FirstPayload;
use crate::discovery::Outcome;
use crate::limits::DIAL_HANDSHAKE_TIMEOUT;
#[cfg(feature = "quic")]
use crate::limits::QUIC_AHEAD;
use crate::session::{
    Begun, Connection, DiallerSession, NoSession, NoTunnel, PreambleFailure, Purpose, Route, SessionEnd, Version,
    knows_pseudonyms,
};
use crate::transport::quic::QuicSockets;
use crate::transport::tcp::Tcp;
use crate::transport::{ConnectError, Connected, Target, Transport};

/// What every attempt of one race does.
pub(super) struct Job {
    /// Without a pseudonym.
    pub(super) target: Target,
    /// What a listener that knows pseudonyms is called today.
    pub(super) pseudonym: Option<ServerName<'static>>,
    /// What the listener spoke when it was reached last, if it was.
    pub(super) version: Option<Version>,
    pub(super) preamble: Preamble,
    /// Of the tunnel that is wanted.
    pub(super) first: FirstPayload,
    /// The route that is there, if only a better one is wanted.
    pub(super) than: Option<Arc<Route>>,
    #[cfg_attr(not(feature = "quic"), expect(dead_code, reason = "there is none to dial"))]
    pub(super) quic: QuicSockets,
}

/// A verified listener; its backend is there, if a tunnel was wanted.
#[derive(Debug)]
pub(super) struct Reached {
    pub(super) session: Box<dyn DiallerSession>,
    /// The listener's.
    pub(super) preamble: Preamble,
    pub(super) addr: SocketAddr,
    /// How much of the first payload it has got.
    pub(super) sent: usize,
    /// How long its first answer took.
    pub(super) took: Duration,
    /// Where it was reached instead of at the candidate's address.
    pub(super) instead: Option<TransportAddr>,
}

impl Reached {
    /// What it was reached over as the `candidate`, from `network`.
    pub(super) fn route(&self, mut candidate: Candidate, network: &NetworkState) -> Route {
        // Who is reached knows better than who named the address.
        if self.preamble.is_relayed {
            candidate.way = Way::Relayed;
        }
        if let Some(at) = &self.instead {
            candidate.addr = at.clone();
        }
        let path = Path::new(&candidate.addr, candidate.way, Some(self.addr.ip()), network);
        let route = Route::new(candidate, path);
        route.answered(&*self.session, self.took);
        route
    }
}

impl Job {
    /// Whether a candidate may be what is wanted, before it was dialled from `here`.
    pub(super) fn may_be_better(&self, candidate: &Candidate, here: &NetworkState) -> bool {
        let Some(than) = &self.than else { return true };
        let path = Path::new(&candidate.addr, candidate.way, None, here);
        path.kind < than.kind() && candidate.addr != than.candidate.addr
    }

    /// Whether what was reached from `here` is what is wanted.
    pub(super) fn better(
        &self,
        reached: Reached,
        candidate: &Candidate,
        here: &NetworkState,
    ) -> Result<Reached, Outcome> {
        let Some(than) = &self.than else { return Ok(reached) };
        if reached.route(candidate.clone(), here).kind() < than.kind() {
            return Ok(reached);
        }
        Err(Outcome::Protocol { reason: "no better path".into() })
    }

    /// Dials a candidate's address and opens a tunnel there, or greets, within
    /// [`CONNECT_TIMEOUT`](crate::limits::CONNECT_TIMEOUT) and [`DIAL_HANDSHAKE_TIMEOUT`]. `said`
    /// is what the listener speaks according to who told of the address.
    ///
    /// An attempt ends with the preamble, not with the pin: a neighbour that relays the handshake
    /// and then stalls must not win the race.
    pub(super) async fn dial(
        &self,
        candidate: &Candidate,
        said: Option<Version>,
        purpose: Purpose,
    ) -> Result<Reached, Outcome> {
        // What was seen counts for more than what is said.
        let is_pseudonymous = self.version.or(said).is_some_and(knows_pseudonyms);
        let pseudonym = self.pseudonym.as_ref().filter(|_| is_pseudonymous).cloned();
        let target = Target { pseudonym, ..self.target.clone() };
        match &candidate.addr {
            #[cfg(feature = "quic")]
            TransportAddr::Tcp(at) if purpose == Purpose::Tunnel(Kind::Datagrams) => {
                self.quic_first(at, candidate.way, &target, purpose).await
            }
            TransportAddr::Tcp(at) => self.over(&Tcp, at, &target, purpose).await,
            #[cfg(feature = "quic")]
            TransportAddr::Quic(at) => self.over_quic(*at, &target, purpose).await,
            _ => Err(Outcome::Unreachable { reason: "this build does not have that transport".into() }),
        }
    }

    #[cfg(feature = "quic")]
    async fn over_quic(&self, at: SocketAddr, target: &Target, purpose: Purpose) -> Result<Reached, Outcome> {
        let endpoint = self.quic.towards(at).map_err(ConnectError::Unreachable)?;
        self.over(&endpoint, &at, target, purpose).await
    }

    /// Dials over QUIC at the same port, where its listener has that as a rule, and over TCP when
    /// nobody answers there: TCP holds up each datagram behind one that was lost.
    #[cfg(feature = "quic")]
    async fn quic_first(&self, at: &HostPort, way: Way, target: &Target, purpose: Purpose) -> Result<Reached, Outcome> {
        let Host::Ip(ip) = at.host else { return self.over(&Tcp, at, target, purpose).await };
        if way == Way::Relayed || !self.quic.is_there() {
            return self.over(&Tcp, at, target, purpose).await;
        }
        let beside = SocketAddr::new(ip, at.port);
        let mut quic = pin!(async {
            let reached = self.over_quic(beside, target, purpose).await?;
            Ok(Reached { instead: Some(TransportAddr::Quic(beside)), ..reached })
        });
        let is_settled = |reached: &Result<Reached, Outcome>| {
            matches!(reached, Ok(_) | Err(Outcome::Refused { .. } | Outcome::WrongKey { .. }))
        };
        let mut is_trying = true;
        if let Ok(reached) = timeout(QUIC_AHEAD, &mut quic).await {
            if is_settled(&reached) {
                return reached;
            }
            is_trying = false;
        }
        let mut tcp = pin!(self.over(&Tcp, at, target, purpose));
        loop {
            tokio::select! {
                reached = &mut quic, if is_trying => {
                    is_trying = false;
                    if is_settled(&reached) {
                        return reached;
                    }
                }
                reached = &mut tcp => return reached,
            }
        }
    }

    async fn over<T: Transport<Connection: Connection>>(
        &self,
        transport: &T,
        at: &T::Address,
        target: &Target,
        purpose: Purpose,
    ) -> Result<Reached, Outcome> {
        let Connected { connection, remote, answered } = transport.connect(at, target).await?;
        let turn = self.first.turn();
        // On the heap, as the handshake was: the race holds several attempts.
        let beginning = Box::pin(connection.dial(&self.preamble, purpose, turn.bytes()));
        let began = Instant::now();
        let begun = timeout_at(answered + DIAL_HANDSHAKE_TIMEOUT, beginning).await;
        let Begun { session, preamble, sent } = begun.map_err(|_| silent())??;
        turn.succeeded();
        Ok(Reached { session, preamble, addr: remote, sent, took: began.elapsed(), instead: None })
    }
}

fn silent() -> Outcome {
    Outcome::Handshake { reason: format!("silent for {} s", DIAL_HANDSHAKE_TIMEOUT.as_secs()) }
}

impl From<ConnectError> for Outcome {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Unreachable(error) => Self::Unreachable { reason: error.to_string() },
            ConnectError::WrongKey(got) => Self::WrongKey { got },
            ConnectError::Handshake(reason) => Self::Handshake { reason },
            ConnectError::Silent => silent(),
        }
    }
}

impl From<NoSession> for Outcome {
    fn from(error: NoSession) -> Self {
        match error {
            NoSession::Tunnel(NoTunnel::Refused(refusal)) => Self::Refused { refusal },
            NoSession::Preamble(PreambleFailure::Closed)
            | NoSession::Tunnel(NoTunnel::End(SessionEnd::Closed(_) | SessionEnd::Reset(_))) => Self::Closed,
            other => Self::Protocol { reason: other.to_string() },
        }
    }
}
