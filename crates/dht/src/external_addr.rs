//! Consensus of other nodes about our external address.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use crate::address::{Prefix, is_local};
use crate::limits::{MAX_ADDRESS_VOTES, MIN_ADDRESS_VOTES};

/// Who votes: all of a network prefix together have one vote, for addresses are cheap there. Local
/// nodes, whose number the owner controls, have one each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Voter {
    Prefix(Prefix),
    Local(SocketAddr),
}

impl Voter {
    pub(crate) fn of(node: SocketAddr) -> Self {
        if is_local(node.ip()) { Self::Local(node) } else { Self::Prefix(Prefix::of(node.ip())) }
    }
}

/// The last votes about our address in one family.
#[derive(Debug, Default)]
pub(crate) struct ExternalAddrConsensus {
    votes: VecDeque<(Voter, IpAddr)>,
    winner: Option<IpAddr>,
}

impl ExternalAddrConsensus {
    /// Counts the word of `from`; returns the address when it becomes another.
    pub(crate) fn add(&mut self, from: SocketAddr, claimed: IpAddr) -> Option<IpAddr> {
        if from.is_ipv4() != claimed.is_ipv4() {
            return None;
        }
        let voter = Voter::of(from);
        self.votes.retain(|(other, _)| *other != voter);
        self.votes.push_back((voter, claimed));
        if self.votes.len() > MAX_ADDRESS_VOTES {
            self.votes.pop_front();
        }
        let agreeing = self.votes.iter().filter(|(_, ip)| *ip == claimed).count();
        let elected = agreeing >= MIN_ADDRESS_VOTES && agreeing * 2 > self.votes.len();
        if !elected || self.winner == Some(claimed) {
            return None;
        }
        self.winner = Some(claimed);
        self.winner
    }

    /// The address that has won.
    pub(crate) fn winner(&self) -> Option<IpAddr> {
        self.winner
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINE: &str = "198.51.100.7";

    fn vote(votes: &mut ExternalAddrConsensus, from: &str, claimed: &str) -> Option<IpAddr> {
        votes.add(from.parse().unwrap(), claimed.parse().unwrap())
    }

    #[test]
    fn three_voters_that_agree_elect() {
        let mut votes = ExternalAddrConsensus::default();
        assert_eq!(vote(&mut votes, "192.0.2.1:1", MINE), None);
        assert_eq!(vote(&mut votes, "192.0.2.2:1", MINE), None);
        assert_eq!(vote(&mut votes, "192.0.2.3:1", MINE), Some(MINE.parse().unwrap()));
        assert_eq!(votes.winner(), Some(MINE.parse().unwrap()));
    }

    #[test]
    fn many_nodes_on_one_address_have_one_vote() {
        let mut votes = ExternalAddrConsensus::default();
        for port in 1..100 {
            assert_eq!(vote(&mut votes, &format!("192.0.2.1:{port}"), "10.9.9.9"), None);
        }
    }

    #[test]
    fn a_minority_does_not_change_the_address_and_a_move_does() {
        let mut votes = ExternalAddrConsensus::default();
        for n in 1..=10 {
            vote(&mut votes, &format!("192.0.2.{n}:1"), MINE);
        }
        for n in 11..=15 {
            assert_eq!(vote(&mut votes, &format!("192.0.2.{n}:1"), "203.0.113.9"), None);
        }
        assert_eq!(votes.winner(), Some(MINE.parse().unwrap()));
        for n in 1..=10 {
            vote(&mut votes, &format!("192.0.2.{n}:1"), "203.0.113.9");
        }
        assert_eq!(votes.winner(), Some("203.0.113.9".parse().unwrap()));
    }

    #[test]
    fn a_voter_cannot_speak_about_the_other_family() {
        assert_eq!(vote(&mut ExternalAddrConsensus::default(), "192.0.2.1:1", "2001:db8::1"), None);
    }
}
