//! Candidates → when to try which (RFC 8305, "Happy Eyeballs").

use std::time::{Duration, Instant};

use crate::candidate::Candidate;

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
/// - At most [`MAX_CANDIDATES`](crate::candidate::MAX_CANDIDATES) are tried.
/// - Waiting candidates are ordered by source (own, given, LAN, remembered), then by arrival.
#[derive(Debug)]
pub struct DialSchedule {}

impl DialSchedule {
    /// An empty schedule.
    #[must_use]
    pub fn new() -> Self {
        todo!()
    }

    /// Takes a candidate. Returns whether it is new and within the limit.
    pub fn add(&mut self, candidate: Candidate) -> bool {
        let _ = candidate;
        todo!()
    }

    /// Says that no source will name another candidate.
    pub fn no_more(&mut self) {
        todo!()
    }

    /// Says that an attempt ended without a connection.
    pub fn failed(&mut self, now: Instant, id: AttemptId) {
        let _ = (now, id);
        todo!()
    }

    /// The next attempt to start now, if one is due. Call until `None`.
    pub fn poll_start(&mut self, now: Instant) -> Option<(AttemptId, Candidate)> {
        let _ = now;
        todo!()
    }

    /// When to ask [`poll_start`](Self::poll_start) again if nothing else happens.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        todo!()
    }

    /// Whether nothing is under way, nothing waits, and no source will name more.
    #[must_use]
    pub fn is_exhausted(&self) -> bool {
        todo!()
    }
}
