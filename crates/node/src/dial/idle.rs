//! A tunnel over an idle session, overtaken by a new connection when nobody answers.
//!
//! An idle session's peer may be gone without a word: its router has a new address, say. TCP finds
//! that out in a quarter of an hour. So one that was silent for longer than a moment is asked
//! without payload, and what can be asked twice need not wait for the answer for long:
//!
//! - Nothing but the question was sent: after [`FIRST_ANSWER`] or four round trips a new connection
//!   is dialled beside it, and whichever answers first is used.
//! - A request went with the question which is [repeatable](Early::is_repeatable): the same, unless
//!   the peer's computer has acknowledged it. Then it has arrived, and the backend is slow; asking
//!   it twice would help nobody. (Where the system does not tell what is acknowledged, a second of
//!   silence decides.)
//! - The connection breaks: what can be asked twice is asked over the next one.
//! - Anything else went with it: nothing is sent twice. It waits for as long as a running tunnel
//!   does, and fails.
//!
//! The one that is overtaken is reset, so that what it sent does not arrive later.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hardline_proto::host::ServiceName;
use hardline_proto::liveness::Liveness;
use hardline_proto::path::PathKind;
use hardline_proto::tunnel::{Closed, Kind};
use tokio::time::{Instant, timeout};
use tracing::debug;

use super::dialler::{Dialler, failed};
use super::first::FirstPayload;
use super::{ReachError, Waiting};
use crate::discovery::Outcome;
use crate::limits::{DIAL_HANDSHAKE_TIMEOUT, FIRST_ANSWER, STALE_ANSWER};
use crate::session::{DiallerSession, Idle, NoTunnel, Route, SessionEnd, TunnelStream};

/// Round trips that an answer may take before another connection is dialled.
const ROUND_TRIPS: u32 = 4;

/// Time between two looks at a peer that does not answer.
const LOOK: Duration = Duration::from_secs(1);

/// The first payload of a tunnel.
#[derive(Debug, Default)]
pub(crate) struct Early {
    /// What it is.
    pub(crate) kind: Kind,
    /// What is left of it to be sent.
    pub(crate) bytes: Vec<u8>,
    /// Whether the service may get it twice.
    pub(crate) is_repeatable: bool,
}

impl Early {
    /// Takes out what went to a tunnel as it was opened.
    pub(super) fn sent_with(&mut self, (tunnel, sent): (TunnelStream, usize)) -> TunnelStream {
        self.bytes.drain(..sent);
        tunnel
    }
}

/// What came of an idle session.
pub(super) enum Tried {
    /// It carries the tunnel.
    Tunnel(TunnelStream),
    /// It is of no use, and nothing was lost.
    Useless,
    /// It had its chance.
    Failed(Box<ReachError>),
    /// Nobody answers so far.
    Doubtful(Question),
}

/// A tunnel that was asked for over an idle session.
pub(super) struct Question {
    session: Box<dyn DiallerSession>,
    route: Arc<Route>,
    asked: Instant,
    /// Bytes of the first payload that went along.
    sent: usize,
}

impl Question {
    fn may_be_overtaken(&self, early: &Early) -> bool {
        self.sent == 0 || early.is_repeatable
    }

    /// Waits for the answer for as long as nothing else can be done. `None` when the peer is gone,
    /// or silent for too long.
    async fn answer(&mut self) -> Option<Result<(), NoTunnel>> {
        let mut liveness = Liveness::default();
        loop {
            if let Ok(answer) = timeout(LOOK, self.session.answered()).await {
                return Some(answer);
            }
            let (now, state) = (Instant::now(), self.session.path_state());
            let is_owed = state.is_some_and(|state| state.is_owed);
            let is_gone = state.is_some_and(|state| liveness.handle(now.into_std(), &state));
            // TCP may get it there yet, while it tries.
            if is_gone || (!is_owed && self.asked.elapsed() >= DIAL_HANDSHAKE_TIMEOUT) {
                return None;
            }
        }
    }

    /// Waits until a new connection may be dialled beside this one, or the answer is there.
    async fn until_doubtful(&mut self) -> Option<Result<(), NoTunnel>> {
        // Not only for the round trip: this look is what the later ones are compared with.
        let round_trip = self.session.path_state().map_or(Duration::ZERO, |state| state.round_trip);
        let patience = FIRST_ANSWER.max(ROUND_TRIPS * round_trip);
        for _ in 0..ROUND_TRIPS {
            if let Ok(answer) = timeout(patience / ROUND_TRIPS, self.session.answered()).await {
                return Some(answer);
            }
            // QUIC takes what comes for an acknowledgement of all that was sent before it was
            // looked at. What was on its way when the question left is none: what is sent again
            // after this look shows it.
            self.session.path_state();
        }
        match self.session.path_state() {
            _ if self.sent == 0 => None,
            Some(state) if state.is_owed => None,
            Some(_) => Some(self.answer().await.unwrap_or(Err(SILENT))),
            None => timeout(STALE_ANSWER, self.session.answered()).await.ok(),
        }
    }
}

/// The end of a session whose peer says nothing more.
const SILENT: NoTunnel = NoTunnel::End(SessionEnd::Closed(Closed::Unanswered));

impl Dialler {
    /// Asks for a tunnel over an idle session.
    pub(super) async fn try_idle(&self, name: &ServiceName, idle: Idle, early: &mut Early) -> Tried {
        let is_fresh = self.is_fresh(&idle);
        let Idle { mut session, route, .. } = idle;
        // Who was not heard for a while may be gone without a word. Then we ask, and send payload
        // when we know.
        let payload = if is_fresh { &early.bytes[..] } else { &[] };
        let asked = timeout(DIAL_HANDSHAKE_TIMEOUT, session.ask(early.kind, payload)).await;
        let mut question = Question { session, route, asked: Instant::now(), sent: payload.len() };
        let answer = match asked {
            Err(_) => Some(Err(SILENT)),
            Ok(Err(end)) => Some(Err(end.into())),
            Ok(Ok(sent)) => {
                question.sent = sent;
                if question.may_be_overtaken(early) {
                    question.until_doubtful().await
                } else {
                    Some(question.answer().await.unwrap_or(Err(SILENT)))
                }
            }
        };
        match answer {
            Some(answer) => self.settle(name, question, answer, early),
            None => Tried::Doubtful(question),
        }
    }

    /// Says what an answer means.
    fn settle(&self, name: &ServiceName, question: Question, answer: Result<(), NoTunnel>, early: &mut Early) -> Tried {
        let may_be_overtaken = question.may_be_overtaken(early);
        let Question { session, route, asked, sent } = question;
        let outcome = match answer {
            Ok(()) => {
                early.bytes.drain(..sent);
                route.answered_after(asked.elapsed());
                self.refill(name, Arc::clone(&route));
                return Tried::Tunnel(self.lend(name, session, route));
            }
            Err(NoTunnel::Refused(refusal)) => {
                if session.is_idle() {
                    self.keep(name, session, Arc::clone(&route));
                }
                Outcome::Refused { refusal }
            }
            Err(NoTunnel::End(SessionEnd::Closed(Closed::NotOpened | Closed::Unused))) => {
                // A connection that carries as many as it may is of no use for the next either.
                self.forget_connection(name, &*session);
                return Tried::Useless;
            }
            Err(NoTunnel::End(_)) if may_be_overtaken => {
                // The others lead to the same place.
                self.forget(name);
                return Tried::Useless;
            }
            Err(NoTunnel::End(_)) => Outcome::Unanswered,
        };
        Tried::Failed(Box::new(failed(name, &route, outcome, asked)))
    }

    /// Dials a new connection beside a question that nobody answers; the first answer is used.
    ///
    /// # Errors
    /// [`ReachError`], when there is none to either.
    pub(super) async fn overtake(
        &self,
        name: &ServiceName,
        waiting: Waiting,
        mut question: Question,
        early: &mut Early,
    ) -> Result<TunnelStream, ReachError> {
        debug!(key = %name.key.short(), "nobody answers over an idle session: dialling beside it");
        // The others lead to the same place.
        self.forget(name);
        if question.route.kind() == PathKind::Punched {
            // A way through NATs is of no use to another connection either, and nobody else is
            // asked as long as it is tried.
            self.resolver.context.last_known_good.forget(&name.key);
        }
        let mut dialling = pin!(self.reach_anew(name, waiting, FirstPayload::of(early)));
        let answer = tokio::select! {
            answer = question.answer() => answer,
            reached = &mut dialling => {
                question.session.cut();
                return reached.map(|reached| early.sent_with(reached));
            }
        };
        match self.settle(name, question, answer.unwrap_or(Err(SILENT)), early) {
            Tried::Tunnel(tunnel) => Ok(tunnel),
            Tried::Failed(error) => Err(*error),
            Tried::Useless | Tried::Doubtful(_) => dialling.await.map(|reached| early.sent_with(reached)),
        }
    }
}
