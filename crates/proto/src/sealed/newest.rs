//! Which of a publisher's records counts: the one with the highest sequence. Each publisher counts
//! by itself, so that two computers with one identity do not hide each other.

use std::collections::BTreeMap;

use super::SealedRecord;
use crate::key::KeyHash;

/// Publishers remembered. Only who holds a service's key can add one.
const MAX_PUBLISHERS: usize = 1024;

/// The newest record seen of every publisher, so that an older one that somebody puts again is not
/// believed.
///
/// A publisher is forgotten when all of its records that were seen have expired.
#[derive(Debug, Clone, Default)]
pub struct Newest {
    seen: BTreeMap<(KeyHash, u64), Seen>,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    sequence: u64,
    expires_ms: u64,
}

impl Newest {
    /// Whether `record` of service `key` counts: its publisher is not known to have written a newer
    /// one. Notes it if so.
    pub fn admit(&mut self, key: &KeyHash, record: &SealedRecord, now_ms: u64) -> bool {
        self.seen.retain(|_, seen| seen.expires_ms > now_ms);
        let newest = self.seen.get(&(*key, record.publisher));
        if newest.is_some_and(|seen| seen.sequence > record.sequence) {
            return false;
        }
        if newest.is_some() || self.seen.len() < MAX_PUBLISHERS {
            // An older one may have been given a longer life.
            let expires_ms = newest.map_or(0, |seen| seen.expires_ms).max(record.expires_ms);
            let seen = Seen { sequence: record.sequence, expires_ms };
            self.seen.insert((*key, record.publisher), seen);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hosts::HostList;
    use crate::sealed::Home;

    const KEY: KeyHash = KeyHash::from_bytes([1; 20]);

    fn record(publisher: u64, sequence: u64) -> SealedRecord {
        let (addresses, relays) = (HostList::default(), HostList::default());
        let (quic, punch, tunnels) = (Vec::new(), Vec::new(), vec![1]);
        let home = Home::default();
        SealedRecord {
            addresses,
            relays,
            quic,
            home,
            punch,
            issued_ms: 0,
            expires_ms: 1000,
            sequence,
            publisher,
            tunnels,
        }
    }

    #[test]
    fn an_older_record_of_the_same_publisher_is_a_replay() {
        let mut newest = Newest::default();
        assert!(newest.admit(&KEY, &record(1, 5), 0));
        assert!(newest.admit(&KEY, &record(1, 5), 0), "the same again");
        assert!(!newest.admit(&KEY, &record(1, 4), 0));
        assert!(newest.admit(&KEY, &record(1, 6), 0));
        assert!(!newest.admit(&KEY, &record(1, 5), 0));
    }

    #[test]
    fn two_publishers_of_one_service_both_count() {
        let mut newest = Newest::default();
        assert!(newest.admit(&KEY, &record(1, 5), 0));
        assert!(newest.admit(&KEY, &record(2, 1), 0));
        assert!(newest.admit(&KeyHash::from_bytes([2; 20]), &record(1, 1), 0), "another service");
    }

    #[test]
    fn what_has_expired_is_forgotten() {
        let mut newest = Newest::default();
        newest.admit(&KEY, &record(1, 5), 0);
        newest.admit(&KEY, &record(2, 5), 1000);
        assert_eq!(newest.seen.keys().collect::<Vec<_>>(), [&(KEY, 2)]);
    }

    #[test]
    fn it_remembers_a_bounded_number() {
        let mut newest = Newest::default();
        for publisher in 0..2000 {
            assert!(newest.admit(&KEY, &record(publisher, 1), 0));
        }
        assert_eq!(newest.seen.len(), MAX_PUBLISHERS);
    }
}
