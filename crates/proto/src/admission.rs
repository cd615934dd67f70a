//! Who may come in: handshakes and tunnels of strangers, counted per address, per service and in
//! total.
//!
//! At a limit the newcomer is refused and those who are in stay.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Instant;

use crate::key::KeyHash;
use crate::rate::{Rate, TokenBucket};

/// Addresses with nothing open whose rate is still counted. Above that, those who have rested
/// longest are forgotten.
pub const MAX_RESTING_ADDRESSES: usize = 4096;

/// How many may come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdmissionLimits {
    /// Handshakes under way at once.
    pub handshakes: usize,
    /// Of them, from one address. Leaves room for others while one address is silent in all of its
    /// own.
    pub handshakes_per_address: usize,
    /// Handshakes of one address begun at once and in a second after that. One costs about half a
    /// millisecond.
    pub handshake_rate: Rate,
    /// Tunnels open at once.
    pub tunnels: usize,
    /// Of them, from one address.
    pub tunnels_per_address: usize,
    /// Of them, to one service.
    pub tunnels_per_service: usize,
}

impl Default for AdmissionLimits {
    fn default() -> Self {
        Self {
            handshakes: 4096,
            handshakes_per_address: 256,
            // A page of a program behind a version 1 peer opens dozens at once; nobody opens
            // thousands for long.
            handshake_rate: Rate { burst: 2000, per_second: 200 },
            tunnels: 20_000,
            tunnels_per_address: 12_000,
            tunnels_per_service: 16_000,
        }
    }
}

/// The limit that refused a newcomer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// [`AdmissionLimits::handshakes`].
    Handshakes,
    /// [`AdmissionLimits::handshakes_per_address`].
    HandshakesPerAddress,
    /// [`AdmissionLimits::handshake_rate`].
    HandshakeRate,
    /// [`AdmissionLimits::tunnels`].
    Tunnels,
    /// [`AdmissionLimits::tunnels_per_address`].
    TunnelsPerAddress,
    /// [`AdmissionLimits::tunnels_per_service`].
    TunnelsPerService,
}

impl Limit {
    /// All of them, in the order in which they are asked.
    pub const ALL: [Self; 6] = [
        Self::Handshakes,
        Self::HandshakesPerAddress,
        Self::HandshakeRate,
        Self::Tunnels,
        Self::TunnelsPerService,
        Self::TunnelsPerAddress,
    ];
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Handshakes => "handshakes in total",
            Self::HandshakesPerAddress => "handshakes of one address",
            Self::HandshakeRate => "handshakes a second of one address",
            Self::Tunnels => "tunnels in total",
            Self::TunnelsPerAddress => "tunnels of one address",
            Self::TunnelsPerService => "tunnels to one service",
        })
    }
}

/// Counts who is in. Every admission that was granted is given back by its `_ended` call.
#[derive(Debug)]
pub struct Admission {
    limits: AdmissionLimits,
    handshakes: usize,
    tunnels: usize,
    addresses: HashMap<IpAddr, Address>,
    services: HashMap<KeyHash, usize>,
}

/// What one address has open.
#[derive(Debug)]
struct Address {
    handshakes: usize,
    tunnels: usize,
    rate: TokenBucket,
}

impl Address {
    fn is_resting(&self) -> bool {
        self.handshakes == 0 && self.tunnels == 0
    }
}

impl Admission {
    /// Nobody is in.
    #[must_use]
    pub fn new(limits: AdmissionLimits) -> Self {
        Self { limits, handshakes: 0, tunnels: 0, addresses: HashMap::new(), services: HashMap::new() }
    }

    /// A connection from `addr` wants to begin its handshake.
    ///
    /// # Errors
    /// The limit that refuses it.
    pub fn handshake(&mut self, now: Instant, addr: IpAddr) -> Result<(), Limit> {
        if self.handshakes >= self.limits.handshakes {
            return Err(Limit::Handshakes);
        }
        let limits = (self.limits.handshakes_per_address, self.limits.handshake_rate);
        let address = self.address(now, addr);
        if address.handshakes >= limits.0 {
            return Err(Limit::HandshakesPerAddress);
        }
        if !address.rate.take(now) {
            return Err(Limit::HandshakeRate);
        }
        address.handshakes += 1;
        self.handshakes += 1;
        Ok(())
    }

    /// A handshake that was admitted has ended, well or not.
    pub fn handshake_ended(&mut self, addr: IpAddr) {
        self.handshakes = self.handshakes.saturating_sub(1);
        if let Some(address) = self.addresses.get_mut(&counted(addr)) {
            address.handshakes = address.handshakes.saturating_sub(1);
        }
    }

    /// A peer at `addr` wants a tunnel to `service`, which is one of ours.
    ///
    /// # Errors
    /// The limit that refuses it.
    pub fn tunnel(&mut self, now: Instant, addr: IpAddr, service: KeyHash) -> Result<(), Limit> {
        if self.tunnels >= self.limits.tunnels {
            return Err(Limit::Tunnels);
        }
        if self.services.get(&service).is_some_and(|tunnels| *tunnels >= self.limits.tunnels_per_service) {
            return Err(Limit::TunnelsPerService);
        }
        let limit = self.limits.tunnels_per_address;
        let address = self.address(now, addr);
        if address.tunnels >= limit {
            return Err(Limit::TunnelsPerAddress);
        }
        address.tunnels += 1;
        *self.services.entry(service).or_default() += 1;
        self.tunnels += 1;
        Ok(())
    }

    /// A tunnel that was admitted has ended.
    pub fn tunnel_ended(&mut self, addr: IpAddr, service: KeyHash) {
        self.tunnels = self.tunnels.saturating_sub(1);
        if let Some(address) = self.addresses.get_mut(&counted(addr)) {
            address.tunnels = address.tunnels.saturating_sub(1);
        }
        if let Some(tunnels) = self.services.get_mut(&service) {
            *tunnels = tunnels.saturating_sub(1);
        }
    }

    /// Forgets addresses that have nothing open and whose rate is whole again: after a crowd its
    /// memory is given back.
    pub fn forget_rested(&mut self, now: Instant) {
        self.addresses.retain(|_, address| !address.is_resting() || address.rate.full_at().is_some_and(|at| at > now));
        self.addresses.shrink_to(self.addresses.len() * 2);
    }

    fn address(&mut self, now: Instant, addr: IpAddr) -> &mut Address {
        let addr = counted(addr);
        if !self.addresses.contains_key(&addr) {
            self.make_room(now);
        }
        let rate = self.limits.handshake_rate;
        self.addresses.entry(addr).or_insert_with(|| Address {
            handshakes: 0,
            tunnels: 0,
            rate: TokenBucket::new(rate),
        })
    }

    /// Forgets addresses that have rested until their rate is whole again; if that is not enough,
    /// all that rest. Those with something open are bounded by the limits in total.
    fn make_room(&mut self, now: Instant) {
        let open = self.handshakes + self.tunnels;
        if self.addresses.len() < open + MAX_RESTING_ADDRESSES {
            return;
        }
        self.forget_rested(now);
        if self.addresses.len() >= open + MAX_RESTING_ADDRESSES {
            self.addresses.retain(|_, address| !address.is_resting());
        }
    }
}

/// The address under which a peer is counted: one IPv4 address, or the /64 that a single IPv6 host
/// has to itself.
#[must_use]
pub fn counted(addr: IpAddr) -> IpAddr {
    match addr.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn small() -> AdmissionLimits {
        AdmissionLimits {
            handshakes: 10,
            handshakes_per_address: 4,
            handshake_rate: Rate { burst: 6, per_second: 1 },
            tunnels: 8,
            tunnels_per_address: 5,
            tunnels_per_service: 6,
        }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn key(byte: u8) -> KeyHash {
        KeyHash::from_bytes([byte; 20])
    }

    #[test]
    fn the_memory_of_a_crowd_is_given_back_when_it_has_left() {
        let (now, mut admission) = (Instant::now(), Admission::new(AdmissionLimits::default()));
        let crowd = || (0..2000_u32).map(|n| IpAddr::from(n.to_be_bytes()));
        crowd().for_each(|addr| admission.handshake(now, addr).unwrap());
        crowd().for_each(|addr| admission.handshake_ended(addr));
        admission.forget_rested(now + HOUR);
        assert_eq!((admission.addresses.len(), admission.addresses.capacity()), (0, 0));
    }

    #[test]
    fn one_address_leaves_handshakes_for_others() {
        let (now, mut admission) = (Instant::now(), Admission::new(small()));
        for _ in 0..4 {
            assert_eq!(admission.handshake(now, ip("192.0.2.1")), Ok(()));
        }
        assert_eq!(admission.handshake(now, ip("192.0.2.1")), Err(Limit::HandshakesPerAddress));
        assert_eq!(admission.handshake(now, ip("192.0.2.2")), Ok(()));
        admission.handshake_ended(ip("192.0.2.1"));
        assert_eq!(admission.handshake(now, ip("192.0.2.1")), Ok(()));
    }

    #[test]
    fn handshakes_are_limited_in_total() {
        let (now, mut admission) = (Instant::now(), Admission::new(small()));
        for host in 0..10 {
            assert_eq!(admission.handshake(now, IpAddr::from([192, 0, 2, host])), Ok(()));
        }
        assert_eq!(admission.handshake(now, ip("192.0.2.99")), Err(Limit::Handshakes));
    }

    #[test]
    fn one_address_has_a_burst_and_then_a_rate() {
        let (start, mut admission) = (Instant::now(), Admission::new(small()));
        let mut handshake = |now| {
            let admitted = admission.handshake(now, ip("192.0.2.1"));
            if admitted.is_ok() {
                admission.handshake_ended(ip("192.0.2.1"));
            }
            admitted
        };
        assert_eq!((0..100).filter(|_| handshake(start).is_ok()).count(), 6);
        assert_eq!(handshake(start), Err(Limit::HandshakeRate));
        assert_eq!(handshake(start + Duration::from_secs(1)), Ok(()));
    }

    #[test]
    fn tunnels_are_limited_by_address_by_service_and_in_total() {
        let (now, mut admission) = (Instant::now(), Admission::new(small()));
        let mut tunnels =
            |addr: &str, service: u8| (0..9).find_map(|_| admission.tunnel(now, ip(addr), key(service)).err());
        assert_eq!(tunnels("192.0.2.1", 1), Some(Limit::TunnelsPerAddress));
        assert_eq!(tunnels("192.0.2.2", 1), Some(Limit::TunnelsPerService));
        assert_eq!(tunnels("192.0.2.2", 2), Some(Limit::Tunnels));
    }

    #[test]
    fn what_has_ended_makes_room() {
        let (now, mut admission) = (Instant::now(), Admission::new(small()));
        for _ in 0..1000 {
            assert_eq!(admission.tunnel(now, ip("2001:db8::1"), key(1)), Ok(()));
            admission.tunnel_ended(ip("2001:db8::1"), key(1));
        }
    }

    #[test]
    fn addresses_of_one_ipv6_host_are_counted_together_and_mapped_ones_as_ipv4() {
        let (now, mut admission) = (Instant::now(), Admission::new(small()));
        for host in 1..=4 {
            assert_eq!(admission.handshake(now, ip(&format!("2001:db8::{host}"))), Ok(()));
        }
        assert_eq!(admission.handshake(now, ip("2001:db8::5")), Err(Limit::HandshakesPerAddress));
        assert_eq!(admission.handshake(now, ip("2001:db8:0:1::5")), Ok(()));
        for addr in ["::ffff:192.0.2.1", "192.0.2.1", "::ffff:192.0.2.1", "192.0.2.1"] {
            assert_eq!(admission.handshake(now, ip(addr)), Ok(()), "{addr}");
        }
        assert_eq!(admission.handshake(now, ip("192.0.2.1")), Err(Limit::HandshakesPerAddress));
    }

    #[test]
    fn strangers_by_the_hundred_thousand_are_counted_in_bounded_memory() {
        let (now, mut admission) = (Instant::now(), Admission::new(small()));
        let stays = ip("203.0.113.1");
        admission.tunnel(now, stays, key(1)).unwrap();
        for host in 0..100_000_u32 {
            let addr = IpAddr::from((0x0a00_0000 + host).to_be_bytes());
            admission.handshake(now, addr).unwrap();
            admission.handshake_ended(addr);
        }
        assert!(admission.addresses.len() <= MAX_RESTING_ADDRESSES + 2);
        assert_eq!(admission.addresses[&stays].tunnels, 1);
    }
}
