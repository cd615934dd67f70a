//! The admission gate: limits of handshakes and tunnels, in all and per address, asked by every
//! task of the listening side.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hardline_proto::KeyHash;
use hardline_proto::admission::{Admission, AdmissionLimits, Limit, counted};
use tokio::time::interval;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::metrics::{Metric, Metrics};
use crate::tunnel::{Seat, Seats};

/// Time between two reports of what was refused.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);

/// Counts handshakes and tunnels; see [`Admission`].
#[derive(Debug, Clone)]
pub(super) struct AdmissionGate {
    admission: Arc<Mutex<Admission>>,
    seats: Arc<Seats<(IpAddr, KeyHash)>>,
    metrics: Metrics,
}

impl AdmissionGate {
    pub(super) fn new(limits: AdmissionLimits, metrics: Metrics) -> Self {
        Self { admission: Arc::new(Mutex::new(Admission::new(limits))), seats: Arc::default(), metrics }
    }

    /// Lets a handshake begin; it counts until the slot is dropped.
    ///
    /// # Errors
    /// The limit that refuses it.
    pub(super) fn handshake(&self, addr: IpAddr) -> Result<HandshakeSlot, Limit> {
        let admitted = self.lock().handshake(Instant::now(), addr);
        self.count(admitted)?;
        Ok(HandshakeSlot { gate: self.clone(), addr })
    }

    /// Lets a tunnel to one of our services begin; it counts until the slot is dropped.
    ///
    /// # Errors
    /// The limit that refuses it.
    pub(super) fn tunnel(&self, addr: IpAddr, service: KeyHash) -> Result<TunnelSlot, Limit> {
        let ask = || self.lock().tunnel(Instant::now(), addr, service);
        let admitted = ask().or_else(|limit| if self.makes_room(limit, addr, service) { ask() } else { Err(limit) });
        self.count(admitted)?;
        let (number, seat) = self.seats.take((addr, service));
        Ok(TunnelSlot { gate: self.clone(), addr, service, number, seat })
    }

    /// Ends the tunnel that was silent longest of those that count towards `limit`. Returns whether
    /// there was one.
    fn makes_room(&self, limit: Limit, addr: IpAddr, service: KeyHash) -> bool {
        let counts = |whose: &(IpAddr, KeyHash)| match limit {
            Limit::TunnelsPerAddress => counted(whose.0) == counted(addr),
            Limit::TunnelsPerService => whose.1 == service,
            _ => true,
        };
        let room = self.seats.make_room(counts);
        if let Some((addr, service)) = room {
            self.lock().tunnel_ended(addr, service);
        }
        room.is_some()
    }

    /// Tells what was refused, once a minute at most, until `stop`.
    pub(super) async fn report(&self, stop: &CancellationToken) {
        let (mut minutes, mut told) = (interval(REPORT_INTERVAL), Limit::ALL.map(|_| 0));
        while stop.run_until_cancelled(minutes.tick()).await.is_some() {
            self.lock().forget_rested(Instant::now());
            if let Some(refused) = self.news(&mut told) {
                warn!(refused, "peers refused at a limit");
            }
        }
    }

    /// One line for the log: the limits that were met since `told`, and how often.
    fn news(&self, told: &mut [u64; Limit::ALL.len()]) -> Option<String> {
        let counts = Limit::ALL.map(|limit| self.metrics.get(metric(limit)));
        let before = std::mem::replace(told, counts);
        let more = counts.iter().zip(before).zip(Limit::ALL).filter(|((now, before), _)| *now > before);
        let lines: Vec<_> = more.map(|((now, before), limit)| format!("{} by {limit}", now - before)).collect();
        (!lines.is_empty()).then(|| lines.join(", "))
    }

    fn count(&self, admitted: Result<(), Limit>) -> Result<(), Limit> {
        admitted.inspect_err(|limit| self.metrics.add(metric(*limit), 1))
    }

    fn lock(&self) -> MutexGuard<'_, Admission> {
        self.admission.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where what a limit refused is counted.
const fn metric(limit: Limit) -> Metric {
    match limit {
        Limit::Handshakes => Metric::RefusedHandshakes,
        Limit::HandshakesPerAddress => Metric::RefusedHandshakesPerAddress,
        Limit::HandshakeRate => Metric::RefusedHandshakeRate,
        Limit::Tunnels => Metric::RefusedTunnels,
        Limit::TunnelsPerAddress => Metric::RefusedTunnelsPerAddress,
        Limit::TunnelsPerService => Metric::RefusedTunnelsPerService,
    }
}

/// A handshake under way.
#[derive(Debug)]
pub(super) struct HandshakeSlot {
    gate: AdmissionGate,
    addr: IpAddr,
}

impl Drop for HandshakeSlot {
    fn drop(&mut self) {
        self.gate.lock().handshake_ended(self.addr);
    }
}

/// An open tunnel.
#[derive(Debug)]
pub(super) struct TunnelSlot {
    gate: AdmissionGate,
    addr: IpAddr,
    service: KeyHash,
    number: u64,
    pub(super) seat: Arc<Seat>,
}

impl Drop for TunnelSlot {
    fn drop(&mut self) {
        // Otherwise it has made room for another, which counts in its place.
        if self.gate.seats.give_back(self.number) {
            self.gate.lock().tunnel_ended(self.addr, self.service);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn at_each_limit_of_tunnels_the_one_silent_longest_makes_room_and_others_are_refused() {
        let addr = |last: u8| IpAddr::from([192, 0, 2, last]);
        let service = |last: u8| KeyHash::from_bytes([last; 20]);
        let all = AdmissionLimits::default();
        for (limits, concerned) in [
            (AdmissionLimits { tunnels: 2, ..all.clone() }, [(1, 1), (2, 2), (3, 3)]),
            (AdmissionLimits { tunnels_per_address: 2, ..all.clone() }, [(1, 1), (1, 2), (1, 3)]),
            (AdmissionLimits { tunnels_per_service: 2, ..all.clone() }, [(1, 1), (2, 1), (3, 1)]),
        ] {
            let gate = AdmissionGate::new(limits.clone(), Metrics::default());
            let enter = |(from, to)| gate.tunnel(addr(from), service(to));
            let unconcerned = (limits.tunnels > 2).then(|| enter((99, 99)).unwrap());
            let [first, second, newcomer] = concerned;
            let (first, _second) = (enter(first).unwrap(), enter(second).unwrap());
            assert!(enter(newcomer).is_err(), "nobody has been silent for long");
            tokio::time::advance(crate::limits::ROOM_SILENCE).await;
            _second.seat.moved(tokio::time::Instant::now());
            let admitted = enter(newcomer).unwrap();
            first.seat.evicted().await;
            assert!(enter(newcomer).is_err(), "the others are not silent");
            drop(first);
            assert!(enter(newcomer).is_err(), "its place was counted once");
            drop((admitted, unconcerned));
        }
    }

    #[test]
    fn what_a_limit_refused_is_counted_under_its_name_and_told_once() {
        let limits =
            AdmissionLimits { handshakes_per_address: 1, tunnels_per_service: 1, ..AdmissionLimits::default() };
        let gate = AdmissionGate::new(limits, Metrics::default());
        let (addr, mut told) = (IpAddr::from([192, 0, 2, 1]), Limit::ALL.map(|_| 0));
        let service = KeyHash::from_bytes([7; 20]);
        let _inside = (gate.handshake(addr).unwrap(), gate.tunnel(addr, service).unwrap());
        assert_eq!(gate.news(&mut told), None);
        for _ in 0..3 {
            assert_eq!(gate.handshake(addr).unwrap_err(), Limit::HandshakesPerAddress);
        }
        assert_eq!(gate.tunnel(addr, service).unwrap_err(), Limit::TunnelsPerService);
        assert_eq!(gate.metrics.get(Metric::RefusedHandshakesPerAddress), 3);
        let expected = "3 by handshakes of one address, 1 by tunnels to one service";
        assert_eq!(gate.news(&mut told).as_deref(), Some(expected));
        assert_eq!(gate.news(&mut told), None);
        assert!(gate.handshake(addr).is_err());
        assert_eq!(gate.news(&mut told).as_deref(), Some("1 by handshakes of one address"));
    }

    #[test]
    fn every_limit_has_a_metric_of_its_own() {
        let mut metrics = Limit::ALL.map(|limit| metric(limit) as usize);
        metrics.sort_unstable();
        assert!(metrics.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
