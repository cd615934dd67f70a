//! Sessions over QUIC: version 2 with a stream for each tunnel, and so many tunnels at once.
//!
//! The same words as over TCP, and no frames: a stream knows its own ends.
//!
//! - Each side says its preamble in a stream of one direction, once for the connection.
//! - The dialler opens a stream for each tunnel. It begins with the open line, and the other
//!   direction with the answer; what follows is payload as it is.
//! - The end of a direction is the end of the stream; a tunnel that is broken off is a stream that
//!   is reset, with the reason's number as its code.
//! - A refused stream ends behind the refusal; others are not touched.
//! - A tunnel of datagrams has those that fit into a packet beside its stream.

mod datagrams; // a tunnel's datagrams, in its stream and beside it

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::ops::Range;
use std::task::{Context, Poll, Waker, ready};

use hardline_proto::KeyHash;
use hardline_proto::liveness::PathState;
use hardline_proto::preamble::{Preamble, PreambleError};
use hardline_proto::tunnel::frame::ResetReason;
use hardline_proto::tunnel::{Answer, Closed, Kind, Open, Refusal, SessionError};
use tokio::io::BufReader;

use self::datagrams::Apart;
use super::carrier::{Carrier, PIECES, Payload, Room};
use super::preamble::{PreambleFailure, read_preamble};
use super::{
    Begun, BoxFuture, Connection, DiallerSession, ListenerSession, NoSession, NoTunnel, Purpose, SessionEnd, Version,
    v2,
};
use crate::transport::buffers::Buffer;
use crate::transport::quic::{Accepting, QuicConnection, QuicEnd, QuicStream, StreamEnd};
use crate::transport::{Asking, Reset};

/// Longest open line and longest answer, in bytes. Many may be on their way at once.
const MAX_LINE: usize = 2048;

/// Bytes read at once while a line is expected.
const CHUNK: usize = 512;

/// Payload that goes with the open line, in bytes.
const EARLY: usize = 16 * 1024;

/// Bytes of a piece of room. When a read fills the first, all of them are offered to the next.
const PIECE: usize = 16 * 1024;

/// A session over QUIC, of either side: a share in the connection, and at most one of its tunnels.
#[derive(Debug)]
pub(crate) struct QuicSession {
    connection: QuicConnection,
    tunnel: Option<Tunnel>,
    /// Where tunnels are asked for.
    asked: Option<Asked>,
}

/// The listener's wait for tunnels.
#[derive(Debug)]
struct Asked {
    accepting: Accepting,
    /// Streams whose open line has not come as a whole. The transport limits their number.
    beginning: Vec<Beginning>,
}

#[derive(Debug)]
struct Beginning {
    stream: QuicStream,
    line: Line,
}

/// A tunnel, and what of it is under way.
struct Tunnel {
    stream: QuicStream,
    /// Payload that came with the line in front of it, and datagrams.
    first: Vec<u8>,
    /// Of a tunnel of datagrams.
    apart: Option<Box<Apart>>,
    inbox: Option<Buffer>,
    come: Range<usize>,
    outbox: Option<Buffer>,
    going: Range<usize>,
}

impl fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tunnel").field(&self.stream).finish()
    }
}

/// A line that is on its way, with what came behind it.
#[derive(Debug, Default)]
struct Line(Vec<u8>);

/// Why a line does not come.
#[derive(Debug)]
enum NoLine {
    End(StreamEnd),
    /// The stream ended within it.
    Closed,
    TooLong,
}

impl Line {
    /// Waits for the line; what came behind it stays.
    fn poll(&mut self, cx: &mut Context<'_>, stream: &mut QuicStream) -> Poll<Result<Vec<u8>, NoLine>> {
        loop {
            if let Some(end) = self.0.iter().position(|byte| *byte == b'\n') {
                let rest = self.0.split_off(end + 1);
                return Poll::Ready(Ok(std::mem::replace(&mut self.0, rest)));
            }
            if self.0.len() > MAX_LINE {
                return Poll::Ready(Err(NoLine::TooLong));
            }
            let mut chunk = [0; CHUNK];
            match ready!(stream.poll_read(cx, &mut chunk)) {
                Ok(0) => return Poll::Ready(Err(NoLine::Closed)),
                Ok(read) => self.0.extend_from_slice(&chunk[..read]),
                Err(end) => return Poll::Ready(Err(NoLine::End(end))),
            }
        }
    }
}

impl From<NoLine> for SessionEnd {
    /// What it means for who waits for an answer.
    fn from(error: NoLine) -> Self {
        match error {
            NoLine::End(StreamEnd::Lost(QuicEnd::Unused)) => Self::Closed(Closed::NotOpened),
            NoLine::End(StreamEnd::Lost(QuicEnd::Other)) | NoLine::Closed => Self::Closed(Closed::Unanswered),
            NoLine::End(StreamEnd::Reset(reason)) => Self::Reset(reason),
            NoLine::TooLong => Self::Protocol(SessionError::Line(PreambleError::TooLong)),
        }
    }
}

impl Connection for QuicConnection {
    fn proven_peer(&self) -> Option<KeyHash> {
        self.proven_key()
    }

    async fn dial(
        self,
        ours: &Preamble,
        purpose: Purpose,
        early: &[u8],
    ) -> Result<Begun<dyn DiallerSession>, NoSession> {
        self.say(&ours.encode()).await.map_err(PreambleFailure::from)?;
        let mut session = Box::new(QuicSession { connection: self, tunnel: None, asked: None });
        let sent = match purpose {
            Purpose::Tunnel(kind) => session.ask_in_stream(kind, early).await.map_err(NoTunnel::from)?,
            Purpose::Prewarm => 0,
        };
        let preamble = hear(&session.connection).await?;
        if matches!(purpose, Purpose::Tunnel(_)) {
            session.hear_answer().await?;
        }
        Ok(Begun { session, preamble, sent })
    }

    async fn listen(
        self,
        ours: Preamble,
        _wants_password: bool,
    ) -> Result<Begun<dyn ListenerSession>, PreambleFailure> {
        self.say(&ours.encode()).await?;
        let asked = Asked { accepting: self.accept(), beginning: Vec::new() };
        let preamble = hear(&self).await?;
        let session = Box::new(QuicSession { connection: self, tunnel: None, asked: Some(asked) });
        Ok(Begun { session, preamble, sent: 0 })
    }
}

/// The peer's preamble.
async fn hear(connection: &QuicConnection) -> Result<Preamble, PreambleFailure> {
    read_preamble(&mut BufReader::with_capacity(CHUNK, connection.hear().await?)).await
}

impl QuicSession {
    /// Asks for a tunnel with as much of `early` as goes at once, and returns how much that was.
    async fn ask_in_stream(&mut self, kind: Kind, early: &[u8]) -> Result<usize, SessionEnd> {
        let gone = || match self.connection.end() {
            Some(QuicEnd::Other) => SessionEnd::Closed(Closed::Unused),
            // Also if it carries as many as the peer lets it: nothing was sent.
            Some(QuicEnd::Unused) | None => SessionEnd::Closed(Closed::NotOpened),
        };
        let mut stream = self.connection.open().ok_or_else(gone)?;
        stream.write_all(Open::line(kind)).await.map_err(|end| SessionEnd::from(NoLine::End(end)))?;
        let early = &early[..early.len().min(EARLY)];
        let sent = match stream.poll_write(&mut Context::from_waker(Waker::noop()), early) {
            Poll::Ready(Ok(sent)) if !early.is_empty() => sent,
            _ => 0,
        };
        let tunnel = self.tunnel.insert(Tunnel::new(stream, Vec::new()));
        if kind == Kind::Datagrams {
            // Before the answer: what comes beside the stream may overtake it.
            tunnel.take_datagrams().map_err(|end| SessionEnd::from(NoLine::End(end)))?;
        }
        if let Some(apart) = &mut tunnel.apart {
            apart.wrote(&early[..sent]);
        }
        Ok(sent)
    }

    /// Waits for the answer to [`ask`](Self::ask).
    async fn hear_answer(&mut self) -> Result<(), NoTunnel> {
        let mut line = Line::default();
        let Some(tunnel) = &mut self.tunnel else { return Err(SessionEnd::Closed(Closed::Unused).into()) };
        let answer = poll_fn(|cx| line.poll(cx, &mut tunnel.stream)).await;
        let answer = answer.map_err(SessionEnd::from).and_then(|line| {
            let answer = Answer::parse(&line);
            answer.map_err(|error| SessionEnd::Protocol(SessionError::Line(error)))
        });
        match answer {
            Ok(Answer::Opened(kind)) if kind == tunnel.kind() => {
                let heard = tunnel.hear_first(line.0);
                heard.map_err(|end| SessionEnd::from(NoLine::End(end)).into())
            }
            Ok(Answer::Opened(_)) => {
                let asked = tunnel.kind();
                self.tunnel = None; // which breaks the stream off
                Err(NoTunnel::of_another_kind(asked))
            }
            Ok(Answer::Refused(refusal)) => {
                tunnel.stream.finish();
                tunnel.stream.stop();
                self.tunnel = None;
                Err(NoTunnel::Refused(refusal))
            }
            Err(end) => {
                self.tunnel = None;
                Err(end.into())
            }
        }
    }

    /// Whether it carries nothing.
    fn rests(&self) -> bool {
        self.tunnel.as_ref().is_none_or(|tunnel| tunnel.is_sent() && tunnel.stream.is_done())
    }

    fn apart(&self) -> Option<&Apart> {
        self.tunnel.as_ref()?.apart.as_deref()
    }

    fn tunnel(&mut self) -> io::Result<&mut Tunnel> {
        self.tunnel.as_mut().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl Asked {
    /// Waits until an open line has come. The others wait beside it.
    fn poll(&mut self, cx: &mut Context<'_>, connection: &QuicConnection) -> Poll<Result<(Open, Tunnel), SessionEnd>> {
        while let Poll::Ready(accepted) = self.accepting.poll(cx) {
            let stream = accepted.map_err(|_| SessionEnd::Closed(Closed::Unused))?;
            self.accepting = connection.accept();
            self.beginning.push(Beginning { stream, line: Line::default() });
        }
        let mut at = 0;
        while let Some(Beginning { stream, line }) = self.beginning.get_mut(at) {
            match line.poll(cx, stream) {
                Poll::Pending => at += 1,
                Poll::Ready(Ok(text)) => {
                    let Beginning { stream, line } = self.beginning.swap_remove(at);
                    let open = Open::parse(&text).map_err(|error| SessionEnd::Protocol(error.into()))?;
                    return Poll::Ready(Ok((open, Tunnel::new(stream, line.0))));
                }
                // Broken off before anything was asked for.
                Poll::Ready(Err(NoLine::End(_) | NoLine::Closed)) => drop(self.beginning.swap_remove(at)),
                Poll::Ready(Err(error @ NoLine::TooLong)) => return Poll::Ready(Err(error.into())),
            }
        }
        Poll::Pending
    }
}

impl DiallerSession for QuicSession {
    fn version(&self) -> Version {
        v2::VERSION
    }

    fn is_reusable(&self) -> bool {
        true
    }

    fn is_idle(&self) -> bool {
        self.rests() && self.connection.is_alive()
    }

    /// A stream that is held counts as open, and has its connection kept alive.
    fn rest(&mut self) {
        if self.rests() {
            self.tunnel = None;
        }
    }

    fn is_quiet(&mut self) -> bool {
        DiallerSession::is_idle(self)
    }

    fn ask<'a>(&'a mut self, kind: Kind, early: &'a [u8]) -> BoxFuture<'a, Result<usize, SessionEnd>> {
        Box::pin(self.ask_in_stream(kind, early))
    }

    fn answered(&mut self) -> BoxFuture<'_, Result<(), NoTunnel>> {
        Box::pin(self.hear_answer())
    }

    fn abandon(&mut self) {
        self.reset_on_close(ResetReason::APPLICATION);
    }

    fn another(&self) -> Option<Box<dyn DiallerSession>> {
        Some(Box::new(Self { connection: self.connection.clone(), tunnel: None, asked: None }))
    }

    fn connection(&self) -> Option<usize> {
        Some(self.connection.id())
    }

    fn is_in_use(&self) -> bool {
        self.connection.is_in_use()
    }
}

impl ListenerSession for QuicSession {
    fn asks_at_once(&self) -> bool {
        false
    }

    fn poll_next_tunnel(&mut self, cx: &mut Context<'_>) -> Poll<Result<Open, SessionEnd>> {
        let Some(asked) = &mut self.asked else { return Poll::Ready(Err(SessionEnd::Closed(Closed::Unused))) };
        let (open, tunnel) = ready!(asked.poll(cx, &self.connection))?;
        self.tunnel = Some(tunnel);
        Poll::Ready(Ok(open))
    }

    fn detach(&mut self) -> Option<Box<dyn ListenerSession>> {
        let tunnel = Some(self.tunnel.take()?);
        Some(Box::new(Self { connection: self.connection.clone(), tunnel, asked: None }))
    }

    fn grant(&mut self, kind: Kind) -> BoxFuture<'_, Result<(), PreambleFailure>> {
        Box::pin(async move {
            let tunnel = self.tunnel()?;
            if kind == Kind::Datagrams {
                tunnel.take_datagrams().map_err(io::Error::from)?;
            }
            tunnel.stream.write_all(&Answer::Opened(kind).encode()).await.map_err(io::Error::from)?;
            Ok(())
        })
    }

    fn refuse(&mut self, refusal: Refusal) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async {
            let Some(Tunnel { mut stream, .. }) = self.tunnel.take() else { return Ok(()) };
            stream.write_all(&Answer::Refused(refusal).encode()).await?;
            stream.finish();
            stream.stop();
            Ok(())
        })
    }

    fn is_idle(&self) -> bool {
        self.rests() && self.connection.is_alive()
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
        if self.rests() {
            self.connection.close();
        }
        Box::pin(std::future::ready(()))
    }
}

impl Tunnel {
    fn new(stream: QuicStream, first: Vec<u8>) -> Self {
        Self { stream, first, apart: None, inbox: None, come: 0..0, outbox: None, going: 0..0 }
    }

    fn kind(&self) -> Kind {
        if self.apart.is_some() { Kind::Datagrams } else { Kind::Stream }
    }

    /// Has datagrams beside its stream from now on.
    fn take_datagrams(&mut self) -> Result<(), StreamEnd> {
        let flow = self.stream.datagrams().ok_or(StreamEnd::Lost(QuicEnd::Other))?;
        self.apart = Some(Box::new(Apart::new(flow)));
        let first = std::mem::take(&mut self.first);
        self.hear_first(first)
    }

    /// Takes the payload that came with a line.
    fn hear_first(&mut self, bytes: Vec<u8>) -> Result<(), StreamEnd> {
        match &mut self.apart {
            Some(apart) => apart.hear(&bytes, &mut self.first).map_err(|_| StreamEnd::Reset(ResetReason::UNSPECIFIED)),
            None => {
                self.first = bytes;
                Ok(())
            }
        }
    }

    fn is_sent(&self) -> bool {
        self.going.is_empty()
    }

    fn poll_payload(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, StreamEnd>> {
        if !self.first.is_empty() || !self.come.is_empty() {
            return Poll::Ready(Ok(true));
        }
        if let Some(apart) = &mut self.apart {
            return apart.poll_come(cx, &mut self.stream, &mut self.first);
        }
        // Lent only if something is there.
        let mut buffer = Buffer::take();
        let read = ready!(self.stream.poll_read(cx, &mut buffer))?;
        if read > 0 {
            self.come = 0..read;
            self.inbox = Some(buffer);
        }
        Poll::Ready(Ok(read > 0))
    }

    fn consume(&mut self, amount: usize) {
        if self.first.is_empty() {
            self.come.start += amount;
        } else {
            self.first.drain(..amount);
        }
        if self.come.is_empty() {
            self.inbox = None;
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamEnd>> {
        while let Some(buffer) = self.outbox.as_ref().filter(|_| !self.going.is_empty()) {
            let written = ready!(self.stream.poll_write(cx, &buffer[self.going.clone()]))?;
            self.going.start += written;
        }
        self.outbox = None;
        Poll::Ready(Ok(()))
    }
}

impl Carrier for QuicSession {
    /// None that matters: the connection survives the loss of an address.
    fn local_ip(&self) -> Option<IpAddr> {
        None
    }

    fn path_state(&self) -> Option<PathState> {
        Some(self.connection.path_state())
    }

    fn has_datagrams_apart(&self) -> bool {
        self.apart().is_some_and(Apart::is_apart)
    }

    fn datagrams_dropped(&self) -> u64 {
        self.apart().map_or(0, Apart::dropped)
    }

    fn ask_peer(&self, asking: Asking) {
        self.connection.ask_after(asking != Asking::Rarely);
    }

    fn poll_payload(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        Poll::Ready(Ok(ready!(self.tunnel()?.poll_payload(cx))?))
    }

    fn payload(&self) -> Payload<'_> {
        match &self.tunnel {
            Some(Tunnel { first, .. }) if !first.is_empty() => Payload::new([&first[..]]),
            Some(Tunnel { inbox: Some(buffer), come, .. }) => Payload::new([&buffer[come.clone()]]),
            _ => Payload::new([]),
        }
    }

    fn consume(&mut self, amount: usize) {
        if let Some(tunnel) = &mut self.tunnel {
            tunnel.consume(amount);
        }
    }

    fn room(&mut self) -> io::Result<Room<'_>> {
        let tunnel = self.tunnel()?;
        if tunnel.stream.is_finished() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let buffer = tunnel.outbox.get_or_insert_with(Buffer::take);
        Ok(Room::new(buffer.chunks_exact_mut(PIECE).take(PIECES)))
    }

    fn forget_room(&mut self) {
        if let Some(tunnel) = self.tunnel.as_mut().filter(|tunnel| tunnel.is_sent()) {
            tunnel.outbox = None;
        }
    }

    fn commit(&mut self, length: usize) -> io::Result<()> {
        let tunnel = self.tunnel()?;
        let left = match (&mut tunnel.apart, &mut tunnel.outbox) {
            (Some(apart), Some(buffer)) => apart.send(&mut buffer[..length]),
            _ => length,
        };
        tunnel.going = 0..left;
        Ok(())
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(ready!(self.tunnel()?.poll_send(cx))?))
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let tunnel = self.tunnel()?;
        ready!(tunnel.poll_send(cx))?;
        tunnel.stream.finish();
        Poll::Ready(Ok(()))
    }
}

impl Reset for QuicSession {
    fn reset_on_close(&mut self, reason: ResetReason) {
        if let Some(tunnel) = self.tunnel.as_mut().filter(|tunnel| !tunnel.stream.is_done()) {
            tunnel.stream.reset(reason);
        }
    }
}
