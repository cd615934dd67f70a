//! Candidates → one verified connection, by a race.

mod attempt;
mod connected; // which services are connected now, and over what
mod dialler;
mod elsewhere; // running tunnels whose service has moved
mod enrol; // an invitation → a key pair that is enrolled
mod first; // payload that goes with the question over a new connection
mod idle; // a tunnel over an idle session, overtaken when nobody answers
mod passes; // what opens private services
mod peers;
mod upgrade; // a better path, while the one there is leads through a relay or NATs

pub(crate) use connected::Connected;
pub use connected::Peer;
pub(crate) use dialler::Dialler;
pub use enrol::AcceptError;
pub(crate) use idle::Early;
pub(crate) use passes::Passes;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hardline_proto::KeyHash;
use hardline_proto::candidate::{Candidate, Tier, TransportAddr, Trust};
use hardline_proto::dial::{AttemptId, DialSchedule};
use hardline_proto::host::ServiceName;
use hardline_proto::hosts::Host;
use hardline_proto::network::NetworkState;
use hardline_proto::path::PathKind;
use hardline_proto::tunnel::Refusal;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, warn};

use crate::discovery::{AttemptLog, AttemptReport, Lookup, Outcome, Report, Resolver};
use crate::limits::{DIAL_AGAIN, LOOKUP_TIMEOUT, PATIENT_LOOKUP_TIMEOUT};
use crate::store::{Origin, StoreError};

use self::attempt::Reached;
use crate::session::{Purpose, Route};

/// How long the other candidates may go on after the service has proved its key and hung up:
/// another publisher of the same identity may do better, but a backend that is down should be told
/// soon.
const AFTER_CLOSED: Duration = Duration::from_millis(500);

/// Why a service could not be reached, with everything that was tried.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{key} not reached: {cause}")]
pub struct ReachError {
    /// The service.
    pub key: KeyHash,
    /// The cause, in short.
    pub cause: Cause,
    /// What was tried.
    pub report: Arc<Report>,
}

/// Why a service could not be reached. When several apply, the one a person can do most about.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// No source knows an address.
    NotFound,
    /// There are addresses, and nobody answers at them.
    Unreachable,
    /// Somebody else answers at the address.
    WrongKey {
        /// Where.
        at: TransportAddr,
        /// Whose certificate was presented.
        got: KeyHash,
    },
    /// The service proved its key and closed the connection before its preamble: the program behind
    /// it is down, or the password is wrong.
    Closed {
        /// Where.
        at: TransportAddr,
        /// Whether a password was sent.
        with_password: bool,
    },
    /// The service proved its key and said no, in version 2 of the protocol.
    Refused {
        /// Where.
        at: TransportAddr,
        /// Why.
        refusal: Refusal,
        /// Whether a password was sent.
        with_password: bool,
    },
    /// The service was reached before, and then went away without an answer to what was sent. It
    /// may have been received, so it was not sent again.
    Unanswered {
        /// Where.
        at: TransportAddr,
    },
    /// No TLS server name can be made of this key hash: its digits are all decimal.
    Unnameable,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("no address found"),
            Self::Unreachable => f.write_str("nobody answers at the addresses found"),
            Self::WrongKey { at, got } => write!(f, "somebody else, {got}, answers at {at}"),
            Self::Closed { at, with_password: false } => {
                write!(f, "{at} is the right computer, but the program behind it is down, or a password is needed")
            }
            Self::Closed { at, with_password: true } => {
                write!(f, "{at} is the right computer, but the program behind it is down, or the password is wrong")
            }
            Self::Refused { at, refusal, .. } => write!(f, "{at} is the right computer, but {refusal}"),
            Self::Unanswered { at } => write!(f, "{at} is the right computer, but it went away without an answer"),
            Self::Unnameable => f.write_str("a key hash of decimal digits alone cannot be a TLS server name"),
        }
    }
}

/// Who waits for a service, and so for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// A person before a page that loads again by itself and says what is going on.
    Page,
    /// A program that fails when we do.
    Program,
    /// Nobody: there is a tunnel, and a better path would be welcome.
    Nobody,
}

impl Waiting {
    fn limit(self, resolver: &Resolver) -> Duration {
        match self {
            Self::Program if resolver.asks_wan() => PATIENT_LOOKUP_TIMEOUT,
            _ => LOOKUP_TIMEOUT,
        }
    }
}

/// Finds `name` and returns the first connection whose certificate hashes to its key and which
/// serves the `purpose`. Successes are remembered. Dropping the future cancels every attempt.
///
/// # Errors
/// [`ReachError`] when every source and every attempt has ended without one, or nothing was found
/// within the limit of who is `waiting`; at once without a `job`, because the key hash cannot be a
/// server name.
async fn race(
    resolver: &Arc<Resolver>,
    name: &ServiceName,
    waiting: Waiting,
    job: Option<attempt::Job>,
    purpose: Purpose,
) -> Result<(Arc<Route>, Reached), ReachError> {
    let Some(job) = job else {
        return Err(ReachError { key: name.key, cause: Cause::Unnameable, report: Arc::default() });
    };
    let than = job.than.clone();
    let mut race = Race {
        lookup: match &than {
            Some(than) => resolver.look_beside(name.key, than.kind() > PathKind::Punched),
            None => resolver.lookup(name.key),
        },
        schedule: DialSchedule::new(),
        moves: 0,
        attempts: JoinSet::new(),
        job: Arc::new(job),
        here: resolver.network.now(),
        purpose,
        log: AttemptLog::new(resolver.network.now()),
        absent: Vec::new(),
        again: None,
        give_up: None,
    };
    match race.run(waiting.limit(resolver)).await {
        Some((candidate, reached)) => {
            debug!(key = %name.key.short(), addr = %reached.addr, source = candidate.source.name, "reached");
            let route = Arc::new(reached.route(candidate, &resolver.network.now()));
            remember(resolver, name.key, &route.candidate, &reached);
            race.lookup.reached(&route.candidate.addr);
            Ok((route, reached))
        }
        None => {
            if than.is_none() {
                resolver.context.last_known_good.forget(&name.key);
            }
            let report = race.log.report(race.lookup.report());
            Err(ReachError { key: name.key, cause: cause_of(&report, name), report: Arc::new(report) })
        }
    }
}

struct Race {
    lookup: Lookup,
    schedule: DialSchedule,
    /// How often the schedule began anew, in another network.
    moves: u32,
    attempts: JoinSet<Ended>,
    job: Arc<attempt::Job>,
    here: Arc<NetworkState>,
    purpose: Purpose,
    log: AttemptLog,
    /// Where the service was not, to be tried once more.
    absent: Vec<Candidate>,
    /// When that is.
    again: Option<Instant>,
    give_up: Option<Instant>,
}

/// An attempt that came to an end.
struct Ended {
    moves: u32,
    id: AttemptId,
    /// In the log.
    number: usize,
    candidate: Candidate,
    result: Result<Reached, Outcome>,
}

impl Race {
    async fn run(&mut self, limit: Duration) -> Option<(Candidate, Reached)> {
        let lookup_ends = Instant::now() + limit;
        let mut is_looking = true;
        loop {
            while let Some((id, candidate)) = self.schedule.poll_start(now()) {
                if self.job.may_be_better(&candidate, &self.here) {
                    self.start(id, candidate);
                } else {
                    self.schedule.failed(now(), id);
                    self.note_idle();
                }
            }
            if self.schedule.poll_call(now()) {
                self.lookup.call();
            }
            if self.schedule.is_exhausted() {
                return None;
            }
            let next_start = self.schedule.poll_timeout().map(Instant::from_std);
            tokio::select! {
                () = self.lookup.changed(), if is_looking => self.hear(),
                Some(ended) = self.attempts.join_next() => match ended {
                    Ok(Ended { candidate, result: Ok(reached), .. }) => return Some((candidate, reached)),
                    Ok(Ended { moves, id, number, candidate, result: Err(outcome) }) => {
                        self.failed(moves, id, number, candidate, outcome);
                    }
                    // A bug of ours: it ends this request, which would wait for that attempt for
                    // ever.
                    Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                    Err(error) => debug!(%error, "attempt did not end by itself"),
                },
                () = at(next_start) => {}
                () = at(self.again), if is_looking => self.try_again(),
                () = sleep_until(lookup_ends), if is_looking => {
                    is_looking = false;
                    self.schedule.no_more();
                }
                () = at(self.give_up) => return None,
            }
        }
    }

    /// Hears what the lookup has found.
    fn hear(&mut self) {
        if self.lookup.tell(&mut self.schedule) {
            // In another network, where all begins anew.
            self.moves += 1;
            (self.absent, self.again) = (Vec::new(), None);
        }
    }

    fn try_again(&mut self) {
        self.again = None;
        self.absent.drain(..).for_each(|candidate| self.schedule.again(now(), candidate));
    }

    fn start(&mut self, id: AttemptId, candidate: Candidate) {
        let number = self.log.started(&candidate);
        let (moves, job, purpose) = (self.moves, Arc::clone(&self.job), self.purpose);
        let (said, here) = (self.lookup.version(&candidate.addr), Arc::clone(&self.here));
        self.attempts.spawn(async move {
            let reached = job.dial(&candidate, said, purpose).await;
            let result = reached.and_then(|reached| job.better(reached, &candidate, &here));
            Ended { moves, id, number, candidate, result }
        });
    }

    fn failed(&mut self, moves: u32, id: AttemptId, number: usize, candidate: Candidate, outcome: Outcome) {
        debug!(%outcome, "candidate failed");
        if matches!(outcome, Outcome::Closed | Outcome::Refused { .. }) {
            self.give_up.get_or_insert(Instant::now() + AFTER_CLOSED);
        }
        let is_absent = match outcome {
            Outcome::Unreachable { .. } => true,
            // A relay may not know the name yet whose publisher wakes up. What strangers name is
            // not worth a second look.
            Outcome::Handshake { .. } => candidate.source.trust <= Trust::Service,
            _ => false,
        };
        self.log.ended(number, outcome);
        // One that was started in another network is not in this schedule.
        if moves == self.moves {
            self.schedule.failed(now(), id);
            if is_absent {
                self.absent.push(candidate);
                self.again.get_or_insert(Instant::now() + DIAL_AGAIN);
            }
            self.note_idle();
        }
    }

    fn note_idle(&self) {
        if self.schedule.is_idle() {
            self.lookup.all_failed();
        }
    }
}

/// The time for the schedule, which follows simulated time too.
fn now() -> std::time::Instant {
    Instant::now().into_std()
}

/// Waits until `when`, for ever without one.
async fn at(when: Option<Instant>) {
    match when {
        Some(when) => sleep_until(when).await,
        None => std::future::pending().await,
    }
}

/// The cause that a person can do most about.
fn cause_of(report: &Report, name: &ServiceName) -> Cause {
    let with_password = name.password.is_some();
    let cause = |attempt: &AttemptReport| {
        let at = attempt.addr.clone();
        match &attempt.outcome {
            Outcome::Refused { refusal } => Some((0, Cause::Refused { at, refusal: refusal.clone(), with_password })),
            Outcome::Closed => Some((1, Cause::Closed { at, with_password })),
            Outcome::Unanswered => Some((2, Cause::Unanswered { at })),
            Outcome::WrongKey { got } => Some((3, Cause::WrongKey { at, got: *got })),
            _ => None,
        }
    };
    let best = report.attempts.iter().filter_map(cause).min_by_key(|(rank, _)| *rank);
    let otherwise = if report.attempts.is_empty() { Cause::NotFound } else { Cause::Unreachable };
    best.map_or(otherwise, |(_, cause)| cause)
}

/// Keeps what a verified listener taught us. In the background: the tunnel does not wait for the
/// disk.
fn remember(resolver: &Arc<Resolver>, key: KeyHash, candidate: &Candidate, reached: &Reached) {
    let advertised = reached.preamble.wan_hosts.clone();
    let Some(origin) = origin(candidate) else { return };
    let (addr, here) = ((candidate.addr.clone(), candidate.way), resolver.network.now());
    if !resolver.context.last_known_good.note(now(), key, addr, advertised.clone(), here) {
        return;
    }
    let Some(store) = resolver.context.store.clone() else { return };
    // The store keeps addresses for TCP, which every version of this program can read: those with a
    // zone are none of them.
    let at = match &candidate.addr {
        TransportAddr::Tcp(at) if !matches!(at.host, Host::LinkLocal(..)) => Some(at.clone()),
        _ => None,
    };
    let version = reached.session.version();
    let title = resolver.context.lan.as_ref().and_then(|lan| title_of(&lan.heard(), key, reached.addr));
    resolver.tasks.spawn(async move {
        let written = async {
            if let Some(at) = at {
                store.worked(key, at, origin, title).await?;
            }
            store.spoke(key, version).await?;
            match advertised {
                Some(hosts) => store.advertised(key, hosts).await,
                None => Ok(()),
            }
        };
        match written.await {
            Ok(()) => {}
            // The node is stopping.
            Err(error @ StoreError::Closed) => debug!(%error, "address not remembered"),
            Err(error) => warn!(%error, remedy = error.remedy(), "address not remembered"),
        }
    });
}

/// How the store is to remember the candidate; `None` if this process has the service itself.
fn origin(candidate: &Candidate) -> Option<Origin> {
    match candidate.source.rank() {
        (_, Trust::Own) => None,
        (Tier::Local, _) => Some(Origin::Static),
        (Tier::Lan, Trust::Neighbour) => Some(Origin::Lan),
        (Tier::Lan, _) => Some(Origin::Advertised),
        (Tier::Wan, _) => Some(Origin::Dht),
    }
}

/// The title announced from the very address that was verified just now.
fn title_of(heard: &[crate::drivers::lan::FoundService], key: KeyHash, addr: SocketAddr) -> Option<String> {
    let title = heard.iter().find(|service| service.key == key)?.title_at(addr)?;
    (!title.is_empty()).then(|| title.to_owned())
}
