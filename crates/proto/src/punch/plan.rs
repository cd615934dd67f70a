//! Who sends how much, and to which ports.
//!
//! Among the 64,512 ports that a symmetric NAT has, `n` probes to different ports meet one of `s`
//! sockets with the probability 1 − (1 − s / 64,512)^n: 98 % for 512 and 512, or 256 and 1,024. The
//! publisher, which sends where a stranger told it to, takes the smaller share each time.

use super::probe::PROBE_LEN;
use super::{Mapping, Role};
use crate::call::{CALL_LEN, MAX_ADDRESSES};

/// Datagrams that a publisher sends for one call without having heard the caller.
pub const MAX_UNASKED: usize = 8;

/// IPv6 and UDP.
const HEADERS: usize = 48;

// A caller spends more bytes than it makes the publisher send, to whomever.
const _: () = assert!(MAX_UNASKED * (PROBE_LEN + HEADERS) <= CALL_LEN + HEADERS);
const _: () = assert!(MAX_ADDRESSES * 2 <= MAX_UNASKED);

/// How an attempt is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// A few datagrams to each address.
    Few,
    /// Beside them, one from each of so many sockets: this side's NAT is symmetric.
    ManySockets(u16),
    /// Beside them, one to each of so many ports: the other side's NAT is symmetric.
    ManyPorts(u16),
    /// Nothing is sent: both are.
    Hopeless,
}

/// What `role` does behind a router that does `own`, when the other side's does `other`.
#[must_use]
pub const fn plan(role: Role, own: Mapping, other: Mapping) -> Plan {
    match (own, other, role) {
        (Mapping::Symmetric, Mapping::Symmetric, _) => Plan::Hopeless,
        (Mapping::Symmetric, _, Role::Dialler) => Plan::ManySockets(512),
        (Mapping::Symmetric, _, Role::Publisher) => Plan::ManySockets(256),
        (_, Mapping::Symmetric, Role::Dialler) => Plan::ManyPorts(1024),
        (_, Mapping::Symmetric, Role::Publisher) => Plan::ManyPorts(512),
        _ => Plan::Few,
    }
}

/// Ports from 1024 on by chance, each once.
#[derive(Debug, Clone, Copy)]
pub struct Ports {
    next: u32,
    step: u32,
}

impl Ports {
    const FIRST: u32 = 1024;
    const COUNT: u32 = 65_536 - Self::FIRST;

    /// The row that belongs to `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let (low, high) = (seed as u32, (seed >> 32) as u32);
        // Prime to their number, so that each port has its turn: that is 2^10 · 3^2 · 7.
        let step = (high % Self::COUNT..).find(|step| step % 2 != 0 && step % 3 != 0 && step % 7 != 0);
        Self { next: low % Self::COUNT, step: step.expect("one in four or so is") }
    }
}

impl Iterator for Ports {
    type Item = u16;

    fn next(&mut self) -> Option<u16> {
        let port = Self::FIRST + self.next;
        self.next = (self.next + self.step) % Self::COUNT;
        Some(u16::try_from(port).expect("below 65,536"))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_port_comes_once_whatever_the_seed() {
        for seed in [0, 1, u64::MAX, 0x1234_5678_9abc_def0, 6 << 32, 7 << 32, 64_511 << 32] {
            let ports: BTreeSet<u16> = Ports::new(seed).take(Ports::COUNT as usize).collect();
            assert_eq!((ports.len(), ports.first(), ports.last()), (64_512, Some(&1024), Some(&65_535)), "{seed:#x}");
        }
    }

    #[test]
    fn one_side_s_part_fits_the_other_s() {
        use Mapping::{OneForAll, Symmetric, Unknown};
        for other in [OneForAll, Unknown] {
            assert_eq!(plan(Role::Dialler, Symmetric, other), Plan::ManySockets(512));
            assert_eq!(plan(Role::Publisher, other, Symmetric), Plan::ManyPorts(512));
            assert_eq!(plan(Role::Publisher, Symmetric, other), Plan::ManySockets(256));
            assert_eq!(plan(Role::Dialler, other, Symmetric), Plan::ManyPorts(1024));
            for role in [Role::Dialler, Role::Publisher] {
                assert_eq!(plan(role, Unknown, other), Plan::Few);
                assert_eq!(plan(role, Symmetric, Symmetric), Plan::Hopeless);
            }
        }
    }
}
