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

/// What a vote has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nothing.
    Same,
    /// Who had voted for our address has seen us at another: we may have moved. What the others
    /// have said is of another time, and they are to be asked.
    Doubt,
    /// Our address has become this one.
    Elected(IpAddr),
}

/// The last votes about our address in one family.
#[derive(Debug, Default)]
pub(crate) struct ExternalAddrConsensus {
    votes: VecDeque<(Voter, IpAddr)>,
    winner: Option<IpAddr>,
}

impl ExternalAddrConsensus {
    /// Counts the word of `from`.
    pub(crate) fn add(&mut self, from: SocketAddr, claimed: IpAddr) -> Outcome {
        if from.is_ipv4() != claimed.is_ipv4() {
            return Outcome::Same;
        }
        let voter = Voter::of(from);
        let before = self.votes.iter().find(|(other, _)| *other == voter).map(|(_, ip)| *ip);
        let is_doubtful = before.is_some() && before == self.winner && before != Some(claimed);
        self.votes.retain(|(other, _)| *other != voter && !is_doubtful);
        self.votes.push_back((voter, claimed));
        if self.votes.len() > MAX_ADDRESS_VOTES {
            self.votes.pop_front();
        }
        let agreeing = self.votes.iter().filter(|(_, ip)| *ip == claimed).count();
        let elected = agreeing >= MIN_ADDRESS_VOTES && agreeing * 2 > self.votes.len();
        match elected {
            true if self.winner != Some(claimed) => {
                self.winner = Some(claimed);
                Outcome::Elected(claimed)
            }
            _ if is_doubtful => Outcome::Doubt,
            _ => Outcome::Same,
        }
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

    fn vote(votes: &mut ExternalAddrConsensus, from: &str, claimed: &str) -> Outcome {
        votes.add(from.parse().unwrap(), claimed.parse().unwrap())
    }

    #[test]
    fn three_voters_that_agree_elect() {
        let mut votes = ExternalAddrConsensus::default();
        assert_eq!(vote(&mut votes, "192.0.2.1:1", MINE), Outcome::Same);
        assert_eq!(vote(&mut votes, "192.0.2.2:1", MINE), Outcome::Same);
        assert_eq!(vote(&mut votes, "192.0.2.3:1", MINE), Outcome::Elected(MINE.parse().unwrap()));
        assert_eq!(votes.winner(), Some(MINE.parse().unwrap()));
    }

    #[test]
    fn many_nodes_on_one_address_have_one_vote() {
        let mut votes = ExternalAddrConsensus::default();
        for port in 1..100 {
            assert_eq!(vote(&mut votes, &format!("192.0.2.1:{port}"), "10.9.9.9"), Outcome::Same);
        }
    }

    #[test]
    fn a_minority_does_not_change_the_address_and_a_move_does() {
        let mut votes = ExternalAddrConsensus::default();
        for n in 1..=10 {
            vote(&mut votes, &format!("192.0.2.{n}:1"), MINE);
        }
        for n in 11..=15 {
            assert_eq!(vote(&mut votes, &format!("192.0.2.{n}:1"), "203.0.113.9"), Outcome::Same);
        }
        assert_eq!(votes.winner(), Some(MINE.parse().unwrap()));
        for n in 1..=10 {
            vote(&mut votes, &format!("192.0.2.{n}:1"), "203.0.113.9");
        }
        assert_eq!(votes.winner(), Some("203.0.113.9".parse().unwrap()));
    }

    #[test]
    fn who_sees_us_elsewhere_than_before_casts_doubt_and_elects_nothing_alone() {
        let mut votes = ExternalAddrConsensus::default();
        for n in 1..=10 {
            vote(&mut votes, &format!("192.0.2.{n}:1"), MINE);
        }
        assert_eq!(vote(&mut votes, "192.0.2.11:1", "203.0.113.9"), Outcome::Same, "it has never seen us elsewhere");
        assert_eq!(vote(&mut votes, "192.0.2.1:1", "203.0.113.9"), Outcome::Doubt);
        assert_eq!(vote(&mut votes, "192.0.2.1:1", "203.0.113.9"), Outcome::Same);
        assert_eq!(votes.winner(), Some(MINE.parse().unwrap()));
        // Two others decide: it lied, or we have moved.
        for (n, claimed) in [(2, MINE), (3, MINE), (4, MINE)] {
            assert_eq!(vote(&mut votes, &format!("192.0.2.{n}:1"), claimed), Outcome::Same);
        }
        assert_eq!(vote(&mut votes, "192.0.2.2:1", "203.0.113.9"), Outcome::Doubt);
        assert_eq!(vote(&mut votes, "192.0.2.3:1", "203.0.113.9"), Outcome::Same);
        let moved = vote(&mut votes, "192.0.2.4:1", "203.0.113.9");
        assert_eq!(moved, Outcome::Elected("203.0.113.9".parse().unwrap()));
    }

    #[test]
    fn a_voter_cannot_speak_about_the_other_family() {
        let said = vote(&mut ExternalAddrConsensus::default(), "192.0.2.1:1", "2001:db8::1");
        assert_eq!(said, Outcome::Same);
    }
}
