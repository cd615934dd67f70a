//! Candidates → when to try which (RFC 8305, "Happy Eyeballs").

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::candidate::{Candidate, MAX_CANDIDATES_PER_SOURCE, Source};
use crate::hosts::HostPort;

/// Time between the starts of two attempts (RFC 8305, section 5: 250 ms recommended, 100 ms at least). A failure starts
/// the next one at once.
pub const CONNECTION_ATTEMPT_DELAY: Duration = Duration::from_millis(150);

/// Most attempts under way at once.
pub const MAX_PARALLEL_DIALS: usize = 6;

/// Number of an attempt within one schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AttemptId(pub u32);

/// Decides which candidate to dial when.
///
/// Feed it with [`add`](Self::add) as sources find candidates, with [`no_more`](Self::no_more) when all sources have
/// ended, and with [`failed`](Self::failed); ask [`poll_start`](Self::poll_start) after each of these and whenever
/// [`poll_timeout`](Self::poll_timeout) passes. It ends when one attempt succeeds (drop it) or when
/// [`is_exhausted`](Self::is_exhausted).
///
/// - A candidate's address is tried once per schedule, whoever else names it.
/// - At most [`MAX_CANDIDATES_PER_SOURCE`] of each source are tried.
/// - Waiting candidates are ordered by source (own, given, LAN, remembered), then by arrival.
/// - A candidate of a better source than all attempts under way starts at once: an answer on the LAN need not wait for
///   a remembered address that no longer works.
#[derive(Debug, Default)]
pub struct DialSchedule {
    /// Every address taken so far, with who named it first.
    known: BTreeMap<HostPort, Source>,
    /// Not yet started, in the order in which they will be.
    waiting: VecDeque<Candidate>,
    under_way: BTreeMap<AttemptId, Source>,
    next_id: u32,
    /// When the next attempt may start; `None` is at once.
    next_start: Option<Instant>,
    no_more: bool,
}

impl DialSchedule {
    /// An empty schedule.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a candidate. Returns whether it is new and within the limit.
    pub fn add(&mut self, candidate: Candidate) -> bool {
        let of_this_source = self.known.values().filter(|&&source| source == candidate.source).count();
        if of_this_source >= MAX_CANDIDATES_PER_SOURCE || self.known.contains_key(&candidate.at) {
            return false;
        }
        self.known.insert(candidate.at.clone(), candidate.source);
        let place = self.waiting.partition_point(|other| other.source <= candidate.source);
        self.waiting.insert(place, candidate);
        true
    }

    /// Says that no source will name another candidate.
    pub fn no_more(&mut self) {
        self.no_more = true;
    }

    /// Says that an attempt ended without a connection.
    pub fn failed(&mut self, now: Instant, id: AttemptId) {
        if self.under_way.remove(&id).is_some() {
            self.next_start = Some(now);
        }
    }

    /// The next attempt to start now, if one is due. Call until `None`.
    pub fn poll_start(&mut self, now: Instant) -> Option<(AttemptId, Candidate)> {
        let is_due = self.next_start.is_none_or(|start| start <= now) || self.is_overtaking();
        if !is_due || !self.has_room() {
            return None;
        }
        let candidate = self.waiting.pop_front()?;
        let id = AttemptId(self.next_id);
        self.next_id += 1;
        self.under_way.insert(id, candidate.source);
        self.next_start = Some(now + CONNECTION_ATTEMPT_DELAY);
        Some((id, candidate))
    }

    /// When to ask [`poll_start`](Self::poll_start) again if nothing else happens.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.next_start.filter(|_| self.has_room() && !self.waiting.is_empty())
    }

    /// Whether nothing is under way, nothing waits, and no source will name more.
    #[must_use]
    pub fn is_exhausted(&self) -> bool {
        self.no_more && self.waiting.is_empty() && self.under_way.is_empty()
    }

    /// Whether another attempt may run beside those under way.
    fn has_room(&self) -> bool {
        self.under_way.len() < MAX_PARALLEL_DIALS
    }

    /// Whether the first that waits comes from a better source than every attempt under way.
    fn is_overtaking(&self) -> bool {
        self.waiting.front().is_some_and(|next| self.under_way.values().all(|&source| next.source < source))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const NOTHING: [u16; 0] = [];

    fn candidate(source: Source, port: u16) -> Candidate {
        Candidate { at: format!("192.0.2.1:{port}").parse().unwrap(), source }
    }

    /// A schedule that knows remembered addresses with these ports.
    fn remembering(ports: impl IntoIterator<Item = u16>) -> DialSchedule {
        let mut schedule = DialSchedule::new();
        for port in ports {
            assert!(schedule.add(candidate(Source::Remembered, port)));
        }
        schedule
    }

    /// The ports of the attempts that start at `now`.
    fn started(schedule: &mut DialSchedule, now: Instant) -> Vec<u16> {
        std::iter::from_fn(|| schedule.poll_start(now)).map(|(_, candidate)| candidate.at.port).collect()
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
    fn better_sources_go_first_and_equals_in_order_of_arrival() {
        let mut schedule = remembering([1, 2]);
        for (source, port) in [(Source::Lan, 3), (Source::Given, 4), (Source::Own, 5), (Source::Lan, 6)] {
            assert!(schedule.add(candidate(source, port)));
        }
        let now = Instant::now();
        let order: Vec<_> =
            (0..6).flat_map(|turn| started(&mut schedule, now + turn * CONNECTION_ATTEMPT_DELAY)).collect();
        assert_eq!(order, [5, 4, 3, 6, 1, 2]);
    }

    #[test]
    fn a_candidate_of_a_better_source_than_all_under_way_does_not_wait() {
        let mut schedule = remembering([1, 2]);
        let now = Instant::now();
        assert_eq!(started(&mut schedule, now), [1]);
        schedule.add(candidate(Source::Lan, 3));
        schedule.add(candidate(Source::Lan, 4));
        assert_eq!(started(&mut schedule, now + MS), [3]);
        assert_eq!(schedule.poll_timeout(), Some(now + MS + CONNECTION_ATTEMPT_DELAY));
    }

    #[test]
    fn an_address_is_tried_once_whoever_names_it() {
        let mut schedule = remembering([1]);
        assert!(!schedule.add(candidate(Source::Remembered, 1)));
        assert!(!schedule.add(candidate(Source::Lan, 1)));
        let now = Instant::now();
        let (id, _) = schedule.poll_start(now).unwrap();
        schedule.failed(now, id);
        assert!(!schedule.add(candidate(Source::Lan, 1)));
        assert_eq!(started(&mut schedule, now), NOTHING);
    }

    #[test]
    fn a_flood_from_one_source_does_not_displace_another() {
        let mut schedule = DialSchedule::new();
        let taken = (1..=1000).filter(|&port| schedule.add(candidate(Source::Lan, port))).count();
        assert_eq!(taken, MAX_CANDIDATES_PER_SOURCE);
        assert!(schedule.add(candidate(Source::Remembered, 1001)));
        assert!(schedule.add(candidate(Source::Given, 1002)));
    }

    #[test]
    fn a_bounded_number_of_attempts_runs_at_once() {
        let mut schedule = remembering(1..=8);
        let mut now = Instant::now();
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
