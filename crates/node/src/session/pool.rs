//! Sessions that wait for their next tunnel.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use hardline_proto::KeyHash;
use hardline_proto::host::ServiceName;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{DiallerSession, Route};
use crate::config::IdleLimits;
use crate::limits::FRESH_SESSION;

/// Time between two looks for sessions that nobody wants any more.
const SWEEP: Duration = Duration::from_secs(10);

/// The part of the time for which sessions are idle after which one that is kept ready is dialled
/// anew.
const RENEWAL: f64 = 0.8;

/// The idle sessions of a node, per service and password.
///
/// The one used last is taken first. So with less demand the others grow old, and after
/// [`IdleLimits::time`] they go.
#[derive(Debug)]
pub(crate) struct Pool {
    idle_limits: IdleLimits,
    services: Mutex<HashMap<ServiceName, Kept>>,
    filled: Notify,
    /// Whether none is kept for now.
    is_resting: AtomicBool,
}

#[derive(Debug, Default)]
struct Kept {
    /// The one used last at the end.
    idle: Vec<Idle>,
    /// The path that new sessions take. Those over a worse one are not kept.
    standing: Option<Arc<Route>>,
    /// When a session was wanted last.
    wanted: Option<Instant>,
    /// Whether there has been an idle one: before, nobody knows that the service is used again.
    was_kept: bool,
    /// Whether one is being dialled.
    is_refilling: bool,
}

/// A session that carries nothing.
#[derive(Debug)]
pub(crate) struct Idle {
    pub(crate) session: Box<dyn DiallerSession>,
    /// Where it leads.
    pub(crate) route: Arc<Route>,
    /// Which generation of networks this computer was in.
    generation: u64,
    since: Instant,
    /// The other clock may stand still while the computer sleeps.
    since_date: SystemTime,
}

impl Idle {
    /// `session` leads over `route`, and this computer is in `generation` of networks.
    pub(crate) fn new(mut session: Box<dyn DiallerSession>, route: Arc<Route>, generation: u64) -> Self {
        session.rest();
        Self { session, route, generation, since: Instant::now(), since_date: SystemTime::now() }
    }

    fn age(&self) -> Duration {
        // A clock that was set back tells nothing.
        self.since.elapsed().max(self.since_date.elapsed().unwrap_or_default())
    }

    fn is_useful(&mut self, idle_limits: &IdleLimits) -> bool {
        (self.age() < idle_limits.time || self.session.is_in_use()) && self.session.is_quiet()
    }

    /// Another one over the same connection.
    fn another(&self) -> Option<Self> {
        let session = self.session.another()?;
        Some(Self { session, route: Arc::clone(&self.route), ..*self })
    }
}

impl Pool {
    pub(crate) fn new(idle_limits: IdleLimits) -> Self {
        Self { idle_limits, services: Mutex::default(), filled: Notify::new(), is_resting: AtomicBool::new(false) }
    }

    /// Whether the peer was heard so lately, and from the same place, that it will still be there.
    ///
    /// A session that was idle for longer, or before this computer moved, is asked before payload
    /// is sent: then nothing has to be repeated. That costs a round trip and no handshake. (15 s
    /// instead cost somebody who moved a failed request; pings would keep radios awake.)
    pub(crate) fn is_fresh(&self, idle: &Idle, generation: u64) -> bool {
        idle.age() < FRESH_SESSION && idle.generation == generation
    }

    /// Time after which one that is kept ready is dialled anew, before the one there is grows too
    /// old; `None` if sessions are not kept.
    pub(crate) fn renewal(&self) -> Option<Duration> {
        let IdleLimits { time, sessions, sessions_each } = self.idle_limits;
        (sessions > 0 && sessions_each > 0 && !time.is_zero()).then(|| time.mul_f64(RENEWAL))
    }

    /// Whether a session to `name` is there that will not be too old at the next
    /// [renewal](Self::renewal).
    pub(crate) fn is_stocked(&self, name: &ServiceName) -> bool {
        let young = self.idle_limits.time.mul_f64(1.0 - RENEWAL);
        let mut services = self.lock();
        let Some(kept) = services.get_mut(name) else { return false };
        kept.idle.iter_mut().any(|idle| idle.age() < young && idle.is_useful(&self.idle_limits))
    }

    /// Takes a session to `name` that is not known to have ended. One whose connection carries many
    /// tunnels at once stays, and another over its connection is taken.
    pub(crate) fn take(&self, name: &ServiceName) -> Option<Idle> {
        let mut services = self.lock();
        let kept = services.get_mut(name)?;
        kept.wanted = Some(Instant::now());
        let taken = std::iter::from_fn(|| kept.idle.pop())
            .find_map(|mut idle| idle.is_useful(&self.idle_limits).then_some(idle))?;
        if let Some(another) = taken.another() {
            kept.idle.push(another);
        }
        Some(taken)
    }

    /// Keeps a session, if there is room. Of those over one connection the last is kept.
    pub(crate) fn put(&self, name: &ServiceName, idle: Idle) {
        let mut services = self.lock();
        // Read under the lock: who begins a rest takes what is there behind it.
        if self.is_resting.load(Ordering::Relaxed) {
            return;
        }
        if let (Some(connection), Some(kept)) = (idle.session.connection(), services.get_mut(name)) {
            kept.idle.retain(|kept| kept.session.connection() != Some(connection));
        }
        let standing = services.get(name).and_then(|kept| kept.standing.as_ref());
        if standing.is_some_and(|standing| standing.kind() < idle.route.kind()) {
            return;
        }
        let all: usize = services.values().map(|kept| kept.idle.len()).sum();
        let kept = services.entry(name.clone()).or_default();
        if all < self.idle_limits.sessions && kept.idle.len() < self.idle_limits.sessions_each {
            kept.idle.push(idle);
        }
        (kept.wanted, kept.was_kept) = (Some(Instant::now()), true);
        self.filled.notify_one();
    }

    /// Says that `name` was reached over `route` just now. Idle sessions over a worse path are let
    /// go.
    pub(crate) fn stand(&self, name: &ServiceName, route: &Arc<Route>) {
        let mut services = self.lock();
        let kept = services.entry(name.clone()).or_default();
        kept.idle.retain(|idle| idle.route.kind() <= route.kind());
        (kept.standing, kept.wanted) = (Some(Arc::clone(route)), Some(Instant::now()));
        self.filled.notify_one();
    }

    /// The path over which `name` was reached last, while sessions to it are wanted.
    pub(crate) fn standing(&self, name: &ServiceName) -> Option<Arc<Route>> {
        self.lock().get(name)?.standing.clone()
    }

    /// Notes that no session to `name` is left. Returns whether a prewarmed one should be dialled:
    /// the service is used again and again, and none is on its way. Tell the end of that with
    /// [`refilled`](Self::refilled).
    pub(crate) fn should_refill(&self, name: &ServiceName) -> bool {
        let mut services = self.lock();
        let Some(kept) = services.get_mut(name) else { return false };
        let may = !self.is_resting.load(Ordering::Relaxed);
        let should = may && kept.was_kept && kept.idle.is_empty() && !kept.is_refilling;
        kept.is_refilling |= should;
        should
    }

    pub(crate) fn refilled(&self, name: &ServiceName, prewarmed: Option<Idle>) {
        if let Some(kept) = self.lock().get_mut(name) {
            kept.is_refilling = false;
        }
        if let Some(idle) = prewarmed {
            self.put(name, idle);
        }
    }

    /// Drops those to `name` that share the connection of `session`.
    pub(crate) fn forget_connection(&self, name: &ServiceName, session: &dyn DiallerSession) {
        let Some(connection) = session.connection() else { return };
        if let Some(kept) = self.lock().get_mut(name) {
            kept.idle.retain(|kept| kept.session.connection() != Some(connection));
        }
    }

    /// Begins or ends a rest, in which none is kept: an idle session's computer is asked now and
    /// then whether it is there, which wakes a radio.
    pub(crate) fn rest(&self, is_resting: bool) {
        let mut services = self.lock();
        self.is_resting.store(is_resting, Ordering::Relaxed);
        if is_resting {
            services.values_mut().for_each(|kept| kept.idle.clear());
        }
    }

    /// Drops every session to `name`: they lead nowhere.
    pub(crate) fn forget(&self, name: &ServiceName) {
        if let Some(kept) = self.lock().get_mut(name) {
            kept.idle.clear();
            kept.standing = None;
        }
    }

    /// Where the idle sessions lead, with their round trips as they are now.
    pub(crate) fn routes(&self) -> Vec<(KeyHash, Arc<Route>)> {
        let services = self.lock();
        let all = services.iter().flat_map(|(name, kept)| kept.idle.iter().map(|idle| (name.key, idle)));
        let look = |(key, idle): (KeyHash, &Idle)| {
            idle.route.look(&*idle.session);
            (key, Arc::clone(&idle.route))
        };
        all.map(look).collect()
    }

    /// Looks after the sessions until `stop`, then drops them.
    pub(crate) async fn run(&self, stop: CancellationToken) {
        let sweeping = async {
            loop {
                if self.lock().is_empty() {
                    self.filled.notified().await;
                }
                sleep(SWEEP).await;
                self.sweep();
            }
        };
        stop.run_until_cancelled(sweeping).await;
        self.lock().clear();
    }

    fn sweep(&self) {
        let mut services = self.lock();
        for kept in services.values_mut() {
            kept.idle.retain_mut(|idle| idle.is_useful(&self.idle_limits));
        }
        services.retain(|_, kept| {
            let is_wanted = kept.wanted.is_some_and(|wanted| wanted.elapsed() < self.idle_limits.time);
            is_wanted || kept.is_refilling || !kept.idle.is_empty()
        });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ServiceName, Kept>> {
        self.services.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
