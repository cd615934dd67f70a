//! Fragmentation and reassembly of values too large for one datagram.

mod reorder; // fragments that arrived before their announcement

use std::collections::BTreeMap;
use std::net::SocketAddr;

use self::reorder::ReorderBuffer;
use crate::limits::{
    FRAGMENT, MAX_INLINE_COUNT, MAX_INLINE_VALUES, MAX_PACKED_VALUE, MAX_REASSEMBLIES, MAX_REASSEMBLIES_PER_ADDRESS,
    MAX_REASSEMBLY_BYTES, MAX_REPLY_VALUES, MIN_MEAN_FRAGMENT, REASSEMBLY_IDLE, REASSEMBLY_TOTAL,
};
use crate::message::{Body, Fragment, Message, ValueEntry, Values};
use crate::time::Time;
use crate::value::Value;

/// The `values` of a message: the values themselves, or their sizes when they have to follow in
/// fragments.
pub(crate) fn entries<'a>(values: &[&'a Value]) -> (Values<'a>, bool) {
    let total: usize = values.iter().map(|value| value.packed().len()).sum();
    if values.len() < MAX_INLINE_COUNT && total < MAX_INLINE_VALUES {
        (values.iter().map(|value| ValueEntry::Inline(value.packed().into())).collect(), false)
    } else {
        (values.iter().map(|value| ValueEntry::Size(value.packed().len() as u64)).collect(), true)
    }
}

/// The datagrams that carry `values` after a message with transaction id `tid`.
pub(crate) fn datagrams(tid: u32, network: u32, client: bool, values: &[&Value]) -> Vec<Vec<u8>> {
    let mut datagrams = Vec::new();
    for (index, value) in (0..).zip(values) {
        for (number, data) in value.packed().chunks(FRAGMENT).enumerate() {
            let fragment = Fragment { index, offset: (number * FRAGMENT) as u64, data };
            let body = Body::Fragments(vec![fragment]);
            let mut datagram = Vec::with_capacity(FRAGMENT + 40);
            Message { tid, network, client, agent: None, body }.encode(&mut datagram);
            datagrams.push(datagram);
        }
    }
    datagrams
}

/// A message whose values are still arriving: who sent it and with which transaction id.
pub(crate) type Key = (SocketAddr, u32);

/// A message with all its values, or with those that made it in time.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Assembled {
    pub(crate) key: Key,
    /// The first datagram, which announced the values.
    pub(crate) header: Vec<u8>,
    /// The packed values that are complete.
    pub(crate) values: Vec<Vec<u8>>,
}

/// Puts messages together. Fragments may come in any order, and a few before the message that
/// announces them.
#[derive(Debug, Default)]
pub(crate) struct Reassembly {
    buffers: BTreeMap<Key, Buffer>,
    reorder: ReorderBuffer,
    announced: usize,
}

#[derive(Debug)]
struct Buffer {
    header: Vec<u8>,
    parts: BTreeMap<u64, Part>,
    announced: usize,
    started: Time,
    touched: Time,
}

/// One value: pieces by offset, none overlapping another.
#[derive(Debug)]
struct Part {
    size: usize,
    held: usize,
    pieces: BTreeMap<usize, Vec<u8>>,
}

/// What became of an announcement.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Begun {
    /// Fragments are awaited.
    Waiting,
    /// All fragments had come before.
    Complete(Assembled),
    /// Nothing that could be awaited was announced, or there is no room.
    Refused,
}

impl Reassembly {
    /// Begins with the announcement in `header`. A repeated one (a retry) changes nothing.
    pub(crate) fn begin(&mut self, now: Time, key: Key, header: &[u8], values: &[ValueEntry<'_>]) -> Begun {
        if self.buffers.contains_key(&key) {
            return Begun::Waiting;
        }
        let mut announced = 0;
        let mut parts = BTreeMap::new();
        for (index, value) in (0..).zip(values) {
            let ValueEntry::Size(size) = value else { continue };
            let size = usize::try_from(*size).unwrap_or(usize::MAX);
            if (1..=MAX_PACKED_VALUE).contains(&size) && announced + size <= MAX_REPLY_VALUES {
                announced += size;
                parts.insert(index, Part { size, held: 0, pieces: BTreeMap::new() });
            }
        }
        let same_address = self.buffers.range((key.0, 0)..=(key.0, u32::MAX)).count();
        if parts.is_empty()
            || self.buffers.len() >= MAX_REASSEMBLIES
            || same_address >= MAX_REASSEMBLIES_PER_ADDRESS
            || self.announced + announced > MAX_REASSEMBLY_BYTES
        {
            return Begun::Refused;
        }
        self.announced += announced;
        self.buffers.insert(key, Buffer { header: header.to_vec(), parts, announced, started: now, touched: now });
        let overtaken = self.reorder.take(now, &key);
        let fragments: Vec<Fragment<'_>> = overtaken.iter().map(|held| held.as_fragment()).collect();
        self.add(now, key, &fragments).map_or(Begun::Waiting, Begun::Complete)
    }

    /// Keeps fragments of a message that nobody has announced yet, for a little while and as far as
    /// there is room. Returns whether any was kept.
    pub(crate) fn keep_early(&mut self, now: Time, key: Key, fragments: &[Fragment<'_>]) -> bool {
        self.reorder.keep(now, key, fragments)
    }

    /// Takes fragments; returns the message when they were the last ones.
    pub(crate) fn add(&mut self, now: Time, key: Key, fragments: &[Fragment<'_>]) -> Option<Assembled> {
        let buffer = self.buffers.get_mut(&key)?;
        for fragment in fragments {
            if let Some(part) = buffer.parts.get_mut(&fragment.index)
                && part.add(fragment)
            {
                buffer.touched = now;
            }
        }
        if buffer.parts.values().all(Part::is_complete) { self.finish(key) } else { None }
    }

    /// Whether fragments with this key are awaited.
    pub(crate) fn expects(&self, key: &Key) -> bool {
        self.buffers.contains_key(key)
    }

    pub(crate) fn next_timeout(&self) -> Option<Time> {
        self.buffers.values().map(Buffer::deadline).min()
    }

    /// Gives up one message whose time is over and returns what there is of it. Call again until
    /// `None`.
    pub(crate) fn handle_timeout(&mut self, now: Time) -> Option<Assembled> {
        let late = self.buffers.iter().find(|(_, buffer)| buffer.deadline() <= now).map(|(key, _)| *key)?;
        self.finish(late)
    }

    pub(crate) fn len(&self) -> usize {
        self.buffers.len()
    }

    pub(crate) fn early(&self) -> usize {
        self.reorder.len()
    }

    pub(crate) fn announced_bytes(&self) -> usize {
        self.announced
    }

    fn finish(&mut self, key: Key) -> Option<Assembled> {
        let buffer = self.buffers.remove(&key)?;
        self.announced -= buffer.announced;
        let values = buffer.parts.into_values().filter(Part::is_complete).map(Part::into_bytes).collect();
        Some(Assembled { key, header: buffer.header, values })
    }
}

impl Buffer {
    fn deadline(&self) -> Time {
        (self.touched + REASSEMBLY_IDLE).min(self.started + REASSEMBLY_TOTAL)
    }
}

impl Part {
    /// Keeps the fragment if it brings new bytes only; returns whether it did.
    fn add(&mut self, fragment: &Fragment<'_>) -> bool {
        let Ok(start) = usize::try_from(fragment.offset) else { return false };
        let end = start.saturating_add(fragment.data.len());
        let room_for_piece = self.pieces.len() <= self.size / MIN_MEAN_FRAGMENT;
        let follows = self.pieces.range(..end).next_back().is_none_or(|(at, piece)| at + piece.len() <= start);
        let fits = !fragment.data.is_empty() && end <= self.size && room_for_piece && follows;
        if fits {
            self.held += fragment.data.len();
            self.pieces.insert(start, fragment.data.to_vec());
        }
        fits
    }

    fn is_complete(&self) -> bool {
        self.held == self.size
    }

    fn into_bytes(self) -> Vec<u8> {
        self.pieces.into_values().collect::<Vec<_>>().concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::ValueType;
    use proptest::prelude::*;
    use std::time::Duration;

    const FROM: &str = "192.0.2.1:4222";

    fn key(tid: u32) -> Key {
        (FROM.parse().unwrap(), tid)
    }

    fn deliver(reassembly: &mut Reassembly, tid: u32, datagrams: &[Vec<u8>]) -> Option<Assembled> {
        datagrams.iter().find_map(|datagram| {
            let Body::Fragments(fragments) = Message::decode(datagram).unwrap().body else { panic!("no fragment") };
            reassembly.add(Time::ZERO, key(tid), &fragments)
        })
    }

    #[test]
    fn a_few_small_values_travel_inline_and_large_ones_do_not() {
        let small = Value::new(1, ValueType::USER_DATA, &[0; 200], "").unwrap();
        let large = Value::new(1, ValueType::USER_DATA, &[0; 600], "").unwrap();
        assert!(!entries(&[&small, &small]).1);
        assert!(entries(&[&small, &small, &small]).1);
        assert!(entries(&[&large]).1);
    }

    #[test]
    fn a_message_that_is_not_completed_in_time_yields_what_is_complete() {
        let (short, long) =
            (Value::new(1, ValueType(0), &[1; 10], "").unwrap(), Value::new(2, ValueType(0), &[2; 3000], "").unwrap());
        let values = [&short, &long];
        let sizes: Vec<_> = values.iter().map(|value| ValueEntry::Size(value.packed().len() as u64)).collect();
        let mut reassembly = Reassembly::default();
        assert_eq!(reassembly.begin(Time::ZERO, key(1), b"header", &sizes), Begun::Waiting);
        let parts = datagrams(1, 0, false, &values);
        assert!(deliver(&mut reassembly, 1, &parts[..parts.len() - 1]).is_none());
        assert!(reassembly.handle_timeout(Time::ZERO + Duration::from_secs(2)).is_none());
        let given_up = reassembly.handle_timeout(Time::ZERO + REASSEMBLY_IDLE).unwrap();
        assert_eq!(given_up.values, [short.packed()]);
        assert_eq!((reassembly.len(), reassembly.announced_bytes()), (0, 0));
    }

    #[test]
    fn announcements_are_bounded() {
        let mut reassembly = Reassembly::default();
        let huge = [ValueEntry::Size(MAX_PACKED_VALUE as u64 + 1), ValueEntry::Size(0)];
        assert_eq!(reassembly.begin(Time::ZERO, key(1), b"", &huge), Begun::Refused);
        let large = vec![ValueEntry::Size(MAX_PACKED_VALUE as u64); 1000];
        for tid in 0..1000 {
            reassembly.begin(Time::ZERO, key(tid), b"", &large);
        }
        assert_eq!(reassembly.len(), MAX_REASSEMBLIES_PER_ADDRESS);
        for port in 1..1000 {
            reassembly.begin(Time::ZERO, (([192, 0, 2, 2], port).into(), 1), b"", &large);
        }
        assert!(reassembly.announced_bytes() <= MAX_REASSEMBLY_BYTES);
    }

    #[test]
    fn a_flood_of_tiny_fragments_is_not_kept() {
        let mut reassembly = Reassembly::default();
        reassembly.begin(Time::ZERO, key(1), b"", &[ValueEntry::Size(1280)]);
        for offset in 0..1280 {
            reassembly.add(Time::ZERO, key(1), &[Fragment { index: 0, offset, data: b"x" }]);
        }
        assert_eq!(reassembly.buffers[&key(1)].parts[&0].pieces.len(), 1280 / MIN_MEAN_FRAGMENT + 1);
    }

    proptest! {
        #[test]
        fn values_survive_any_order_and_repetition(
            sizes in proptest::collection::vec(1usize..9000, 1..6),
            seed: u64,
            overtaking in 0usize..40,
        ) {
            use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};
            let values: Vec<_> = (1..).zip(&sizes).map(|(id, size)| Value::new(id, ValueType(0), &vec![id as u8; *size], "").unwrap()).collect();
            let values: Vec<_> = values.iter().collect();
            let announced: Vec<_> = values.iter().map(|value| ValueEntry::Size(value.packed().len() as u64)).collect();
            let mut reassembly = Reassembly::default();
            let mut parts = datagrams(9, 0, false, &values);
            parts.extend_from_within(..1);
            parts.shuffle(&mut StdRng::seed_from_u64(seed));
            let late = parts.split_off(overtaking.min(parts.len()));
            for datagram in &parts {
                let Body::Fragments(fragments) = Message::decode(datagram).unwrap().body else { panic!("no fragment") };
                prop_assert!(reassembly.keep_early(Time::ZERO, key(9), &fragments));
            }
            let whole = match reassembly.begin(Time::ZERO, key(9), b"header", &announced) {
                Begun::Complete(whole) => whole,
                _ => deliver(&mut reassembly, 9, &late).unwrap(),
            };
            prop_assert_eq!(reassembly.early(), 0);
            prop_assert_eq!(whole.values, values.iter().map(|value| value.packed().to_vec()).collect::<Vec<_>>());
        }
    }
}
