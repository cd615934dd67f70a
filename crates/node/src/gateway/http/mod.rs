//! A browser's connection whose HTTP is followed while its bytes go through a tunnel.
//!
//! Bytes are read to where they are sealed and written from where they were opened, as on a
//! connection that is not looked at: the pure `proto::exchange` looks at them there and says how
//! many may pass. Copied is only what must wait: a head that is not whole, one that gets the policy
//! put in, a request for another service.

mod answers; // from the service to the browser
mod requests; // from the browser to the service

use std::io;

use hardline_proto::exchange::{BadAnswer, Exchange};
use hardline_proto::framing::Refusal;
use hardline_proto::tunnel::frame::ResetReason;

use crate::transport::Reset;

/// A stream, followed or as it is.
pub(super) struct Followed<S> {
    inner: S,
    /// `None`: nothing is looked at.
    http: Option<Box<Http>>,
}

/// What following needs.
struct Http {
    exchange: Exchange,
    /// Of the next bytes from the browser so many may pass unseen.
    admitted: usize,
    /// Bytes that have come from the browser and must wait.
    held: Vec<u8>,
    /// What is held waits for an answer.
    is_waiting: bool,
    /// The beginning of an answer's head.
    begun: Vec<u8>,
    /// A head on its way to the browser, and how much of it is gone.
    going: Vec<u8>,
    gone: usize,
    /// Of the next bytes to the browser so many may pass unseen.
    passable: usize,
    end: Option<FollowedEnd>,
}

/// Why a connection is followed no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FollowedEnd {
    /// All is answered, and a request has come that is not for this tunnel.
    Left,
    /// The request's body cannot be followed.
    BadRequest(Refusal),
    /// The answer cannot.
    BadAnswer {
        why: BadAnswer,
        /// Whether the browser can be told: nothing of the answer has reached it.
        can_be_told: bool,
    },
}

impl<S> Followed<S> {
    /// Carries bytes as they are.
    pub(super) fn raw(inner: S) -> Self {
        Self { inner, http: None }
    }

    /// Follows. The first `admitted` bytes have been looked at.
    pub(super) fn new(inner: S, exchange: Exchange, admitted: usize) -> Self {
        let http = Http {
            exchange,
            admitted,
            held: Vec::new(),
            is_waiting: false,
            begun: Vec::new(),
            going: Vec::new(),
            gone: 0,
            passable: 0,
            end: None,
        };
        Self { inner, http: Some(Box::new(http)) }
    }

    /// Why it is followed no longer, if that was not the end of the connection.
    pub(super) fn end(&self) -> Option<FollowedEnd> {
        self.http.as_ref()?.end
    }

    /// The stream, and what came from it and did not pass.
    pub(super) fn into_parts(self) -> (S, Vec<u8>) {
        (self.inner, self.http.map_or_else(Vec::new, |http| http.held))
    }
}

impl Http {
    /// Ends following. What the relay is told is not seen by anybody.
    fn end(&mut self, end: FollowedEnd) -> io::Error {
        self.end.get_or_insert(end);
        io::ErrorKind::InvalidData.into()
    }
}

impl<S: Reset> Reset for Followed<S> {
    fn reset_on_close(&mut self, reason: ResetReason) {
        let stays = matches!(self.end(), Some(FollowedEnd::Left | FollowedEnd::BadAnswer { can_be_told: true, .. }));
        if !stays {
            self.inner.reset_on_close(reason);
        }
    }
}
