//! How many links wait, in all and per address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::limits::{MAX_LISTENER_PARKED, MAX_LISTENER_PARKED_PER_ADDRESS};

/// Counts the parked links of the listening side.
#[derive(Debug, Default)]
pub(super) struct ParkedLinks(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    /// Only addresses that have some.
    per_address: HashMap<IpAddr, usize>,
}

/// One parked link; given up when dropped.
#[derive(Debug)]
pub(super) struct Place<'a> {
    links: &'a ParkedLinks,
    addr: IpAddr,
}

impl ParkedLinks {
    /// A place for a link from `addr`, if there is one.
    pub(super) fn enter(&self, addr: IpAddr) -> Option<Place<'_>> {
        let mut counts = self.lock();
        let here = counts.per_address.get(&addr).copied().unwrap_or(0);
        if counts.all >= MAX_LISTENER_PARKED || here >= MAX_LISTENER_PARKED_PER_ADDRESS {
            return None;
        }
        counts.all += 1;
        counts.per_address.insert(addr, here + 1);
        Some(Place { links: self, addr })
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut counts = self.links.lock();
        counts.all -= 1;
        if let Some(here) = counts.per_address.get_mut(&self.addr) {
            *here -= 1;
            if *here == 0 {
                counts.per_address.remove(&self.addr);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_cannot_take_every_place_and_places_come_back() {
        let links = ParkedLinks::default();
        let addr = |n: u16| IpAddr::from([10, 0, (n >> 8) as u8, n as u8]);
        let mut places: Vec<_> = std::iter::from_fn(|| links.enter(addr(0))).collect();
        assert_eq!(places.len(), MAX_LISTENER_PARKED_PER_ADDRESS);
        places.extend((1..).map_while(|n| links.enter(addr(n))));
        assert_eq!(places.len(), MAX_LISTENER_PARKED);
        drop(places);
        assert_eq!(links.lock().all, 0);
        assert!(links.lock().per_address.is_empty());
        assert!(links.enter(addr(0)).is_some());
    }
}
