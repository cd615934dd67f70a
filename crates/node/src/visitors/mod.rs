//! Visitors of private services: who may come in, and what ends when somebody may not any more.
//!
//! The store is what counts. Commands change it, and who serves looks at its generation ten times a
//! second as long as a private service is there: a socket of its own for commands would be told
//! sooner, and would be one more thing to protect. What is looked at for each handshake and each
//! tunnel is in memory.

mod enrolment; // the service's end of a redemption
mod follow; // the store → who may come in now
mod list; // ClientHello → visitor

pub(crate) use enrolment::read_line;
pub(crate) use follow::Enrolled;
pub(crate) use list::{Caller, Guest};

use hardline_proto::visitors::Secret;

/// The secret of a new invitation.
#[must_use]
pub fn new_secret() -> Secret {
    Secret::from_bytes(rand::random())
}
