//! Sessions of version 2: frames over TLS, one tunnel after the other, honest ends.
//!
//! The only place where frames meet records. What may be said when is
//! [`hardline_proto::tunnel::Session`]'s.
//!
//! - One tunnel at a time, no multiplexing: no head-of-line blocking, bulk at TLS speed, code that
//!   fits in one's head.
//! - A first tunnel is asked for together with the dialler's line, with payload behind it where
//!   that may reach two listeners: that is a round trip less than a legacy session takes, and a
//!   backend that is down loses the race.
//! - A refused tunnel ends like another, and its session is idle again: a backend that is down
//!   costs no handshakes. Closing would not do: its reset could overtake the refusal.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use hardline_proto::KeyHash;
use hardline_proto::liveness::PathState;
use hardline_proto::preamble::Preamble;
use hardline_proto::tunnel::frame::{HEADER, MAX_PAYLOAD, ResetReason};
use hardline_proto::tunnel::{ALPN, Answer, Closed, Event, Kind, Open, Phase, Refusal, Session};
use rustls::client::{Resumption, Tls12Resumption};
use rustls::server::ClientHello;
use rustls::{ClientConfig, ServerConfig};
use tokio::io::AsyncWriteExt;

use super::carrier::{Carrier, PIECES, Payload, Room};
use super::preamble::{PreambleFailure, read_preamble};
use super::{Begun, BoxFuture, DiallerSession, ListenerSession, NoSession, NoTunnel, Purpose, SessionEnd, Version};
use crate::tls::config::{ServerSettings, pinned_client, server, server_asking};
use crate::tls::visitor::AskedFor;
use crate::transport::secure::{Found, Layout, SecureStream};
use crate::transport::{Asking, ByteStream, Reset};

/// Its number.
pub(crate) const VERSION: Version = 2;

/// Full frames, a record each.
const LAYOUT: Layout = Layout { front: HEADER, payload: MAX_PAYLOAD, records: PIECES };

/// Payload that fits behind an open line in one record, in bytes. In one record: either all of it
/// can be read or nothing.
const EARLY: usize = MAX_PAYLOAD - Open::DATAGRAMS_LINE.len();

/// Names whose TLS sessions are kept for one service: the key hash, and the codes of two days.
/// rustls counts in tickets, and keeps 8 for a name.
const TLS_SESSIONS: usize = 3 * 8;

/// Tickets given with each handshake. One is used up by each resumption, and a second lets the pool
/// grow.
const TICKETS: usize = 2;

/// For peers of either version: TLS 1.2 and 1.3, pinned to `key`, offers version 2 by ALPN, leaves
/// the size of records to the tunnel, and resumes TLS sessions of TLS 1.3. They belong to this
/// configuration, and so to `key` alone. With `own_records`, rustls hands the keys over behind the
/// handshake.
#[must_use]
pub fn client_tls(key: KeyHash, own_records: bool) -> Arc<ClientConfig> {
    let mut config = pinned_client(key);
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.enable_secret_extraction = own_records;
    config.resumption = Resumption::in_memory_sessions(TLS_SESSIONS).tls12_resumption(Tls12Resumption::Disabled);
    Arc::new(config)
}

/// For diallers that offer version 2: TLS 1.3, full records, and TLS sessions that can be resumed.
/// The key that seals the tickets belongs to this configuration, and so to one identity alone.
///
/// # Panics
/// When the system has no randomness, as every use of TLS would.
#[must_use]
pub fn server_tls<'a>(settings: impl Into<ServerSettings<'a>>) -> Arc<ServerConfig> {
    let settings = settings.into();
    let mut config = server(settings, &[&rustls::version::TLS13]);
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.enable_secret_extraction = settings.own_records;
    config.ticketer = rustls::crypto::ring::Ticketer::new().expect("the system has randomness");
    config.send_tls13_tickets = TICKETS;
    Arc::new(config)
}

/// The same for one visitor of a private service, of whom a certificate is asked for. No TLS
/// session can be resumed: each connection is looked at anew.
pub(super) fn private_server_tls(public: &ServerConfig, asked_for: Arc<AskedFor>) -> Arc<ServerConfig> {
    let mut config = server_asking(Arc::clone(&public.cert_resolver), &[&rustls::version::TLS13], asked_for);
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.enable_secret_extraction = public.enable_secret_extraction;
    config.send_tls13_tickets = 0;
    Arc::new(config)
}

/// Whether a dialler knows version 2.
pub(super) fn is_offered(hello: &ClientHello<'_>) -> bool {
    hello.alpn().is_some_and(|mut offered| offered.any(|protocol| protocol == ALPN))
}

/// A session of version 2, of either side.
///
/// While it carries a tunnel it is that tunnel's stream: reading ends with the other side's
/// half-close, shutting down is our own.
#[derive(Debug)]
pub(crate) struct V2<W> {
    tls: SecureStream<W>,
    machine: Session,
    /// What was asked for last.
    asked: Kind,
    payload: Taken,
    /// What stands behind the payload: the end of the peer's direction, or of everything.
    next: Option<Result<(), SessionEnd>>,
}

/// Where payload lies that has come and was not consumed.
#[derive(Debug, Default)]
struct Taken {
    /// The places, in order. Those before `first` are done with.
    places: Vec<Range<usize>>,
    first: usize,
}

/// As [`Connection::dial`](super::Connection::dial).
pub(super) async fn dial<W: ByteStream + fmt::Debug>(
    tls: SecureStream<W>,
    ours: &Preamble,
    purpose: Purpose,
    early: &[u8],
) -> Result<Begun<dyn DiallerSession>, NoSession> {
    let mut session = Box::new(V2::new(tls, Session::dialler()));
    let Purpose::Tunnel(kind) = purpose else {
        session.greet(ours)?;
        let preamble = read_preamble(&mut session.tls).await?;
        return Ok(Begun { session, preamble, sent: 0 });
    };
    let mut question = Question { session: &mut session, is_cut: !early.is_empty() };
    let sent = question.session.ask_behind(&ours.encode(), kind, early).await.map_err(NoTunnel::from)?;
    let preamble = read_preamble(&mut question.session.tls).await?;
    question.session.hear_answer().await?;
    question.is_cut = false;
    drop(question);
    Ok(Begun { session, preamble, sent })
}

/// A question with payload that waits for its answer. When nobody waits any more, what is on its
/// way is not to arrive.
struct Question<'a, W: ByteStream + fmt::Debug> {
    session: &'a mut V2<W>,
    /// Whether to do so.
    is_cut: bool,
}

impl<W: ByteStream + fmt::Debug> Drop for Question<'_, W> {
    fn drop(&mut self) {
        if self.is_cut {
            self.session.cut();
        }
    }
}

/// As [`Connection::listen`](super::Connection::listen).
pub(super) async fn listen<W: ByteStream + fmt::Debug>(
    tls: SecureStream<W>,
    ours: &Preamble,
) -> Result<Begun<dyn ListenerSession>, PreambleFailure> {
    let mut session = Box::new(V2::new(tls, Session::listener()));
    session.greet(ours)?;
    let preamble = read_preamble(&mut session.tls).await?;
    Ok(Begun { session, preamble, sent: 0 })
}

impl<W: ByteStream> V2<W> {
    fn new(tls: SecureStream<W>, machine: Session) -> Self {
        Self { tls, machine, asked: Kind::Stream, payload: Taken::default(), next: None }
    }

    /// Whether it carries nothing, and nothing is left to be sent.
    fn rests(&self) -> bool {
        self.machine.phase() == Phase::Idle && !self.tls.wants_write()
    }

    /// Says our preamble, and asks for nothing yet. It leaves before the peer is waited for, with
    /// all that was said.
    fn greet(&mut self, ours: &Preamble) -> Result<(), PreambleFailure> {
        Ok(self.tls.seal(&[&ours.encode()])?)
    }

    /// Asks for a tunnel, with as much of `early` as fits behind the question, in one write.
    /// Returns how much that was. `greeting` goes in front: our preamble, on a new connection.
    async fn ask_behind(&mut self, greeting: &[u8], kind: Kind, early: &[u8]) -> Result<usize, SessionEnd> {
        self.asked = kind;
        let Some(open) = self.machine.open(kind) else { return Err(SessionEnd::Closed(Closed::Unused)) };
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
        written.await.map_err(|_| SessionEnd::Closed(self.machine.closed(true)))?;
        Ok(sent)
    }

    /// Waits for the answer to [`ask_behind`](Self::ask_behind).
    async fn hear_answer(&mut self) -> Result<(), NoTunnel> {
        let answer = |event: Event<'_>| match event {
            Event::Refused(refusal) => Err(refusal),
            Event::Opened(kind) => Ok(kind),
            _ => Ok(Kind::Stream), // no other answers
        };
        match poll_fn(|cx| self.poll_event(cx, answer)).await? {
            Ok(kind) if kind == self.asked => Ok(()),
            Ok(_) => {
                self.reset_on_close(ResetReason::APPLICATION);
                Err(NoTunnel::of_another_kind(self.asked))
            }
            Err(refusal) => {
                // Whether the session is idle then shows when it is given back.
                let _ = poll_fn(|cx| self.poll_end(cx)).await;
                Err(NoTunnel::Refused(refusal))
            }
        }
    }

    /// Answers the dialler's question.
    async fn answer(&mut self, answer: &Answer) -> io::Result<()> {
        let line = self.machine.answer(answer).ok_or(io::ErrorKind::NotConnected)?;
        self.tls.seal(&[&line])?;
        self.flush().await
    }

    /// Reads to the end of the peer's direction, and throws it away.
    async fn discard(&mut self) -> io::Result<()> {
        while poll_fn(|cx| self.poll_payload(cx)).await? {
            let length = self.payload().slices().iter().map(|piece| piece.len()).sum();
            self.consume(length);
        }
        Ok(())
    }

    async fn flush(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.tls.poll_send(cx)).await
    }

    /// The next event of a session that carries no tunnel yet.
    fn poll_event<T>(&mut self, cx: &mut Context<'_>, take: impl Fn(Event<'_>) -> T) -> Poll<Result<T, SessionEnd>> {
        while !matches!(self.machine.phase(), Phase::Closed | Phase::Deciding) {
            match self.tls.find() {
                Ok(Found::Plain) => {
                    let mut rest = self.tls.plain();
                    let event = match self.machine.receive(&mut rest) {
                        Ok(Some(Event::Reset(reason))) => Err(SessionEnd::Reset(reason)),
                        Ok(event) => Ok(event.map(&take)),
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
        Poll::Ready(Err(SessionEnd::Closed(Closed::Broken)))
    }

    fn ended(&mut self, cleanly: bool) -> SessionEnd {
        SessionEnd::Closed(self.machine.closed(cleanly))
    }

    /// Takes apart what is there, until so many pieces of payload are found that they are worth a
    /// write.
    fn find_payload(&mut self) {
        while self.payload.places.len() < PIECES && self.next.is_none() && self.machine.can_receive() {
            match self.tls.find() {
                Ok(Found::Plain) => {
                    let mut rest = self.tls.plain();
                    let (mut piece, mut next) = (0, None);
                    match self.machine.receive(&mut rest) {
                        Ok(Some(Event::Payload(bytes))) => piece = bytes.len(),
                        Ok(Some(Event::End)) => next = Some(Ok(())),
                        Ok(Some(Event::Reset(reason))) => next = Some(Err(SessionEnd::Reset(reason))),
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

impl<W: ByteStream + fmt::Debug> DiallerSession for V2<W> {
    fn version(&self) -> Version {
        VERSION
    }

    fn is_reusable(&self) -> bool {
        true
    }

    fn is_idle(&self) -> bool {
        self.rests()
    }

    fn is_quiet(&mut self) -> bool {
        let received = self.poll_event(&mut Context::from_waker(Waker::noop()), |_| ());
        self.rests() && received.is_pending()
    }

    fn ask<'a>(&'a mut self, kind: Kind, early: &'a [u8]) -> BoxFuture<'a, Result<usize, SessionEnd>> {
        Box::pin(self.ask_behind(&[], kind, early))
    }

    fn answered(&mut self) -> BoxFuture<'_, Result<(), NoTunnel>> {
        Box::pin(self.hear_answer())
    }

    fn cut(&mut self) {
        let _ = self.machine.reset(ResetReason::APPLICATION);
        self.tls.wire().reset_on_close(ResetReason::APPLICATION);
    }

    fn abandon(&mut self) {
        self.reset_on_close(ResetReason::APPLICATION);
    }
}

impl<W: ByteStream + fmt::Debug> ListenerSession for V2<W> {
    fn asks_at_once(&self) -> bool {
        false
    }

    fn poll_next_tunnel(&mut self, cx: &mut Context<'_>) -> Poll<Result<Open, SessionEnd>> {
        // A listener's idle session knows no other event.
        self.poll_event(cx, |event| if let Event::Open(open) = event { open } else { Open::default() })
    }

    fn grant(&mut self, kind: Kind) -> BoxFuture<'_, Result<(), PreambleFailure>> {
        Box::pin(async move { Ok(self.answer(&Answer::Opened(kind)).await?) })
    }

    fn refuse(&mut self, refusal: Refusal) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async {
            self.answer(&Answer::Refused(refusal)).await?;
            self.discard().await
        })
    }

    fn is_idle(&self) -> bool {
        self.rests()
    }

    fn close(mut self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            if self.machine.close() {
                // Who is gone needs no goodbye.
                let _ = self.tls.shutdown().await;
            }
        })
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

impl<W: ByteStream> Carrier for V2<W> {
    fn local_ip(&self) -> Option<IpAddr> {
        self.tls.local_ip()
    }

    fn path_state(&self) -> Option<PathState> {
        self.tls.path_state()
    }

    fn ask_peer(&self, asking: Asking) {
        self.tls.ask_peer(asking);
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

impl<W: ByteStream> Reset for V2<W> {
    fn reset_on_close(&mut self, reason: ResetReason) {
        if self.machine.phase() == Phase::Closed {
            return; // told already, or nobody is there to be told
        }
        let is_told = self.machine.reset(reason).is_some_and(|frame| self.send_now(&frame));
        if !is_told {
            self.tls.wire().reset_on_close(reason);
        }
    }
}
