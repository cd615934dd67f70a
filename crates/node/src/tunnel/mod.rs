//! A verified connection → the opening lines, then bytes both ways.

mod buffers; // memory for bytes under way, lent only while there are some
mod count;
mod link; // version 2: frames, reuse, honest ends
mod opening;
mod plain; // version 1: bytes as they are
mod prefixed;
mod relay;
mod stream;

pub(crate) use count::Tunnels;
pub(crate) use link::{LinkEnd, LinkStream, NoTunnel};
pub(crate) use opening::{OpeningFailure, exchange_as_dialler, read_opening, send_opening};
pub(crate) use plain::PlainStream;
pub(crate) use prefixed::Prefixed;
pub(crate) use relay::{Drain, relay};
pub use stream::TunnelStream;

use hardline_proto::tunnel::frame::ResetReason;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

/// Either end of a tunnel: the application's connection or the peer's.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {
    /// Makes the coming close a reset where the transport knows one, so that the other end sees a broken tunnel as broken
    /// and takes no truncated answer for a whole one.
    fn reset_on_close(&mut self, reason: ResetReason);
}

impl Stream for TcpStream {
    fn reset_on_close(&mut self, _reason: ResetReason) {
        // Fails only on a socket that is closed already.
        let _ = self.set_zero_linger();
    }
}

/// Where plaintext becomes records: each call of the writer begins a new one. It takes everything, so callers flush what
/// is there before they write more.
fn records(tls: &mut TlsStream<TcpStream>) -> rustls::Writer<'_> {
    match tls {
        TlsStream::Client(client) => {
            let (_, session) = client.get_mut();
            session.set_buffer_limit(None);
            session.writer()
        }
        TlsStream::Server(server) => {
            let (_, session) = server.get_mut();
            session.set_buffer_limit(None);
            session.writer()
        }
    }
}
