//! Bytes both ways until both directions have ended.
//!
//! Payload is not looked at or changed: WebSockets, server-sent events, uploads and whatever comes
//! next work as they are.

use std::future::poll_fn;
use std::ops::Deref;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::activity::{Activity, Side};
use super::direction::{Direction, FromPeer, Stopped, ToPeer};
use super::local_addr::LocalAddressWatch;
use super::outcome::{End, Relayed};
use super::peer_watch::PeerWatch;
use super::seats::Seat;
use super::wake_filter::WakeFilter;
use crate::session::{Carrier, RoundTrip};
use crate::transport::ByteStream;

/// What ends a tunnel beside its own two ends, and where it is noted. Cheap to clone: it is, for
/// each tunnel.
#[derive(Debug, Clone)]
pub(crate) struct Drain {
    ends: Arc<Ends>,
    /// The place of a tunnel that may have to make room.
    pub(crate) seat: Option<Arc<Seat>>,
    /// The service was found at another address than the tunnel's; never, on the listening side.
    pub(crate) elsewhere: Option<Arc<Notify>>,
    /// Where the round trip to the other computer is noted, as often as it is looked at.
    pub(crate) round_trip: Option<Arc<RoundTrip>>,
}

/// What ends every tunnel of a service, or of the node.
#[derive(Debug, Clone)]
pub(crate) struct Ends {
    /// No new tunnels; running ones end when they are done.
    pub(crate) stop: CancellationToken,
    /// The grace is over.
    pub(crate) kill: CancellationToken,
    /// Silence in both directions that is too long.
    pub(crate) idle: Option<Duration>,
    /// The address that the tunnel uses is lost.
    pub(crate) local_addrs: LocalAddressWatch,
    /// The service is removed; never, on the dialling side.
    pub(crate) removed: CancellationToken,
}

impl Deref for Drain {
    type Target = Ends;

    fn deref(&self) -> &Ends {
        &self.ends
    }
}

impl Drain {
    pub(crate) fn new(idle: Option<Duration>) -> Self {
        let kill = CancellationToken::new();
        let local_addrs = LocalAddressWatch::new(kill.clone());
        let (stop, removed) = (CancellationToken::new(), CancellationToken::new());
        Self::of(Ends { stop, kill, idle, local_addrs, removed })
    }

    /// For the tunnels of a service, which can be removed by itself.
    pub(crate) fn of_service(&self) -> Self {
        Self::of(Ends { removed: CancellationToken::new(), ..Ends::clone(self) })
    }

    /// For those tunnels of a service that end with `removed`, which ends with the service's.
    pub(crate) fn ending_with(&self, removed: CancellationToken) -> Self {
        Self::of(Ends { removed, ..Ends::clone(self) })
    }

    fn of(ends: Ends) -> Self {
        Self { ends: Arc::new(ends), seat: None, elsewhere: None, round_trip: None }
    }

    /// For a tunnel that has a place of its own.
    pub(crate) fn at(&self, seat: &Arc<Seat>) -> Self {
        Self { seat: Some(Arc::clone(seat)), ..self.clone() }
    }

    /// For a tunnel whose round trip is told.
    pub(crate) fn measuring(self, round_trip: Option<Arc<RoundTrip>>) -> Self {
        Self { round_trip, ..self }
    }

    /// For a tunnel that is told when its service is found elsewhere.
    pub(crate) fn following(self, elsewhere: Option<Arc<Notify>>) -> Self {
        Self { elsewhere, ..self }
    }
}

/// Carries bytes between an application, which is on the side of `application_is`, and a peer, each
/// direction until its sender ends it.
///
/// - The end of one direction is passed on as a half-close; the other goes on.
/// - When a receiver is gone, the opposite direction still delivers what is on its way, then the
///   tunnel counts as broken.
/// - A broken tunnel is passed on as a reset to both sides.
pub(crate) async fn relay<A: ByteStream, C: Carrier + ?Sized>(
    application: &mut A,
    application_is: Side,
    carrier: &mut C,
    drain: &Drain,
) -> Relayed {
    let activity = Activity::new();
    let end = {
        let mut out = Direction::new(ToPeer { toward: application_is.other(), is_full: false });
        let mut back = Direction::new(FromPeer { toward: application_is, is_flushed: true });
        let lost = drain.local_addrs.lost(carrier.local_ip());
        let is_elsewhere = AtomicBool::new(false);
        let from_outside = pin!(async {
            tokio::select! {
                end = activity.outlasted(drain.idle, &drain.stop) => end,
                () = evicted(drain.seat.as_deref()) => End::MadeRoom,
                () = removed(drain, &is_elsewhere) => End::Removed,
                () = lost.cancelled() => if drain.kill.is_cancelled() { End::Stopped } else { End::AddressLost },
            }
        });
        let mut from_outside = WakeFilter::new(from_outside);
        let mut watch = PeerWatch::new();
        poll_fn(|cx| {
            let out = out.poll(cx, application, carrier, &activity);
            let back = back.poll(cx, application, carrier, &activity);
            if activity.stamp() {
                watch.moved();
                if let Some(seat) = &drain.seat {
                    seat.moved(activity.last());
                }
            }
            if out.is_ready() != back.is_ready() && activity.half_closed() {
                from_outside.look_again();
            }
            match both(out, back) {
                Poll::Pending => {}
                end => return end,
            }
            if let Poll::Ready(end) = from_outside.poll(cx) {
                return Poll::Ready(end);
            }
            if is_elsewhere.swap(false, Ordering::Relaxed) {
                watch.found_elsewhere();
            }
            watch.poll(cx, &(&*carrier, &activity, drain.round_trip.as_deref())).map(|()| End::PeerGone)
        })
        .await
    };
    if let Some(reason) = end.reset_reason() {
        application.reset_on_close(reason);
        carrier.reset_on_close(reason);
    }
    Relayed { to_service: activity.bytes(Side::Service), to_dialler: activity.bytes(Side::Dialler), end }
}

/// Returns when the service is removed. On the dialling side, where that is not known, notes each
/// time that it is found elsewhere.
async fn removed(drain: &Drain, is_elsewhere: &AtomicBool) {
    let Some(elsewhere) = &drain.elsewhere else { return drain.removed.cancelled().await };
    loop {
        elsewhere.notified().await;
        is_elsewhere.store(true, Ordering::Relaxed);
    }
}

/// Returns when the place is needed for somebody else.
fn evicted(seat: Option<&Seat>) -> impl Future<Output = ()> {
    poll_fn(move |cx| seat.map_or(Poll::Pending, |seat| seat.poll_evicted(cx)))
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

#[cfg(test)]
mod tests {
    use std::io;
    use std::net::IpAddr;
    use std::pin::Pin;
    use std::task::{Context, ready};

    use hardline_proto::liveness::PathState;
    use hardline_proto::tunnel::frame::ResetReason;

    use super::*;
    use crate::limits::{HALF_CLOSED_IDLE, ROOM_SILENCE};
    use crate::session::{Payload, Room};
    use crate::transport::open_stream;
    use crate::transport::{Asking, Reset};
    use crate::tunnel::Places;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadBuf, duplex};
    use tokio::net::TcpListener;
    use tokio::task::JoinHandle;
    use tokio::time::Instant;

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

    impl<S: ByteStream> Carrier for Peer<S> {
        fn local_ip(&self) -> Option<IpAddr> {
            None
        }
        fn path_state(&self) -> Option<PathState> {
            self.stream.path_state()
        }
        fn ask_peer(&self, asking: Asking) {
            self.stream.ask(asking);
        }
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
    async fn tcp_pair() -> (impl ByteStream, impl ByteStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = open_stream(listener.local_addr().unwrap()).await.unwrap();
        (near, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn each_direction_delivers_everything_after_the_other_has_ended() {
        let (mut browser, mut dialler) = tcp_pair().await;
        let (mut backend, service) = tcp_pair().await;
        let tunnel = tokio::spawn(async move {
            relay(&mut dialler, Side::Dialler, &mut Peer::new(service), &Drain::new(None)).await
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
            relay(&mut dialler, Side::Dialler, &mut Peer::new(service), &Drain::new(None)).await
        });
        backend.write_all(b"half an answ").await.unwrap();
        let mut part = [0; 12];
        browser.read_exact(&mut part).await.unwrap();
        backend.reset_on_close(ResetReason::APPLICATION);
        drop(backend);
        let error = browser.read(&mut part).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(tunnel.await.unwrap().end, End::Broken(io::ErrorKind::ConnectionReset));
    }

    /// A tunnel in memory, with the ends of both applications.
    fn in_memory(drain: Drain) -> (DuplexStream, DuplexStream, JoinHandle<End>) {
        let (near, mut dialler) = duplex(64);
        let (far, service) = duplex(64);
        let tunnel = async move { relay(&mut dialler, Side::Dialler, &mut Peer::new(service), &drain).await.end };
        (near, far, tokio::spawn(tunnel))
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_tunnel_ends_after_a_limit_that_is_set_and_a_talking_one_does_not() {
        const IDLE: Duration = Duration::from_secs(3600);
        let (mut near, mut far, tunnel) = in_memory(Drain::new(Some(IDLE)));
        let began = Instant::now();
        for _ in 0..3 {
            tokio::time::advance(IDLE - Duration::from_secs(1)).await;
            near.write_all(b"x").await.unwrap();
            far.read_exact(&mut [0]).await.unwrap();
        }
        assert_eq!(tunnel.await.unwrap(), End::Idle);
        assert!(began.elapsed() >= 4 * IDLE - Duration::from_secs(4));
    }

    #[tokio::test(start_paused = true)]
    async fn a_tunnel_may_be_silent_for_a_week_and_then_carries_on() {
        let (mut near, mut far, tunnel) = in_memory(Drain::new(None));
        tokio::time::sleep(Duration::from_secs(7 * 24 * 3600)).await;
        near.write_all(b"x").await.unwrap();
        far.read_exact(&mut [0]).await.unwrap();
        drop((near, far));
        assert_ne!(tunnel.await.unwrap(), End::Idle);
    }

    #[tokio::test(start_paused = true)]
    async fn a_half_closed_tunnel_ends_sooner_unless_it_goes_on() {
        let (mut near, mut far, tunnel) = in_memory(Drain::new(None));
        let began = Instant::now();
        near.shutdown().await.unwrap();
        for _ in 0..3 {
            tokio::time::sleep(HALF_CLOSED_IDLE - Duration::from_secs(1)).await;
            far.write_all(b"x").await.unwrap();
            near.read_exact(&mut [0]).await.unwrap();
        }
        assert_eq!(tunnel.await.unwrap(), End::Idle);
        assert!(began.elapsed() >= 4 * HALF_CLOSED_IDLE - Duration::from_secs(4));
    }

    #[tokio::test(start_paused = true)]
    async fn a_tunnel_whose_place_is_needed_makes_room_if_it_was_silent() {
        let places = Places::new(2);
        let (busy, silent) = (places.enter().unwrap(), places.enter().unwrap());
        let drain = Drain::new(None);
        let (mut near, mut far, busy_tunnel) = in_memory(drain.at(&busy.seat));
        let (_near, _far, silent_tunnel) = in_memory(drain.at(&silent.seat));
        for _ in 0..11 {
            assert!(places.enter().is_none(), "both have moved lately");
            tokio::time::sleep(ROOM_SILENCE / 11 + Duration::from_secs(1)).await;
            near.write_all(b"x").await.unwrap();
            far.read_exact(&mut [0]).await.unwrap();
        }
        let _newcomer = places.enter().unwrap();
        assert_eq!(silent_tunnel.await.unwrap(), End::MadeRoom);
        assert!(!busy_tunnel.is_finished());
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_ends_an_idle_tunnel_soon_and_leaves_one_that_owes_an_answer() {
        let drain = Drain::new(None);
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
