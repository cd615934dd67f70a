//! A verified connection → the opening lines, then bytes both ways.

mod activity; // when bytes moved
mod anchors; // our own address under a tunnel, and when it is gone
mod application; // the other end: a program's or a browser's connection
mod aside; // what rarely happens, beside what often does
mod carrier; // what a tunnel is to who carries bytes
mod count;
mod link; // version 2: frames, reuse, honest ends
mod opening;
mod plain; // version 1: bytes as they are
mod prefixed;
mod relay;
mod stream;
mod way; // one direction

pub(crate) use activity::Side;
pub(crate) use application::Application;
pub(crate) use carrier::Carrier;
pub(crate) use count::Tunnels;
pub(crate) use link::{LinkEnd, LinkStream, NoTunnel};
pub(crate) use opening::{OpeningFailure, exchange_as_dialler, read_opening, send_opening};
pub(crate) use plain::PlainStream;
pub(crate) use prefixed::Prefixed;
pub(crate) use relay::{Drain, relay};
pub use stream::TunnelStream;

use hardline_proto::tunnel::frame::ResetReason;

/// Either end of a tunnel: the application's connection or the peer's.
pub(crate) trait Reset {
    /// Makes the coming close a reset where the transport knows one, so that the other end sees a broken tunnel as broken
    /// and takes no truncated answer for a whole one.
    fn reset_on_close(&mut self, reason: ResetReason);
}
