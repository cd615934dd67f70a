//! What is to be sent.

use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

use crate::transport::buffers::Buffer;

/// What is to be sent.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    pub(super) buffer: Option<Buffer>,
    /// In the buffer, not sent.
    pub(super) unsent: Range<usize>,
}

impl Outbox {
    pub(super) fn buffer(&mut self) -> &mut [u8] {
        self.buffer.get_or_insert_with(Buffer::take)
    }

    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let end = self.unsent.end;
        let room = self.buffer().get_mut(end..end + bytes.len()).ok_or(io::ErrorKind::WouldBlock)?;
        room.copy_from_slice(bytes);
        self.unsent.end += bytes.len();
        Ok(())
    }

    pub(super) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        wire: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<io::Result<()>> {
        while !self.unsent.is_empty() {
            let unsent = self.unsent.clone();
            match ready!(Pin::new(&mut *wire).poll_write(cx, &self.buffer()[unsent])) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(sent) => self.unsent.start += sent,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        self.shrink();
        Poll::Ready(Ok(()))
    }

    pub(super) fn shrink(&mut self) {
        if self.unsent.is_empty() {
            self.unsent = 0..0;
            self.buffer = None;
        }
    }
}
