//! What others see of this computer → what its router does.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

/// How a router maps one socket of this computer to ports outside (RFC 4787, section 4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mapping {
    /// Too few have said what they see.
    #[default]
    Unknown,
    /// To the same port for everybody (endpoint-independent), or there is no NAT.
    OneForAll,
    /// To another port for each destination.
    Symmetric,
}

/// Hosts whose word is kept, the latest; more are not needed.
const MAX_HOSTS: usize = 16;

/// Hosts that have to agree, each at an address of its own: one may lie.
const ENOUGH: usize = 2;

/// Gathers where others see one socket of this computer.
#[derive(Debug, Clone, Default)]
pub struct MappingObserver {
    /// By who says so, with the number of the word.
    seen: BTreeMap<IpAddr, (u64, SocketAddr)>,
    words: u64,
}

impl MappingObserver {
    /// Notes that `host` sees this socket at `at`.
    pub fn saw(&mut self, host: IpAddr, at: SocketAddr) {
        self.words += 1;
        self.seen.insert(host, (self.words, at));
        if self.seen.len() > MAX_HOSTS
            && let Some(oldest) = self.seen.iter().min_by_key(|(_, (word, _))| *word).map(|(host, _)| *host)
        {
            self.seen.remove(&oldest);
        }
    }

    /// Forgets everything: this computer is in another network.
    pub fn clear(&mut self) {
        self.seen.clear();
    }

    /// What the router does, as far as most say; a few that lie change nothing. Where there is IPv4
    /// it is that which counts: NAT of IPv6 is rare.
    #[must_use]
    pub fn mapping(&self) -> Mapping {
        let has_v4 = self.seen.values().any(|(_, addr)| addr.is_ipv4());
        let counts = |addr: &SocketAddr| addr.is_ipv4() == has_v4;
        let all = self.seen.values().filter(|(_, addr)| counts(addr)).count();
        let most = self.by_votes().iter().filter(|(_, addr)| counts(addr)).map(|(votes, _)| *votes).max().unwrap_or(0);
        if most >= ENOUGH && most * 2 > all {
            Mapping::OneForAll
        } else if self.ports_of_one_address(counts) > ENOUGH {
            Mapping::Symmetric
        } else {
            Mapping::Unknown
        }
    }

    /// Addresses that at least two hosts see, the most often seen first.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.by_votes().into_iter().filter(|(votes, _)| *votes >= ENOUGH).map(|(_, addr)| addr).collect()
    }

    /// The address without its port, seen by most; with the port that was seen last.
    #[must_use]
    pub fn latest(&self) -> Option<SocketAddr> {
        let mut by_ip: BTreeMap<IpAddr, (usize, u64, SocketAddr)> = BTreeMap::new();
        for (word, addr) in self.seen.values() {
            let entry = by_ip.entry(addr.ip()).or_insert((0, *word, *addr));
            entry.0 += 1;
            if *word >= entry.1 {
                (entry.1, entry.2) = (*word, *addr);
            }
        }
        by_ip.into_values().max_by_key(|(votes, word, _)| (*votes, *word)).map(|(_, _, addr)| addr)
    }

    fn by_votes(&self) -> Vec<(usize, SocketAddr)> {
        let mut votes: BTreeMap<SocketAddr, usize> = BTreeMap::new();
        for (_, addr) in self.seen.values() {
            *votes.entry(*addr).or_default() += 1;
        }
        let mut votes: Vec<_> = votes.into_iter().map(|(addr, votes)| (votes, addr)).collect();
        votes.sort_by_key(|(votes, addr)| (std::cmp::Reverse(*votes), *addr));
        votes
    }

    /// The most ports that different hosts see of one address.
    fn ports_of_one_address(&self, counts: impl Fn(&SocketAddr) -> bool) -> usize {
        let mut ports: BTreeMap<IpAddr, BTreeSet<u16>> = BTreeMap::new();
        for (_, addr) in self.seen.values().filter(|(_, addr)| counts(addr)) {
            ports.entry(addr.ip()).or_default().insert(addr.port());
        }
        ports.values().map(BTreeSet::len).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is taken from words of hosts 1, 2, …
    fn observed(words: &[&str]) -> MappingObserver {
        let mut observer = MappingObserver::default();
        for (host, at) in words.iter().enumerate() {
            observer.saw(IpAddr::from([192, 0, 2, host as u8 + 1]), at.parse().unwrap());
        }
        observer
    }

    #[test]
    fn two_that_agree_are_enough_and_one_that_lies_changes_nothing() {
        assert_eq!(observed(&[]).mapping(), Mapping::Unknown);
        assert_eq!(observed(&["203.0.113.5:7"]).mapping(), Mapping::Unknown);
        assert_eq!(observed(&["203.0.113.5:7", "203.0.113.5:7"]).mapping(), Mapping::OneForAll);
        let with_liar = observed(&["203.0.113.5:7", "198.51.100.1:9", "203.0.113.5:7"]);
        assert_eq!(with_liar.mapping(), Mapping::OneForAll);
        assert_eq!(with_liar.addresses(), ["203.0.113.5:7".parse().unwrap()]);
        assert_eq!(observed(&["203.0.113.5:7", "203.0.113.5:8"]).mapping(), Mapping::Unknown, "one of them may lie");
    }

    #[test]
    fn a_port_for_each_is_a_symmetric_nat() {
        let observer = observed(&["203.0.113.5:7", "203.0.113.5:8", "203.0.113.5:9"]);
        assert_eq!((observer.mapping(), observer.addresses()), (Mapping::Symmetric, vec![]));
        assert_eq!(observer.latest(), Some("203.0.113.5:9".parse().unwrap()));
    }

    #[test]
    fn each_family_is_seen_at_an_address_of_its_own() {
        let both = observed(&["203.0.113.5:7", "[2001:db8::1]:7", "203.0.113.5:7", "[2001:db8::1]:7"]);
        assert_eq!((both.mapping(), both.addresses().len()), (Mapping::OneForAll, 2));
        let words = ["203.0.113.5:7", "[2001:db8::1]:7", "203.0.113.5:8", "[2001:db8::1]:7", "203.0.113.5:9"];
        assert_eq!(observed(&words).mapping(), Mapping::Symmetric, "over IPv4");
    }

    #[test]
    fn one_host_counts_once_and_a_bounded_number_is_kept() {
        let mut observer = MappingObserver::default();
        for port in 1..100 {
            observer.saw(IpAddr::from([192, 0, 2, 1]), SocketAddr::from(([203, 0, 113, 5], port)));
        }
        assert_eq!((observer.mapping(), observer.seen.len()), (Mapping::Unknown, 1));
        for host in 0..100 {
            observer.saw(IpAddr::from([192, 0, 2, host]), SocketAddr::from(([203, 0, 113, 5], 7)));
        }
        assert_eq!((observer.mapping(), observer.seen.len()), (Mapping::OneForAll, MAX_HOSTS));
        observer.clear();
        assert_eq!(observer.latest(), None);
    }
}
