//! A dial schedule under any row of operations.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use hardline_proto::candidate::{
    Candidate, CandidateSet, MAX_CANDIDATES_PER_SOURCE, SourceInfo, Tier, TransportAddr, Trust, Way,
};
use hardline_proto::dial::{
    AttemptId, CONNECTION_ATTEMPT_DELAY, DialSchedule, MAX_CANDIDATES, MAX_PARALLEL_DIALS, RESERVED_PER_RANK,
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
    accepted: BTreeMap<TransportAddr, SourceInfo>,
    started: BTreeSet<TransportAddr>,
    under_way: BTreeMap<AttemptId, SourceInfo>,
    asked: BTreeSet<SourceInfo>,
    preferred: BTreeSet<TransportAddr>,
    /// When the next attempt may start, unless it overtakes.
    not_before: Instant,
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
            not_before: now,
        }
    }

    fn add(&mut self, source: u8, port: u8) {
        let source = source_of(source / 4);
        let addr = address(port);
        let seen = self.set.len();
        self.set.asked(Duration::ZERO, source);
        let candidate = Candidate { addr: addr.clone(), source, version: None, way: Way::Straight };
        let is_news = self.set.found(source, candidate);
        self.set.ended(Duration::ZERO, source);

        let named = self.named.entry(source.name).or_default();
        let has_room = named.contains(&addr) || named.len() < MAX_CANDIDATES_PER_SOURCE;
        assert_eq!(is_news, has_room && !self.accepted.contains_key(&addr));
        if has_room {
            named.insert(addr.clone());
            self.accepted.entry(addr).or_insert(source);
        }
        assert_eq!(self.set.len(), self.accepted.len());
        let asked = std::mem::take(&mut self.asked);
        self.set.tell(seen, &mut self.schedule);
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
        if self.under_way.remove(&id).is_some() {
            self.not_before = self.now;
        }
    }

    /// Waits as long as the schedule says.
    fn sleep(&mut self) {
        if let Some(timeout) = self.schedule.poll_timeout() {
            assert!(timeout <= self.now + CONNECTION_ATTEMPT_DELAY);
            self.now = self.now.max(timeout);
        }
    }

    fn start_due(&mut self) {
        while let Some((id, Candidate { addr, source, .. })) = self.schedule.poll_start(self.now) {
            let is_preferred = self.preferred.contains(&addr);
            let overtakes = self.under_way.values().all(|other| source.rank() < other.rank());
            assert!(is_preferred || overtakes || self.now >= self.not_before, "too early");
            assert_eq!(self.accepted.get(&addr), Some(&source), "never added");
            assert!(self.started.insert(addr), "tried twice");
            assert!(self.under_way.insert(id, source).is_none(), "an id twice");
            assert!(self.under_way.len() <= MAX_PARALLEL_DIALS);
            assert!(self.started.len() <= MAX_CANDIDATES, "too many tried");
            let kept = self.reserved_from(source);
            assert!(is_preferred || self.started.len() + kept <= MAX_CANDIDATES, "what was kept for others");
            self.not_before = self.now + CONNECTION_ATTEMPT_DELAY;
        }
        let is_full = self.under_way.len() == MAX_PARALLEL_DIALS;
        let waits = self.accepted.iter().any(|(addr, source)| {
            let kept = if self.preferred.contains(addr) { 0 } else { self.reserved_from(*source) };
            !self.started.contains(addr) && self.started.len() + kept < MAX_CANDIDATES
        });
        assert_eq!(self.schedule.poll_timeout().is_some(), waits && !is_full, "who waits is told until when");
        assert_eq!(self.schedule.is_idle(), self.under_way.is_empty() && !waits);
        assert!(!self.schedule.is_exhausted(), "sources may name more");
    }

    /// What is kept for sources being asked of other ranks than that of `source`.
    fn reserved_from(&self, source: SourceInfo) -> usize {
        let rank_at = |addr| self.accepted.get(addr).map(SourceInfo::rank);
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

fn address(port: u8) -> TransportAddr {
    std::net::SocketAddr::from(([192, 0, 2, 1], u16::from(port) + 1)).into()
}
