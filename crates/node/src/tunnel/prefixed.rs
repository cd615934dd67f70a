//! Bytes read too early, put back in front of the stream they came from.

use std::io::{self, IoSlice, IoSliceMut};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hardline_proto::tunnel::frame::ResetReason;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::transport::{ByteStream, Reset};

/// A stream whose first bytes have been read already.
#[derive(Debug)]
pub(crate) struct Prefixed<S> {
    prefix: Vec<u8>,
    taken: usize,
    pub(crate) inner: S,
}

impl<S> Prefixed<S> {
    /// Reads `prefix` first, then `inner`.
    pub(crate) fn new(prefix: Vec<u8>, inner: S) -> Self {
        // What is left of it is often nothing, in memory made for a whole request head: not to be
        // kept for a tunnel's life.
        let prefix = if prefix.is_empty() { Vec::new() } else { prefix };
        Self { prefix, taken: 0, inner }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Prefixed<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.prefix.is_empty() {
            return Pin::new(&mut self.inner).poll_read(cx, buf);
        }
        let rest = &self.prefix[self.taken..];
        let n = rest.len().min(buf.remaining());
        buf.put_slice(&rest[..n]);
        self.taken += n;
        if self.taken == self.prefix.len() {
            self.prefix = Vec::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Prefixed<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, pieces)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

impl<S: ByteStream> ByteStream for Prefixed<S> {
    fn poll_read_slices(&mut self, cx: &mut Context<'_>, room: &mut [IoSliceMut<'_>]) -> Poll<io::Result<usize>> {
        if self.prefix.is_empty() {
            return self.inner.poll_read_slices(cx, room);
        }
        let Some(first) = room.first_mut() else { return Poll::Ready(Ok(0)) };
        let mut read = ReadBuf::new(first);
        ready!(Pin::new(self).poll_read(cx, &mut read))?;
        Poll::Ready(Ok(read.filled().len()))
    }
}

impl<S: Reset> Reset for Prefixed<S> {
    fn reset_on_close(&mut self, reason: ResetReason) {
        self.inner.reset_on_close(reason);
    }
}
