//! QUIC by itself: who is asked for what, what is bounded, what survives.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hardline_proto::admission::Limit;
use hardline_proto::call::CallId;
use hardline_proto::liveness::{GONE, Liveness};
use hardline_proto::punch::{Attempt, GIVE_UP, Plan, Role};
use hardline_proto::tunnel::frame::ResetReason;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::TaskTracker;

use super::*;
use crate::session::v2;
use crate::tls::identity::Identity;
use crate::tls::sni;
use crate::transport::udp::{Datagram, LentSocket};
use crate::transport::{ConnectError, Incoming, Listener, Target, Transport, Unserved};

fn endpoint() -> QuicEndpoint {
    QuicEndpoint::bind(Some(([127, 0, 0, 1], 0).into()), QuicTasks::new(TaskTracker::new())).unwrap()
}

fn target(identity: &Identity) -> Target {
    let name = sni::server_name(identity.key).unwrap();
    Target { key: identity.key, tls: v2::client_tls(identity.key, true), name, pseudonym: None, pass: None }
}

/// A connection: the dialler's end, the listener's, and the dialler's socket.
async fn pair(most_unproven: usize) -> (QuicConnection, QuicConnection, QuicEndpoint) {
    let identity = Identity::ephemeral().unwrap();
    let (near, far) = (endpoint(), endpoint());
    let at = far.local_addr().unwrap();
    let listener = QuicListener::asking_beyond(far, most_unproven);
    let tls = v2::server_tls(&identity);
    let accepting = async {
        let (incoming, _) = listener.accept().await.unwrap();
        incoming.answer(move |_| Ok((tls.into(), ()))).await.unwrap().0
    };
    let target = target(&identity);
    let (dialled, accepted) = tokio::join!(near.connect(&at, &target), accepting);
    (dialled.unwrap().connection, accepted, near)
}

/// A stream: the dialler's end, and the listener's behind a first byte.
async fn stream(near: &QuicConnection, far: &QuicConnection) -> (QuicStream, QuicStream) {
    let mut near = near.open().unwrap();
    near.write_all(b"!").await.unwrap();
    let mut accepting = far.accept();
    let mut far = poll_fn(|cx| accepting.poll(cx)).await.unwrap();
    assert_eq!(read(&mut far).await, Ok(b"!".to_vec()));
    (near, far)
}

async fn read(stream: &mut QuicStream) -> Result<Vec<u8>, StreamEnd> {
    let mut room = vec![0; 64 * 1024];
    let length = poll_fn(|cx| stream.poll_read(cx, &mut room)).await?;
    room.truncate(length);
    Ok(room)
}

#[tokio::test]
async fn beyond_a_few_a_newcomer_proves_its_address_first_and_is_served() {
    for most_unproven in [0, 1] {
        let (near, far, _socket) = pair(most_unproven).await;
        stream(&near, &far).await;
    }
}

/// Where the system refuses what quinn's own socket asks of it.
#[tokio::test]
async fn a_plain_socket_carries_much_both_ways_and_survives_a_stranger() {
    let (near, far) = (endpoint(), endpoint());
    for end in [&near, &far] {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        end.endpoint.rebind_abstract(Arc::new(system::SystemSocket::plain(socket).unwrap())).unwrap();
    }
    let at = far.local_addr().unwrap();
    let stranger = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    for length in [0, 1, 1500, 60_000] {
        stranger.send_to(&vec![0x40; length], at).unwrap();
    }
    let (dialled, accepted) = connected(&near, at, far).await;
    let (mut here, mut there) = stream(&dialled, &accepted).await;
    for _direction in 0..2 {
        let payload: Vec<u8> = (0..3_000_000_u32).map(|it| it.to_le_bytes()[1]).collect();
        let reading = async {
            let mut got = Vec::new();
            while got.len() < payload.len() {
                got.extend(read(&mut there).await.unwrap());
            }
            got
        };
        let (written, got) = tokio::join!(here.write_all(&payload), reading);
        written.unwrap();
        assert!(got == payload);
        std::mem::swap(&mut here, &mut there);
    }
}

/// An attempt towards `at`.
fn attempt(role: Role, at: SocketAddr) -> Attempt {
    planned(role, at, Plan::Few)
}

fn planned(role: Role, at: SocketAddr, plan: Plan) -> Attempt {
    let id = CallId::from_bytes([7; 16]);
    Attempt::new(tokio::time::Instant::now().into_std(), role, &id, &[at], plan, 0)
}

#[tokio::test]
async fn probes_and_connections_share_a_socket() {
    let identity = Identity::ephemeral().unwrap();
    let (near, far) = (endpoint(), endpoint());
    let (from, at) = (near.local_addr().unwrap(), far.local_addr().unwrap());
    let mut punch = near.punch(attempt(Role::Dialler, at));
    far.answer_probes(attempt(Role::Publisher, from));
    let opened = punch.opened().await.unwrap();
    assert!(opened.remote == at && opened.by.is_none(), "{opened:?}");
    let (listener, tls) = (QuicListener::new(far), v2::server_tls(&identity));
    let accepting = async {
        let (incoming, addr) = listener.accept().await.unwrap();
        assert_eq!(addr, from, "where the probes came from");
        incoming.answer(move |_| Ok((tls.into(), ()))).await.unwrap().0
    };
    let target = target(&identity);
    let (dialled, accepted) = tokio::join!(near.connect(&at, &target), accepting);
    stream(&dialled.unwrap().connection, &accepted).await;
}

/// The way that `punch` opens by a socket of its own, and where the other side is.
async fn by_its_own(punch: &mut Punch) -> (SocketAddr, QuicEndpoint) {
    loop {
        let Opened { remote, by } = punch.opened().await.unwrap();
        if let Some(by) = by {
            return (remote, by);
        }
    }
}

/// A connection from `near` to `at`, which is where `far` lets others in.
async fn connect(near: &QuicEndpoint, at: SocketAddr, far: QuicEndpoint) {
    let (dialled, accepted) = connected(near, at, far).await;
    stream(&dialled, &accepted).await;
}

/// The same: its two ends.
async fn connected(near: &QuicEndpoint, at: SocketAddr, far: QuicEndpoint) -> (QuicConnection, QuicConnection) {
    let (identity, from) = (Identity::ephemeral().unwrap(), near.local_addr().unwrap().port());
    let (listener, tls) = (QuicListener::new(far), v2::server_tls(&identity));
    let accepting = async {
        let (incoming, addr) = listener.accept().await.unwrap();
        assert_eq!(addr.port(), from);
        incoming.answer(move |_| Ok((tls.into(), ()))).await.unwrap().0
    };
    let target = target(&identity);
    let (dialled, accepted) = tokio::join!(near.connect(&at, &target), accepting);
    (dialled.unwrap().connection, accepted)
}

/// As behind a symmetric NAT of the dialler's, and of the publisher's.
#[tokio::test]
async fn a_connection_goes_by_the_socket_that_was_heard_on_either_side() {
    let (near, far) = (endpoint(), endpoint());
    let (from, at) = (near.local_addr().unwrap(), far.local_addr().unwrap());
    let mut punch = near.punch(planned(Role::Dialler, at, Plan::ManySockets(8)));
    far.answer_probes(attempt(Role::Publisher, from));
    let (remote, by) = by_its_own(&mut punch).await;
    assert!(remote == at && by.local_addr().unwrap().port() != from.port());
    connect(&by, at, far).await;

    let (near, far) = (endpoint(), endpoint());
    let (from, at) = (near.local_addr().unwrap(), far.local_addr().unwrap());
    let mut punched = near.punch(attempt(Role::Dialler, at));
    let mut punch = far.punch(planned(Role::Publisher, from, Plan::ManySockets(8)));
    let (remote, by) = by_its_own(&mut punch).await;
    let there = SocketAddr::new(at.ip(), by.local_addr().unwrap().port());
    assert!(remote == from && there != at);
    while punched.opened().await.unwrap().remote != there {}
    connect(&near, there, by).await;
}

/// The time of the attempt is that of the test.
#[tokio::test(start_paused = true)]
async fn an_attempt_that_nobody_answers_is_given_up_and_sends_nothing_after_it() {
    let (near, silent) = (endpoint(), UdpSocket::bind("127.0.0.1:0").await.unwrap());
    let began = tokio::time::Instant::now();
    let mut punch = near.punch(attempt(Role::Dialler, silent.local_addr().unwrap()));
    assert!(punch.opened().await.is_none());
    assert_eq!(began.elapsed().as_secs(), GIVE_UP.as_secs());
    let dropped = near.punch(attempt(Role::Dialler, silent.local_addr().unwrap()));
    drop(dropped);
    sleep(GIVE_UP).await;
    let mut heard = 0;
    while silent.try_recv(&mut [0; 64]).is_ok() {
        heard += 1;
    }
    assert!((30..=80).contains(&heard), "{heard} probes");
}

/// An attempt is what a socket is opened for, as often as not.
#[tokio::test]
async fn the_first_probes_of_a_socket_that_was_just_opened_leave_it() {
    let neighbours = [(); 4].map(|()| std::net::UdpSocket::bind("127.0.0.1:0").unwrap());
    let targets = neighbours.each_ref().map(|socket| socket.local_addr().unwrap());
    let (id, now) = (CallId::from_bytes([7; 16]), Instant::now().into_std());
    // A publisher sends so many without having heard anybody: two to each.
    let attempt = Attempt::new(now, Role::Publisher, &id, &targets, Plan::Few, 0);
    let endpoint = endpoint();
    endpoint.answer_probes(attempt);
    for neighbour in neighbours {
        neighbour.set_nonblocking(true).unwrap();
        let neighbour = UdpSocket::from_std(neighbour).unwrap();
        for number in 1..=2 {
            let probe = timeout(GIVE_UP, neighbour.recv_from(&mut [0; 64])).await;
            assert_eq!(probe.expect("a probe").unwrap().1.port(), endpoint.local_addr().unwrap().port(), "{number}");
        }
    }
}

#[tokio::test]
async fn what_is_neither_a_probe_nor_quic_does_no_harm() {
    let (near, far, _socket) = pair(1).await;
    let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let to = near.remote_address();
    for datagram in [&[][..], &[0x0b], &[0x0b; 18], &[0x80; 1400], &[0x3f; 100]] {
        stranger.send_to(datagram, to).await.unwrap();
    }
    stream(&near, &far).await;
}

/// Datagrams recorded from released nodes of the DHT.
fn recorded() -> Vec<Vec<u8>> {
    let lines = include_str!("../../../../dht/tests/vectors/datagrams.txt").lines();
    let hex = lines.filter(|line| !line.starts_with('#')).filter_map(|line| line.split(' ').nth(2));
    let byte = |hex: &str, at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    hex.map(|hex| (0..hex.len()).step_by(2).map(|at| byte(hex, at)).collect()).collect()
}

/// What of `datagrams`, sent to `to` by a stranger, comes out of `received`, in order.
async fn passed_on(datagrams: &[Vec<u8>], to: SocketAddr, received: &mut mpsc::Receiver<Datagram>) -> Vec<Vec<u8>> {
    let (stranger, end) = (UdpSocket::bind("127.0.0.1:0").await.unwrap(), vec![0x8f; 3]);
    let mut passed = Vec::new();
    // One at a time, for the system's buffer is small; a last one tells that all were looked at.
    for datagram in datagrams {
        for datagram in [datagram, &end] {
            stranger.send_to(datagram, to).await.unwrap();
        }
        loop {
            let (from, datagram) = received.recv().await.unwrap();
            assert_eq!(from, stranger.local_addr().unwrap());
            if *datagram == *end {
                break;
            }
            passed.push(datagram.into_vec());
        }
    }
    passed
}

#[tokio::test]
async fn the_dht_gets_what_its_nodes_send_and_nothing_else() {
    let (near, far, dialler) = pair(1).await;
    let (sender, mut received) = mpsc::channel(8);
    dialler.deliver(sender);
    let to = dialler.local_addr().unwrap();
    let recorded = recorded();
    assert_eq!(recorded.len(), 83);
    assert_eq!(passed_on(&recorded, to, &mut received).await, recorded);
    let mut rng = StdRng::seed_from_u64(1);
    let any: Vec<Vec<u8>> = (0..500).map(|_| (0..rng.random_range(0..1400)).map(|_| rng.random()).collect()).collect();
    let maps = any.iter().filter(|datagram| datagram.first().is_some_and(|first| first >> 4 == 8));
    assert_eq!(passed_on(&any, to, &mut received).await, maps.cloned().collect::<Vec<_>>());
    // A connection goes on beside it, and no packet of it is taken for something else.
    for _ in 0..20 {
        stream(&near, &far).await;
    }
    assert!(received.try_recv().is_err());
}

#[tokio::test]
async fn what_the_dht_has_no_room_for_is_counted_and_lost() {
    let (near, far, dialler) = pair(1).await;
    let (sender, mut received) = mpsc::channel(2);
    dialler.deliver(sender);
    let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let to = dialler.local_addr().unwrap();
    for datagram in [&[0x80; 1501][..], &[0x81], &[0x82], &[0x83], &[0x84]] {
        stranger.send_to(datagram, to).await.unwrap();
    }
    while dialler.lost() < 3 {
        tokio::task::yield_now().await;
    }
    assert_eq!(received.recv().await.unwrap().1[..], [0x81]);
    assert_eq!(received.recv().await.unwrap().1[..], [0x82]);
    // The next node that asks for them gets them.
    let (sender, mut next) = mpsc::channel(2);
    dialler.deliver(sender);
    stranger.send_to(&[0x85], to).await.unwrap();
    assert_eq!(next.recv().await.unwrap().1[..], [0x85]);
    assert!(received.recv().await.is_none());
    stream(&near, &far).await;
}

#[tokio::test]
async fn the_dht_sends_from_where_quic_is() {
    let everywhere = QuicEndpoint::bind(None, QuicTasks::new(TaskTracker::new())).unwrap();
    let other = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    LentSocket::send(&everywhere, other.local_addr().unwrap(), b"hello").await.unwrap();
    let mut buffer = [0; 16];
    let (len, from) = other.recv_from(&mut buffer).await.unwrap();
    assert_eq!((&buffer[..len], from.port()), (&b"hello"[..], everywhere.local_addr().unwrap().port()));
    assert!(everywhere.bound().unwrap().iter().any(SocketAddr::is_ipv4));
}

/// As many first packets as a flood of strangers with the same, forged address.
async fn first_packets(count: usize) -> Vec<Vec<u8>> {
    let identity = Identity::ephemeral().unwrap();
    let recorder = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let at = recorder.local_addr().unwrap();
    let mut packets = Vec::new();
    while packets.len() < count {
        let (dialler, mut packet) = (endpoint(), vec![0; 2048]);
        let target = target(&identity);
        tokio::select! {
            _ = dialler.connect(&at, &target) => panic!("nobody answered"),
            received = recorder.recv(&mut packet) => packet.truncate(received.unwrap()),
        }
        packets.push(packet);
    }
    packets
}

#[tokio::test(start_paused = true)]
async fn a_flood_under_a_forged_address_sends_its_owner_little_and_takes_few_places() {
    const FLOOD: usize = 24;
    let (packets, victim) = (first_packets(FLOOD).await, UdpSocket::bind("127.0.0.1:0").await.unwrap());
    let far = endpoint();
    let at = far.local_addr().unwrap();
    let listener = QuicListener::asking_beyond(far, 4);
    let identity = Identity::ephemeral().unwrap();
    let handshakes = Arc::new(AtomicUsize::new(0));
    let (counted, tls) = (Arc::clone(&handshakes), v2::server_tls(&identity));
    tokio::spawn(async move {
        while let Ok((incoming, _)) = listener.accept().await {
            let (counted, tls) = (Arc::clone(&counted), tls.clone());
            let answer = incoming.answer(move |_| {
                counted.fetch_add(1, Ordering::SeqCst);
                Ok((tls.into(), ()))
            });
            tokio::spawn(timeout(Duration::from_secs(10), answer));
        }
    });
    let mut sent = 0;
    for packet in &packets {
        sent += victim.send_to(packet, at).await.unwrap();
    }
    let (mut came, mut room) = (0, [0; 2048]);
    while let Ok(received) = timeout(Duration::from_secs(60), victim.recv(&mut room)).await {
        came += received.unwrap();
    }
    assert!(came > 0 && came < sent, "{came} bytes came of {sent}");
    assert!((1..=4).contains(&handshakes.load(Ordering::SeqCst)), "{handshakes:?}");
}

#[tokio::test]
async fn a_name_that_is_nobodys_is_refused_in_the_handshake_and_so_is_one_too_many() {
    for (refusal, expected) in [
        (Unserved::UnknownName, "asked for no service of ours"),
        (Unserved::Limit(Limit::Tunnels), "a limit is reached: Tunnels"),
    ] {
        let far = endpoint();
        let at = far.local_addr().unwrap();
        let listener = QuicListener::new(far);
        let accepting = async {
            let (incoming, _) = listener.accept().await.unwrap();
            incoming.answer(move |_| Err::<(_, ()), _>(refusal)).await.map(|_| ()).unwrap_err()
        };
        let (near, target) = (endpoint(), target(&Identity::ephemeral().unwrap()));
        let (dialled, unserved) = tokio::join!(near.connect(&at, &target), accepting);
        assert_eq!(unserved.to_string(), expected);
        match dialled {
            Err(ConnectError::Handshake(reason)) => assert!(reason.starts_with("refused"), "{reason}"),
            other => panic!("{:?}", other.map(|_| ())),
        }
    }
}

#[tokio::test]
async fn the_last_words_arrive_though_nobody_holds_the_connection_any_more() {
    let (near, far, _socket) = pair(1).await;
    let (mut sender, mut receiver) = stream(&near, &far).await;
    let words = vec![7; 3_000_000];
    let sending = async move {
        sender.write_all(&words).await.unwrap();
        sender.finish();
        sender.stop();
        drop((sender, near));
    };
    let receiving = async {
        let mut heard = 0;
        loop {
            match read(&mut receiver).await.unwrap().len() {
                0 => return heard,
                more => heard += more,
            }
        }
    };
    assert_eq!(tokio::join!(sending, receiving).1, 3_000_000);
}

/// Takes what goes at once, and no turn of anybody else.
fn write_now(stream: &mut QuicStream, bytes: &[u8]) -> usize {
    match stream.poll_write(&mut Context::from_waker(std::task::Waker::noop()), bytes) {
        Poll::Ready(written) => written.unwrap(),
        Poll::Pending => 0,
    }
}

#[tokio::test]
async fn a_connection_that_was_kept_alive_ends_with_its_last_user() {
    let (near, far, _socket) = pair(1).await;
    let (mut tunnel, other) = stream(&near, &far).await;
    tunnel.finish();
    tunnel.stop();
    drop((tunnel, other));
    assert!(near.is_alive());
    drop(near);
    let mut next = far.accept();
    let ended = timeout(Duration::from_secs(5), poll_fn(|cx| next.poll(cx))).await;
    assert_eq!(ended.expect("at once, and not at the next sign of life").unwrap_err(), QuicEnd::Other);
}

#[tokio::test]
async fn as_much_waits_for_the_peer_as_its_distance_asks_for() {
    let (near, far, _socket) = pair(1).await;
    let (mut reader, mut writer) = stream(&near, &far).await;
    let chunk = vec![7; 64 * 1024];
    let mut taken = 0;
    loop {
        match write_now(&mut writer, &chunk) {
            0 => break,
            written => taken += written,
        }
    }
    let most = usize::try_from(far.most_sent()).unwrap();
    assert!((most / 2..=most).contains(&taken), "{taken} bytes wait of {most}");
    let mut heard = 0;
    while heard < taken {
        heard += read(&mut reader).await.unwrap().len();
    }
}

#[tokio::test]
async fn a_stream_that_is_broken_off_says_why_and_leaves_the_others() {
    let (near, far, _socket) = pair(1).await;
    let (mut broken, mut other) = stream(&near, &far).await;
    let (mut whole, mut end) = stream(&near, &far).await;
    broken.reset(ResetReason::IDLE);
    assert_eq!(read(&mut other).await, Err(StreamEnd::Reset(ResetReason::IDLE)));
    let writing = poll_fn(|cx| other.poll_write(cx, b"on"));
    assert_eq!(writing.await, Err(StreamEnd::Reset(ResetReason::IDLE)));
    whole.write_all(b"on").await.unwrap();
    assert_eq!(read(&mut end).await, Ok(b"on".to_vec()));
    drop(whole);
    assert_eq!(read(&mut end).await, Err(StreamEnd::Reset(ResetReason::UNSPECIFIED)));
}

#[tokio::test]
async fn a_listener_that_closes_says_that_nothing_was_looked_at() {
    let (near, far, _socket) = pair(1).await;
    let mut asking = near.open().unwrap();
    asking.write_all(b"anybody?").await.unwrap();
    far.close();
    assert_eq!(read(&mut asking).await, Err(StreamEnd::Lost(QuicEnd::Unused)));
    assert!(!near.is_alive() && near.open().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_silent_tunnel_is_kept_and_with_nothing_open_nothing_is_sent() {
    let (near, far, _socket) = pair(1).await;
    let (tunnel, _other) = stream(&near, &far).await;
    sleep(Duration::from_secs(3600)).await;
    assert!(near.is_alive() && far.is_alive() && near.is_in_use());
    drop(tunnel);
    assert!(!near.is_in_use());
    sleep(Duration::from_secs(1)).await;
    let before = (near.datagrams_sent(), far.datagrams_sent());
    sleep(Duration::from_secs(100)).await;
    assert_eq!((near.datagrams_sent(), far.datagrams_sent()), before);
    assert!(near.is_alive() && far.is_alive());
    sleep(Duration::from_secs(60)).await;
    assert!(!near.is_alive() && !far.is_alive(), "nobody waits for ever");
}

/// A socket that loses everything.
#[derive(Debug)]
struct Mute(SocketAddr);

impl quinn::AsyncUdpSocket for Mute {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn quinn::UdpPoller>> {
        Box::pin(AlwaysWritable)
    }
    fn try_send(&self, _: &quinn::udp::Transmit<'_>) -> io::Result<()> {
        Ok(())
    }
    fn poll_recv(
        &self,
        _: &mut Context<'_>,
        _: &mut [io::IoSliceMut<'_>],
        _: &mut [quinn::udp::RecvMeta],
    ) -> Poll<io::Result<usize>> {
        Poll::Pending
    }
    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.0)
    }
}

#[derive(Debug)]
struct AlwaysWritable;

impl quinn::UdpPoller for AlwaysWritable {
    fn poll_writable(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Looks once a second, as a tunnel does.
async fn gone_after(connection: &QuicConnection, limit: Duration) -> Option<Duration> {
    let (mut liveness, began) = (Liveness::default(), Instant::now());
    connection.ask_after(true);
    while began.elapsed() < limit {
        if liveness.handle(Instant::now().into_std(), &connection.path_state()) {
            return Some(began.elapsed());
        }
        sleep(Duration::from_secs(1)).await;
    }
    None
}

#[tokio::test(start_paused = true)]
async fn who_does_not_answer_is_gone_after_ten_seconds_and_who_is_quiet_is_not() {
    let (near, far, socket) = pair(1).await;
    let (mut tunnel, mut other) = stream(&near, &far).await;
    // Neither has anything to say, nor is read from.
    tunnel.write_all(&[7; 100_000]).await.unwrap();
    assert_eq!(gone_after(&near, Duration::from_secs(600)).await, None);
    assert_eq!(gone_after(&far, Duration::from_secs(600)).await, None);
    read(&mut other).await.unwrap();
    socket.endpoint.rebind_abstract(Arc::new(Mute(socket.local_addr().unwrap()))).unwrap();
    for connection in [&near, &far] {
        let gone = gone_after(connection, Duration::from_secs(600)).await.unwrap();
        assert!((GONE..GONE * 2).contains(&gone), "{gone:?}");
    }
}

#[tokio::test]
async fn a_download_goes_on_when_the_dialler_has_another_address() {
    let (near, far, socket) = pair(1).await;
    let (mut reader, mut writer) = stream(&near, &far).await;
    let before = far.remote_address();
    writer.write_all(b"one").await.unwrap();
    assert_eq!(read(&mut reader).await, Ok(b"one".to_vec()));
    socket.endpoint.rebind(std::net::UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
    for _ in 0..50 {
        writer.write_all(&[7; 10_000]).await.unwrap();
        let mut heard = 0;
        while heard < 10_000 {
            heard += read(&mut reader).await.unwrap().len();
        }
    }
    assert_ne!(far.remote_address(), before);
    socket.moved();
    writer.write_all(b"two").await.unwrap();
    assert_eq!(read(&mut reader).await, Ok(b"two".to_vec()));
}
