//! Addresses with ports at which other nodes see us.
//!
//! Replies tell us our address without its port. But nodes that know us name us, among those near
//! our id, by the address and port from which they heard us.

use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::external_addr::Voter;
use crate::limits::{MAX_ADDRESS_VOTES, SIGHTING_LIFETIME};
use crate::time::Time;

/// What was seen of us in one family, each voter's last word.
#[derive(Debug, Default)]
pub(crate) struct Sightings {
    seen: VecDeque<(Time, SocketAddr, SocketAddr)>,
}

impl Sightings {
    /// Notes that `voter` named us at `addr`.
    pub(crate) fn add(&mut self, now: Time, voter: SocketAddr, addr: SocketAddr) {
        if voter.is_ipv4() != addr.is_ipv4() {
            return;
        }
        self.seen.retain(|(_, other, _)| Voter::of(*other) != Voter::of(voter));
        self.seen.push_back((now, voter, addr));
        if self.seen.len() > MAX_ADDRESS_VOTES {
            self.seen.pop_front();
        }
    }

    /// Who sees us where, as far as that is not old.
    pub(crate) fn fresh(&self, now: Time) -> impl Iterator<Item = (SocketAddr, SocketAddr)> {
        let is_fresh = move |at: &Time| now.since(*at) < SIGHTING_LIFETIME;
        self.seen.iter().filter(move |(at, ..)| is_fresh(at)).map(|(_, voter, addr)| (*voter, *addr))
    }

    /// Whether `voter`, or another of its network, has told of late.
    pub(crate) fn has_told(&self, now: Time, voter: SocketAddr) -> bool {
        self.fresh(now).any(|(other, _)| Voter::of(other) == Voter::of(voter))
    }

    /// Forgets all: they were of another network.
    pub(crate) fn clear(&mut self) {
        self.seen.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_network_has_one_vote_and_its_last_word_counts_for_a_while() {
        let mut sightings = Sightings::default();
        for port in 1..100 {
            sightings.add(Time::ZERO, addr("[2001:db8::1]:1"), SocketAddr::new(addr("[2001:db8:1::5]:1").ip(), port));
        }
        sightings.add(Time::ZERO, addr("[2001:db8::2]:1"), addr("[2001:db8:1::5]:7"));
        let fresh: Vec<_> = sightings.fresh(Time::ZERO).collect();
        assert_eq!(fresh, [(addr("[2001:db8::2]:1"), addr("[2001:db8:1::5]:7"))]);
        assert!(sightings.has_told(Time::ZERO, addr("[2001:db8::3]:9")));
        assert_eq!(sightings.fresh(Time::ZERO + SIGHTING_LIFETIME).count(), 0);
    }

    #[test]
    fn they_are_bounded_and_of_one_family() {
        let mut sightings = Sightings::default();
        for n in 0..200 {
            sightings.add(Time::ZERO, SocketAddr::from(([192, 0, 2, n], 1)), addr("203.0.113.5:4222"));
        }
        sightings.add(Time::ZERO, addr("198.51.100.1:1"), addr("[2001:db8::1]:1"));
        assert_eq!(sightings.fresh(Time::ZERO).count(), MAX_ADDRESS_VOTES);
        assert!(!sightings.has_told(Time::ZERO, addr("198.51.100.1:1")));
    }
}
