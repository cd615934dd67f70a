//! The dialler's end of a tunnel, of either version.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use hardline_proto::tunnel::frame::ResetReason;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{LinkStream, PlainStream, Stream};

/// A tunnel to a verified peer, behind the opening lines: payload, 1-for-1.
///
/// Shutting down the write side is a half-close: the peer's application sees the end of the stream and can go on sending.
/// Dropping it before both directions have ended breaks the tunnel off.
#[derive(Debug)]
pub struct TunnelStream(Inner);

#[derive(Debug)]
enum Inner {
    Plain(PlainStream),
    Link(Lent),
}

/// What is done with a link whose tunnel has ended.
pub(crate) type GiveBack = Box<dyn FnOnce(LinkStream) + Send>;

/// A link in use; given back when dropped, if it can carry another tunnel.
struct Lent {
    /// Present until dropped.
    link: Option<(LinkStream, GiveBack)>,
}

impl std::fmt::Debug for Lent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Lent").field(&self.link.as_ref().map(|(link, _)| link)).finish()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some((mut link, give_back)) = self.link.take() {
            if link.is_parked() {
                give_back(link);
            } else {
                link.reset_on_close(ResetReason::APPLICATION);
            }
        }
    }
}

impl TunnelStream {
    pub(crate) fn plain(stream: PlainStream) -> Self {
        Self(Inner::Plain(stream))
    }

    /// `link` carries a tunnel, and goes to `give_back` when that has ended cleanly.
    pub(crate) fn lent(link: LinkStream, give_back: GiveBack) -> Self {
        Self(Inner::Link(Lent { link: Some((link, give_back)) }))
    }

    fn inner(&mut self) -> Option<&mut dyn Stream> {
        match &mut self.0 {
            Inner::Plain(stream) => Some(stream),
            Inner::Link(lent) => lent.link.as_mut().map(|(link, _)| link as &mut dyn Stream),
        }
    }

    /// Hands a call on. There is always somebody until the stream is dropped.
    fn with<T>(&mut self, call: impl FnOnce(Pin<&mut dyn Stream>) -> Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match self.inner() {
            Some(stream) => call(Pin::new(stream)),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

impl AsyncRead for TunnelStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.with(|stream| stream.poll_read(cx, buf))
    }
}

impl AsyncWrite for TunnelStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.with(|stream| stream.poll_write(cx, bytes))
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|stream| stream.poll_flush(cx))
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|stream| stream.poll_shutdown(cx))
    }
}

impl Stream for TunnelStream {
    fn reset_on_close(&mut self, reason: ResetReason) {
        if let Some(stream) = self.inner() {
            stream.reset_on_close(reason);
        }
    }
}
