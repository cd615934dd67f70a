//! The peer's end of a tunnel: TLS, behind its opening line.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

use super::{Prefixed, Stream};

/// A tunnel to a verified peer, behind the opening lines: payload, 1-for-1.
///
/// Shutting down the write side is a half-close: the peer's application sees the end of the stream and can go on sending.
#[derive(Debug)]
pub struct TunnelStream(Prefixed<TlsStream<TcpStream>>);

impl TunnelStream {
    /// `early` is payload that arrived together with the opening line.
    pub(crate) fn new(early: Vec<u8>, tls: TlsStream<TcpStream>) -> Self {
        Self(Prefixed::new(early, tls))
    }
}

impl AsyncRead for TunnelStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.0).poll_read(cx, buf) {
            // Released peers end without close_notify, always: in version 1 it tells nothing.
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
            other => other,
        }
    }
}

impl AsyncWrite for TunnelStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl Stream for TunnelStream {
    fn reset_on_close(&self) {
        self.0.inner.get_ref().0.reset_on_close();
    }
}
