//! A verified connection → the opening lines, then bytes both ways (version 1).

mod count;
mod opening;
mod prefixed;
mod relay;
mod stream;

pub(crate) use count::Tunnels;
pub(crate) use opening::{OpeningFailure, exchange_as_dialler, read_opening, send_opening};
pub(crate) use prefixed::Prefixed;
pub(crate) use relay::{Drain, relay};
pub use stream::TunnelStream;

use tokio::io::{AsyncRead, AsyncWrite};

/// Either end of a tunnel: the application's connection or the peer's.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {
    /// Makes the coming close a reset where the transport knows one, so that the other end sees a broken tunnel as broken
    /// and takes no truncated answer for a whole one.
    fn reset_on_close(&self);
}

impl Stream for tokio::net::TcpStream {
    fn reset_on_close(&self) {
        // Fails only on a socket that is closed already.
        let _ = self.set_zero_linger();
    }
}
