//! Running tunnels are told when their service is found at another address: the old one may be gone
//! without a word.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use hardline_proto::KeyHash;
use hardline_proto::candidate::TransportAddr;
use tokio::sync::Notify;

use crate::session::Route;

/// Which tunnels lead where.
#[derive(Debug, Default)]
pub(super) struct Elsewhere(Mutex<HashMap<KeyHash, Vec<Tunnel>>>);

#[derive(Debug)]
struct Tunnel {
    route: Arc<Route>,
    told: Weak<Notify>,
}

impl Elsewhere {
    /// What is told to a tunnel that leads to the service `key` over `route`; to be held as long as
    /// it lasts.
    pub(super) fn follow(&self, key: KeyHash, route: Arc<Route>) -> Arc<Notify> {
        let told = Arc::new(Notify::new());
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let tunnels = all.entry(key).or_default();
        // Each time there are twice as many as were left the last time.
        if tunnels.len() == tunnels.capacity() {
            tunnels.retain(|tunnel| tunnel.told.strong_count() > 0);
        }
        tunnels.push(Tunnel { route, told: Arc::downgrade(&told) });
        told
    }

    /// Where the running ones lead.
    pub(super) fn routes(&self) -> Vec<(KeyHash, Arc<Route>)> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let running = |tunnel: &&Tunnel| tunnel.told.strong_count() > 0;
        let of = |key: KeyHash| move |tunnel: &Tunnel| (key, Arc::clone(&tunnel.route));
        all.iter().flat_map(|(key, tunnels)| tunnels.iter().filter(running).map(of(*key))).collect()
    }

    /// Whether one runs to `key` over a route that is `so`.
    pub(super) fn any(&self, key: KeyHash, so: impl Fn(&Route) -> bool) -> bool {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&key).into_iter().flatten().any(|tunnel| tunnel.told.strong_count() > 0 && so(&tunnel.route))
    }

    /// Tells those that lead to `key` at another address than `addr`, where it was reached just
    /// now.
    pub(super) fn reached(&self, key: KeyHash, addr: &TransportAddr) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, tunnels| {
            tunnels.retain(|tunnel| tunnel.told.strong_count() > 0);
            !tunnels.is_empty()
        });
        for tunnel in all.get(&key).into_iter().flatten().filter(|tunnel| tunnel.route.candidate.addr != *addr) {
            if let Some(told) = tunnel.told.upgrade() {
                told.notify_one();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use hardline_proto::candidate::{Candidate, Way};
    use hardline_proto::network::NetworkState;
    use hardline_proto::path::Path;
    use tokio::time::{Duration, timeout};

    use super::*;
    use crate::discovery::STATIC;

    async fn is_told(tunnel: &Notify) -> bool {
        timeout(Duration::from_millis(1), tunnel.notified()).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn those_that_lead_elsewhere_are_told_and_those_that_ended_are_forgotten() {
        let addr = |last: u8| TransportAddr::from(SocketAddr::from(([192, 0, 2, last], 7008)));
        let (key, other) = (KeyHash::from_bytes([1; 20]), KeyHash::from_bytes([2; 20]));
        let route = |last| {
            let (addr, version, way) = (addr(last), None, Way::Straight);
            let path = Path::new(&addr, way, None, &NetworkState::default());
            Arc::new(Route::new(Candidate { addr, source: STATIC, version, way }, path))
        };
        let elsewhere = Elsewhere::default();
        let [old, new] = [1, 2].map(|last| elsewhere.follow(key, route(last)));
        let others = elsewhere.follow(other, route(1));
        assert_eq!(elsewhere.routes().len(), 3);
        elsewhere.reached(key, &addr(2));
        assert!(is_told(&old).await && !is_told(&new).await && !is_told(&others).await);
        drop((old, new, others));
        assert!(elsewhere.routes().is_empty());
        for _ in 0..1000 {
            elsewhere.follow(key, route(1));
        }
        assert!(elsewhere.0.lock().unwrap()[&key].len() < 10);
        elsewhere.reached(key, &addr(2));
        assert!(elsewhere.0.lock().unwrap().is_empty());
    }
}
