//! What this process reached lately: spares the store a write per connection, and the next connection a search.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use hardline_proto::KeyHash;
use hardline_proto::hosts::{HostList, HostPort};

/// Services kept.
const MAX_RECENT: usize = 1024;

/// How often the store hears that an address still works.
const WRITE_AGAIN: Duration = Duration::from_secs(600);

/// The last success per service.
#[derive(Debug, Default)]
pub(crate) struct Recent(Mutex<HashMap<KeyHash, Success>>);

#[derive(Debug, Clone)]
struct Success {
    at: HostPort,
    told: Option<HostList>,
    written: Instant,
}

impl Recent {
    /// Where `key` was reached last.
    pub(crate) fn address(&self, key: &KeyHash) -> Option<HostPort> {
        self.lock().get(key).map(|success| success.at.clone())
    }

    /// Notes a success. Returns whether the store should hear of it: something is new, or it has not heard for long.
    pub(crate) fn note(&self, now: Instant, key: KeyHash, at: HostPort, told: Option<HostList>) -> bool {
        let mut recent = self.lock();
        let is_new = recent.get(&key).is_none_or(|last| {
            last.at != at || last.told != told || now.saturating_duration_since(last.written) >= WRITE_AGAIN
        });
        if is_new {
            make_room(&mut recent, &key);
            recent.insert(key, Success { at, told, written: now });
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

fn make_room(recent: &mut HashMap<KeyHash, Success>, key: &KeyHash) {
    if recent.len() >= MAX_RECENT && !recent.contains_key(key) {
        let oldest = recent.iter().min_by_key(|(_, success)| success.written).map(|(key, _)| *key);
        if let Some(oldest) = oldest {
            recent.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_store_hears_of_what_is_new_and_of_the_rest_now_and_then() {
        let (recent, now, key) = (Recent::default(), Instant::now(), KeyHash::from_bytes([1; 20]));
        let at: HostPort = "10.0.0.1:7008".parse().unwrap();
        let told = Some(HostList::parse_lenient("203.0.113.5:7008"));
        assert!(recent.note(now, key, at.clone(), None));
        assert!(!recent.note(now, key, at.clone(), None));
        assert!(recent.note(now, key, at.clone(), told.clone()));
        assert!(!recent.note(now + WRITE_AGAIN / 2, key, at.clone(), told.clone()));
        assert!(recent.note(now + WRITE_AGAIN, key, at.clone(), told));
        assert_eq!(recent.address(&key), Some(at));
    }

    #[test]
    fn the_oldest_makes_room() {
        let (recent, now) = (Recent::default(), Instant::now());
        let at: HostPort = "10.0.0.1:7008".parse().unwrap();
        let key = |n: usize| {
            let mut bytes = [0; 20];
            bytes[..8].copy_from_slice(&n.to_le_bytes());
            KeyHash::from_bytes(bytes)
        };
        for n in 0..=MAX_RECENT {
            recent.note(now + Duration::from_secs(n as u64), key(n), at.clone(), None);
        }
        assert_eq!(recent.address(&key(0)), None);
        assert!(recent.address(&key(MAX_RECENT)).is_some());
    }
}
