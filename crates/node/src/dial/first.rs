//! The first payload of a tunnel, which goes with the question over a new connection where it may.
//!
//! That saves a round trip. The attempts of a race ask beside each other, so only what is
//! [repeatable](Early::is_repeatable) goes along, and by one of them at a time: the first that has
//! verified the service. The others ask without it. When that attempt fails, the next one takes it;
//! when another wins, it is reset, and the payload goes over the winner.

use std::sync::atomic::{AtomicBool, Ordering};

use hardline_proto::tunnel::Kind;

use super::idle::Early;

/// What may go with the question of one attempt.
#[derive(Debug, Default)]
pub(super) struct FirstPayload {
    /// What it is.
    pub(super) kind: Kind,
    bytes: Vec<u8>,
    is_taken: AtomicBool,
}

/// An attempt's turn to send it, until dropped.
#[derive(Debug)]
pub(super) struct Turn<'a>(Option<&'a FirstPayload>);

impl FirstPayload {
    /// Nothing, of a tunnel of this kind.
    pub(super) fn nothing(kind: Kind) -> Self {
        Self { kind, ..Self::default() }
    }

    pub(super) fn of(early: &Early) -> Self {
        let bytes = if early.is_repeatable { early.bytes.clone() } else { Vec::new() };
        Self { kind: early.kind, bytes, is_taken: AtomicBool::new(false) }
    }

    /// Whose turn it is, if it is nobody else's.
    pub(super) fn turn(&self) -> Turn<'_> {
        Turn((!self.is_taken.swap(true, Ordering::Relaxed)).then_some(self))
    }
}

impl Turn<'_> {
    /// What may be sent now.
    pub(super) fn bytes(&self) -> &[u8] {
        self.0.map_or(&[], |first| &first.bytes)
    }

    /// It was answered: nobody else is to send it.
    pub(super) fn succeeded(mut self) {
        self.0 = None;
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let Some(first) = self.0 {
            first.is_taken.store(false, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_attempt_at_a_time_sends_it_and_none_after_an_answer() {
        let first = FirstPayload::of(&Early { bytes: b"GET".to_vec(), is_repeatable: true, ..Early::default() });
        let turn = first.turn();
        assert_eq!((turn.bytes(), first.turn().bytes()), (&b"GET"[..], &b""[..]));
        assert_eq!(first.turn().bytes(), b"", "it is still the first one's turn");
        drop(turn);
        let turn = first.turn();
        assert_eq!(turn.bytes(), b"GET", "that of one that failed goes to the next");
        turn.succeeded();
        assert_eq!(first.turn().bytes(), b"");
    }

    #[test]
    fn what_must_not_arrive_twice_does_not_go_along() {
        let first = FirstPayload::of(&Early { bytes: b"POST".to_vec(), is_repeatable: false, ..Early::default() });
        assert_eq!(first.turn().bytes(), b"");
    }
}
