//! Version 2 of the tunnel: a link carries one tunnel at a time and is used again.
//!
//! Between our own peers, chosen by ALPN. After the handshake and both opening lines the link is *parked*. The dialler's
//! [`Open`] line asks for a tunnel, the listener's [`Answer`] grants or refuses it, and each direction is then a row of
//! [frames](frame). When both directions have ended the link is parked again.

pub mod frame; // payload ⇄ frames
mod lines; // the open line and its answer
mod link; // the two ends of a link as state machines

pub use lines::{Answer, MAX_UNKNOWN, Open, Reason, Refusal};
pub use link::{Closed, Event, Link, LinkError, Phase};

/// The ALPN protocol name of version 2 (RFC 7301). Who does not select it is served as version 1.
pub const ALPN: &[u8] = b"hardline/2";
