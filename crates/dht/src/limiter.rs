//! Rates per network prefix, and addresses that are not listened to.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::address::Prefix;
use crate::limits::{
    BLACKLIST_TIME, DATAGRAMS_PER_PREFIX, DATAGRAMS_TOTAL, FRAGMENT_BYTES_PER_PREFIX, MAX_BLACKLIST,
    MAX_RATED_PREFIXES, REQUESTS_PER_PREFIX, REQUESTS_TOTAL, SIGNATURES_PER_PREFIX, SIGNATURES_TOTAL,
};
use crate::time::Time;

/// What strangers may cost in a second, per network prefix (an IPv4 address or an IPv6 /64) and in
/// all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rates {
    /// Datagrams looked at; the rest is dropped before it is read.
    pub datagrams: u32,
    /// Of them, per prefix.
    pub datagrams_per_prefix: u32,
    /// Requests answered. Each value of a put counts as one.
    pub requests: u32,
    /// Of them, per prefix.
    pub requests_per_prefix: u32,
    /// Signatures checked.
    pub signatures: u32,
    /// Of them, per prefix.
    pub signatures_per_prefix: u32,
    /// Bytes of fragments sent to one prefix: a forged `get` must not turn us into a flood.
    pub fragment_bytes_per_prefix: u32,
}

impl Rates {
    /// No limit, for test networks that live on one address.
    pub const UNLIMITED: Self = Self {
        datagrams: u32::MAX,
        datagrams_per_prefix: u32::MAX,
        requests: u32::MAX,
        requests_per_prefix: u32::MAX,
        signatures: u32::MAX,
        signatures_per_prefix: u32::MAX,
        fragment_bytes_per_prefix: u32::MAX,
    };
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            datagrams: DATAGRAMS_TOTAL,
            datagrams_per_prefix: DATAGRAMS_PER_PREFIX,
            requests: REQUESTS_TOTAL,
            requests_per_prefix: REQUESTS_PER_PREFIX,
            signatures: SIGNATURES_TOTAL,
            signatures_per_prefix: SIGNATURES_PER_PREFIX,
            fragment_bytes_per_prefix: FRAGMENT_BYTES_PER_PREFIX,
        }
    }
}

/// A bucket that fills at `rate` units per second and holds one second's worth.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: u32,
    filled: Time,
}

impl Bucket {
    fn full(rate: u32, now: Time) -> Self {
        Self { left: rate, filled: now }
    }

    fn take(&mut self, now: Time, rate: u32, amount: u32) -> bool {
        let micros = now.since(self.filled).as_micros().min(1_000_000) as u64;
        let gained = (micros * u64::from(rate) / 1_000_000) as u32;
        if gained > 0 {
            self.left = self.left.saturating_add(gained).min(rate);
            self.filled = now;
        }
        let enough = self.left >= amount;
        if enough {
            self.left -= amount;
        }
        enough
    }
}

/// Limits a rate per prefix and in all. Follows a bounded number of prefixes.
#[derive(Debug)]
pub(crate) struct Limiter {
    per_prefix: u32,
    total: u32,
    prefixes: BTreeMap<Prefix, Bucket>,
    /// Shared by all prefixes that found no room in the map.
    overflow: Option<Bucket>,
    all: Option<Bucket>,
    cleaned: Time,
}

impl Limiter {
    pub(crate) fn new(per_prefix: u32, total: u32) -> Self {
        Self { per_prefix, total, prefixes: BTreeMap::new(), overflow: None, all: None, cleaned: Time::ZERO }
    }

    /// Whether `amount` more units are within the limits; if so they are counted.
    pub(crate) fn allow(&mut self, now: Time, prefix: Prefix, amount: u32) -> bool {
        self.forget_idle(now);
        let room = self.prefixes.len() < MAX_RATED_PREFIXES;
        let bucket = match self.prefixes.get_mut(&prefix) {
            Some(bucket) => bucket,
            None if room => self.prefixes.entry(prefix).or_insert(Bucket::full(self.per_prefix, now)),
            None => self.overflow.get_or_insert(Bucket::full(self.per_prefix, now)),
        };
        bucket.take(now, self.per_prefix, amount)
            && self.all.get_or_insert(Bucket::full(self.total, now)).take(now, self.total, amount)
    }

    pub(crate) fn len(&self) -> usize {
        self.prefixes.len()
    }

    /// A bucket not used for a second is full, hence the same as none. Looks once a second at most,
    /// so that a storm does not make us walk the map for every datagram.
    fn forget_idle(&mut self, now: Time) {
        const SECOND: u128 = 1_000_000;
        if now.since(self.cleaned).as_micros() >= SECOND {
            self.prefixes.retain(|_, bucket| now.since(bucket.filled).as_micros() < SECOND);
            self.cleaned = now;
        }
    }
}

/// Addresses whose datagrams are dropped, for a while.
#[derive(Debug, Default)]
pub(crate) struct Blacklist {
    until: BTreeMap<SocketAddr, Time>,
}

impl Blacklist {
    pub(crate) fn insert(&mut self, now: Time, addr: SocketAddr) {
        if self.until.len() >= MAX_BLACKLIST {
            self.until.retain(|_, until| *until > now);
        }
        if self.until.len() < MAX_BLACKLIST {
            self.until.insert(addr, now + BLACKLIST_TIME);
        }
    }

    pub(crate) fn contains(&mut self, now: Time, addr: &SocketAddr) -> bool {
        match self.until.get(addr) {
            Some(until) if *until > now => true,
            Some(_) => {
                self.until.remove(addr);
                false
            }
            None => false,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.until.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;
    use std::time::Duration;

    fn prefix(n: u32) -> Prefix {
        Prefix::of(IpAddr::from(n.to_be_bytes()))
    }

    #[test]
    fn a_burst_of_one_seconds_worth_passes_and_no_more() {
        let mut limiter = Limiter::new(1024, 8192);
        let passed = (0..1500).filter(|_| limiter.allow(Time::from_secs(5), prefix(1), 1)).count();
        assert_eq!(passed, 1024);
        assert!(limiter.allow(Time::from_secs(5), prefix(2), 1));
        assert!(limiter.allow(Time::from_secs(5) + Duration::from_millis(10), prefix(1), 10));
        assert!(!limiter.allow(Time::from_secs(5) + Duration::from_millis(10), prefix(1), 10));
    }

    #[test]
    fn the_total_is_limited_too() {
        let mut limiter = Limiter::new(10, 15);
        let passed = (0..30).filter(|n| limiter.allow(Time::ZERO, prefix(n % 3), 1)).count();
        assert_eq!(passed, 15);
    }

    #[test]
    fn a_million_prefixes_need_no_more_memory_than_the_limit() {
        let mut limiter = Limiter::new(10, u32::MAX);
        for n in 0..100_000 {
            limiter.allow(Time::ZERO, prefix(n), 1);
        }
        assert_eq!(limiter.len(), MAX_RATED_PREFIXES);
        limiter.allow(Time::from_secs(10), prefix(0), 1);
        assert_eq!(limiter.len(), 1);
    }

    #[test]
    fn the_blacklist_forgets() {
        let mut blacklist = Blacklist::default();
        let addr = "192.0.2.1:1".parse().unwrap();
        blacklist.insert(Time::ZERO, addr);
        assert!(blacklist.contains(Time::ZERO, &addr));
        assert!(!blacklist.contains(Time::ZERO + BLACKLIST_TIME, &addr));
        assert_eq!(blacklist.len(), 0);
    }
}
