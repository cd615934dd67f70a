//! A dial schedule under any row of operations.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use hardline_proto::candidate::{
    Candidate, CandidateSet, MAX_CANDIDATES_PER_SOURCE, SourceInfo, Tier, TransportAddr, Trust, Way,
};
use hardline_proto::dial::{
    AttemptId, CONNECTION_ATTEMPT_DELAY, DialSchedule, Lane, MAX_CANDIDATES, MAX_PARALLEL_DIALS, RESERVED_PER_RANK,
};

/// More sources than there are, some of one rank.
const SOURCES: [SourceInfo; 10] = [
    info(Tier::Local, Trust::Own, "own"),
    info(Tier::Local, Trust::Person, "static"),
    info(Tier::Lan, Trust::Neighbour, "lan"),
    info(Tier::Lan, Trust::Neighbour, "other lan"),
    info(Tier::Lan, Trust::Service, "store"),
    info(Tier::Wan, Trust::Service, "signed"),
    info(Tier::Wan, Trust::Service, "signed too"),
    info(Tier::Wan, Trust::KeyHolder, "rolling"),
    info(Tier::Wan, Trust::Stranger, "plain"),
    info(Tier::Wan, Trust::Stranger, "proxy"),
];

const fn info(tier: Tier, trust: Trust, name: &'static str) -> SourceInfo {
    SourceInfo { tier, trust, name, label: name }
}

/// Two bytes are one operation: which, and with what. Checks the promises of [`CandidateSet`] and
/// [`DialSchedule`] after each.
pub fn dial_ops(bytes: &[u8]) {
    let mut run = Run::new();
    for operation in bytes.chunks_exact(2) {
        match operation[0] % 4 {
            0 => run.add(operation[0], operation[1]),
            1 if operation[1] == u8::MAX => run.callable(),
            1 => run.fail(operation[1]),
            2 if operation[0] & 4 == 4 => run.ask(operation[1]),
            2 => run.now += Duration::from_millis(operation[1].into()),
            3 if operation[0] & 4 == 4 => run.prefer(operation[1]),
            _ => run.sleep(),
        }
        run.start_due();
    }
    run.finish();
}

/// A schedule, and what was seen of it.
struct Run {
    set: CandidateSet,
    schedule: DialSchedule,
    now: Instant,
    /// Addresses named so far, by source.
    named: BTreeMap<&'static str, BTreeSet<TransportAddr>>,
    accepted: BTreeMap<TransportAddr, (Candidate, Instant)>,
    started: BTreeSet<TransportAddr>,
    under_way: BTreeMap<AttemptId, (Candidate, Instant)>,
    asked: BTreeSet<SourceInfo>,
    preferred: BTreeSet<TransportAddr>,
    /// When the next attempt may start in each lane, unless it overtakes.
    not_before: BTreeMap<Lane, Instant>,
    /// When the service was said to be callable.
    callable: Option<Instant>,
    is_called: bool,
}

impl Run {
    fn new() -> Self {
        #[allow(clippy::disallowed_methods, reason = "a test needs a first instant to count from")]
        let now = Instant::now();
        Self {
            set: CandidateSet::default(),
            schedule: DialSchedule::new(),
            now,
            named: BTreeMap::new(),
            accepted: BTreeMap::new(),
            started: BTreeSet::new(),
            under_way: BTreeMap::new(),
            asked: BTreeSet::new(),
            preferred: BTreeSet::new(),
            not_before: BTreeMap::new(),
            callable: None,
            is_called: false,
        }
    }

    fn add(&mut self, source: u8, port: u8) {
        let source = source_of(source / 4);
        let addr = address(port);
        let seen = self.set.len();
        self.set.asked(Duration::ZERO, source);
        let candidate = Candidate { addr: addr.clone(), source, version: None, way: way(port) };
        let is_news = self.set.found(source, candidate.clone());
        self.set.ended(Duration::ZERO, source);

        let named = self.named.entry(source.name).or_default();
        let has_room = named.contains(&addr) || named.len() < MAX_CANDIDATES_PER_SOURCE;
        assert_eq!(is_news, has_room && !self.accepted.contains_key(&addr));
        if has_room {
            named.insert(addr.clone());
            self.accepted.entry(addr).or_insert((candidate, self.now));
        }
        assert_eq!(self.set.len(), self.accepted.len());
        let asked = std::mem::take(&mut self.asked);
        self.set.tell(self.now, seen, &mut self.schedule);
        // The set's sources end at once; those that go on are told to the schedule alone.
        asked.iter().for_each(|source| self.schedule.asked(*source));
        self.asked = asked;
    }

    /// A source begins to be asked, or ends.
    fn ask(&mut self, which: u8) {
        let source = source_of(which);
        if self.asked.insert(source) {
            self.schedule.asked(source);
        } else {
            self.asked.remove(&source);
            self.schedule.ended(source);
        }
    }

    /// Another connection succeeded at an address, known here or not.
    fn prefer(&mut self, port: u8) {
        let addr = address(port);
        self.schedule.prefer(&addr);
        if self.accepted.contains_key(&addr) {
            self.preferred.insert(addr);
        }
    }

    /// Ends an attempt, or tells of one that never was.
    fn fail(&mut self, which: u8) {
        let id = self.under_way.keys().nth(which.into()).copied().unwrap_or(AttemptId(u32::MAX));
        self.schedule.failed(self.now, id);
        if let Some((candidate, _)) = self.under_way.remove(&id) {
            self.not_before.insert(Lane::of(&candidate), self.now);
        }
    }

    /// Waits as long as the schedule says.
    fn sleep(&mut self) {
        if let Some(timeout) = self.schedule.poll_timeout() {
            assert!(timeout <= self.now + CONNECTION_ATTEMPT_DELAY.max(Lane::Mesh.head_start()));
            self.now = self.now.max(timeout);
        }
    }

    fn start_due(&mut self) {
        while let Some((id, candidate)) = self.schedule.poll_start(self.now) {
            let Candidate { addr, source, .. } = candidate.clone();
            let (is_preferred, lane) = (self.preferred.contains(&addr), Lane::of(&candidate));
            let mut in_lane = self.under_way.values().filter(|(other, _)| Lane::of(other) == lane);
            let overtakes = in_lane.all(|(other, _)| source.rank() < other.source.rank());
            let is_paced = self.not_before.get(&lane).is_none_or(|start| *start <= self.now);
            assert!(is_preferred || overtakes || is_paced, "too early");
            let (named, since) = self.accepted.get(&addr).expect("never added");
            assert_eq!(*named, candidate);
            let comes_of_a_call = lane == Lane::Punched;
            assert!(is_preferred || comes_of_a_call || !self.is_held(lane, *since), "better lanes have a head start");
            assert!(self.started.insert(addr), "tried twice");
            assert!(self.under_way.insert(id, (candidate, self.now)).is_none(), "an id twice");
            assert!(self.under_way.len() <= MAX_PARALLEL_DIALS);
            assert!(self.started.len() <= MAX_CANDIDATES, "too many tried");
            let kept = self.reserved_from(source);
            assert!(is_preferred || self.started.len() + kept <= MAX_CANDIDATES, "what was kept for others");
            self.not_before.insert(lane, self.now + CONNECTION_ATTEMPT_DELAY);
        }
        if self.schedule.poll_call(self.now) {
            let since = self.callable.expect("nobody said that it can be called");
            assert!(!self.is_held(Lane::Punched, since), "direct attempts have a head start");
            assert!(!std::mem::replace(&mut self.is_called, true), "called twice");
        }
        let is_full = self.under_way.len() == MAX_PARALLEL_DIALS;
        let waits = self.accepted.iter().any(|(addr, (candidate, _))| {
            let kept = if self.preferred.contains(addr) { 0 } else { self.reserved_from(candidate.source) };
            !self.started.contains(addr) && self.started.len() + kept < MAX_CANDIDATES
        });
        let is_to_be_called = self.callable.is_some() && !self.is_called;
        let is_timed = self.schedule.poll_timeout().is_some();
        assert_eq!(is_timed, (waits && !is_full) || is_to_be_called, "who waits is told until when");
        assert_eq!(self.schedule.is_idle(), self.under_way.is_empty() && !waits);
        assert!(!self.schedule.is_exhausted(), "sources may name more");
    }

    /// The service can be called.
    fn callable(&mut self) {
        self.callable.get_or_insert(self.now);
        self.schedule.callable(self.now);
    }

    /// Whether an attempt in a better lane has its head start of what was named in `lane` at
    /// `since`.
    fn is_held(&self, lane: Lane, since: Instant) -> bool {
        let better = self.under_way.values().filter(|(other, _)| Lane::of(other) < lane);
        let until = |(other, began): &(Candidate, Instant)| {
            *began.min(&since) + (lane.head_start() - Lane::of(other).head_start())
        };
        better.map(until).any(|until| self.now < until)
    }

    /// What is kept for sources being asked of other ranks than that of `source`.
    fn reserved_from(&self, source: SourceInfo) -> usize {
        let rank_at = |addr| self.accepted.get(addr).map(|(candidate, _)| candidate.source.rank());
        let started = |rank| self.started.iter().filter(|addr| rank_at(addr) == Some(rank)).count();
        let ranks: BTreeSet<_> = self.asked.iter().map(SourceInfo::rank).collect();
        let others = ranks.into_iter().filter(|rank| *rank != source.rank());
        let reserved: usize = others.map(|rank| RESERVED_PER_RANK.saturating_sub(started(rank))).sum();
        reserved.min(MAX_CANDIDATES / 2)
    }

    /// Lets every attempt fail: as many candidates as may be have been tried then.
    fn finish(mut self) {
        for source in std::mem::take(&mut self.asked) {
            self.schedule.ended(source);
        }
        self.start_due();
        while !self.under_way.is_empty() {
            self.fail(0);
            self.start_due();
        }
        assert_eq!(self.started.len(), self.accepted.len().min(MAX_CANDIDATES), "a candidate was forgotten");
        self.schedule.no_more();
        assert!(self.schedule.is_exhausted());
    }
}

fn source_of(which: u8) -> SourceInfo {
    SOURCES[usize::from(which) % SOURCES.len()]
}

/// Of some ports there is a relay, or what a call has opened.
fn way(port: u8) -> Way {
    match port % 8 {
        6 => Way::Punched,
        7 => Way::Relayed,
        _ => Way::Straight,
    }
}

/// Some are in the mesh.
fn address(port: u8) -> TransportAddr {
    let ip: IpAddr = if port % 8 == 5 { [0x200, 0, 0, 0, 0, 0, 0, 1].into() } else { [192, 0, 2, 1].into() };
    std::net::SocketAddr::new(ip, u16::from(port) + 1).into()
}
