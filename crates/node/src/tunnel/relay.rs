//! Bytes both ways until both directions have ended.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hardline_proto::tunnel::frame::ResetReason;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::aside::Aside;
use super::{Application, Carrier};

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

/// Carries bytes between an application, which is on the side of `application_is`, and a peer, each direction until its
/// sender ends it.
///
/// - The end of one direction is passed on as a half-close; the other goes on.
/// - When a receiver is gone, the opposite direction still delivers what is on its way, then the tunnel counts as broken.
/// - A broken tunnel is passed on as a reset to both sides.
pub(crate) async fn relay<A: Application, C: Carrier>(
    application: &mut A,
    application_is: Side,
    carrier: &mut C,
    drain: &Drain,
) -> Relayed {
    let activity = Activity::new();
    let end = {
        let mut out = Direction::new(Outward { toward: application_is.other(), is_full: false });
        let mut back = Direction::new(Inward { toward: application_is, is_flushed: true });
        let from_outside = pin!(async {
            tokio::select! {
                () = activity.silent_for(drain.idle) => End::Idle,
                () = activity.drained(&drain.stop) => End::Stopped,
                () = drain.kill.cancelled() => End::Stopped,
            }
        });
        let mut from_outside = Aside::new(from_outside);
        poll_fn(|cx| {
            let out = out.poll(cx, application, carrier, &activity);
            let back = back.poll(cx, application, carrier, &activity);
            activity.stamp();
            match both(out, back) {
                Poll::Ready(end) => Poll::Ready(end),
                Poll::Pending => from_outside.poll(cx),
            }
        })
        .await
    };
    if let Some(reason) = end.reset_reason() {
        application.reset_on_close(reason);
        carrier.reset_on_close(reason);
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

/// One direction of a tunnel, and how far it has come.
struct Direction<W> {
    way: W,
    state: State,
}

enum State {
    Copying,
    /// The sender has ended; the receiver is being told.
    Ending,
    Stopped(Result<(), Stopped>),
}

/// A way of bytes. They are never copied: an application's are read to where they are sealed, a peer's are written from
/// where they were opened.
trait Way<A, C> {
    /// Carries until the sender ends.
    fn poll_carry(&mut self, cx: &mut Context<'_>, a: &mut A, c: &mut C, activity: &Activity) -> Carried;
    /// Tells the receiver that nothing more comes.
    fn poll_end(&mut self, cx: &mut Context<'_>, a: &mut A, c: &mut C) -> Poll<io::Result<()>>;
}

type Carried = Poll<Result<(), Stopped>>;

/// From an application to a peer.
struct Outward {
    toward: Side,
    /// Whether the last read filled a record: then there is more, and room for more is worth its while.
    is_full: bool,
}

/// From a peer to an application.
struct Inward {
    toward: Side,
    is_flushed: bool,
}

impl<W> Direction<W> {
    fn new(way: W) -> Self {
        Self { way, state: State::Copying }
    }

    fn poll<A, C>(&mut self, cx: &mut Context<'_>, application: &mut A, carrier: &mut C, activity: &Activity) -> Carried
    where
        W: Way<A, C>,
    {
        loop {
            match self.state {
                State::Copying => match ready!(self.way.poll_carry(cx, application, carrier, activity)) {
                    Ok(()) => self.state = State::Ending,
                    Err(stopped) => self.state = State::Stopped(Err(stopped)),
                },
                State::Ending => {
                    // Nobody is hurt when the receiver has gone before it heard that nothing more comes.
                    let _ = ready!(self.way.poll_end(cx, application, carrier));
                    self.state = State::Stopped(Ok(()));
                }
                State::Stopped(how) => return Poll::Ready(how),
            }
        }
    }
}

impl<A: Application, C: Carrier> Way<A, C> for Outward {
    fn poll_carry(
        &mut self,
        cx: &mut Context<'_>,
        application: &mut A,
        carrier: &mut C,
        activity: &Activity,
    ) -> Carried {
        loop {
            ready!(carrier.poll_send(cx)).map_err(receiver_gone)?;
            let mut room = carrier.room().map_err(receiver_gone)?;
            let slices = room.slices();
            let (count, first) = (slices.len(), slices.first().map_or(0, |slice| slice.len()));
            let slices = &mut slices[..if self.is_full { count } else { count.min(1) }];
            let Poll::Ready(read) = application.poll_read_slices(cx, slices) else {
                carrier.forget_room();
                return Poll::Pending;
            };
            match read {
                Ok(0) => {
                    carrier.forget_room();
                    return Poll::Ready(Ok(()));
                }
                Ok(length) => {
                    self.is_full = length >= first;
                    carrier.commit(length).map_err(receiver_gone)?;
                    activity.note(self.toward, length);
                }
                Err(error) => {
                    carrier.forget_room();
                    return Poll::Ready(Err(Stopped::Sender(error.kind())));
                }
            }
        }
    }

    fn poll_end(&mut self, cx: &mut Context<'_>, _application: &mut A, carrier: &mut C) -> Poll<io::Result<()>> {
        carrier.poll_end(cx)
    }
}

impl<A: Application, C: Carrier> Way<A, C> for Inward {
    fn poll_carry(
        &mut self,
        cx: &mut Context<'_>,
        application: &mut A,
        carrier: &mut C,
        activity: &Activity,
    ) -> Carried {
        loop {
            let Poll::Ready(payload) = carrier.poll_payload(cx) else {
                // While nothing comes, what came must arrive.
                if !self.is_flushed {
                    ready!(Pin::new(&mut *application).poll_flush(cx)).map_err(receiver_gone)?;
                    self.is_flushed = true;
                }
                return Poll::Pending;
            };
            match payload {
                Ok(true) => {}
                Ok(false) => return Poll::Ready(Ok(())),
                Err(error) => return Poll::Ready(Err(Stopped::Sender(error.kind()))),
            }
            let application = Pin::new(&mut *application);
            let written = ready!(match carrier.payload().slices() {
                [piece] => application.poll_write(cx, piece),
                pieces => application.poll_write_vectored(cx, pieces),
            });
            let written = written.and_then(|n| if n == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(n) });
            let written = written.map_err(receiver_gone)?;
            carrier.consume(written);
            self.is_flushed = false;
            activity.note(self.toward, written);
        }
    }

    fn poll_end(&mut self, cx: &mut Context<'_>, application: &mut A, _carrier: &mut C) -> Poll<io::Result<()>> {
        Pin::new(application).poll_shutdown(cx)
    }
}

fn receiver_gone(error: io::Error) -> Stopped {
    Stopped::Receiver(error.kind())
}

/// A side of a tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// The one that serves.
    Service,
    /// The one that dialled.
    Dialler,
}

impl Side {
    fn other(self) -> Self {
        match self {
            Self::Service => Self::Dialler,
            Self::Dialler => Self::Service,
        }
    }
}

/// What moved, when, and which way last.
struct Activity {
    began: Instant,
    last_millis: AtomicU64,
    /// Whether that was since the time was kept.
    is_fresh: AtomicBool,
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
            is_fresh: AtomicBool::new(false),
            answered: AtomicBool::new(true),
            to_service: AtomicU64::new(0),
            to_dialler: AtomicU64::new(0),
        }
    }

    /// `delivered` bytes on their way `toward` a side are out of the application's hands, or of ours.
    fn note(&self, toward: Side, delivered: usize) {
        let counter = match toward {
            Side::Service => &self.to_service,
            Side::Dialler => &self.to_dialler,
        };
        counter.fetch_add(delivered as u64, Ordering::Relaxed);
        self.is_fresh.store(true, Ordering::Relaxed);
        self.answered.store(toward == Side::Dialler, Ordering::Relaxed);
    }

    /// Keeps the time of what was noted since the last call.
    fn stamp(&self) {
        if self.is_fresh.load(Ordering::Relaxed) {
            self.is_fresh.store(false, Ordering::Relaxed);
            self.last_millis.store(self.began.elapsed().as_millis() as u64, Ordering::Relaxed);
        }
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
    use crate::tunnel::Reset;
    use crate::tunnel::carrier::{Payload, Room};
    use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadBuf, duplex};
    use tokio::net::{TcpListener, TcpStream};

    /// The peer's end, without TLS: a pipe in memory, or a TCP connection.
    struct Peer<S> {
        stream: S,
        come: Vec<u8>,
        room: Vec<u8>,
        going: Vec<u8>,
    }

    impl<S> Peer<S> {
        fn new(stream: S) -> Self {
            Self { stream, come: Vec::new(), room: vec![0; 64], going: Vec::new() }
        }
    }

    impl<S: Reset> Reset for Peer<S> {
        fn reset_on_close(&mut self, reason: ResetReason) {
            self.stream.reset_on_close(reason);
        }
    }

    impl<S: Application> Carrier for Peer<S> {
        fn poll_payload(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
            if self.come.is_empty() {
                let mut bytes = [0; 64];
                let mut read = ReadBuf::new(&mut bytes);
                ready!(Pin::new(&mut self.stream).poll_read(cx, &mut read))?;
                self.come = read.filled().to_vec();
            }
            Poll::Ready(Ok(!self.come.is_empty()))
        }
        fn payload(&self) -> Payload<'_> {
            Payload::new([&self.come[..]])
        }
        fn consume(&mut self, amount: usize) {
            self.come.drain(..amount);
        }
        fn room(&mut self) -> io::Result<Room<'_>> {
            Ok(Room::new([&mut self.room[..]]))
        }
        fn forget_room(&mut self) {}
        fn commit(&mut self, length: usize) -> io::Result<()> {
            self.going.extend_from_slice(&self.room[..length]);
            Ok(())
        }
        fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            while !self.going.is_empty() {
                let sent = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.going))?;
                self.going.drain(..sent);
            }
            Poll::Ready(Ok(()))
        }
        fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.stream).poll_shutdown(cx)
        }
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
        let (mut backend, service) = tcp_pair().await;
        let tunnel = tokio::spawn(async move {
            relay(&mut dialler, Side::Dialler, &mut Peer::new(service), &Drain::new(TUNNEL_IDLE)).await
        });

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
        let (mut backend, service) = tcp_pair().await;
        let tunnel = tokio::spawn(async move {
            relay(&mut dialler, Side::Dialler, &mut Peer::new(service), &Drain::new(TUNNEL_IDLE)).await
        });
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
        let (mut far, service) = duplex(64);
        let tunnel = tokio::spawn(async move {
            relay(&mut dialler, Side::Dialler, &mut Peer::new(service), &Drain::new(TUNNEL_IDLE)).await
        });
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
        let (_idle_far, service) = duplex(64);
        let idle = tokio::spawn({
            let drain = drain.clone();
            async move { relay(&mut dialler, Side::Dialler, &mut Peer::new(service), &drain).await }
        });
        let (mut busy_near, mut dialler) = duplex(64);
        let (mut busy_far, service) = duplex(64);
        let busy = tokio::spawn({
            let drain = drain.clone();
            async move { relay(&mut dialler, Side::Dialler, &mut Peer::new(service), &drain).await }
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
