//! How many answers each computer gets.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Instant;

use super::limits::{ANSWERS_IN_TOTAL, ANSWERS_PER_SOURCE, MAX_COUNTED_SOURCES};
use crate::rate::TokenBucket;

/// Limits the answers to each computer and to all of them together.
#[derive(Debug)]
pub(super) struct AnswerLimits {
    total: TokenBucket,
    sources: BTreeMap<Ipv4Addr, TokenBucket>,
}

impl AnswerLimits {
    pub(super) const fn new() -> Self {
        Self { total: TokenBucket::new(ANSWERS_IN_TOTAL), sources: BTreeMap::new() }
    }

    /// Whether one more datagram may be sent on behalf of `source`.
    pub(super) fn allow(&mut self, now: Instant, source: Ipv4Addr) -> bool {
        if !self.sources.contains_key(&source) && self.sources.len() >= MAX_COUNTED_SOURCES {
            self.forget_least_recent();
        }
        let source = self.sources.entry(source).or_insert_with(|| TokenBucket::new(ANSWERS_PER_SOURCE));
        source.take(now) && self.total.take(now)
    }

    /// Forgets the bucket that is full soonest, so that a source under limit is the last to be forgiven.
    fn forget_least_recent(&mut self) {
        let fullest = self.sources.iter().min_by_key(|(_, bucket)| bucket.full_at()).map(|(source, _)| *source);
        if let Some(source) = fullest {
            self.sources.remove(&source);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_greedy_source_leaves_answers_for_others() {
        let now = Instant::now();
        let mut limits = AnswerLimits::new();
        let greedy = (0..10_000).filter(|_| limits.allow(now, Ipv4Addr::new(10, 0, 0, 1))).count();
        assert_eq!(greedy, ANSWERS_PER_SOURCE.burst as usize);
        assert!(limits.allow(now, Ipv4Addr::new(10, 0, 0, 2)));
    }

    #[test]
    fn many_sources_together_are_limited_and_counted_in_bounded_memory() {
        let now = Instant::now();
        let mut limits = AnswerLimits::new();
        let allowed = (0..10_000).filter(|&host| limits.allow(now, Ipv4Addr::from_bits(0x0a00_0000 + host))).count();
        assert_eq!(allowed, ANSWERS_IN_TOTAL.burst as usize);
        assert_eq!(limits.sources.len(), MAX_COUNTED_SOURCES);
    }
}
