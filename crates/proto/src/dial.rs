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
