//! What each computer may cost.

use std::time::Instant;

use super::addr::LanAddr;
use super::limits::{
    ANSWERS_IN_TOTAL, ANSWERS_PER_SOURCE, DATAGRAMS_IN_TOTAL, DATAGRAMS_PER_SOURCE, MAX_COUNTED_SOURCES, SOURCE_BURST,
    TOTAL_BURST,
};
use crate::rate::{Rate, SharedRate};

/// What neighbours may cost in a second. After a rest, several seconds' worth is there at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rates {
    /// Datagrams read; the rest is dropped before it is read.
    pub datagrams: u32,
    /// Of them, from one computer.
    pub datagrams_per_source: u32,
    /// Answers sent, in datagrams.
    pub answers: u32,
    /// Of them, on behalf of one computer.
    pub answers_per_source: u32,
}

impl Rates {
    /// Those of a program that was not told others.
    pub const DEFAULT: Self = Self {
        datagrams: DATAGRAMS_IN_TOTAL,
        datagrams_per_source: DATAGRAMS_PER_SOURCE,
        answers: ANSWERS_IN_TOTAL,
        answers_per_source: ANSWERS_PER_SOURCE,
    };
}

/// What was dropped at a rate since it was last asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Dropped {
    /// Datagrams that were not read.
    pub datagrams: u64,
    /// Answers that were not sent.
    pub answers: u64,
}

/// Limits what is done for each computer and for all of them together.
#[derive(Debug)]
pub(super) struct SourceLimits(SharedRate<LanAddr>);

impl SourceLimits {
    pub(super) const fn new(per_source: u32, total: u32) -> Self {
        let per_source = Rate { burst: per_source.saturating_mul(SOURCE_BURST), per_second: per_source };
        let total = Rate { burst: total.saturating_mul(TOTAL_BURST), per_second: total };
        Self(SharedRate::new(per_source, total, MAX_COUNTED_SOURCES))
    }

    /// Whether one more datagram of `source`, or on its behalf, is within the limits; if so it is
    /// counted.
    pub(super) fn allow(&mut self, now: Instant, source: LanAddr) -> bool {
        self.0.take(now, source)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn a_greedy_source_leaves_answers_for_others() {
        let now = Instant::now();
        let mut limits = SourceLimits::new(32, 256);
        let greedy = (0..10_000).filter(|_| limits.allow(now, LanAddr::v4(Ipv4Addr::new(10, 0, 0, 1)))).count();
        assert_eq!(greedy, 32 * SOURCE_BURST as usize);
        assert!(limits.allow(now, LanAddr::v4(Ipv4Addr::new(10, 0, 0, 2))));
    }

    #[test]
    fn many_sources_together_are_limited_and_counted_in_bounded_memory() {
        let now = Instant::now();
        let mut limits = SourceLimits::new(32, 256);
        let allowed =
            (0..10_000).filter(|&host| limits.allow(now, LanAddr::v4(Ipv4Addr::from_bits(0x0a00_0000 + host)))).count();
        assert_eq!(allowed, 256 * TOTAL_BURST as usize);
        assert_eq!(limits.0.sources(), MAX_COUNTED_SOURCES);
    }
}
