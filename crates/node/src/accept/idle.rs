//! How many sessions are idle, in all and per address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hardline_proto::admission::counted;

use crate::config::IdleLimits;

/// Counts the idle sessions of the listening side.
#[derive(Debug)]
pub(super) struct IdleSessions {
    idle_limits: IdleLimits,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    /// Only addresses that have some.
    per_address: HashMap<IpAddr, usize>,
}

/// One idle session; given up when dropped.
#[derive(Debug)]
pub(super) struct Place<'a> {
    sessions: &'a IdleSessions,
    addr: IpAddr,
}

impl IdleSessions {
    pub(super) fn new(idle_limits: IdleLimits) -> Self {
        Self { idle_limits, counts: Mutex::default() }
    }

    /// Time a session may be idle.
    pub(super) const fn time(&self) -> Duration {
        self.idle_limits.time
    }

    /// A place for a session from `addr`, if there is one.
    pub(super) fn enter(&self, addr: IpAddr) -> Option<Place<'_>> {
        let addr = counted(addr);
        let mut counts = self.lock();
        let here = counts.per_address.get(&addr).copied().unwrap_or(0);
        if counts.all >= self.idle_limits.sessions || here >= self.idle_limits.sessions_each {
            return None;
        }
        counts.all += 1;
        counts.per_address.insert(addr, here + 1);
        Some(Place { sessions: self, addr })
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut counts = self.sessions.lock();
        counts.all -= 1;
        if let Some(here) = counts.per_address.get_mut(&self.addr) {
            *here -= 1;
            if *here == 0 {
                counts.per_address.remove(&self.addr);
                if counts.per_address.is_empty() {
                    counts.per_address.shrink_to_fit();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_cannot_take_every_place_and_places_come_back() {
        let sessions = IdleSessions::new(IdleLimits::LISTENER);
        let addr = |n: u16| IpAddr::from([10, 0, (n >> 8) as u8, n as u8]);
        let mut places: Vec<_> = std::iter::from_fn(|| sessions.enter(addr(0))).collect();
        assert_eq!(places.len(), IdleLimits::LISTENER.sessions_each);
        places.extend((1..).map_while(|n| sessions.enter(addr(n))));
        assert_eq!(places.len(), IdleLimits::LISTENER.sessions);
        drop(places);
        assert_eq!(sessions.lock().all, 0);
        assert!(sessions.lock().per_address.is_empty());
        assert!(sessions.enter(addr(0)).is_some());
    }

    #[test]
    fn the_addresses_of_one_ipv6_network_count_as_one() {
        let sessions = IdleSessions::new(IdleLimits { sessions_each: 1, ..IdleLimits::LISTENER });
        let ip = |text: &str| text.parse().unwrap();
        let _first = sessions.enter(ip("2001:db8::1")).unwrap();
        assert!(sessions.enter(ip("2001:db8::2")).is_none());
        assert!(sessions.enter(ip("2001:db8:0:1::2")).is_some());
    }
}
