//! Memory for bytes under way. A tunnel has some only while bytes move: most tunnels are idle most
//! of the time.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

use hardline_record::{HEADER, MAX_PLAINTEXT, TRAILER};

/// Bytes of a full record.
const RECORD: usize = HEADER + MAX_PLAINTEXT + TRAILER;

/// Bytes received at once: sixteen full records, as many as a peer of version 2 sends at once, so
/// that what is received ends where a record does.
pub(crate) const READ: usize = 16 * RECORD;

/// Bytes of one buffer: in front of the records may be a word between the two TLS ends.
const BUFFER: usize = READ + 256;

/// Buffers each thread keeps for the next who needs one. More are in use only while that many
/// receivers are slow.
const KEPT: usize = 4;

thread_local! {
    static FREE: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer of [`BUFFER`] bytes, given back when dropped. What was in it before is not cleared: it
/// holds payload of this very process, and nothing beyond what was read into it is looked at.
#[derive(Debug)]
pub(crate) struct Buffer(Option<Box<[u8]>>);

impl Buffer {
    pub(crate) fn take() -> Self {
        let kept = FREE.with_borrow_mut(Vec::pop);
        Self(Some(kept.unwrap_or_else(|| vec![0; BUFFER].into_boxed_slice())))
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.as_deref().unwrap_or_default()
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.0.as_deref_mut().unwrap_or_default()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // Fails while the thread ends, and then the buffer goes with it.
        let _ = FREE.try_with(|free| {
            let mut free = free.borrow_mut();
            if free.len() < KEPT {
                free.extend(self.0.take());
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_given_back_is_the_next_one_taken_and_few_are_kept() {
        let first = Buffer::take();
        let at = first.as_ptr();
        drop(first);
        assert_eq!(Buffer::take().as_ptr(), at);
        let many: Vec<_> = (0..3 * KEPT).map(|_| Buffer::take()).collect();
        assert!(many.iter().all(|buffer| buffer.len() == BUFFER));
        drop(many);
        assert_eq!(FREE.with_borrow(Vec::len), KEPT);
    }
}
