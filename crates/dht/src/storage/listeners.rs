//! Who wants to hear of changes, and for how long.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use crate::address::Prefix;
use crate::hash::InfoHash;
use crate::limits::{LISTENER_LIFETIME, MAX_LISTENERS, MAX_LISTENERS_PER_KEY, MAX_LISTENERS_PER_PREFIX};
use crate::message::Query;
use crate::time::Time;

/// Where pushes go and under which number the listener knows them.
pub(crate) type Endpoint = (SocketAddr, u32);

/// A remote listener.
#[derive(Debug, Clone)]
pub(crate) struct Listener {
    pub(crate) id: InfoHash,
    pub(crate) query: Query,
    until: Time,
}

/// Remote listeners by key.
#[derive(Debug, Default)]
pub(crate) struct Listeners {
    keys: BTreeMap<InfoHash, BTreeMap<Endpoint, Listener>>,
    expiry: BTreeSet<(Time, InfoHash, Endpoint)>,
    per_prefix: BTreeMap<Prefix, usize>,
}

impl Listeners {
    /// Registers a listener or extends its time. Returns whether it is new; `None` when there is no
    /// room.
    pub(crate) fn insert(
        &mut self,
        now: Time,
        hash: InfoHash,
        endpoint: Endpoint,
        id: InfoHash,
        query: Query,
    ) -> Option<bool> {
        let known = self.remove(&hash, &endpoint).is_some();
        let prefix = Prefix::of(endpoint.0.ip());
        let at_key = self.keys.get(&hash).map_or(0, BTreeMap::len);
        let of_prefix = self.per_prefix.get(&prefix).copied().unwrap_or(0);
        if self.expiry.len() >= MAX_LISTENERS
            || at_key >= MAX_LISTENERS_PER_KEY
            || of_prefix >= MAX_LISTENERS_PER_PREFIX
        {
            return None;
        }
        let until = now + LISTENER_LIFETIME;
        self.keys.entry(hash).or_default().insert(endpoint, Listener { id, query, until });
        self.expiry.insert((until, hash, endpoint));
        *self.per_prefix.entry(prefix).or_default() += 1;
        Some(!known)
    }

    /// The listeners of `hash`.
    pub(crate) fn at(&self, hash: &InfoHash) -> impl Iterator<Item = (&Endpoint, &Listener)> {
        self.keys.get(hash).into_iter().flatten()
    }

    pub(crate) fn has_key(&self, hash: &InfoHash) -> bool {
        self.keys.contains_key(hash)
    }

    pub(crate) fn remove(&mut self, hash: &InfoHash, endpoint: &Endpoint) -> Option<Listener> {
        let listeners = self.keys.get_mut(hash)?;
        let listener = listeners.remove(endpoint)?;
        if listeners.is_empty() {
            self.keys.remove(hash);
        }
        self.expiry.remove(&(listener.until, *hash, *endpoint));
        let prefix = Prefix::of(endpoint.0.ip());
        if let Some(count) = self.per_prefix.get_mut(&prefix) {
            *count -= 1;
            if *count == 0 {
                self.per_prefix.remove(&prefix);
            }
        }
        Some(listener)
    }

    pub(crate) fn next_timeout(&self) -> Option<Time> {
        self.expiry.first().map(|(until, ..)| *until)
    }

    pub(crate) fn handle_timeout(&mut self, now: Time) {
        while let Some((_, hash, endpoint)) = self.expiry.first().filter(|(until, ..)| *until <= now).copied() {
            self.remove(&hash, &endpoint);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.expiry.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: InfoHash = InfoHash([1; 20]);

    fn listen(listeners: &mut Listeners, now: Time, host: u8, socket: u32) -> Option<bool> {
        listeners.insert(now, HASH, (([192, 0, 2, host], 1).into(), socket), InfoHash([2; 20]), Query::default())
    }

    #[test]
    fn a_listener_is_forgotten_ten_minutes_after_its_last_request() {
        let mut listeners = Listeners::default();
        assert_eq!(listen(&mut listeners, Time::ZERO, 1, 1), Some(true));
        assert_eq!(listen(&mut listeners, Time::from_secs(500), 1, 1), Some(false));
        listeners.handle_timeout(Time::from_secs(1099));
        assert_eq!(listeners.len(), 1);
        listeners.handle_timeout(Time::from_secs(1100));
        assert_eq!((listeners.len(), listeners.per_prefix.len(), listeners.keys.len()), (0, 0, 0));
    }

    #[test]
    fn one_key_has_a_bounded_number_of_listeners() {
        let mut listeners = Listeners::default();
        for socket in 0..1000 {
            listen(&mut listeners, Time::ZERO, 1, socket);
        }
        assert_eq!(listeners.len(), MAX_LISTENERS_PER_KEY);
        assert_eq!(listen(&mut listeners, Time::ZERO, 2, 1), None);
        assert_eq!(listen(&mut listeners, Time::ZERO, 1, 5), Some(false));
    }
}
