//! What this node keeps for others: values with quotas and expiry, and who wants to hear of them.

mod listeners;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub(crate) use self::listeners::Listeners;
use crate::address::Prefix;
use crate::hash::InfoHash;
use crate::limits::{MAX_VALUES_PER_KEY, STORED_VALUE_OVERHEAD};
use crate::time::Time;
use crate::value::{Signed, Value, ValueType};

/// Checks the signature of a value: RSA PKCS#1 v1.5 with SHA-512. Given by the embedder, so that
/// this crate needs no cryptography beyond hashes.
pub type VerifySignature = fn(Signed<'_>) -> bool;

/// What a put did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stored {
    /// The value is new, or replaces one with a lower sequence number.
    Changed,
    /// The same value was there; it lives longer now.
    Refreshed,
    /// Not stored; the sender is not told.
    Ignored,
}

/// A key and the number of a value there.
pub(crate) type ValueKey = (InfoHash, u64);

/// Values by key.
#[derive(Debug)]
pub(crate) struct Storage {
    max_bytes: usize,
    verify: Option<VerifySignature>,
    keys: BTreeMap<InfoHash, BTreeMap<u64, Kept>>,
    expiry: BTreeSet<(Time, ValueKey)>,
    /// What each network prefix made us keep; values of our own count for nobody.
    owners: BTreeMap<Prefix, Owner>,
    /// Owners by bytes kept, the largest last.
    by_bytes: BTreeSet<(usize, Prefix)>,
    bytes: usize,
    own_bytes: usize,
}

#[derive(Debug)]
struct Kept {
    value: Value,
    expires: Time,
    owner: Option<Prefix>,
}

#[derive(Debug, Default)]
struct Owner {
    bytes: usize,
    expiry: BTreeSet<(Time, ValueKey)>,
}

impl Storage {
    /// `max_bytes` bounds values of others, bookkeeping included. Without `verify` no signed value
    /// is kept.
    pub(crate) fn new(max_bytes: usize, verify: Option<VerifySignature>) -> Self {
        Self {
            max_bytes,
            verify,
            keys: BTreeMap::new(),
            expiry: BTreeSet::new(),
            owners: BTreeMap::new(),
            by_bytes: BTreeSet::new(),
            bytes: 0,
            own_bytes: 0,
        }
    }

    /// Keeps `value`, made `age` ago, for `owner` (`None`: ourselves).
    pub(crate) fn put(
        &mut self,
        now: Time,
        hash: InfoHash,
        value: &Value,
        age: Duration,
        owner: Option<Prefix>,
    ) -> Stored {
        let expires = now + value.kind().lifetime().saturating_sub(age);
        if expires <= now {
            return Stored::Ignored;
        }
        if self.holds(&hash, value) {
            self.extend(now, hash, value.id());
            return Stored::Refreshed;
        }
        if !self.is_acceptable(value) {
            return Stored::Ignored;
        }
        let values = self.keys.get(&hash);
        match values.and_then(|values| values.get(&value.id())) {
            Some(kept) if !may_replace(&kept.value, value) => return Stored::Ignored,
            Some(_) => drop(self.remove((hash, value.id()))),
            None if values.is_some_and(|values| values.len() >= MAX_VALUES_PER_KEY) => return Stored::Ignored,
            None => {}
        }
        self.insert(hash, Kept { value: value.clone(), expires, owner });
        Stored::Changed
    }

    /// Whether this very value is there.
    pub(crate) fn holds(&self, hash: &InfoHash, value: &Value) -> bool {
        let kept = self.keys.get(hash).and_then(|values| values.get(&value.id()));
        kept.is_some_and(|kept| kept.value.same_content(value))
    }

    /// Lets a value live for its lifetime from now on. Returns whether it is there.
    pub(crate) fn extend(&mut self, now: Time, hash: InfoHash, id: u64) -> bool {
        let Some(mut kept) = self.remove((hash, id)) else { return false };
        kept.expires = kept.expires.max(now + kept.value.kind().lifetime());
        self.insert(hash, kept);
        true
    }

    /// The values at `hash`, in the order of their ids.
    pub(crate) fn values(&self, hash: &InfoHash) -> impl Iterator<Item = &Value> + Clone {
        self.keys.get(hash).into_iter().flat_map(|values| values.values()).map(|kept| &kept.value)
    }

    /// One value.
    #[cfg(test)]
    pub(crate) fn value(&self, hash: &InfoHash, id: u64) -> Option<&Value> {
        self.keys.get(hash)?.get(&id).map(|kept| &kept.value)
    }

    /// Whether anything is stored at `hash`.
    pub(crate) fn has_key(&self, hash: &InfoHash) -> bool {
        self.keys.contains_key(hash)
    }

    pub(crate) fn next_timeout(&self) -> Option<Time> {
        self.expiry.first().map(|(expires, _)| *expires)
    }

    /// Drops the next value whose time is over, or, while the quota is exceeded, the one of the
    /// largest owner that would end first. Call again until `None`.
    pub(crate) fn drop_next(&mut self, now: Time) -> Option<ValueKey> {
        let expired = self.expiry.first().filter(|(expires, _)| *expires <= now).map(|(_, key)| *key);
        let key = expired.or_else(|| self.over_quota())?;
        self.remove(key);
        Some(key)
    }

    /// Values kept, and their bytes with bookkeeping.
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.expiry.len(), self.bytes)
    }

    /// What must hold after every step.
    pub(crate) fn check(&self) -> Result<(), String> {
        let values: usize = self.keys.values().map(BTreeMap::len).sum();
        let bytes: usize = self.keys.values().flat_map(BTreeMap::values).map(Kept::bytes).sum();
        let owned: usize = self.by_bytes.iter().map(|(bytes, _)| *bytes).sum();
        let empty = self.keys.values().any(BTreeMap::is_empty) || self.owners.values().any(|owner| owner.bytes == 0);
        if values != self.expiry.len() || bytes != self.bytes || owned + self.own_bytes != bytes || empty {
            return Err(format!("storage counts {values}/{} values, {bytes}/{} bytes", self.expiry.len(), self.bytes));
        }
        if owned > self.max_bytes { Err(format!("{owned} bytes stored for others")) } else { Ok(()) }
    }

    /// Types whose rules need knowledge of the application are not kept, rather than kept against
    /// their rules.
    fn is_acceptable(&self, value: &Value) -> bool {
        let known_rules = value.kind() != ValueType::IP_SERVICE && value.kind() != ValueType::CERTIFICATE;
        known_rules && value.signed().is_none_or(|signed| self.verify.is_some_and(|verify| verify(signed)))
    }

    fn over_quota(&self) -> Option<ValueKey> {
        let (_, largest) = self.by_bytes.last().filter(|_| self.bytes - self.own_bytes > self.max_bytes)?;
        self.owners.get(largest)?.expiry.first().map(|(_, key)| *key)
    }

    fn insert(&mut self, hash: InfoHash, kept: Kept) {
        let key = (hash, kept.value.id());
        self.expiry.insert((kept.expires, key));
        self.bytes += kept.bytes();
        if let Some(prefix) = kept.owner {
            let owner = self.owners.entry(prefix).or_default();
            self.by_bytes.remove(&(owner.bytes, prefix));
            owner.bytes += kept.bytes();
            owner.expiry.insert((kept.expires, key));
            self.by_bytes.insert((owner.bytes, prefix));
        } else {
            self.own_bytes += kept.bytes();
        }
        self.keys.entry(hash).or_default().insert(key.1, kept);
    }

    fn remove(&mut self, key: ValueKey) -> Option<Kept> {
        let values = self.keys.get_mut(&key.0)?;
        let kept = values.remove(&key.1)?;
        if values.is_empty() {
            self.keys.remove(&key.0);
        }
        self.expiry.remove(&(kept.expires, key));
        self.bytes -= kept.bytes();
        if kept.owner.is_none() {
            self.own_bytes -= kept.bytes();
        }
        if let Some(prefix) = kept.owner
            && let Some(owner) = self.owners.get_mut(&prefix)
        {
            self.by_bytes.remove(&(owner.bytes, prefix));
            owner.bytes -= kept.bytes();
            owner.expiry.remove(&(kept.expires, key));
            if owner.bytes == 0 {
                self.owners.remove(&prefix);
            } else {
                self.by_bytes.insert((owner.bytes, prefix));
            }
        }
        Some(kept)
    }
}

impl Kept {
    fn bytes(&self) -> usize {
        self.value.packed().len() + STORED_VALUE_OVERHEAD
    }
}

/// Only the owner of a signed value may change it, and only forward. The new value's signature has
/// been checked.
fn may_replace(old: &Value, new: &Value) -> bool {
    old.owner().is_some() && old.owner() == new.owner() && new.seq() > old.seq()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::MAX_STORED_BYTES;
    use std::net::IpAddr;

    const HASH: InfoHash = InfoHash([1; 20]);

    fn someone(n: u8) -> Option<Prefix> {
        Some(Prefix::of(IpAddr::from([192, 0, 2, n])))
    }

    fn value(id: u64, data: &[u8]) -> Value {
        Value::new(id, ValueType::USER_DATA, data, "").unwrap()
    }

    #[test]
    fn a_value_ends_with_its_lifetime_unless_refreshed() {
        let mut storage = Storage::new(MAX_STORED_BYTES, None);
        assert_eq!(storage.put(Time::ZERO, HASH, &value(1, b"a"), Duration::ZERO, someone(1)), Stored::Changed);
        assert_eq!(storage.put(Time::ZERO, HASH, &value(2, b"b"), Duration::ZERO, someone(1)), Stored::Changed);
        assert!(storage.extend(Time::from_secs(300), HASH, 2));
        assert_eq!(storage.drop_next(Time::from_secs(599)), None);
        assert_eq!(storage.drop_next(Time::from_secs(600)), Some((HASH, 1)));
        assert_eq!(storage.drop_next(Time::from_secs(600)), None);
        assert_eq!(storage.drop_next(Time::from_secs(900)), Some((HASH, 2)));
        assert_eq!(storage.size(), (0, 0));
        storage.check().unwrap();
    }

    #[test]
    fn an_unsigned_value_cannot_be_changed_but_another_id_can_be_added() {
        let mut storage = Storage::new(MAX_STORED_BYTES, None);
        let mut put = |id, data: &[u8]| storage.put(Time::ZERO, HASH, &value(id, data), Duration::ZERO, someone(1));
        assert_eq!(put(1, b"first"), Stored::Changed);
        assert_eq!(put(1, b"other"), Stored::Ignored);
        assert_eq!(put(1, b"first"), Stored::Refreshed);
        assert_eq!(put(2, b"other"), Stored::Changed);
    }

    #[test]
    fn age_shortens_life() {
        let mut storage = Storage::new(MAX_STORED_BYTES, None);
        let now = Time::from_secs(10_000);
        let ago = Duration::from_secs;
        assert_eq!(storage.put(now, HASH, &value(1, b""), ago(600), None), Stored::Ignored);
        assert_eq!(storage.put(now, HASH, &value(2, b""), ago(590), None), Stored::Changed);
        assert_eq!(storage.next_timeout(), Some(now + Duration::from_secs(10)));
    }

    #[test]
    fn when_it_is_full_the_greediest_neighbour_loses_the_oldest_first() {
        let mut storage = Storage::new(100_000, None);
        storage.put(Time::ZERO, HASH, &value(1, &[0; 1000]), Duration::ZERO, someone(1));
        for id in 2..200 {
            storage.put(Time::from_secs(id), HASH, &value(id, &[0; 1000]), Duration::ZERO, someone(2));
            while let Some(dropped) = storage.drop_next(Time::from_secs(id)) {
                assert_ne!(dropped, (HASH, 1));
            }
            storage.check().unwrap();
        }
        assert!(storage.value(&HASH, 199).is_some());
        assert!(storage.value(&HASH, 2).is_none());
    }

    #[test]
    fn signed_values_are_kept_only_when_the_signature_holds_and_change_only_forward() {
        fn starts_with_good(signed: Signed<'_>) -> bool {
            signed.signature.starts_with(b"good")
        }
        let signed = |seq: u16, data: &[u8], signature: &[u8]| signed_value(1, seq, data, signature);
        let mut without = Storage::new(MAX_STORED_BYTES, None);
        assert_eq!(without.put(Time::ZERO, HASH, &signed(1, b"a", b"good"), Duration::ZERO, None), Stored::Ignored);
        let mut storage = Storage::new(MAX_STORED_BYTES, Some(starts_with_good));
        let mut put = |value: &Value| storage.put(Time::ZERO, HASH, value, Duration::ZERO, None);
        assert_eq!(put(&signed(1, b"a", b"bad")), Stored::Ignored);
        assert_eq!(put(&signed(1, b"a", b"good")), Stored::Changed);
        assert_eq!(put(&signed(1, b"b", b"good")), Stored::Ignored);
        assert_eq!(put(&signed(2, b"b", b"good")), Stored::Changed);
        assert_eq!(put(&signed(1, b"a", b"good")), Stored::Ignored);
        assert_eq!(put(&value(1, b"unsigned")), Stored::Ignored);
    }

    fn signed_value(id: u64, seq: u16, data: &[u8], signature: &[u8]) -> Value {
        let mut raw = Vec::new();
        let mut writer = crate::msgpack::Writer::new(&mut raw);
        writer.map(2);
        writer.str("id");
        writer.uint(id);
        writer.str("dat");
        writer.map(2);
        writer.str("body");
        writer.map(4);
        writer.str("seq");
        writer.uint(seq.into());
        writer.str("owner");
        writer.bin(b"public key");
        writer.str("type");
        writer.uint(0);
        writer.str("data");
        writer.bin(data);
        writer.str("sig");
        writer.bin(signature);
        Value::parse(&raw).unwrap()
    }
}
