//! Service name → tunnel: over an idle session if there is one, else by a race of candidates.

use std::sync::{Arc, Weak};
use std::time::Duration;

use hardline_proto::host::ServiceName;
use hardline_proto::preamble::Preamble;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::attempt::{Job, Reached};
use super::connected::Connected;
use super::elsewhere::Elsewhere;
use super::first::FirstPayload;
use super::idle::{Early, Tried};
use super::passes::Passes;
use super::peers::Peers;
use super::upgrade::Upgrades;
use super::{ReachError, Waiting, cause_of, race};
use crate::clock;
use crate::config::NodeConfig;
use crate::discovery::{AttemptReport, Outcome, Report, Resolver};
use crate::limits::READY_AGAIN;
use crate::session::{DiallerSession, Idle, Pool, Purpose, Route, TunnelStream};
use crate::tls::{Pass, sni};
use crate::transport::Target;
use crate::transport::quic::QuicSockets;

/// Opens tunnels.
#[derive(Debug)]
pub(crate) struct Dialler {
    /// For tasks of its own.
    pub(super) this: Weak<Self>,
    pub(crate) resolver: Arc<Resolver>,
    peers: Peers,
    pub(super) pool: Arc<Pool>,
    pub(super) elsewhere: Arc<Elsewhere>,
    pub(super) upgrades: Upgrades,
    pub(super) passes: Passes,
    quic: QuicSockets,
    pub(super) stop: CancellationToken,
}

impl Dialler {
    /// Idle sessions are looked after by a task of the resolver's tracker, until `stop`.
    pub(crate) fn new(
        resolver: Arc<Resolver>,
        config: &NodeConfig,
        passes: Passes,
        quic: QuicSockets,
        stop: CancellationToken,
    ) -> Arc<Self> {
        let pool = Arc::new(Pool::new(config.idle_limits));
        resolver.tasks.spawn({
            let (pool, stop) = (Arc::clone(&pool), stop.clone());
            async move { pool.run(stop).await }
        });
        let peers = Peers::new(config.own_records);
        Arc::new_cyclic(|this| Self {
            this: Weak::clone(this),
            resolver,
            peers,
            pool,
            elsewhere: Arc::default(),
            upgrades: Upgrades::default(),
            passes,
            quic,
            stop,
        })
    }

    /// Opens a tunnel to `name`. What was sent of `early`, the first payload, is taken out of it;
    /// the rest is for the caller to send. Successes are remembered. Dropping the future cancels
    /// every attempt.
    ///
    /// An idle session costs no handshake and no round trip. When it turns out to have ended before
    /// the question can have reached the backend, the next one takes its place, unseen; when it may
    /// have, nothing is repeated that is not [repeatable](Early::is_repeatable). The same holds for
    /// a new connection, which is asked with payload if that may arrive twice.
    ///
    /// # Errors
    /// [`ReachError`] says what was tried.
    pub(crate) async fn reach(
        &self,
        name: &ServiceName,
        waiting: Waiting,
        early: &mut Early,
    ) -> Result<TunnelStream, ReachError> {
        while let Some(idle) = self.pool.take(name) {
            match self.try_idle(name, idle, early).await {
                Tried::Tunnel(tunnel) => return Ok(tunnel),
                Tried::Useless => debug!(key = %name.key.short(), "idle session was of no use"),
                Tried::Failed(error) => return Err(*error),
                Tried::Doubtful(question) => return self.overtake(name, waiting, question, early).await,
            }
        }
        let reached = self.reach_anew(name, waiting, FirstPayload::of(early)).await;
        reached.map(|reached| early.sent_with(reached))
    }

    /// Opens a tunnel over a new connection. Returns how much of `first` it has got.
    pub(super) async fn reach_anew(
        &self,
        name: &ServiceName,
        waiting: Waiting,
        first: FirstPayload,
    ) -> Result<(TunnelStream, usize), ReachError> {
        let (route, reached) = self.race(name, waiting, Purpose::Tunnel(first.kind), first).await?;
        let sent = reached.sent;
        if !reached.session.is_reusable() {
            let (round_trip, elsewhere) = (route.round_trip(), self.elsewhere.follow(name.key, route));
            return Ok((TunnelStream::last(reached.session).told_by(elsewhere).measured_in(round_trip), sent));
        }
        // One whose connection carries many tunnels has made place for the next already.
        match reached.session.another() {
            Some(another) => self.pool.put(name, self.idle(another, Arc::clone(&route))),
            None => self.refill(name, Arc::clone(&route)),
        }
        Ok((self.lend(name, reached.session, route), sent))
    }

    /// Keeps a session to `name` idle, dialled before anybody asks, until the node stops. For who
    /// is named so in the configuration, and for nobody else (rathole and frp do it for whatever is
    /// configured): the network hears of what nobody has opened.
    pub(crate) async fn keep_ready(&self, name: &ServiceName) {
        let Some(renewal) = self.pool.renewal() else { return };
        let keeping = async {
            let mut failures = 0;
            loop {
                let is_ready = self.pool.is_stocked(name) || self.dial_ahead(name).await;
                failures = if is_ready { 0 } else { failures + 1 };
                sleep(patience(renewal, failures)).await;
            }
        };
        self.stop.run_until_cancelled(keeping).await;
    }

    /// Dials a session and keeps it. Returns whether that worked.
    async fn dial_ahead(&self, name: &ServiceName) -> bool {
        match self.race(name, Waiting::Program, Purpose::Prewarm, FirstPayload::default()).await {
            Ok((route, reached)) => {
                self.pool.put(name, self.idle(reached.session, route));
                true
            }
            Err(error) => {
                debug!(%error, "not ready");
                false
            }
        }
    }

    async fn race(
        &self,
        name: &ServiceName,
        waiting: Waiting,
        purpose: Purpose,
        first: FirstPayload,
    ) -> Result<(Arc<Route>, Reached), ReachError> {
        let job = |first| self.job(name, None, self.passes.get(&name.key)).map(|job| Job { first, ..job });
        let kind = first.kind;
        let mut raced = race(&self.resolver, name, waiting, job(first), purpose).await;
        let is_turned_away = raced.as_ref().is_err_and(|error| error.report.has_answer());
        if is_turned_away && self.passes.has_news(name.key).await {
            // What was to go with the question may have been taken, and goes behind it now.
            raced = race(&self.resolver, name, waiting, job(FirstPayload::nothing(kind)), purpose).await;
        }
        // Where nobody was reached, the listener may have become another program's.
        let version = raced.as_ref().ok().map(|(_, reached)| reached.session.version());
        if let Ok((route, _)) = &raced {
            self.elsewhere.reached(name.key, &route.candidate.addr);
            self.pool.stand(name, route);
        }
        self.peers.note(name.key, version);
        raced
    }

    /// What is connected.
    pub(crate) fn connected(&self) -> Connected {
        Connected { pool: Arc::clone(&self.pool), tunnels: Arc::clone(&self.elsewhere) }
    }

    /// Dials a session over a better path than one `than` there is.
    pub(super) async fn dial_better(
        &self,
        name: &ServiceName,
        than: &Arc<Route>,
    ) -> Option<(Arc<Route>, Box<dyn DiallerSession>)> {
        let job = self.job(name, Some(Arc::clone(than)), self.passes.get(&name.key));
        let raced = race(&self.resolver, name, Waiting::Nobody, job, Purpose::Prewarm).await;
        raced.ok().map(|(route, reached)| (route, reached.session))
    }

    /// Whether an idle session's peer was heard so lately that payload may go with the question.
    pub(super) fn is_fresh(&self, idle: &Idle) -> bool {
        self.pool.is_fresh(idle, self.generation())
    }

    /// Keeps a session to `name`.
    pub(super) fn keep(&self, name: &ServiceName, session: Box<dyn DiallerSession>, route: Arc<Route>) {
        self.pool.put(name, self.idle(session, route));
    }

    /// The sessions that wait for their next tunnel.
    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Drops those over the connection of `session`, which has ended or carries as many tunnels as
    /// it may.
    pub(super) fn forget_connection(&self, name: &ServiceName, session: &dyn DiallerSession) {
        self.pool.forget_connection(name, session);
    }

    /// Drops every idle session to `name`.
    pub(super) fn forget(&self, name: &ServiceName) {
        self.pool.forget(name);
    }

    /// Hands out a session; it comes back to the pool when its tunnel has ended cleanly.
    pub(super) fn lend(&self, name: &ServiceName, session: Box<dyn DiallerSession>, route: Arc<Route>) -> TunnelStream {
        let (pool, resolver) = (Arc::clone(&self.pool), Arc::clone(&self.resolver));
        let elsewhere = self.elsewhere.follow(name.key, Arc::clone(&route));
        self.better(name, &route);
        let (stop, name, round_trip) = (self.stop.clone(), name.clone(), route.round_trip());
        TunnelStream::lent(session, move |session| {
            if !stop.is_cancelled() {
                pool.put(&name, Idle::new(session, route, resolver.network.generation()));
            }
        })
        .told_by(elsewhere)
        .measured_in(round_trip)
    }

    fn idle(&self, session: Box<dyn DiallerSession>, route: Arc<Route>) -> Idle {
        Idle::new(session, route, self.generation())
    }

    /// Which generation of networks this computer is in.
    pub(super) fn generation(&self) -> u64 {
        self.resolver.network.generation()
    }

    /// Prewarms a session behind the user's back, when the service is in demand and none is left.
    pub(super) fn refill(&self, name: &ServiceName, route: Arc<Route>) {
        if !self.pool.should_refill(name) {
            return;
        }
        let (pool, resolver) = (Arc::clone(&self.pool), Arc::clone(&self.resolver));
        let (stop, name, job) = (self.stop.clone(), name.clone(), self.job(name, None, self.passes.get(&name.key)));
        self.resolver.tasks.spawn(async move {
            let dialling = async { job?.dial(&route.candidate, None, Purpose::Prewarm).await.ok() };
            let reached = stop.run_until_cancelled(dialling).await.flatten();
            let idle = reached.map(|reached| {
                let route = reached.route(route.candidate.clone(), &resolver.network.now());
                Idle::new(reached.session, Arc::new(route), resolver.network.generation())
            });
            pool.refilled(&name, idle);
        });
    }

    /// What attempts to reach `name` do, over a better path `than` there is if that is given.
    /// `None` if its key hash cannot be a server name. A private service, which is opened by
    /// `pass`, does not answer to its own name, and that is not said.
    pub(super) fn job(&self, name: &ServiceName, than: Option<Arc<Route>>, pass: Option<Pass>) -> Option<Job> {
        let (tls, version) = self.peers.get(name.key);
        let pseudonym = sni::pseudonym(name.key, clock::today());
        let (server_name, pseudonym) = match &pass {
            Some(_) => (pseudonym?, None),
            None => (sni::server_name(name.key).ok()?, pseudonym),
        };
        Some(Job {
            target: Target { key: name.key, tls, name: server_name, pseudonym: None, pass },
            pseudonym,
            version,
            preamble: Preamble { password: name.password.clone(), ..Preamble::default() },
            first: FirstPayload::default(),
            than,
            quic: self.quic.clone(),
        })
    }
}

/// Time until a service that is kept ready is looked after again: twice as long after each failure,
/// so that a computer that is switched off is not looked for all day.
fn patience(renewal: Duration, failures: u32) -> Duration {
    let doubled = renewal.saturating_mul(2_u32.saturating_pow(failures));
    doubled.min(READY_AGAIN.max(renewal))
}

/// The error of a session that was idle.
pub(super) fn failed(name: &ServiceName, route: &Route, outcome: Outcome, began: Instant) -> ReachError {
    let (took, candidate) = (began.elapsed(), route.candidate.clone());
    let attempt = AttemptReport { addr: candidate.addr, source: candidate.source, path: route.path(), outcome, took };
    let report = Report { sources: Vec::new(), attempts: vec![attempt], took };
    ReachError { key: name.key, cause: cause_of(&report, name), report: Arc::new(report) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_computer_that_is_away_is_looked_for_ever_more_rarely_up_to_a_limit() {
        let minutes = |number: u64| Duration::from_secs(60 * number);
        let waits = [0, 1, 2, 3, 100].map(|failures| patience(minutes(1), failures));
        assert_eq!(waits, [minutes(1), minutes(2), minutes(4), minutes(8), READY_AGAIN]);
        assert_eq!(patience(minutes(60), 1), minutes(60));
    }
}
