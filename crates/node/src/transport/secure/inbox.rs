//! What has come: where it lies, opened or not.

use std::ops::Range;

use crate::transport::buffers::{Buffer, READ};
use crate::transport::engine::Engine;

/// What has come.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    pub(super) buffer: Option<Buffer>,
    /// The beginning of a record whose rest has not come, while there is no buffer.
    pub(super) rest: Box<[u8]>,
    /// In the buffer, not opened.
    pub(super) sealed: Range<usize>,
    /// Payload that was opened and not taken: in the buffer, or in rustls's.
    pub(super) plain: Range<usize>,
}

impl Inbox {
    /// What came and is not opened.
    pub(super) fn sealed(&mut self) -> &mut [u8] {
        self.restore();
        let Self { buffer, sealed, .. } = self;
        buffer.as_deref_mut().and_then(|buffer| buffer.get_mut(sealed.clone())).unwrap_or_default()
    }

    /// Lets rustls read it, as part of a `call`.
    pub(super) fn read_with<T>(
        &mut self,
        engine: &mut Engine,
        call: impl FnOnce(&mut Engine, &mut &mut [u8]) -> T,
    ) -> T {
        let mut incoming = self.sealed();
        let result = call(engine, &mut incoming);
        let left = incoming.len();
        self.sealed.start = self.sealed.end - left;
        self.plain.end = engine.plain.len();
        result
    }

    /// Puts the beginning of a record back into a buffer.
    pub(super) fn restore(&mut self) {
        if !self.rest.is_empty() {
            let mut buffer = Buffer::take();
            let rest = std::mem::take(&mut self.rest);
            buffer[..rest.len()].copy_from_slice(&rest);
            self.sealed = 0..rest.len();
            self.buffer = Some(buffer);
        }
    }

    /// Where more goes: behind what is not opened, which moves to the front.
    pub(super) fn room(&mut self) -> &mut [u8] {
        self.restore();
        let buffer = self.buffer.get_or_insert_with(Buffer::take);
        buffer.copy_within(self.sealed.clone(), 0);
        self.sealed = 0..self.sealed.len();
        &mut buffer[self.sealed.end..READ]
    }

    /// Gives the buffer back. Who sends half a record and no more occupies the half and no more.
    pub(super) fn shrink(&mut self) {
        if let Some(buffer) = self.buffer.take() {
            self.rest = buffer[self.sealed.clone()].into();
            self.sealed = 0..0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_record_that_waits_occupies_its_own_bytes_and_no_buffer() {
        let mut inbox = Inbox::default();
        for turn in 1..=3 {
            inbox.room()[..100].fill(turn);
            inbox.sealed.end += 100;
            inbox.shrink();
            assert!(inbox.buffer.is_none());
            assert_eq!(inbox.rest.len(), 100 * usize::from(turn));
        }
        let all = [[1; 100], [2; 100], [3; 100]].concat();
        assert_eq!(inbox.sealed(), all);
        inbox.sealed.start += 250;
        assert_eq!(inbox.room().len(), READ - 50);
        assert_eq!(inbox.sealed(), [3; 50]);
    }
}
