//! Bytes both ways until both directions have ended.

use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hardline_proto::tunnel::frame::ResetReason;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::Stream;
use super::buffers::Buffer;

/// While the node stops, a tunnel that owes no answer ends after this silence: a browser's idle connection must not hold
/// the stop for the whole grace.
const DRAIN_SILENCE: Duration = Duration::from_secs(1);

/// What ends a tunnel beside its own two ends.
#[derive(Debug, Clone)]
pub(crate) struct Drain {
    /// No new tunnels; running ones end when they are done.
    pub(crate) stop: CancellationToken,
    /// The grace is over.
    pub(crate) kill: CancellationToken,
    /// Silence in both directions that is too long.
    pub(crate) idle: Duration,
}

impl Drain {
    pub(crate) fn new(idle: Duration) -> Self {
        Self { stop: CancellationToken::new(), kill: CancellationToken::new(), idle }
    }
}

/// How a tunnel went.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Relayed {
    /// Bytes from the dialling computer to the service.
    pub(crate) to_service: u64,
    /// Bytes from the service to the dialling computer.
    pub(crate) to_dialler: u64,
    /// Why it ended.
    pub(crate) end: End,
}

/// Why a tunnel ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Both directions were closed by their senders.
    Clean,
    /// Nothing moved for [`Drain::idle`].
    Idle,
    /// The node stops.
    Stopped,
    /// One of the two connections broke; both were reset.
    Broken(io::ErrorKind),
}

/// Carries bytes between the side that dialled and the side that serves, each direction until its sender ends it.
///
/// - The end of one direction is passed on as a half-close; the other goes on.
/// - When a receiver is gone, the opposite direction still delivers what is on its way, then the tunnel counts as broken.
/// - A broken tunnel is passed on as a reset to both sides.
pub(crate) async fn relay<D: Stream, S: Stream>(dialler: &mut D, service: &mut S, drain: &Drain) -> Relayed {
    let activity = Activity::new();
    let end = {
        let (mut up, mut down) = (Direction::new(Toward::Service), Direction::new(Toward::Dialler));
        let both = std::future::poll_fn(|cx| {
            let up = up.poll(cx, dialler, service, &activity);
            let down = down.poll(cx, service, dialler, &activity);
            both(up, down)
        });
        tokio::select! {
            end = both => end,
            () = activity.silent_for(drain.idle) => End::Idle,
            () = activity.drained(&drain.stop) => End::Stopped,
            () = drain.kill.cancelled() => End::Stopped,
        }
    };
    if let Some(reason) = end.reset_reason() {
        dialler.reset_on_close(reason);
        service.reset_on_close(reason);
    }
    Relayed {
        to_service: activity.to_service.load(Ordering::Relaxed),
        to_dialler: activity.to_dialler.load(Ordering::Relaxed),
        end,
    }
}

impl End {
    fn reset_reason(&self) -> Option<ResetReason> {
        match self {
            Self::Clean => None,
            Self::Idle => Some(ResetReason::IDLE),
            Self::Stopped => Some(ResetReason::STOPPING),
            Self::Broken(_) => Some(ResetReason::APPLICATION),
        }
    }
}

/// What becomes of the tunnel, as far as the two directions have come.
fn both(up: Poll<Result<(), Stopped>>, down: Poll<Result<(), Stopped>>) -> Poll<End> {
    match (up, down) {
        (Poll::Ready(Err(Stopped::Sender(kind))), _) | (_, Poll::Ready(Err(Stopped::Sender(kind)))) => {
            Poll::Ready(End::Broken(kind))
        }
        (Poll::Ready(up), Poll::Ready(down)) => Poll::Ready(match up.and(down) {
            Ok(()) => End::Clean,
            Err(Stopped::Receiver(kind) | Stopped::Sender(kind)) => End::Broken(kind),
        }),
        _ => Poll::Pending,
    }
}

/// How one direction stopped.
#[derive(Debug, Clone, Copy)]
enum Stopped {
    /// Nobody reads it any more.
    Receiver(io::ErrorKind),
    /// Its sender broke.
    Sender(io::ErrorKind),
}

/// One direction of a tunnel. It has a buffer only while bytes in it wait for the receiver.
struct Direction {
    toward: Toward,
    under_way: Option<(Buffer, Range<usize>)>,
    is_flushed: bool,
    state: State,
}

enum State {
    Copying,
    /// The sender has ended; the receiver is being told.
    Ending,
    Stopped(Result<(), Stopped>),
}

impl Direction {
    fn new(toward: Toward) -> Self {
        Self { toward, under_way: None, is_flushed: true, state: State::Copying }
    }

    fn poll<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut R,
        to: &mut W,
        activity: &Activity,
    ) -> Poll<Result<(), Stopped>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        loop {
            match self.state {
                State::Copying => match ready!(self.poll_copy(cx, from, to, activity)) {
                    Ok(()) => self.state = State::Ending,
                    Err(stopped) => self.state = State::Stopped(Err(stopped)),
                },
                State::Ending => {
                    // Nobody is hurt when the receiver has gone before it heard that nothing more comes.
                    let _ = ready!(Pin::new(&mut *to).poll_shutdown(cx));
                    self.state = State::Stopped(Ok(()));
                }
                State::Stopped(how) => return Poll::Ready(how),
            }
        }
    }

    fn poll_copy<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut R,
        to: &mut W,
        activity: &Activity,
    ) -> Poll<Result<(), Stopped>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        loop {
            let (buffer, mut range) = match self.under_way.take() {
                Some(under_way) => under_way,
                None => {
                    let mut buffer = Buffer::take();
                    let mut read = ReadBuf::new(&mut buffer);
                    let Poll::Ready(result) = Pin::new(&mut *from).poll_read(cx, &mut read) else {
                        return self.poll_flushed(cx, to);
                    };
                    result.map_err(|error| Stopped::Sender(error.kind()))?;
                    let length = read.filled().len();
                    if length == 0 {
                        return Poll::Ready(Ok(()));
                    }
                    activity.note(self.toward, 0);
                    (buffer, 0..length)
                }
            };
            while !range.is_empty() {
                let Poll::Ready(result) = Pin::new(&mut *to).poll_write(cx, &buffer[range.clone()]) else {
                    self.under_way = Some((buffer, range));
                    return Poll::Pending;
                };
                let written = result.and_then(|n| if n == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(n) });
                let written = written.map_err(|error| Stopped::Receiver(error.kind()))?;
                range.start += written;
                self.is_flushed = false;
                activity.note(self.toward, written);
            }
        }
    }

    /// While nothing is to be read, sees to it that what was read arrives.
    fn poll_flushed<W: AsyncWrite + Unpin>(&mut self, cx: &mut Context<'_>, to: &mut W) -> Poll<Result<(), Stopped>> {
        if !self.is_flushed {
            ready!(Pin::new(to).poll_flush(cx)).map_err(|error| Stopped::Receiver(error.kind()))?;
            self.is_flushed = true;
        }
        Poll::Pending
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Toward {
    Service,
    Dialler,
}

/// What moved, when, and which way last.
struct Activity {
    began: Instant,
    last_millis: AtomicU64,
    /// Whether the last bytes went to the dialling side: then no answer is owed.
    answered: AtomicBool,
    to_service: AtomicU64,
    to_dialler: AtomicU64,
}

impl Activity {
    fn new() -> Self {
        Self {
            began: Instant::now(),
            last_millis: AtomicU64::new(0),
            answered: AtomicBool::new(true),
            to_service: AtomicU64::new(0),
            to_dialler: AtomicU64::new(0),
        }
    }

    /// Something came or went `toward` a side; `delivered` bytes of it are out of our hands.
    fn note(&self, toward: Toward, delivered: usize) {
        let counter = match toward {
            Toward::Service => &self.to_service,
            Toward::Dialler => &self.to_dialler,
        };
        counter.fetch_add(delivered as u64, Ordering::Relaxed);
        self.last_millis.store(self.began.elapsed().as_millis() as u64, Ordering::Relaxed);
        self.answered.store(toward == Toward::Dialler, Ordering::Relaxed);
    }

    fn last(&self) -> Instant {
        self.began + Duration::from_millis(self.last_millis.load(Ordering::Relaxed))
    }

    /// Returns when nothing has moved for `limit`.
    async fn silent_for(&self, limit: Duration) {
        loop {
            let due = self.last() + limit;
            if due <= Instant::now() {
                return;
            }
            sleep_until(due).await;
        }
    }

    /// Returns when `stop` was called and no answer is owed any more.
    async fn drained(&self, stop: &CancellationToken) {
        stop.cancelled().await;
        loop {
            self.silent_for(DRAIN_SILENCE).await;
            if self.answered.load(Ordering::Relaxed) {
                return;
            }
            sleep(DRAIN_SILENCE).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::TUNNEL_IDLE;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::net::{TcpListener, TcpStream};

    impl Stream for DuplexStream {
        fn reset_on_close(&mut self, _reason: ResetReason) {}
    }

    /// A connected pair: the application's end and the tunnel's.
    async fn tcp_pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (near, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn each_direction_delivers_everything_after_the_other_has_ended() {
        let (mut browser, mut dialler) = tcp_pair().await;
        let (mut backend, mut service) = tcp_pair().await;
        let tunnel = tokio::spawn(async move { relay(&mut dialler, &mut service, &Drain::new(TUNNEL_IDLE)).await });

        browser.write_all(b"question").await.unwrap();
        browser.shutdown().await.unwrap();
        let mut heard = Vec::new();
        backend.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"question");

        backend.write_all(b"long answer").await.unwrap();
        drop(backend);
        let mut answer = Vec::new();
        browser.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, b"long answer");
        assert_eq!(tunnel.await.unwrap(), Relayed { to_service: 8, to_dialler: 11, end: End::Clean });
    }

    #[tokio::test]
    async fn a_reset_on_one_side_is_a_reset_on_the_other() {
        let (mut browser, mut dialler) = tcp_pair().await;
        let (mut backend, mut service) = tcp_pair().await;
        let tunnel = tokio::spawn(async move { relay(&mut dialler, &mut service, &Drain::new(TUNNEL_IDLE)).await });
        backend.write_all(b"half an answ").await.unwrap();
        let mut part = [0; 12];
        browser.read_exact(&mut part).await.unwrap();
        backend.set_zero_linger().unwrap();
        drop(backend);
        let error = browser.read(&mut part).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(tunnel.await.unwrap().end, End::Broken(io::ErrorKind::ConnectionReset));
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_tunnel_ends_after_the_idle_limit_and_a_talking_one_does_not() {
        let (mut near, mut dialler) = duplex(64);
        let (mut far, mut service) = duplex(64);
        let tunnel = tokio::spawn(async move { relay(&mut dialler, &mut service, &Drain::new(TUNNEL_IDLE)).await });
        let began = Instant::now();
        for _ in 0..3 {
            tokio::time::advance(TUNNEL_IDLE - Duration::from_secs(1)).await;
            near.write_all(b"x").await.unwrap();
            far.read_exact(&mut [0]).await.unwrap();
        }
        assert_eq!(tunnel.await.unwrap().end, End::Idle);
        assert!(began.elapsed() >= 4 * TUNNEL_IDLE - Duration::from_secs(4));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_ends_an_idle_tunnel_soon_and_leaves_one_that_owes_an_answer() {
        let drain = Drain::new(TUNNEL_IDLE);
        let (_idle_near, mut dialler) = duplex(64);
        let (_idle_far, mut service) = duplex(64);
        let idle = tokio::spawn({
            let drain = drain.clone();
            async move { relay(&mut dialler, &mut service, &drain).await }
        });
        let (mut busy_near, mut dialler) = duplex(64);
        let (mut busy_far, mut service) = duplex(64);
        let busy = tokio::spawn({
            let drain = drain.clone();
            async move { relay(&mut dialler, &mut service, &drain).await }
        });
        busy_near.write_all(b"?").await.unwrap();
        busy_far.read_exact(&mut [0]).await.unwrap();

        drain.stop.cancel();
        assert_eq!(idle.await.unwrap().end, End::Stopped);
        tokio::time::advance(Duration::from_secs(20)).await;
        busy_far.write_all(b"!").await.unwrap();
        busy_near.read_exact(&mut [0]).await.unwrap();
        assert_eq!(busy.await.unwrap().end, End::Stopped);
    }
}
