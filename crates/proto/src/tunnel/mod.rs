//! Version 2 of the tunnel: a session carries one tunnel at a time and is used again.
//!
//! Between our own peers, chosen by ALPN. After the handshake and both preambles the session is
//! *idle*. The dialler's [`Open`] line asks for a tunnel, the listener's [`Answer`] grants or
//! refuses it, and each direction is then a row of [frames](frame). When both directions have ended
//! the session is idle again.

pub mod datagram; // datagrams ⇄ payload, and those that wait
pub mod frame; // payload ⇄ frames
mod lines; // the open line and its answer
mod session; // the two ends of a session as state machines

pub use lines::{Answer, Kind, MAX_UNKNOWN, Open, Reason, Refusal};
pub use session::{Closed, Event, Phase, Session, SessionError};

/// The ALPN protocol name of version 2 (RFC 7301). Who does not select it is served by the legacy
/// protocol.
pub const ALPN: &[u8] = b"hardline/2";
