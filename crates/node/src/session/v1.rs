//! Version 1: payload as it is, in records of a size that released peers can read.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hardline_proto::tunnel::frame::ResetReason;
use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, ReadBuf};

use super::carrier::{Carrier, PIECES, Payload, Room};
use crate::limits::V1_RECORD;
use crate::transport::Reset;
use crate::transport::secure::{Layout, SecureStream};

/// Sixteen small records at a time.
const LAYOUT: Layout = Layout { front: 0, payload: V1_RECORD, records: PIECES };

/// A tunnel to a peer of version 1, or an opening exchange with a peer of any.
#[derive(Debug)]
pub(crate) struct PlainStream(
    /// On the heap: it is large, and every future that hands the stream on has room for it.
    Box<SecureStream>,
);

impl PlainStream {
    pub(crate) fn new(tls: SecureStream) -> Self {
        Self(Box::new(tls))
    }
}

impl Carrier for PlainStream {
    fn own_ip(&self) -> Option<IpAddr> {
        self.0.own_ip()
    }

    fn poll_payload(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        match ready!(self.0.poll_fill(cx)) {
            Ok(()) => Poll::Ready(Ok(!self.0.plain().is_empty())),
            // Released peers end without close_notify, always: in version 1 it tells nothing.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(false)),
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    fn payload(&self) -> Payload<'_> {
        Payload::new([self.0.plain()])
    }

    fn consume(&mut self, amount: usize) {
        Pin::new(&mut *self.0).consume(amount);
    }

    fn room(&mut self) -> io::Result<Room<'_>> {
        Ok(Room::new(self.0.room(LAYOUT)?))
    }

    fn forget_room(&mut self) {
        self.0.forget_room();
    }

    fn commit(&mut self, length: usize) -> io::Result<()> {
        self.0.commit(LAYOUT, length, |_| Ok([]))
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_send(cx)
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_shutdown(cx)
    }
}

impl AsyncRead for PlainStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.poll_copy_out(cx, buf)
    }
}

impl AsyncBufRead for PlainStream {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        Pin::new(&mut *self.get_mut().0).poll_fill_buf(cx)
    }
    fn consume(mut self: Pin<&mut Self>, amount: usize) {
        Pin::new(&mut *self.0).consume(amount);
    }
}

impl AsyncWrite for PlainStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_copy_in(cx, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_send(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_end(cx)
    }
}

impl Reset for PlainStream {
    fn reset_on_close(&mut self, reason: ResetReason) {
        self.0.tcp().reset_on_close(reason);
    }
}
