//! Where each service was reached last: spares the store a write per connection, and the next
//! connection a search.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hardline_proto::KeyHash;
use hardline_proto::candidate::{TransportAddr, Way};
use hardline_proto::hosts::HostList;
use hardline_proto::network::NetworkState;

/// Services kept.
const MAX_SERVICES: usize = 1024;

/// How often the store hears that an address still works.
const WRITE_AGAIN: Duration = Duration::from_secs(600);

/// The last success per service.
#[derive(Debug, Default)]
pub(crate) struct LastKnownGood(Mutex<HashMap<KeyHash, Success>>);

#[derive(Debug, Clone)]
struct Success {
    addr: TransportAddr,
    way: Way,
    /// What the service said of where it is reached.
    advertised: Option<HostList>,
    /// From where.
    here: Arc<NetworkState>,
    written: Instant,
}

impl LastKnownGood {
    /// Where `key` was reached last from `here`. In another network another address may be better.
    pub(crate) fn address(&self, key: &KeyHash, here: &NetworkState) -> Option<(TransportAddr, Way)> {
        let services = self.lock();
        let success = services.get(key).filter(|success| success.here.has_addrs_of(here))?;
        Some((success.addr.clone(), success.way))
    }

    /// Notes a success. Returns whether the store should hear of it: something is new, or it has
    /// not heard for long.
    pub(crate) fn note(
        &self,
        now: Instant,
        key: KeyHash,
        (addr, way): (TransportAddr, Way),
        advertised: Option<HostList>,
        here: Arc<NetworkState>,
    ) -> bool {
        let mut services = self.lock();
        let is_new = services.get(&key).is_none_or(|last| {
            (&last.addr, &last.advertised) != (&addr, &advertised)
                || !last.here.has_addrs_of(&here)
                || now.saturating_duration_since(last.written) >= WRITE_AGAIN
        });
        if is_new {
            make_room(&mut services, &key);
            services.insert(key, Success { addr, way, advertised, here, written: now });
        }
        is_new
    }

    /// Forgets where `key` was reached: nothing verified answers there any more.
    pub(crate) fn forget(&self, key: &KeyHash) {
        self.lock().remove(key);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<KeyHash, Success>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn make_room(services: &mut HashMap<KeyHash, Success>, key: &KeyHash) {
    if services.len() >= MAX_SERVICES && !services.contains_key(key) {
        let oldest = services.iter().min_by_key(|(_, success)| success.written).map(|(key, _)| *key);
        if let Some(oldest) = oldest {
            services.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hardline_proto::network::InterfaceAddr;

    /// Services of the test, told apart by a number.
    fn key(number: usize) -> KeyHash {
        let mut bytes = [0; 20];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        KeyHash::from_bytes(bytes)
    }

    fn network(own: &str) -> Arc<NetworkState> {
        let interface = "eth0".to_owned();
        let addr = InterfaceAddr {
            ip: own.parse().unwrap(),
            prefix_len: 8,
            interface,
            is_up: true,
            is_short_lived: false,
            may_multicast: true,
        };
        Arc::new(NetworkState { addrs: vec![addr], ..NetworkState::default() })
    }

    #[test]
    fn the_store_hears_of_what_is_new_and_of_the_rest_now_and_then() {
        let (services, now, here) = (LastKnownGood::default(), Instant::now(), network("10.0.0.9"));
        let addr = (TransportAddr::Tcp("10.0.0.1:7008".parse().unwrap()), Way::Straight);
        let advertised = Some(HostList::parse_lenient("203.0.113.5:7008"));
        let note = |after, advertised: &Option<HostList>| {
            services.note(now + after, key(1), addr.clone(), advertised.clone(), here.clone())
        };
        assert!(note(Duration::ZERO, &None));
        assert!(!note(Duration::ZERO, &None));
        assert!(note(Duration::ZERO, &advertised));
        assert!(!note(WRITE_AGAIN / 2, &advertised));
        assert!(note(WRITE_AGAIN, &advertised));
        assert_eq!(services.address(&key(1), &here), Some(addr));
    }

    #[test]
    fn what_was_reached_from_another_network_is_not_known_here() {
        let (services, now) = (LastKnownGood::default(), Instant::now());
        let addr = (TransportAddr::Tcp("10.0.0.1:7008".parse().unwrap()), Way::Straight);
        services.note(now, key(1), addr.clone(), None, network("10.0.0.9"));
        assert_eq!(services.address(&key(1), &network("192.168.1.9")), None);
        assert_eq!(services.address(&key(1), &network("10.0.0.9")), Some(addr), "and it is again after the way back");
    }

    #[test]
    fn the_oldest_makes_room() {
        let (services, now, here) = (LastKnownGood::default(), Instant::now(), network("10.0.0.9"));
        let addr = (TransportAddr::Tcp("10.0.0.1:7008".parse().unwrap()), Way::Straight);
        for n in 0..=MAX_SERVICES {
            services.note(now + Duration::from_secs(n as u64), key(n), addr.clone(), None, here.clone());
        }
        assert_eq!(services.address(&key(0), &here), None);
        assert!(services.address(&key(MAX_SERVICES), &here).is_some());
    }
}
