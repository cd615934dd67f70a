//! A TLS connection behind its handshake: a stream of bytes, records, and memory only while bytes
//! are under way.

mod inbox; // what has come
mod outbox; // what is to be sent
mod records; // who makes the records

use std::io;
use std::net::IpAddr;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use hardline_proto::KeyHash;
use hardline_proto::liveness::PathState;
use hardline_record::{HEADER, MAX_PLAINTEXT, TRAILER, UPDATE};
use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, ReadBuf};

use self::inbox::Inbox;
use self::outbox::Outbox;
use self::records::{Fatal, Opened, Records};
use super::handshake::Done;
use crate::transport::{Asking, ByteStream};

/// A TLS connection to a peer. It reads into memory that is lent while something is there, opens
/// records where they lie, and seals what is written where it is sent from.
#[derive(Debug)]
pub struct SecureStream<W> {
    wire: W,
    records: Records,
    proven: Option<KeyHash>,
    is_alpn_agreed: bool,
    /// Whether the peer has said that nothing more comes.
    has_ended: bool,
    /// Whether we have.
    is_ended: bool,
    inbox: Inbox,
    outbox: Outbox,
}

/// What is in the inbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// Payload.
    Plain,
    /// Nothing that can be read yet.
    Nothing,
    /// The peer's word that nothing more comes.
    End,
}

/// How the payload of a tunnel lies in records.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    /// Bytes in front of the payload in each record.
    pub(crate) front: usize,
    /// Most bytes of payload in a record.
    pub(crate) payload: usize,
    /// Records sealed before the first of them is sent.
    pub(crate) records: usize,
}

impl Layout {
    /// Bytes of a full record.
    const fn record(self) -> usize {
        HEADER + self.front + self.payload + TRAILER
    }
}

impl<W: ByteStream> SecureStream<W> {
    pub(super) fn new(wire: W, done: Done) -> io::Result<Self> {
        let (proven, is_alpn_agreed) = (done.proven_key(), done.is_alpn_agreed());
        let Done { mut engine, incoming, is_extractable } = done;
        let mut outbox = Outbox::default();
        outbox.append(&engine.outgoing)?;
        engine.outgoing = Vec::new();
        let mut inbox = Inbox { plain: 0..engine.plain.len(), ..Inbox::default() };
        let records = Records::new(Box::new(engine), is_extractable && is_alpn_agreed)?;
        inbox.rest = incoming.into_boxed_slice();
        Ok(Self { wire, records, proven, is_alpn_agreed, has_ended: false, is_ended: false, inbox, outbox })
    }

    /// The key hash of the certificate that the peer proved, in this handshake or in the one that
    /// it resumed.
    #[must_use]
    pub fn proven_key(&self) -> Option<KeyHash> {
        self.proven
    }

    /// Whether the protocol that our configuration offers by ALPN was agreed on.
    #[must_use]
    pub fn is_alpn_agreed(&self) -> bool {
        self.is_alpn_agreed
    }

    /// Whether the records are our own, and not rustls's.
    #[must_use]
    pub fn has_own_records(&self) -> bool {
        self.records.are_own()
    }

    /// Changes our key after so many records, if the records are our own.
    pub fn change_keys_after(&mut self, records: u64) {
        self.records.change_keys_after(records);
    }

    /// The address of this computer that the peer knows.
    pub(crate) fn local_ip(&self) -> Option<IpAddr> {
        self.wire.local_ip()
    }

    /// What is known of the peer's computer, where the system tells.
    pub(crate) fn path_state(&self) -> Option<PathState> {
        self.wire.path_state()
    }

    /// As [`ByteStream::ask`].
    pub(crate) fn ask_peer(&self, asking: Asking) {
        self.wire.ask(asking);
    }

    /// The stream below, to be reset.
    pub(crate) fn wire(&mut self) -> &mut W {
        &mut self.wire
    }

    /// Whether something is left to be sent.
    pub(crate) fn wants_write(&self) -> bool {
        !self.outbox.unsent.is_empty()
    }

    /// Opens what has come, until there is payload.
    ///
    /// # Errors
    /// That of the connection, for good.
    pub(crate) fn find(&mut self) -> io::Result<Found> {
        while self.inbox.plain.is_empty() {
            if self.has_ended {
                return Ok(Found::End);
            }
            match self.records.open(&mut self.inbox) {
                Ok(Opened::Nothing) => return Ok(Found::Nothing),
                Ok(Opened::Record) => {}
                Ok(Opened::End) => self.has_ended = true,
                Err(Fatal { error, alert }) => {
                    self.send_last(&alert);
                    return Err(error);
                }
            }
        }
        Ok(Found::Plain)
    }

    /// The payload that was [found](Self::find).
    pub(crate) fn plain(&self) -> &[u8] {
        self.bytes(self.inbox.plain.clone())
    }

    /// Takes `amount` bytes off its front, and says where they lie.
    pub(crate) fn take(&mut self, amount: usize) -> Range<usize> {
        let start = self.inbox.plain.start;
        self.inbox.plain.start += amount;
        start..start + amount
    }

    /// Bytes that were taken. They stay until more is [received](Self::poll_receive).
    pub(crate) fn bytes(&self, at: Range<usize>) -> &[u8] {
        self.records.plain(&self.inbox, at)
    }

    /// Gives memory back that is not needed before more is received. Nothing that was taken may be
    /// in use.
    pub(crate) fn release(&mut self) {
        if self.inbox.plain.is_empty() && self.inbox.sealed.is_empty() {
            self.inbox.buffer = None;
            self.inbox.sealed = 0..0;
            self.records.release(&mut self.inbox);
        }
    }

    /// Receives more, and returns how many bytes; 0 at the connection's end. Nothing that was taken
    /// may be in use.
    pub(crate) fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.inbox.plain.is_empty() {
            self.records.clear(&mut self.inbox);
        }
        let mut room = ReadBuf::new(self.inbox.room());
        let received = Pin::new(&mut self.wire).poll_read(cx, &mut room);
        let length = room.filled().len();
        self.inbox.sealed.end += length;
        if received.is_pending() {
            self.inbox.shrink();
        }
        received.map_ok(|()| length)
    }

    /// The same, after everything that was said has been sent.
    pub(crate) fn poll_wait(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        ready!(self.poll_send(cx))?;
        self.poll_receive(cx)
    }

    /// Waits for payload; there is none at the peer's word that nothing more comes.
    ///
    /// # Errors
    /// That of the connection; [`io::ErrorKind::UnexpectedEof`] at its end without that word.
    pub(crate) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.find()? == Found::Nothing {
            if ready!(self.poll_receive(cx))? == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Room for the payload of the next records, in order. Everything before must have been
    /// flushed.
    pub(crate) fn room(&mut self, layout: Layout) -> io::Result<impl Iterator<Item = &mut [u8]>> {
        self.records.update(&mut self.outbox)?;
        let base = self.outbox.unsent.end;
        let slots = self.outbox.buffer()[base..].chunks_exact_mut(layout.record()).take(layout.records);
        Ok(slots.map(move |slot| &mut slot[HEADER + layout.front..][..layout.payload]))
    }

    /// Gives the room back, unused.
    pub(crate) fn forget_room(&mut self) {
        self.outbox.shrink();
    }

    /// Seals `length` bytes of the room's payload. `front` makes what stands in front of each
    /// record's.
    pub(crate) fn commit<const FRONT: usize>(
        &mut self,
        layout: Layout,
        length: usize,
        front: impl FnMut(usize) -> io::Result<[u8; FRONT]>,
    ) -> io::Result<()> {
        self.records.seal_laid_out(&mut self.inbox, &mut self.outbox, layout, length, front)
    }

    /// Seals `parts` as one record, behind what is not sent yet.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when there is no room before more has been sent.
    pub(crate) fn seal(&mut self, parts: &[&[u8]]) -> io::Result<()> {
        let length = parts.iter().map(|part| part.len()).sum::<usize>();
        let end = self.outbox.unsent.end;
        let room = self.outbox.buffer().len() - end;
        if length > MAX_PLAINTEXT || room < HEADER + length + TRAILER + UPDATE + SPARE {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.records.seal(&mut self.inbox, &mut self.outbox, parts)
    }

    /// Sends what is sealed.
    pub(crate) fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outbox.poll_send(cx, &mut self.wire)
    }

    /// Sends what is sealed as far as the socket takes it at once; returns whether that was all.
    pub(crate) fn send_now(&mut self) -> bool {
        matches!(self.poll_send(&mut Context::from_waker(Waker::noop())), Poll::Ready(Ok(())))
    }

    /// Tells the peer what is wrong, if the socket takes it at once.
    fn send_last(&mut self, record: &[u8]) {
        if self.outbox.append(record).is_ok() {
            self.send_now();
        }
    }
}

/// What other ciphers' records have more than ours, in bytes: the nonce of TLS 1.2 (RFC 5288,
/// section 3).
const SPARE: usize = 8;

impl<W: ByteStream> AsyncBufRead for SecureStream<W> {
    /// Ends with the peer's `close_notify`; an end without it is [`io::ErrorKind::UnexpectedEof`].
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        if this.find()? == Found::Nothing {
            ready!(this.poll_send(cx))?; // what the peer may be waiting for
        }
        ready!(this.poll_fill(cx))?;
        Poll::Ready(Ok(this.plain()))
    }

    fn consume(mut self: Pin<&mut Self>, amount: usize) {
        self.take(amount);
        self.release();
    }
}

impl<W: ByteStream> AsyncRead for SecureStream<W> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let plain = ready!(self.as_mut().poll_fill_buf(cx))?;
        let length = plain.len().min(buf.remaining());
        buf.put_slice(&plain[..length]);
        self.consume(length);
        Poll::Ready(Ok(()))
    }
}

impl<W: ByteStream> AsyncWrite for SecureStream<W> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_send(cx))?;
        let record = &bytes[..bytes.len().min(MAX_PLAINTEXT)];
        self.seal(&[record])?;
        // What the socket does not take now goes with the next flush, before more is sealed.
        match self.poll_send(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(record.len())),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_send(cx)
    }

    /// Says that nothing more comes, and ends the connection's sending half.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_ended {
            ready!(self.poll_send(cx))?;
            let Self { records, inbox, outbox, .. } = &mut *self;
            records.seal_end(inbox, outbox)?;
            self.is_ended = true;
        }
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.wire).poll_shutdown(cx)
    }
}

fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
