//! Who is connected to this node's services now, and over what.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use hardline_proto::KeyHash;
use hardline_proto::liveness::PathState;
use hardline_proto::path::{Path, PathKind};
use serde::Serialize;
use tokio::sync::watch;

use crate::json::as_text;
use crate::session::RoundTrip;
use crate::tunnel::OpenTunnels;

/// A computer that is connected to a service of this node. Its address is not told.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Visitor {
    /// The service.
    #[serde(serialize_with = "as_text")]
    pub service: KeyHash,
    /// Over what. Through a relay without a round trip: TCP sees the relay and no further.
    pub path: Path,
    /// Tunnels that are open.
    pub tunnels: usize,
    /// What it is called, if the service is private.
    pub name: Option<String>,
}

impl Visitor {
    /// What a person wants to know of it.
    #[must_use]
    pub fn sentence(&self) -> String {
        let (service, tunnels) = (self.service.short(), OpenTunnels(self.tunnels));
        match &self.name {
            Some(name) => format!("{name}, a visitor of {service}: {}; {tunnels}.", self.path),
            None => format!("A visitor of {service}: {}; {tunnels}.", self.path),
        }
    }
}

/// One session of a visitor.
#[derive(Debug)]
pub(super) struct Visit {
    service: KeyHash,
    pub(super) addr: SocketAddr,
    /// Without its round trip.
    path: Path,
    round_trip: Arc<RoundTrip>,
    tunnels: AtomicUsize,
    name: Option<String>,
    _punched: Option<Punched>,
}

/// Counts one who has come through NATs, until dropped.
#[derive(Debug)]
struct Punched(watch::Sender<usize>);

impl Punched {
    fn count(all: &watch::Sender<usize>) -> Self {
        all.send_modify(|count| *count += 1);
        Self(all.clone())
    }
}

impl Drop for Punched {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// A tunnel of a visit; over when dropped.
pub(super) struct Counted<'a>(&'a Visit);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.tunnels.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Visit {
    /// Counts a tunnel.
    pub(super) fn tunnel(&self) -> Counted<'_> {
        self.tunnels.fetch_add(1, Ordering::Relaxed);
        Counted(self)
    }

    /// Where the round trip is to be noted; `None` behind a relay, which is all that TCP sees.
    pub(super) fn round_trip(&self) -> Option<Arc<RoundTrip>> {
        (self.path.kind != PathKind::Relay).then(|| Arc::clone(&self.round_trip))
    }

    fn visitor(&self) -> Visitor {
        let path = Path { round_trip: self.round_trip.last(), ..self.path.clone() };
        let tunnels = self.tunnels.load(Ordering::Relaxed);
        Visitor { service: self.service, path, tunnels, name: self.name.clone() }
    }
}

/// The sessions of visitors. As many as are let in.
#[derive(Debug, Default)]
pub(crate) struct Visitors {
    visits: Mutex<Vec<Weak<Visit>>>,
    /// How many of them have come through NATs.
    punched: watch::Sender<usize>,
}

impl Visitors {
    /// Notes a session of somebody at `addr` with `service`, over `path`, of which the system knows
    /// `state`; `name` is what a private service calls it. It is told of as long as it is held.
    pub(super) fn enter(
        &self,
        service: KeyHash,
        addr: SocketAddr,
        path: Path,
        state: Option<PathState>,
        name: Option<String>,
    ) -> Arc<Visit> {
        let punched = (path.kind == PathKind::Punched).then(|| Punched::count(&self.punched));
        let (round_trip, tunnels) = (Arc::default(), AtomicUsize::new(0));
        let visit = Arc::new(Visit { service, addr, path, round_trip, tunnels, name, _punched: punched });
        if let Some(round_trip) = visit.round_trip() {
            round_trip.look(state);
        }
        let mut visits = self.visits.lock().unwrap_or_else(PoisonError::into_inner);
        // Each time there are twice as many as were left the last time.
        if visits.len() == visits.capacity() {
            visits.retain(|visit| visit.strong_count() > 0);
        }
        visits.push(Arc::downgrade(&visit));
        visit
    }

    /// How many sessions have come through NATs, live.
    #[cfg_attr(not(feature = "quic"), expect(dead_code, reason = "there are none"))]
    pub(crate) fn punched(&self) -> watch::Receiver<usize> {
        self.punched.subscribe()
    }

    /// Who is connected, in the order in which they came. Nothing is sent for it.
    pub(crate) fn now(&self) -> Vec<Visitor> {
        let visits = self.visits.lock().unwrap_or_else(PoisonError::into_inner);
        visits.iter().filter_map(Weak::upgrade).map(|visit| visit.visitor()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hardline_proto::candidate::{TransportAddr, Way};
    use hardline_proto::network::NetworkState;

    use super::*;

    const KEY: KeyHash = KeyHash::from_bytes([7; 20]);

    fn enter(visitors: &Visitors, way: Way) -> Arc<Visit> {
        let addr = SocketAddr::from(([203, 0, 113, 5], 7008));
        let path = Path::new(&TransportAddr::Quic(addr), way, None, &NetworkState::default());
        let round_trip = Duration::from_millis(31);
        let silence = Duration::ZERO;
        let state = PathState { is_owed: false, repeats: 0, has_unsent: false, silence, round_trip };
        visitors.enter(KEY, addr, path, Some(state), None)
    }

    #[test]
    fn who_is_connected_is_told_with_path_round_trip_and_tunnels_until_it_leaves() {
        let visitors = Visitors::default();
        let punched = enter(&visitors, Way::Punched);
        let relayed = enter(&visitors, Way::Relayed);
        assert_eq!(*visitors.punched().borrow(), 1);
        let tunnel = punched.tunnel();
        let said: Vec<_> = visitors.now().iter().map(Visitor::sentence).collect();
        let expected = [
            "A visitor of 07070707: punched (UDP), 31 ms; 1 tunnel is open.",
            "A visitor of 07070707: relay 203.0.113.5; no tunnel is open.",
        ];
        assert_eq!(said, expected);
        drop(tunnel);
        punched.round_trip().unwrap().measured(Duration::from_millis(900));
        let now = serde_json::to_value(&visitors.now()[0]).unwrap();
        assert_eq!((now["tunnels"].as_u64(), now["path"]["rtt_ms"].as_f64()), (Some(0), Some(900.0)));
        assert!(relayed.round_trip().is_none(), "TCP sees the relay and no further");
        drop((punched, relayed));
        assert!(visitors.now().is_empty() && *visitors.punched().borrow() == 0);
        for _ in 0..1000 {
            enter(&visitors, Way::Straight);
        }
        assert!(visitors.visits.lock().unwrap().len() < 10);
    }
}
