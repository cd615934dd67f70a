//! Version 1: payload as it is, in records of a size that released peers can read.

use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hardline_proto::tunnel::frame::ResetReason;
use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

use super::{Stream, records};
use crate::limits::V1_RECORD;

/// Records encrypted before the first of them is sent.
const BATCH: usize = 16;

/// A tunnel to a peer of version 1, or an opening exchange with a peer of any.
#[derive(Debug)]
pub(crate) struct PlainStream(
    /// On the heap: it is large, and every future that hands the stream on has room for it.
    Box<TlsStream<TcpStream>>,
);

impl PlainStream {
    pub(crate) fn new(tls: TlsStream<TcpStream>) -> Self {
        Self(Box::new(tls))
    }
}

impl AsyncRead for PlainStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.0).poll_read(cx, buf) {
            // Released peers end without close_notify, always: in version 1 it tells nothing.
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
            other => other,
        }
    }
}

impl AsyncBufRead for PlainStream {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        Pin::new(&mut self.get_mut().0).poll_fill_buf(cx)
    }
    fn consume(mut self: Pin<&mut Self>, amount: usize) {
        Pin::new(&mut self.0).consume(amount);
    }
}

impl AsyncWrite for PlainStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.as_mut().poll_flush(cx))?;
        let mut writer = records(&mut self.0);
        let mut taken = 0;
        for record in bytes.chunks(V1_RECORD).take(BATCH) {
            taken += writer.write(record)?;
        }
        // What the socket does not take now, it takes at the next flush, before more is encrypted.
        if let Poll::Ready(Err(error)) = self.poll_flush(cx) {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(taken))
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl Stream for PlainStream {
    fn reset_on_close(&mut self, reason: ResetReason) {
        self.0.get_mut().0.reset_on_close(reason);
    }
}
