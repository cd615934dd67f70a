//! A verified QUIC connection and its streams.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use hardline_proto::KeyHash;
use hardline_proto::liveness::PathState;
use hardline_proto::tunnel::frame::ResetReason;
use quinn::{Connection, ConnectionError, FrameStats, ReadError, RecvStream, SendStream, VarInt, WriteError};
use tokio::io::AsyncRead;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::TaskTracker;

use super::datagrams::{DatagramFlow, Flows};
use crate::limits::BRISK_IDLE;

/// The code that closes a connection on which no stream waits for an answer: whatever the other
/// side has asked meanwhile was not looked at (RFC 9000, section 20.2).
const UNUSED: VarInt = VarInt::from_u32(1);

/// Time between two packets while tunnels are open: routers forget UDP mappings after half a minute
/// (RFC 4787, section 4.3, wants two; most keep 30 s).
const KEEPALIVE: Duration = Duration::from_secs(20);

/// Bytes that are kept of what was sent and not acknowledged, for each microsecond of the round
/// trip: what a gigabit line has under way. More waits in the buffers of sockets and routers, and
/// is lost where they are full.
const SENT_PER_MICROSECOND: u64 = 125;

/// The least of that, in bytes: over a short way a pause of the other computer counts for more than
/// the way.
const LEAST_SENT: u64 = 1024 * 1024;

/// The most of that, in bytes, and what a connection begins with: a gigabit line at 60 ms.
pub(super) const MOST_SENT: u64 = 8 * 1024 * 1024;

/// Time for the peer to acknowledge the end of a stream that nobody holds any more.
const LINGER: Duration = Duration::from_secs(30);

/// A connection whose peer has proven its key, or to whom ours was proven. Clones share it; it is
/// closed when the last one and all of its streams are gone.
#[derive(Debug, Clone)]
pub(crate) struct QuicConnection {
    connection: Connection,
    tasks: TaskTracker,
    usage: Arc<Usage>,
    flows: Arc<Flows>,
}

/// What all streams of a connection share.
#[derive(Debug)]
struct Usage {
    now: Mutex<Counts>,
    /// Nothing is open any more.
    ended: Notify,
}

#[derive(Debug)]
struct Counts {
    /// Streams that were opened here.
    open: usize,
    is_kept_alive: bool,
    /// Credit of the connection, in bytes.
    window: u32,
    /// Bytes that may be sent before any of them is acknowledged.
    sent: u64,
    /// Whether a short silence is enough to ask the peer whether it is there.
    is_brisk: bool,
    heard: Heard,
}

/// What had come when something came last, as far as was seen.
#[derive(Debug)]
struct Heard {
    at: Instant,
    datagrams: u64,
    /// Frames sent until then that the peer acknowledges.
    asked: u64,
}

impl Usage {
    fn new(window: u32) -> Self {
        let heard = Heard { at: Instant::now(), datagrams: 0, asked: 0 };
        let counts = Counts { open: 0, is_kept_alive: false, window, sent: MOST_SENT, is_brisk: false, heard };
        Self { now: Mutex::new(counts), ended: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum QuicEnd {
    /// The peer closed it, and has not looked at what was not answered.
    Unused,
    /// In any other way.
    Other,
}

impl From<ConnectionError> for QuicEnd {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::ApplicationClosed(close) if close.error_code == UNUSED => Self::Unused,
            _ => Self::Other,
        }
    }
}

/// What became of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StreamEnd {
    /// The peer broke it off.
    #[error("broken off: {0}")]
    Reset(ResetReason),
    /// Its connection ended.
    #[error("the connection ended")]
    Lost(QuicEnd),
}

impl From<StreamEnd> for io::Error {
    fn from(end: StreamEnd) -> Self {
        Self::new(io::ErrorKind::ConnectionReset, end)
    }
}

/// A wait for the next stream of a connection.
pub(crate) struct Accepting(Pin<Box<dyn Future<Output = Result<QuicStream, QuicEnd>> + Send + Sync>>);

impl fmt::Debug for Accepting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Accepting")
    }
}

impl Accepting {
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<QuicStream, QuicEnd>> {
        self.0.as_mut().poll(cx)
    }
}

impl QuicConnection {
    /// `window` is the credit that it has by its settings.
    pub(super) fn new(connection: Connection, window: u32, tasks: TaskTracker) -> Self {
        let usage = Usage::new(window);
        usage.lock().follow(connection.rtt(), &connection);
        Self { connection, tasks, usage: Arc::new(usage), flows: Arc::default() }
    }

    /// The hash of the certificate that the peer has proven.
    pub(crate) fn proven_key(&self) -> Option<KeyHash> {
        super::tls::proven_key(&self.connection)
    }

    /// What tells it from every other one of this process.
    pub(crate) fn id(&self) -> usize {
        self.connection.stable_id()
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.connection.close_reason().is_none()
    }

    /// Whether streams are open that were opened here.
    pub(crate) fn is_in_use(&self) -> bool {
        self.usage.lock().open > 0
    }

    #[cfg(test)]
    pub(super) fn remote_address(&self) -> std::net::SocketAddr {
        self.connection.remote_address()
    }

    /// Datagrams sent so far.
    #[cfg(test)]
    pub(super) fn datagrams_sent(&self) -> u64 {
        self.connection.stats().udp_tx.datagrams
    }

    /// Bytes that may be sent now before any of them is acknowledged.
    #[cfg(test)]
    pub(super) fn most_sent(&self) -> u64 {
        self.usage.lock().sent
    }

    /// How it ended, if it has.
    pub(crate) fn end(&self) -> Option<QuicEnd> {
        self.connection.close_reason().map(QuicEnd::from)
    }

    /// Closes it in a way that says that what was not answered was not looked at.
    pub(crate) fn close(&self) {
        self.connection.close(UNUSED, b"");
    }

    /// Opens a stream, without a round trip; `None` if the connection has ended, or carries as many
    /// as the peer lets it.
    pub(crate) fn open(&self) -> Option<QuicStream> {
        let opened = pin!(self.connection.open_bi()).poll(&mut Context::from_waker(Waker::noop()));
        let Poll::Ready(Ok((send, recv))) = opened else { return None };
        Some(QuicStream::new(send, recv, self, Some(self.note_open())))
    }

    /// Waits for streams that the peer opens.
    pub(crate) fn accept(&self) -> Accepting {
        let this = self.clone();
        Accepting(Box::pin(async move {
            let (send, recv) = this.connection.accept_bi().await?;
            Ok(QuicStream::new(send, recv, &this, None))
        }))
    }

    /// Says `words` in a stream of one direction.
    ///
    /// # Errors
    /// That of the connection.
    pub(crate) async fn say(&self, words: &[u8]) -> io::Result<()> {
        let mut stream = self.connection.open_uni().await?;
        stream.write_all(words).await?;
        let _ = stream.finish(); // fails on a stream that the peer does not want
        Ok(())
    }

    /// Where the peer says its words.
    ///
    /// # Errors
    /// That of the connection.
    pub(crate) async fn hear(&self) -> io::Result<impl AsyncRead + Unpin + use<>> {
        Ok(self.connection.accept_uni().await?)
    }

    /// What is known of the peer's computer.
    pub(crate) fn path_state(&self) -> PathState {
        let stats = self.connection.stats();
        let (now, datagrams, asked) = (Instant::now(), stats.udp_rx.datagrams, acknowledged(&stats.frame_tx));
        let mut counts = self.usage.lock();
        if counts.heard.datagrams != datagrams {
            counts.heard = Heard { at: now, datagrams, asked };
        }
        let silence = now.saturating_duration_since(counts.heard.at);
        let unanswered = asked - counts.heard.asked;
        if counts.is_brisk && unanswered == 0 && silence >= BRISK_IDLE {
            counts.ask(&self.connection);
        }
        counts.follow(stats.path.rtt, &self.connection);
        PathState {
            is_owed: unanswered > 0,
            repeats: u32::try_from(unanswered).unwrap_or(u32::MAX),
            has_unsent: false,
            silence,
            round_trip: stats.path.rtt,
        }
    }

    /// Says whether a short silence is enough to ask the peer whether it is there.
    pub(crate) fn ask_after(&self, is_brisk: bool) {
        self.usage.lock().is_brisk = is_brisk;
    }

    /// Counts a stream, and has a packet sent now and then while there are some, so that routers
    /// keep the way open.
    fn note_open(&self) -> Opened {
        let mut counts = self.usage.lock();
        counts.open += 1;
        if !std::mem::replace(&mut counts.is_kept_alive, true) {
            self.tasks.spawn(keep_alive(self.connection.clone(), Arc::clone(&self.usage)));
        }
        Opened(Arc::clone(&self.usage))
    }
}

async fn keep_alive(connection: Connection, usage: Arc<Usage>) {
    loop {
        tokio::select! {
            () = sleep(KEEPALIVE) => {}
            () = usage.ended.notified() => {}
            _ = connection.closed() => return,
        }
        let mut counts = usage.lock();
        if counts.open == 0 {
            counts.is_kept_alive = false;
            return;
        }
        counts.ask(&connection);
    }
}

impl Counts {
    /// Keeps as much of what was sent as goes at this round trip, if that has changed.
    fn follow(&mut self, round_trip: Duration, connection: &Connection) {
        let sent = sent_at_once(round_trip);
        if sent.abs_diff(self.sent) > self.sent / 4 {
            self.sent = sent;
            connection.set_send_window(sent);
        }
    }

    /// Sends something that the peer acknowledges: one more byte of credit, since a connection has
    /// no question for its user to ask.
    fn ask(&mut self, connection: &Connection) {
        self.window += 1;
        connection.set_receive_window(VarInt::from_u32(self.window));
    }
}

/// A stream that was opened here; closed when dropped.
#[derive(Debug)]
struct Opened(Arc<Usage>);

impl Drop for Opened {
    fn drop(&mut self) {
        let mut counts = self.0.lock();
        counts.open -= 1;
        if counts.open == 0 {
            self.0.ended.notify_one();
        }
    }
}

/// A stream of bytes both ways.
///
/// Each direction ends by itself. One whose end was not [said](Self::finish) when the stream is
/// dropped is broken off; one whose end was said is brought to it.
#[derive(Debug)]
pub(crate) struct QuicStream {
    send: SendStream,
    recv: RecvStream,
    /// Whether our end was said, or needs not be.
    is_finished: bool,
    has_ended: bool,
    is_reset: bool,
    connection: QuicConnection,
    _opened: Option<Opened>,
}

impl QuicStream {
    fn new(send: SendStream, recv: RecvStream, connection: &QuicConnection, opened: Option<Opened>) -> Self {
        let connection = connection.clone();
        Self { send, recv, is_finished: false, has_ended: false, is_reset: false, connection, _opened: opened }
    }

    /// Reads what has come; 0 bytes at the end of the peer's direction.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<Result<usize, StreamEnd>> {
        if self.has_ended {
            return Poll::Ready(Ok(0));
        }
        let read = ready!(self.recv.poll_read(cx, room));
        self.has_ended = matches!(read, Ok(0) | Err(_));
        Poll::Ready(read.map_err(|error| match error {
            ReadError::Reset(code) => StreamEnd::Reset(reason_of(code)),
            ReadError::ConnectionLost(error) => StreamEnd::Lost(error.into()),
            _ => StreamEnd::Lost(QuicEnd::Other),
        }))
    }

    /// Takes as much of `bytes` as there is room for.
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize, StreamEnd>> {
        Pin::new(&mut self.send).poll_write(cx, bytes).map_err(|error| match error {
            WriteError::Stopped(code) => StreamEnd::Reset(reason_of(code)),
            WriteError::ConnectionLost(error) => StreamEnd::Lost(error.into()),
            _ => StreamEnd::Lost(QuicEnd::Other),
        })
    }

    /// Takes all of `bytes`.
    pub(crate) async fn write_all(&mut self, mut bytes: &[u8]) -> Result<(), StreamEnd> {
        while !bytes.is_empty() {
            let written = poll_fn(|cx| self.poll_write(cx, bytes)).await?;
            bytes = &bytes[written..];
        }
        Ok(())
    }

    /// Says that nothing more comes from here.
    pub(crate) fn finish(&mut self) {
        if !std::mem::replace(&mut self.is_finished, true) {
            let _ = self.send.finish(); // fails where the peer wants nothing more
        }
    }

    /// Says that nothing more is wanted from the peer. Not an error: it was not needed.
    pub(crate) fn stop(&mut self) {
        self.has_ended = true;
        let _ = self.recv.stop(code_of(ResetReason::UNSPECIFIED)); // fails where it has ended
    }

    /// Lets it have datagrams beside it, from now on. `None` for a stream that cannot.
    pub(crate) fn datagrams(&self) -> Option<DatagramFlow> {
        let QuicConnection { connection, flows, tasks, .. } = &self.connection;
        DatagramFlow::new(connection.clone(), flows, self.send.id().index(), tasks)
    }

    /// Whether our direction has ended.
    pub(crate) fn is_finished(&self) -> bool {
        self.is_finished
    }

    /// Whether both directions have ended, and none was broken off.
    pub(crate) fn is_done(&self) -> bool {
        self.is_finished && self.has_ended && !self.is_reset
    }

    /// Breaks both directions off.
    pub(crate) fn reset(&mut self, reason: ResetReason) {
        self.is_reset = true;
        self.is_finished = true;
        let _ = self.send.reset(code_of(reason)); // fails where all has arrived
        if !std::mem::replace(&mut self.has_ended, true) {
            let _ = self.recv.stop(code_of(reason));
        }
    }
}

impl Drop for QuicStream {
    fn drop(&mut self) {
        if !self.is_finished {
            self.reset(ResetReason::UNSPECIFIED);
        }
        if self.is_reset {
            return;
        }
        // The connection's user may be gone with the stream, and what has not arrived is lost when
        // nobody holds the connection.
        let mut arrival = Box::pin(self.send.stopped());
        if arrival.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            self.connection.tasks.spawn(timeout(LINGER, arrival));
        }
    }
}

/// Bytes that may be sent before any of them is acknowledged, at this round trip.
fn sent_at_once(round_trip: Duration) -> u64 {
    let carried = u64::try_from(round_trip.as_micros()).unwrap_or(u64::MAX).saturating_mul(SENT_PER_MICROSECOND);
    carried.clamp(LEAST_SENT, MOST_SENT)
}

/// How many of these frames a peer acknowledges, of those that are sent while streams are open.
fn acknowledged(sent: &FrameStats) -> u64 {
    sent.stream
        + sent.ping
        + sent.max_data
        + sent.max_stream_data
        + sent.max_streams_bidi
        + sent.reset_stream
        + sent.stop_sending
        + sent.data_blocked
        + sent.stream_data_blocked
}

/// The code of a stream that is broken off is the number of its reason.
fn code_of(reason: ResetReason) -> VarInt {
    VarInt::from_u32(reason.0.into())
}

fn reason_of(code: VarInt) -> ResetReason {
    u16::try_from(code.into_inner()).map_or(ResetReason::UNSPECIFIED, ResetReason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_as_much_under_way_as_a_gigabit_line_of_its_length() {
        let at = |milliseconds| sent_at_once(Duration::from_millis(milliseconds));
        assert_eq!((at(0), at(8), at(40), at(1000)), (LEAST_SENT, LEAST_SENT, 5_000_000, MOST_SENT));
    }
}
