//! A dial schedule under any row of operations.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use hardline_proto::candidate::{Candidate, MAX_CANDIDATES_PER_SOURCE, Source};
use hardline_proto::dial::{
    AttemptId, CONNECTION_ATTEMPT_DELAY, DialSchedule, MAX_CANDIDATES, MAX_PARALLEL_DIALS, RESERVED_PER_SOURCE,
};
use hardline_proto::hosts::HostPort;

/// Two bytes are one operation: which, and with what. Checks the promises of [`DialSchedule`] after
/// each.
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
    schedule: DialSchedule,
    now: Instant,
    accepted: BTreeMap<HostPort, Source>,
    started: BTreeSet<HostPort>,
    under_way: BTreeMap<AttemptId, Source>,
    asked: BTreeSet<Source>,
    preferred: BTreeSet<HostPort>,
    /// When the next attempt may start, unless it overtakes.
    not_before: Instant,
}

impl Run {
    fn new() -> Self {
        #[allow(clippy::disallowed_methods, reason = "a test needs a first instant to count from")]
        let now = Instant::now();
        Self {
            schedule: DialSchedule::new(),
            now,
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
        let at = address(port);
        let is_new = !self.accepted.contains_key(&at);
        let has_room = self.accepted.values().filter(|&&other| other == source).count() < MAX_CANDIDATES_PER_SOURCE;
        assert_eq!(self.schedule.add(Candidate { at: at.clone(), source }), is_new && has_room);
        if is_new && has_room {
            self.accepted.insert(at, source);
        }
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
        let at = address(port);
        self.schedule.prefer(&at);
        if self.accepted.contains_key(&at) {
            self.preferred.insert(at);
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
        while let Some((id, Candidate { at, source })) = self.schedule.poll_start(self.now) {
            let is_preferred = self.preferred.contains(&at);
            let overtakes = self.under_way.values().all(|&other| source < other);
            assert!(is_preferred || overtakes || self.now >= self.not_before, "too early");
            assert_eq!(self.accepted.get(&at), Some(&source), "never added");
            assert!(self.started.insert(at), "tried twice");
            assert!(self.under_way.insert(id, source).is_none(), "an id twice");
            assert!(self.under_way.len() <= MAX_PARALLEL_DIALS);
            assert!(self.started.len() <= MAX_CANDIDATES, "too many tried");
            let kept = self.reserved_from(source);
            assert!(is_preferred || self.started.len() + kept <= MAX_CANDIDATES, "what was kept for others");
            self.not_before = self.now + CONNECTION_ATTEMPT_DELAY;
        }
        let is_full = self.under_way.len() == MAX_PARALLEL_DIALS;
        let waits = self.accepted.iter().any(|(at, source)| {
            let kept = if self.preferred.contains(at) { 0 } else { self.reserved_from(*source) };
            !self.started.contains(at) && self.started.len() + kept < MAX_CANDIDATES
        });
        assert_eq!(self.schedule.poll_timeout().is_some(), waits && !is_full, "who waits is told until when");
        assert_eq!(self.schedule.is_idle(), self.under_way.is_empty() && !waits);
        assert!(!self.schedule.is_exhausted(), "sources may name more");
    }

    /// What is kept for sources being asked other than `source`.
    fn reserved_from(&self, source: Source) -> usize {
        let started = |source| self.started.iter().filter(|at| self.accepted.get(*at) == Some(source)).count();
        let others = self.asked.iter().filter(|other| **other != source);
        others.map(|other| RESERVED_PER_SOURCE.saturating_sub(started(other))).sum()
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

fn source_of(which: u8) -> Source {
    Source::ALL[usize::from(which) % Source::ALL.len()]
}

fn address(port: u8) -> HostPort {
    std::net::SocketAddr::from(([192, 0, 2, 1], u16::from(port) + 1)).into()
}
