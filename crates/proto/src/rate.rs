//! How often → not too often.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How often something may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Times at once, after a rest.
    pub burst: u32,
    /// Times a second, in the long run; 0 counts as 1.
    pub per_second: u32,
}

/// A token bucket, kept as the instant at which it is full again.
#[derive(Debug, Clone)]
pub struct TokenBucket {
    rate: Rate,
    full_at: Option<Instant>,
}

impl TokenBucket {
    /// A full bucket.
    #[must_use]
    pub const fn new(rate: Rate) -> Self {
        Self { rate, full_at: None }
    }

    /// Takes a token if there is one.
    pub fn take(&mut self, now: Instant) -> bool {
        let per_token = Duration::from_secs(1) / self.rate.per_second.max(1);
        let full_at = self.full_at.map_or(now, |at| at.max(now)) + per_token;
        let has_token = full_at - now <= per_token * self.rate.burst;
        if has_token {
            self.full_at = Some(full_at);
        }
        has_token
    }

    /// When it is full again; `None` if it never was used.
    #[must_use]
    pub const fn full_at(&self) -> Option<Instant> {
        self.full_at
    }
}

/// A rate for each source, and one for all of them together. How many are counted apart is bounded.
#[derive(Debug)]
pub struct SharedRate<K> {
    each: Rate,
    total: TokenBucket,
    sources: BTreeMap<K, TokenBucket>,
    most_sources: usize,
}

impl<K: Ord + Copy> SharedRate<K> {
    /// Full buckets. Counts at most `most_sources` apart.
    #[must_use]
    pub const fn new(each: Rate, total: Rate, most_sources: usize) -> Self {
        Self { each, total: TokenBucket::new(total), sources: BTreeMap::new(), most_sources }
    }

    /// Takes a token of `source` and one of all, if there are both.
    pub fn take(&mut self, now: Instant, source: K) -> bool {
        if !self.sources.contains_key(&source) && self.sources.len() >= self.most_sources {
            self.forget_least_recent();
        }
        let each = self.each;
        let source = self.sources.entry(source).or_insert_with(|| TokenBucket::new(each));
        source.take(now) && self.total.take(now)
    }

    /// How many are counted apart now.
    #[must_use]
    pub fn sources(&self) -> usize {
        self.sources.len()
    }

    /// Forgets the bucket that is full soonest, so that a source at its limit is the last to be
    /// forgiven.
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
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(Rate { burst: 3, per_second: 10 });
        assert_eq!((0..10).filter(|_| bucket.take(start)).count(), 3);
        assert!(!bucket.take(start + Duration::from_millis(99)));
        assert!(bucket.take(start + Duration::from_millis(100)));
        assert_eq!((0..10).filter(|_| bucket.take(start + Duration::from_secs(3600))).count(), 3);
    }
}
