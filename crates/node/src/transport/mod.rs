//! Connections to other computers: how they are made and accepted, and how their peers are verified.

mod buffers; // memory for bytes under way, lent only while there are some
pub mod handshake; // a TCP connection → a TLS connection
pub mod secure; // a TLS connection: socket, records, memory only while bytes are under way
mod stream; // streams of bytes
pub(crate) mod tcp; // TCP connections, made and accepted

pub(crate) use stream::Application;

use hardline_proto::tunnel::frame::ResetReason;

/// Either end of a tunnel: the application's connection or the peer's.
pub(crate) trait Reset {
    /// Makes the coming close a reset where the transport knows one, so that the other end sees a broken tunnel as broken
    /// and takes no truncated answer for a whole one.
    fn reset_on_close(&mut self, reason: ResetReason);
}
