//! What a tunnel of datagrams has beside its stream. To who carries, it is a stream of framed
//! datagrams like any other.

use std::task::{Context, Poll, ready};

use hardline_proto::tunnel::datagram::{DatagramReader, DatagramSorter, DatagramTooLong, Sorted};
use hardline_proto::tunnel::frame::ResetReason;

use crate::transport::datagrams::put_frame;
use crate::transport::quic::{DatagramFlow, QuicStream, StreamEnd};

/// Bytes read of the stream at once. Only what is too long for a packet goes there.
const CHUNK: usize = 4096;

/// Bytes of datagrams handed on at once.
const MOST: usize = 64 * 1024;

/// The datagrams of a tunnel: those that fit into a packet go beside its stream, the others through
/// it.
#[derive(Debug)]
pub(super) struct Apart {
    flow: DatagramFlow,
    reader: DatagramReader,
    sorter: DatagramSorter,
}

impl Apart {
    pub(super) fn new(flow: DatagramFlow) -> Self {
        Self { flow, reader: DatagramReader::default(), sorter: DatagramSorter::default() }
    }

    /// Whether the peer takes datagrams beside the streams.
    pub(super) fn is_apart(&self) -> bool {
        self.flow.is_apart()
    }

    /// How many were lost here for want of room.
    pub(super) fn dropped(&self) -> u64 {
        self.flow.dropped()
    }

    /// Takes what came in the stream; whole datagrams go behind `come`.
    pub(super) fn hear(&mut self, mut bytes: &[u8], come: &mut Vec<u8>) -> Result<(), DatagramTooLong> {
        while let Some(datagram) = self.reader.next(&mut bytes)? {
            put_frame(come, datagram);
        }
        Ok(())
    }

    /// Waits for whole datagrams, which go to `come`; `false` at the end of the peer's direction.
    pub(super) fn poll_come(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut QuicStream,
        come: &mut Vec<u8>,
    ) -> Poll<Result<bool, StreamEnd>> {
        while come.len() < MOST
            && let Poll::Ready(Some(datagram)) = self.flow.poll_receive(cx)
        {
            put_frame(come, &datagram);
        }
        let mut chunk = [0; CHUNK];
        while come.is_empty() {
            let read = ready!(stream.poll_read(cx, &mut chunk))?;
            if read == 0 {
                return Poll::Ready(Ok(false));
            }
            // Nothing that follows has a meaning.
            self.hear(&chunk[..read], come).map_err(|_| StreamEnd::Reset(ResetReason::UNSPECIFIED))?;
        }
        Poll::Ready(Ok(true))
    }

    /// Notes what was written to the stream as it is.
    pub(super) fn wrote(&mut self, mut bytes: &[u8]) {
        while self.sorter.next(&mut bytes).is_some() {}
    }

    /// Sends what may go beside the stream of `bytes`. The rest is put together at their front;
    /// returns how much that is.
    pub(super) fn send(&mut self, bytes: &mut [u8]) -> usize {
        let (mut at, mut kept) = (0, 0);
        while at < bytes.len() {
            let mut input = &bytes[at..];
            let sorted = self.sorter.next(&mut input);
            let is_sent = matches!(sorted, Some(Sorted::Whole { datagram, .. }) if self.flow.try_send(datagram));
            let end = bytes.len() - input.len();
            if !is_sent {
                bytes.copy_within(at..end, kept);
                kept += end - at;
            }
            at = end;
        }
        kept
    }
}
