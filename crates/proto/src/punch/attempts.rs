//! All attempts that are under way on one socket.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;

use super::{Attempt, Event, Probe, Transmit};

/// Attempts under way at once; at their limit the newcomer is refused.
pub const MAX_ATTEMPTS: usize = 64;

/// Attempts by what the other side says in them, each with what belongs to it.
#[derive(Debug)]
pub struct Attempts<T> {
    under_way: BTreeMap<Probe, (Attempt, T)>,
}

impl<T> Default for Attempts<T> {
    fn default() -> Self {
        Self { under_way: BTreeMap::new() }
    }
}

impl<T> Attempts<T> {
    /// Takes an attempt in.
    ///
    /// # Errors
    /// Gives back `of` when there are [`MAX_ATTEMPTS`], or this one already.
    pub fn add(&mut self, attempt: Attempt, of: T) -> Result<(), T> {
        if self.under_way.len() >= MAX_ATTEMPTS || self.under_way.contains_key(&attempt.heard()) {
            return Err(of);
        }
        self.under_way.insert(attempt.heard(), (attempt, of));
        Ok(())
    }

    /// Ends those that `is_unwanted`, without an event.
    pub fn remove(&mut self, is_unwanted: impl Fn(&T) -> bool) {
        self.under_way.retain(|_, (_, of)| !is_unwanted(of));
    }

    /// Takes a datagram to the attempt it belongs to. Returns whether there is one.
    pub fn handle_datagram(&mut self, socket: u16, from: SocketAddr, datagram: &[u8]) -> bool {
        let attempt = Probe::decode(datagram).and_then(|probe| self.under_way.get_mut(&probe));
        attempt.is_some_and(|(attempt, _)| attempt.handle_datagram(socket, from, datagram))
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        for (attempt, _) in self.under_way.values_mut() {
            if attempt.poll_timeout().is_some_and(|at| at <= now) {
                attempt.handle_timeout(now);
            }
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.under_way.values().filter_map(|(attempt, _)| attempt.poll_timeout()).min()
    }

    /// The next probe to send, and what its attempt belongs to.
    pub fn poll_transmit(&mut self) -> Option<(Transmit, &mut T)> {
        self.under_way.values_mut().find_map(|(attempt, of)| attempt.poll_transmit().map(|transmit| (transmit, of)))
    }

    /// What happened next, and in which attempt. One that is over is forgotten with its last event.
    pub fn poll_event(&mut self) -> Option<(Event, &mut T)> {
        self.under_way.retain(|_, (attempt, _)| !attempt.is_over() || attempt.has_event());
        self.under_way.values_mut().find_map(|(attempt, of)| attempt.poll_event().map(|event| (event, of)))
    }

    /// What belongs to each.
    pub fn each(&mut self) -> impl Iterator<Item = &mut T> {
        self.under_way.values_mut().map(|(_, of)| of)
    }

    /// How many are under way.
    #[must_use]
    pub fn len(&self) -> usize {
        self.under_way.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }
}
