//! Version 2: a link over TLS. The only place where frames meet records.

use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::ops::Range;
use std::task::{Context, Poll, Waker, ready};

use hardline_proto::preamble::Preamble;
use hardline_proto::tunnel::frame::{HEADER, MAX_PAYLOAD, ResetReason};
use hardline_proto::tunnel::{Answer, Closed, Event, Open, Phase, Refusal, Session, SessionError};
use tokio::io::AsyncWriteExt;

use super::carrier::{Carrier, PIECES, Payload, Room};
use super::{PreambleFailure, read_preamble};
use crate::transport::Reset;
use crate::transport::secure::{Found, Layout, SecureStream};

/// Full frames, a record each.
const LAYOUT: Layout = Layout { front: HEADER, payload: MAX_PAYLOAD, records: PIECES };

/// Payload that fits behind an open line in one record, in bytes. In one record: either all of it can be read or nothing.
const EARLY: usize = MAX_PAYLOAD - Open::LINE.len();

/// A verified connection of version 2, behind both preambles.
///
/// While it carries a tunnel it is that tunnel's stream: reading ends with the other side's half-close, shutting down is
/// our own.
#[derive(Debug)]
pub(crate) struct LinkStream {
    /// On the heap: it is large, and every future that hands the link on has room for it.
    tls: Box<SecureStream>,
    machine: Session,
    payload: Taken,
    /// What stands behind the payload: the end of the peer's direction, or of everything.
    next: Option<Result<(), LinkEnd>>,
}

/// Where payload lies that has come and was not consumed.
#[derive(Debug, Default)]
struct Taken {
    /// The places, in order. Those before `first` are done with.
    places: Vec<Range<usize>>,
    first: usize,
}

/// Why a link can do nothing more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkEnd {
    /// The connection ended or broke.
    #[error("connection ended")]
    Closed(Closed),
    /// The peer broke off a tunnel.
    #[error("broken off: {0}")]
    Reset(ResetReason),
    /// The peer broke the protocol.
    #[error(transparent)]
    Protocol(#[from] SessionError),
}

impl From<LinkEnd> for io::Error {
    fn from(end: LinkEnd) -> Self {
        Self::new(io::ErrorKind::ConnectionReset, end)
    }
}

/// Why an open line brought no tunnel.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoTunnel {
    /// The listener says no. The link is parked.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// The link has ended.
    #[error(transparent)]
    End(#[from] LinkEnd),
}

impl LinkStream {
    /// `tls` stands behind both preambles.
    pub(crate) fn new(tls: SecureStream, machine: Session) -> Self {
        Self { tls: Box::new(tls), machine, payload: Taken::default(), next: None }
    }

    /// Whether it carries nothing, and nothing is left to be sent.
    pub(crate) fn is_parked(&self) -> bool {
        self.machine.phase() == Phase::Idle && !self.tls.wants_write()
    }

    /// Whether a parked link is still of use: nothing has come, neither its end nor bytes that do not belong.
    pub(crate) fn is_quiet(&mut self) -> bool {
        let received = self.poll_receive(&mut Context::from_waker(Waker::noop()), |_| ());
        self.is_parked() && received.is_pending()
    }

    /// Says our preamble, and asks for nothing yet. It leaves before the peer is waited for, with all that was said.
    pub(crate) fn greet(&mut self, ours: &Preamble) -> io::Result<()> {
        self.tls.seal(&[&ours.encode()])
    }

    /// Waits for the peer's preamble.
    pub(crate) async fn greeted(&mut self) -> Result<Preamble, PreambleFailure> {
        read_preamble(&mut self.tls).await
    }

    /// Asks for a tunnel, with as much of `early` as fits behind the question, in one write. Returns how much that was.
    /// `greeting` goes in front: the preamble, on a new connection.
    pub(crate) async fn ask(&mut self, greeting: &[u8], early: &[u8]) -> Result<usize, LinkEnd> {
        let Some(open) = self.machine.open() else { return Err(LinkEnd::Closed(Closed::Unused)) };
        let sent = early.len().min(EARLY.saturating_sub(greeting.len()));
        let header = self.machine.payload(sent);
        let sealed = match &header {
            Some(header) => self.tls.seal(&[greeting, open, header, &early[..sent]]),
            None => self.tls.seal(&[greeting, open]),
        };
        let written = async {
            sealed?;
            self.flush().await
        };
        // A record that has not left whole cannot be read by the peer.
        written.await.map_err(|_| LinkEnd::Closed(self.machine.closed(true)))?;
        Ok(sent)
    }

    /// Waits for the answer to [`ask`](Self::ask).
    pub(crate) async fn answered(&mut self) -> Result<(), NoTunnel> {
        let refusal =
            self.receive(|event| if let Event::Refused(refusal) = event { Some(refusal) } else { None }).await?;
        match refusal {
            None => Ok(()),
            Some(refusal) => {
                // Whether the link can be parked shows when it is given back.
                let _ = poll_fn(|cx| self.poll_end(cx)).await;
                Err(NoTunnel::Refused(refusal))
            }
        }
    }

    /// Waits until a tunnel is asked for.
    pub(crate) async fn asked(&mut self) -> Result<Open, LinkEnd> {
        // A listener's parked link knows no other event.
        self.receive(|event| if let Event::Open(open) = event { open } else { Open::default() }).await
    }

    /// Answers what was [`asked`](Self::asked).
    pub(crate) async fn answer(&mut self, answer: &Answer) -> io::Result<()> {
        let line = self.machine.answer(answer).ok_or(io::ErrorKind::NotConnected)?;
        self.tls.seal(&[&line])?;
        self.flush().await
    }

    /// Reads to the end of the peer's direction, and throws it away.
    pub(crate) async fn discard(&mut self) -> io::Result<()> {
        while poll_fn(|cx| self.poll_payload(cx)).await? {
            let length = self.payload().slices().iter().map(|piece| piece.len()).sum();
            self.consume(length);
        }
        Ok(())
    }

    /// Ends a parked link in a way that tells the other side that nothing was lost; another is just closed.
    pub(crate) async fn close(mut self) {
        if self.machine.close() {
            // Who is gone needs no goodbye.
            let _ = self.tls.shutdown().await;
        }
    }

    async fn flush(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.tls.poll_send(cx)).await
    }

    async fn receive<T>(&mut self, mut take: impl FnMut(Event<'_>) -> T) -> Result<T, LinkEnd> {
        poll_fn(|cx| self.poll_receive(cx, &mut take)).await
    }

    /// The next event of a link that carries no tunnel yet.
    fn poll_receive<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut take: impl FnMut(Event<'_>) -> T,
    ) -> Poll<Result<T, LinkEnd>> {
        while !matches!(self.machine.phase(), Phase::Closed | Phase::Deciding) {
            match self.tls.find() {
                Ok(Found::Plain) => {
                    let mut rest = self.tls.plain();
                    let event = match self.machine.receive(&mut rest) {
                        Ok(Some(Event::Reset(reason))) => Err(LinkEnd::Reset(reason)),
                        Ok(event) => Ok(event.map(&mut take)),
                        Err(error) => Err(error.into()),
                    };
                    let used = self.tls.plain().len() - rest.len();
                    self.tls.take(used);
                    self.tls.release();
                    if let Some(event) = event.transpose() {
                        return Poll::Ready(event);
                    }
                }
                Ok(Found::Nothing) => match ready!(self.tls.poll_wait(cx)) {
                    Ok(0) | Err(_) => return Poll::Ready(Err(self.ended(false))),
                    Ok(_) => {}
                },
                Ok(Found::End) => return Poll::Ready(Err(self.ended(true))),
                Err(_) => return Poll::Ready(Err(self.ended(false))),
            }
        }
        Poll::Ready(Err(LinkEnd::Closed(Closed::Broken)))
    }

    fn ended(&mut self, cleanly: bool) -> LinkEnd {
        LinkEnd::Closed(self.machine.closed(cleanly))
    }

    /// Takes apart what is there, until so many pieces of payload are found that they are worth a write.
    fn find_payload(&mut self) {
        while self.payload.places.len() < PIECES && self.next.is_none() && self.machine.can_receive() {
            match self.tls.find() {
                Ok(Found::Plain) => {
                    let mut rest = self.tls.plain();
                    let (mut piece, mut next) = (0, None);
                    match self.machine.receive(&mut rest) {
                        Ok(Some(Event::Payload(bytes))) => piece = bytes.len(),
                        Ok(Some(Event::End)) => next = Some(Ok(())),
                        Ok(Some(Event::Reset(reason))) => next = Some(Err(LinkEnd::Reset(reason))),
                        Ok(_) => {} // an open tunnel knows no other
                        Err(error) => next = Some(Err(error.into())),
                    }
                    let used = self.tls.plain().len() - rest.len();
                    let place = self.tls.take(used);
                    if piece > 0 {
                        // Payload is the last of what the machine has read.
                        self.payload.places.push(place.end - piece..place.end);
                    }
                    self.next = next;
                }
                Ok(Found::Nothing) => return,
                Ok(Found::End) => self.next = Some(Err(self.ended(true))),
                Err(_) => self.next = Some(Err(self.ended(false))),
            }
        }
    }

    /// Sends `frame` if the socket takes it at once.
    fn send_now(&mut self, frame: &[u8]) -> bool {
        self.tls.seal(&[frame]).is_ok() && self.tls.send_now()
    }
}

impl Taken {
    fn is_empty(&self) -> bool {
        self.first == self.places.len()
    }

    /// Drops `amount` bytes off the front.
    fn consume(&mut self, mut amount: usize) {
        while let Some(place) = self.places.get_mut(self.first) {
            let part = amount.min(place.len());
            place.start += part;
            amount -= part;
            if place.start < place.end {
                return;
            }
            self.first += 1;
        }
        self.places.clear();
        self.first = 0;
    }
}

impl Carrier for LinkStream {
    fn own_ip(&self) -> Option<IpAddr> {
        self.tls.own_ip()
    }

    fn poll_payload(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        loop {
            if !self.payload.is_empty() {
                return Poll::Ready(Ok(true));
            }
            self.find_payload();
            if !self.payload.is_empty() {
                return Poll::Ready(Ok(true));
            }
            match self.next.take() {
                Some(Ok(())) => return Poll::Ready(Ok(false)),
                Some(Err(end)) => return Poll::Ready(Err(end.into())),
                None => {}
            }
            if !self.machine.can_receive() {
                let is_over = matches!(self.machine.phase(), Phase::Closed | Phase::Opening);
                return Poll::Ready(if is_over { Err(io::ErrorKind::ConnectionReset.into()) } else { Ok(false) });
            }
            match ready!(self.tls.poll_receive(cx)) {
                Ok(0) | Err(_) => return Poll::Ready(Err(self.ended(false).into())),
                Ok(_) => {}
            }
        }
    }

    fn payload(&self) -> Payload<'_> {
        Payload::new(self.payload.places[self.payload.first..].iter().map(|place| self.tls.bytes(place.clone())))
    }

    fn consume(&mut self, amount: usize) {
        self.payload.consume(amount);
        if self.payload.is_empty() {
            self.tls.release();
        }
    }

    fn room(&mut self) -> io::Result<Room<'_>> {
        if !self.machine.can_send() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        Ok(Room::new(self.tls.room(LAYOUT)?))
    }

    fn forget_room(&mut self) {
        self.tls.forget_room();
    }

    fn commit(&mut self, length: usize) -> io::Result<()> {
        let machine = &mut self.machine;
        self.tls.commit(LAYOUT, length, |length| machine.payload(length).ok_or(io::ErrorKind::BrokenPipe.into()))
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tls.poll_send(cx)
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.machine.can_send() {
            ready!(self.tls.poll_send(cx))?;
            if let Some(end) = self.machine.end() {
                self.tls.seal(&[&end])?;
            }
        }
        self.tls.poll_send(cx)
    }
}

impl Reset for LinkStream {
    fn reset_on_close(&mut self, reason: ResetReason) {
        if self.machine.phase() == Phase::Closed {
            return; // told already, or nobody is there to be told
        }
        let is_told = self.machine.reset(reason).is_some_and(|frame| self.send_now(&frame));
        if !is_told {
            self.tls.tcp().reset_on_close(reason);
        }
    }
}
