//! Holds fragments that arrived before the message that announces them.

use std::collections::BTreeMap;

use super::Key;
use crate::limits::{MAX_EARLY_DATA, MAX_EARLY_FRAGMENTS, MAX_EARLY_FRAGMENTS_PER_MESSAGE, REASSEMBLY_IDLE};
use crate::message::Fragment;
use crate::time::Time;

/// Keeps them for a little while. Nothing says yet that their sender means well, hence they are
/// few.
#[derive(Debug, Default)]
pub(crate) struct ReorderBuffer {
    messages: BTreeMap<Key, (Time, Vec<HeldFragment>)>,
    count: usize,
}

/// A fragment with its own copy of the bytes.
#[derive(Debug)]
pub(crate) struct HeldFragment {
    index: u64,
    offset: u64,
    data: Vec<u8>,
}

impl ReorderBuffer {
    /// Keeps what there is room for; returns whether that was anything.
    pub(crate) fn keep(&mut self, now: Time, key: Key, fragments: &[Fragment<'_>]) -> bool {
        self.forget_old(now);
        let before = self.count;
        for fragment in fragments.iter().filter(|fragment| fragment.data.len() <= MAX_EARLY_DATA) {
            let held = self.messages.get(&key).map_or(0, |(_, fragments)| fragments.len());
            if self.count < MAX_EARLY_FRAGMENTS && held < MAX_EARLY_FRAGMENTS_PER_MESSAGE {
                let (_, fragments) = self.messages.entry(key).or_insert_with(|| (now, Vec::new()));
                fragments.push(HeldFragment::of(fragment));
                self.count += 1;
            }
        }
        self.count > before
    }

    /// Gives those of a message that has now been announced.
    pub(crate) fn take(&mut self, now: Time, key: &Key) -> Vec<HeldFragment> {
        self.forget_old(now);
        let fragments = self.messages.remove(key).map(|(_, fragments)| fragments).unwrap_or_default();
        self.count -= fragments.len();
        fragments
    }

    /// Fragments held.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    fn forget_old(&mut self, now: Time) {
        self.messages.retain(|_, (since, _)| now.since(*since) < REASSEMBLY_IDLE);
        self.count = self.messages.values().map(|(_, fragments)| fragments.len()).sum();
    }
}

impl HeldFragment {
    pub(crate) fn as_fragment(&self) -> Fragment<'_> {
        Fragment { index: self.index, offset: self.offset, data: &self.data }
    }

    fn of(fragment: &Fragment<'_>) -> Self {
        Self { index: fragment.index, offset: fragment.offset, data: fragment.data.to_vec() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(host: u8, tid: u32) -> Key {
        (([192, 0, 2, host], 4222).into(), tid)
    }

    fn fragment(data: &[u8]) -> [Fragment<'_>; 1] {
        [Fragment { index: 0, offset: 0, data }]
    }

    #[test]
    fn a_stranger_cannot_have_much_kept() {
        let mut buffer = ReorderBuffer::default();
        assert!(!buffer.keep(Time::ZERO, key(1, 1), &fragment(&[0; MAX_EARLY_DATA + 1])));
        let kept = (0..1000).filter(|_| buffer.keep(Time::ZERO, key(1, 1), &fragment(b"x"))).count();
        assert_eq!(kept, MAX_EARLY_FRAGMENTS_PER_MESSAGE);
        for tid in 0..1000 {
            buffer.keep(Time::ZERO, key(2, tid), &fragment(b"x"));
        }
        assert_eq!(buffer.len(), MAX_EARLY_FRAGMENTS);
    }

    #[test]
    fn what_nobody_announces_is_forgotten() {
        let mut buffer = ReorderBuffer::default();
        assert!(buffer.keep(Time::ZERO, key(1, 1), &fragment(b"x")));
        assert!(buffer.take(Time::ZERO + REASSEMBLY_IDLE, &key(1, 1)).is_empty());
        assert_eq!(buffer.len(), 0);
    }
}
