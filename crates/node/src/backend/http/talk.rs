//! What the parts of a visitor's connection tell each other: they run in different tasks, and below
//! and above an HTTP library that has no words for it.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

use bytes::Bytes;
use hardline_proto::framing::Refusal;
use tokio::sync::Notify;

/// Interim answers (1xx) that wait for the visitor. A program that sends more for one request has
/// run wild.
const MAX_INTERIM: usize = 16;

#[derive(Debug, Default)]
pub(super) struct Talk {
    state: Mutex<State>,
    /// Interim answers were added, or all of them sent.
    interim: Notify,
}

#[derive(Debug, Default)]
struct State {
    interim: VecDeque<Bytes>,
    /// Of the request at hand.
    interims: usize,
    is_sending: bool,
    /// Whether the other protocol that a request asked for was taken up.
    decision: Option<bool>,
    reader: Option<Waker>,
    refusal: Option<Refusal>,
    is_broken: bool,
    is_reset: bool,
}

impl Talk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request begins.
    pub(super) fn request_begins(&self) {
        self.state().interims = 0;
    }

    /// Adds an interim answer, to be sent before the final one.
    pub(super) fn add_interim(&self, head: Bytes) {
        let mut state = self.state();
        if state.interims < MAX_INTERIM {
            state.interims += 1;
            state.interim.push_back(head);
            self.interim.notify_one();
        }
    }

    /// Waits for the next thing that happens to interim answers.
    pub(super) async fn interim_changes(&self) {
        self.interim.notified().await;
    }

    /// Waits until all interim answers are on their way.
    pub(super) async fn interim_sent(&self) {
        while self.has_interim() {
            self.interim.notified().await;
        }
    }

    fn has_interim(&self) -> bool {
        let state = self.state();
        state.is_sending || !state.interim.is_empty()
    }

    /// The next interim answer to be sent; without one, the last has been.
    pub(super) fn next_interim(&self) -> Option<Bytes> {
        let mut state = self.state();
        let next = state.interim.pop_front();
        if next.is_some() || state.is_sending {
            self.interim.notify_one();
        }
        state.is_sending = next.is_some();
        next
    }

    /// Says whether the other protocol that a request asked for was taken up.
    pub(super) fn decide(&self, is_upgraded: bool) {
        let mut state = self.state();
        state.decision = Some(is_upgraded);
        if let Some(reader) = state.reader.take() {
            reader.wake();
        }
    }

    /// What was decided; whoever asks too early is woken.
    pub(super) fn take_decision(&self, cx: &Context<'_>) -> Option<bool> {
        let mut state = self.state();
        let decision = state.decision.take();
        if decision.is_none() {
            state.reader = Some(cx.waker().clone());
        }
        decision
    }

    /// Refuses whatever else the visitor sends.
    pub(super) fn refuse(&self, refusal: Refusal) {
        self.state().refusal = Some(refusal);
    }

    pub(super) fn refusal(&self) -> Option<Refusal> {
        self.state().refusal
    }

    /// The answer under way will never be whole.
    pub(super) fn broke(&self) {
        self.state().is_broken = true;
    }

    pub(super) fn is_broken(&self) -> bool {
        self.state().is_broken
    }

    /// The visitor's connection broke.
    pub(super) fn reset(&self) {
        self.state().is_reset = true;
    }

    pub(super) fn is_reset(&self) -> bool {
        self.state().is_reset
    }
}
