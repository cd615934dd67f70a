//! The peer's end of a tunnel, as those see it who carry bytes.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::IpAddr;
use std::task::{Context, Poll, ready};

use hardline_proto::liveness::PathState;
use tokio::io::ReadBuf;

use crate::transport::{Asking, Reset};

/// Most pieces of payload that are read or written at once.
pub(crate) const PIECES: usize = 16;

/// A tunnel that lends its own memory: payload is read from an application into records, and
/// written to it from them.
pub(crate) trait Carrier: Reset + Unpin + Send {
    /// The address of this computer that the peer knows.
    fn local_ip(&self) -> Option<IpAddr>;

    /// What is known of the peer's computer, where the system tells. `None` also over a transport
    /// that ends by itself when nobody answers.
    fn path_state(&self) -> Option<PathState> {
        None
    }
    /// Whether datagrams go beside the stream, where one that is lost holds up no other.
    fn has_datagrams_apart(&self) -> bool {
        false
    }

    /// Datagrams that were lost here for want of room.
    fn datagrams_dropped(&self) -> u64 {
        0
    }

    /// As [`ByteStream::ask`](crate::transport::ByteStream::ask).
    fn ask_peer(&self, _asking: Asking) {}
    /// Waits for payload; `false` at the end of the peer's direction.
    fn poll_payload(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>>;

    /// The payload that has come, in order.
    fn payload(&self) -> Payload<'_>;

    /// Drops `amount` bytes off the payload's front.
    fn consume(&mut self, amount: usize);

    /// Room for payload to the peer. Everything before must have been [sent](Self::poll_send).
    ///
    /// # Errors
    /// When this direction has ended.
    fn room(&mut self) -> io::Result<Room<'_>>;

    /// Gives the room back, unused.
    fn forget_room(&mut self);

    /// Seals the first `length` bytes of the room's payload.
    ///
    /// # Errors
    /// As [`room`](Self::room).
    fn commit(&mut self, length: usize) -> io::Result<()>;

    /// Sends what is sealed.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Ends our direction.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// As [`AsyncRead::poll_read`](tokio::io::AsyncRead::poll_read).
    fn poll_copy_out(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if ready!(self.poll_payload(cx))? {
            let before = buf.filled().len();
            for piece in self.payload().slices() {
                buf.put_slice(&piece[..piece.len().min(buf.remaining())]);
            }
            let taken = buf.filled().len() - before;
            self.consume(taken);
        }
        Poll::Ready(Ok(()))
    }

    /// As [`AsyncWrite::poll_write`](tokio::io::AsyncWrite::poll_write).
    fn poll_copy_in(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_send(cx))?;
        let length = self.room()?.fill(bytes);
        self.commit(length)?;
        // What the socket does not take now, it takes at the next flush, before more is sealed.
        match self.poll_send(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(length)),
        }
    }
}

/// Payload that has come.
pub(crate) struct Payload<'a> {
    pieces: [IoSlice<'a>; PIECES],
    count: usize,
}

impl<'a> Payload<'a> {
    pub(crate) fn new(pieces: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut payload = Self { pieces: [IoSlice::new(&[]); PIECES], count: 0 };
        for (place, piece) in payload.pieces.iter_mut().zip(pieces) {
            *place = IoSlice::new(piece);
            payload.count += 1;
        }
        payload
    }

    pub(crate) fn slices(&self) -> &[IoSlice<'a>] {
        &self.pieces[..self.count]
    }
}

/// Room for payload.
pub(crate) struct Room<'a> {
    pieces: [IoSliceMut<'a>; PIECES],
    count: usize,
}

impl<'a> Room<'a> {
    pub(crate) fn new(pieces: impl IntoIterator<Item = &'a mut [u8]>) -> Self {
        let mut room = Self { pieces: std::array::from_fn(|_| IoSliceMut::new(&mut [])), count: 0 };
        for (place, piece) in room.pieces.iter_mut().zip(pieces) {
            *place = IoSliceMut::new(piece);
            room.count += 1;
        }
        room
    }

    pub(crate) fn slices(&mut self) -> &mut [IoSliceMut<'a>] {
        &mut self.pieces[..self.count]
    }

    /// Copies as much of `bytes` as there is room for, and returns how much that was.
    pub(crate) fn fill(&mut self, bytes: &[u8]) -> usize {
        let mut rest = bytes;
        for piece in self.slices() {
            let (part, after) = rest.split_at(rest.len().min(piece.len()));
            piece[..part.len()].copy_from_slice(part);
            rest = after;
        }
        bytes.len() - rest.len()
    }
}
