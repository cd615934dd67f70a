//! Candidates → when to try which (RFC 8305, "Happy Eyeballs"): what is direct first, then what
//! both sides must open, then relays, then the mesh.

mod lane; // which ways are tried before which others

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::candidate::{Candidate, SourceInfo, Tier, TransportAddr, Trust};

pub use lane::Lane;

/// Time between the starts of two attempts in one lane (RFC 8305, section 5: 250 ms recommended,
/// 100 ms at least). A failure starts the next one at once.
pub const CONNECTION_ATTEMPT_DELAY: Duration = Duration::from_millis(150);

/// Most attempts under way at once. Half of them may hang at dead addresses and the others still go
/// on.
pub const MAX_PARALLEL_DIALS: usize = 8;

/// Most addresses dialled for one lookup, by whomever they were named.
pub const MAX_CANDIDATES: usize = 16;

/// How many of these are kept for each tier and trust in it, as long as a source of it is being
/// asked: many addresses that all fail at once leave room for what another source finds out later,
/// and no stranger takes the place of the service. Kept so by tier and trust, it does not matter
/// how many sources there are.
pub const RESERVED_PER_RANK: usize = 2;

/// Most that is kept in all.
const MAX_RESERVED: usize = MAX_CANDIDATES / 2;

/// What is kept for: see [`SourceInfo::rank`].
type Rank = (Tier, Trust);

/// Number of an attempt within one schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AttemptId(pub u32);

/// Decides which candidate to dial when.
///
/// Feed it with [`add`](Self::add) as sources find candidates, with [`asked`](Self::asked) and
/// [`ended`](Self::ended) as sources come and go, with [`no_more`](Self::no_more) when all have
/// ended, and with [`failed`](Self::failed); ask [`poll_start`](Self::poll_start) and
/// [`poll_call`](Self::poll_call) after each of these and whenever
/// [`poll_timeout`](Self::poll_timeout) passes. It ends when one attempt succeeds (drop it) or when
/// [`is_exhausted`](Self::is_exhausted).
///
/// - A candidate is tried once, and once more each time it is taken back by [`again`](Self::again).
///   That there is one for each address only, and not too many of a source, is seen to by the
///   [`CandidateSet`](crate::candidate::CandidateSet).
/// - At most [`MAX_CANDIDATES`] are tried, and [`RESERVED_PER_RANK`] are kept for each tier and
///   trust in it that is being asked.
/// - Sources take turns, in the order of their ranks: first the first candidate of each, then the
///   second of each. So a long list of dead addresses does not hold up what another source knows.
/// - A candidate of a better source than all attempts under way in its lane starts at once: an
///   answer on the LAN need not wait for a remembered address that no longer works. So does one
///   that was [preferred](Self::prefer).
/// - Better [lanes](Lane) have a [head start](Lane::head_start): an attempt from when it began, and
///   one that still waits its turn from when the worse candidate was named. Without either nothing
///   waits. A call has the head start of the punched lane; what comes of it is tried at once.
#[derive(Debug, Default)]
pub struct DialSchedule {
    /// Candidates taken so far, by the name of their source.
    taken: BTreeMap<&'static str, usize>,
    /// Not yet started, in the order in which they will be.
    waiting: Vec<Waiting>,
    /// Started so far, by rank.
    started: BTreeMap<Rank, usize>,
    /// Sources that may name more.
    asked: BTreeSet<SourceInfo>,
    under_way: BTreeMap<AttemptId, UnderWay>,
    next_id: u32,
    /// When the next attempt may start, in each lane.
    next_start: BTreeMap<Lane, Instant>,
    call: Calling,
    no_more: bool,
}

#[derive(Debug)]
struct UnderWay {
    rank: Rank,
    lane: Lane,
    began: Instant,
}

/// Whether the service is called.
#[derive(Debug, Default)]
enum Calling {
    /// It cannot be, as far as is known.
    #[default]
    Unknown,
    /// It can be, as is known since then.
    Possible(Instant),
    /// It is.
    Begun,
}

#[derive(Debug)]
struct Waiting {
    candidate: Candidate,
    /// How many of the same source came before it.
    turn: usize,
    is_preferred: bool,
    lane: Lane,
    /// When it was named.
    since: Instant,
}

impl DialSchedule {
    /// An empty schedule.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a candidate at an address that is new.
    pub fn add(&mut self, now: Instant, candidate: Candidate) {
        let taken = self.taken.entry(candidate.source.name).or_default();
        let turn = *taken;
        *taken += 1;
        self.insert(now, candidate, turn);
    }

    /// Takes back a candidate of this schedule that nobody answered at, to be tried again behind
    /// all others.
    pub fn again(&mut self, now: Instant, candidate: Candidate) {
        let started = self.started.entry(candidate.source.rank()).or_default();
        *started = started.saturating_sub(1);
        self.insert(now, candidate, usize::MAX);
    }

    fn insert(&mut self, since: Instant, candidate: Candidate, turn: usize) {
        let rank = candidate.source.rank();
        let goes_before =
            |other: &Waiting| other.is_preferred || (other.turn, other.candidate.source.rank()) <= (turn, rank);
        let place = self.waiting.partition_point(goes_before);
        let lane = Lane::of(&candidate);
        self.waiting.insert(place, Waiting { candidate, turn, is_preferred: false, lane, since });
    }

    /// Says that the service can be called.
    pub fn callable(&mut self, now: Instant) {
        if matches!(self.call, Calling::Unknown) {
            self.call = Calling::Possible(now);
        }
    }

    /// Whether the service is to be called now; it is said once.
    pub fn poll_call(&mut self, now: Instant) -> bool {
        let is_due = self.call_start().is_some_and(|start| start <= now);
        if is_due {
            self.call = Calling::Begun;
        }
        is_due
    }

    /// Says that `source` is being asked and may name candidates.
    pub fn asked(&mut self, source: SourceInfo) {
        self.asked.insert(source);
    }

    /// Says that `source` will name no more.
    pub fn ended(&mut self, source: SourceInfo) {
        self.asked.remove(&source);
    }

    /// Says that no source will name another candidate.
    pub fn no_more(&mut self) {
        self.no_more = true;
        self.asked.clear();
    }

    /// Says that the service was reached at `addr` just now, by another connection: if that waits
    /// here, it starts at once.
    pub fn prefer(&mut self, addr: &TransportAddr) {
        if let Some(place) = self.waiting.iter().position(|waiting| waiting.candidate.addr == *addr) {
            let waiting = self.waiting.remove(place);
            self.waiting.insert(0, Waiting { is_preferred: true, ..waiting });
        }
    }

    /// Says that an attempt ended without a connection.
    pub fn failed(&mut self, now: Instant, id: AttemptId) {
        if let Some(attempt) = self.under_way.remove(&id) {
            self.next_start.insert(attempt.lane, now);
        }
    }

    /// The next attempt to start now, if one is due. Call until `None`.
    pub fn poll_start(&mut self, now: Instant) -> Option<(AttemptId, Candidate)> {
        let is_due = |waiting: &Waiting| self.start(waiting).is_none_or(|start| start <= now);
        let place = self.startable().find(|(_, waiting)| is_due(waiting)).map(|(place, _)| place)?;
        let Waiting { candidate, lane, .. } = self.waiting.remove(place);
        let id = AttemptId(self.next_id);
        self.next_id += 1;
        let rank = candidate.source.rank();
        *self.started.entry(rank).or_default() += 1;
        self.under_way.insert(id, UnderWay { rank, lane, began: now });
        self.next_start.insert(lane, now + CONNECTION_ATTEMPT_DELAY);
        Some((id, candidate))
    }

    /// When to ask [`poll_start`](Self::poll_start) and [`poll_call`](Self::poll_call) again if
    /// nothing else happens.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.startable().filter_map(|(_, waiting)| self.start(waiting)).chain(self.call_start()).min()
    }

    /// Whether nothing is under way, and nothing will be unless a source names more.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.under_way.is_empty() && self.startable().next().is_none()
    }

    /// Whether any attempt was started.
    #[must_use]
    pub fn has_started(&self) -> bool {
        self.next_id > 0
    }

    /// Whether nothing is under way, nothing waits that may be tried, and no source will name more.
    #[must_use]
    pub fn is_exhausted(&self) -> bool {
        self.no_more && self.is_idle()
    }

    /// The candidates that may run beside those under way, with their places, the next first.
    fn startable(&self) -> impl Iterator<Item = (usize, &Waiting)> {
        let has_room = self.under_way.len() < MAX_PARALLEL_DIALS;
        self.waiting.iter().enumerate().filter(move |(_, waiting)| has_room && self.is_affordable(waiting))
    }

    /// When a candidate may start; `None` is at once.
    fn start(&self, waiting: &Waiting) -> Option<Instant> {
        if waiting.is_preferred {
            return None;
        }
        let paced = self.next_start.get(&waiting.lane).copied().filter(|_| !self.overtakes(waiting));
        // What comes of a call had to wait for that.
        let held = self.held(waiting.lane, waiting.since).filter(|_| waiting.lane != Lane::Punched);
        paced.max(held)
    }

    /// When the call may be made; `None` if there is none to be made.
    fn call_start(&self) -> Option<Instant> {
        let Calling::Possible(since) = self.call else { return None };
        Some(self.held(Lane::Punched, since).unwrap_or(since))
    }

    /// Until when better lanes have their head start of what was named in `lane` at `since`; `None`
    /// if nothing is in them.
    fn held(&self, lane: Lane, since: Instant) -> Option<Instant> {
        let head_start = |of: Lane| lane.head_start().saturating_sub(of.head_start());
        let attempts = self.under_way.values().filter(|attempt| attempt.lane < lane);
        let running = attempts.map(|attempt| attempt.began.min(since) + head_start(attempt.lane));
        let others = self.startable().filter(|(_, other)| other.lane < lane);
        running.chain(others.map(|(_, other)| since + head_start(other.lane))).max()
    }

    /// Whether starting it keeps to [`MAX_CANDIDATES`], with what is reserved for others.
    fn is_affordable(&self, waiting: &Waiting) -> bool {
        let reserved = if waiting.is_preferred { 0 } else { self.reserved_from(waiting.candidate.source.rank()) };
        self.started.values().sum::<usize>() + reserved < MAX_CANDIDATES
    }

    /// What is kept for sources being asked of other ranks than `rank`.
    fn reserved_from(&self, rank: Rank) -> usize {
        let asked: BTreeSet<Rank> = self.asked.iter().map(SourceInfo::rank).filter(|asked| *asked != rank).collect();
        let started = |rank| self.started.get(rank).copied().unwrap_or(0);
        let reserved: usize = asked.iter().map(|rank| RESERVED_PER_RANK.saturating_sub(started(rank))).sum();
        reserved.min(MAX_RESERVED)
    }

    /// Whether its source is better than those of the attempts under way in its lane.
    fn overtakes(&self, waiting: &Waiting) -> bool {
        let attempts = self.under_way.values().filter(|attempt| attempt.lane == waiting.lane);
        let best = attempts.map(|attempt| attempt.rank).min();
        best.is_some_and(|best| waiting.candidate.source.rank() < best)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::candidate::Way;

    const MS: Duration = Duration::from_millis(1);
    const NOTHING: [u16; 0] = [];

    const OWN: SourceInfo = info(Tier::Local, Trust::Own, "own");
    const STATIC: SourceInfo = info(Tier::Local, Trust::Person, "static");
    const LAN: SourceInfo = info(Tier::Lan, Trust::Neighbour, "lan");
    const STORE: SourceInfo = info(Tier::Lan, Trust::Service, "store");
    const SIGNED: SourceInfo = info(Tier::Wan, Trust::Service, "signed");
    const TEXT: SourceInfo = info(Tier::Wan, Trust::Stranger, "text");

    const fn info(tier: Tier, trust: Trust, name: &'static str) -> SourceInfo {
        SourceInfo { tier, trust, name, label: name }
    }

    fn candidate(source: SourceInfo, port: u16) -> Candidate {
        Candidate {
            addr: TransportAddr::Tcp(format!("192.0.2.1:{port}").parse().unwrap()),
            source,
            version: None,
            way: Way::Straight,
        }
    }

    /// A schedule that knows remembered addresses with these ports.
    fn remembering(ports: impl IntoIterator<Item = u16>) -> DialSchedule {
        let mut schedule = DialSchedule::new();
        let now = Instant::now();
        for port in ports {
            schedule.add(now, candidate(STORE, port));
        }
        schedule
    }

    /// The ports of the attempts that start at `now`.
    fn started(schedule: &mut DialSchedule, now: Instant) -> Vec<u16> {
        std::iter::from_fn(|| schedule.poll_start(now)).map(|(_, candidate)| candidate.addr.host_port().port).collect()
    }

    #[test]
    fn attempts_start_one_delay_apart() {
        let mut schedule = remembering([1, 2, 3]);
        let start = Instant::now();
        assert_eq!(started(&mut schedule, start), [1]);
        assert_eq!(schedule.poll_timeout(), Some(start + CONNECTION_ATTEMPT_DELAY));
        assert_eq!(started(&mut schedule, start + CONNECTION_ATTEMPT_DELAY - MS), NOTHING);
        assert_eq!(started(&mut schedule, start + CONNECTION_ATTEMPT_DELAY), [2]);
        // A caller that slept too long does not start the missed ones all at once.
        assert_eq!(started(&mut schedule, start + 10 * CONNECTION_ATTEMPT_DELAY), [3]);
        assert_eq!(schedule.poll_timeout(), None);
    }

    #[test]
    fn a_failure_starts_the_next_attempt_at_once() {
        let mut schedule = remembering([1, 2, 3]);
        let now = Instant::now();
        let (first, _) = schedule.poll_start(now).unwrap();
        schedule.failed(now + MS, first);
        assert_eq!(schedule.poll_timeout(), Some(now + MS));
        assert_eq!(started(&mut schedule, now + MS), [2]);
        // The same failure told twice, or of an attempt that never was, starts nothing.
        schedule.failed(now + MS, first);
        schedule.failed(now + MS, AttemptId(99));
        assert_eq!(started(&mut schedule, now + MS), NOTHING);
    }

    #[test]
    fn sources_take_turns_the_better_first() {
        let (mut schedule, now) = (remembering([1, 2]), Instant::now());
        for (source, port) in [(LAN, 3), (STATIC, 4), (OWN, 5), (LAN, 6)] {
            schedule.add(now, candidate(source, port));
        }
        let order: Vec<_> =
            (0..6).flat_map(|turn| started(&mut schedule, now + turn * CONNECTION_ATTEMPT_DELAY)).collect();
        assert_eq!(order, [5, 4, 3, 1, 6, 2]);
    }

    #[test]
    fn addresses_that_all_fail_at_once_leave_room_for_what_is_found_later() {
        let (mut schedule, now) = (DialSchedule::new(), Instant::now());
        for source in [LAN, STORE, SIGNED] {
            schedule.asked(source);
        }
        for port in 1..=8 {
            schedule.add(now, candidate(LAN, port));
            schedule.add(now, candidate(STORE, 100 + port));
        }
        let mut tried = 0;
        while let Some((id, _)) = schedule.poll_start(now) {
            schedule.failed(now, id);
            tried += 1;
        }
        assert_eq!(tried, MAX_CANDIDATES - RESERVED_PER_RANK);
        assert!(schedule.is_idle() && !schedule.is_exhausted());
        schedule.add(now, candidate(SIGNED, 200));
        assert_eq!(started(&mut schedule, now), [200]);
        schedule.no_more();
        let later = now + CONNECTION_ATTEMPT_DELAY;
        assert_eq!(started(&mut schedule, later).len(), 1, "what nobody needs any more is used");
        assert!(schedule.startable().next().is_none());
    }

    #[test]
    fn where_another_connection_succeeded_is_next_and_at_once() {
        let mut schedule = remembering([1, 2, 3]);
        let now = Instant::now();
        assert_eq!(started(&mut schedule, now), [1]);
        schedule.prefer(&candidate(STORE, 3).addr);
        schedule.prefer(&candidate(STORE, 77).addr);
        assert_eq!(started(&mut schedule, now + MS), [3]);
    }

    #[test]
    fn a_candidate_of_a_better_source_than_all_under_way_does_not_wait() {
        let mut schedule = remembering([1, 2]);
        let now = Instant::now();
        assert_eq!(started(&mut schedule, now), [1]);
        schedule.add(now, candidate(LAN, 3));
        schedule.add(now, candidate(LAN, 4));
        assert_eq!(started(&mut schedule, now + MS), [3]);
        assert_eq!(schedule.poll_timeout(), Some(now + MS + CONNECTION_ATTEMPT_DELAY));
    }

    #[test]
    fn an_address_taken_back_is_tried_again_behind_the_others_and_costs_no_place() {
        let mut schedule = remembering(1..=8);
        let now = Instant::now();
        let (id, first) = schedule.poll_start(now).unwrap();
        schedule.failed(now, id);
        for round in 0..100 {
            schedule.again(now, first.clone());
            if round == 0 {
                schedule.add(now, candidate(TEXT, 9));
            }
            let mut order = Vec::new();
            while let Some((id, next)) = schedule.poll_start(now) {
                order.push(next.addr.host_port().port);
                schedule.failed(now, id);
            }
            assert_eq!(order.last(), Some(&1), "round {round}: {order:?}");
        }
    }

    #[test]
    fn a_bounded_number_of_attempts_runs_at_once() {
        let (mut schedule, mut now) = (remembering(1..=8), Instant::now());
        schedule.add(now, candidate(TEXT, 9));
        schedule.add(now, candidate(TEXT, 10));
        for _ in 0..20 {
            while schedule.poll_start(now).is_some() {}
            now += CONNECTION_ATTEMPT_DELAY;
        }
        assert_eq!(schedule.under_way.len(), MAX_PARALLEL_DIALS);
        assert_eq!(schedule.poll_timeout(), None);
        schedule.failed(now, AttemptId(0));
        assert_eq!(started(&mut schedule, now), [7]);
    }

    #[test]
    fn it_is_exhausted_when_all_attempts_failed_and_no_source_will_name_more() {
        let mut schedule = remembering([1]);
        let now = Instant::now();
        assert!(!schedule.is_exhausted());
        let (id, _) = schedule.poll_start(now).unwrap();
        schedule.no_more();
        assert!(!schedule.is_exhausted());
        schedule.failed(now, id);
        assert!(schedule.is_exhausted());
    }

    #[test]
    fn it_waits_for_sources_that_may_name_more() {
        let mut schedule = DialSchedule::new();
        assert_eq!(schedule.poll_timeout(), None);
        assert!(!schedule.is_exhausted());
        schedule.no_more();
        assert!(schedule.is_exhausted());
    }
}
