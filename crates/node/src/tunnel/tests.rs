//! Tunnels over every transport, by every session: what is promised of one is promised of all.

use std::future::poll_fn;
use std::io;
#[cfg(feature = "quic")]
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use hardline_proto::KeyHash;
#[cfg(feature = "quic")]
use hardline_proto::call::CallId;
use hardline_proto::candidate::{Candidate, Way};
use hardline_proto::host::ServiceName;
use hardline_proto::hosts::HostPort;
use hardline_proto::network::NetworkState;
use hardline_proto::path::{Path, PathKind};
use hardline_proto::preamble::Preamble;
#[cfg(feature = "quic")]
use hardline_proto::punch::{Attempt, Plan, Role};
use hardline_proto::tunnel::{Kind, Open, Reason, Refusal};
use rustls::ClientConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
#[cfg(feature = "quic")]
use tokio::time::Instant;
#[cfg(feature = "quic")]
use tokio_util::task::TaskTracker;

use super::{Drain, Side, relay};
use crate::config::IdleLimits;
use crate::discovery::OWN;
use crate::session::{
    Begun, Connection, DiallerSession, Idle, ListenerSession, NoSession, NoTunnel, Pool, PreambleFailure, Purpose,
    Route, ServerTls, TunnelStream, v1, v2,
};
use crate::tls::identity::Identity;
use crate::tls::sni;
use crate::transport::memory::{Memory, MemoryAddr, MemoryListener, MemoryStream};
#[cfg(feature = "quic")]
use crate::transport::quic::{QuicConnection, QuicEndpoint, QuicListener, QuicTasks};
use crate::transport::relay::tests::RelayedHome;
use crate::transport::tcp::Tcp;
use crate::transport::{ByteStream, ConnectError, Connected, Incoming, Listener, Reset, Target, Transport};

/// A transport, with a listener of its own.
trait Ground: Transport<Connection: Connection> + Send + 'static {
    type Listener: Listener<Incoming: Incoming<Connection: Connection>> + 'static;

    fn new() -> Self;

    /// Lets in who asks for `key`.
    async fn listen(key: KeyHash) -> (Self::Listener, Self::Address);
}

impl Ground for Tcp {
    type Listener = TcpListener;

    fn new() -> Self {
        Self
    }

    async fn listen(_key: KeyHash) -> (TcpListener, HostPort) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap().into();
        (listener, at)
    }
}

impl Ground for Memory {
    type Listener = MemoryListener;

    fn new() -> Self {
        Self
    }

    async fn listen(_key: KeyHash) -> (MemoryListener, MemoryAddr) {
        MemoryListener::bind()
    }
}

#[cfg(feature = "quic")]
impl Ground for QuicEndpoint {
    type Listener = QuicListener;

    fn new() -> Self {
        Self::bind(Some(([127, 0, 0, 1], 0).into()), QuicTasks::new(TaskTracker::new())).unwrap()
    }

    async fn listen(_key: KeyHash) -> (QuicListener, SocketAddr) {
        let endpoint = Self::new();
        let at = endpoint.local_addr().unwrap();
        (QuicListener::new(endpoint), at)
    }
}

/// A relay joins both sides, over loopback; its control connection and its data connections are
/// real ones.
struct Relayed(Tcp);

impl Transport for Relayed {
    type Address = HostPort;
    type Connection = <Tcp as Transport>::Connection;

    fn connect(
        &self,
        at: &HostPort,
        target: &Target,
    ) -> impl Future<Output = Result<Connected<Self::Connection>, ConnectError>> + Send {
        self.0.connect(at, target)
    }
}

impl Ground for Relayed {
    type Listener = RelayedHome;

    fn new() -> Self {
        Self(Tcp)
    }

    async fn listen(key: KeyHash) -> (RelayedHome, HostPort) {
        RelayedHome::registered(*key.as_bytes()).await
    }
}

/// Two sockets of QUIC between which probes go before each connection, as behind NATs.
#[cfg(feature = "quic")]
struct Punched(QuicEndpoint);

/// Where the other side is, and who hears the call there.
#[cfg(feature = "quic")]
struct PunchedAddr {
    at: SocketAddr,
    called: QuicEndpoint,
}

#[cfg(feature = "quic")]
impl Transport for Punched {
    type Address = PunchedAddr;
    type Connection = QuicConnection;

    async fn connect(
        &self,
        PunchedAddr { at, called }: &PunchedAddr,
        target: &Target,
    ) -> Result<Connected<QuicConnection>, ConnectError> {
        let (id, now) = (CallId::from_bytes(rand::random()), Instant::now().into_std());
        let attempt = |role, to| Attempt::new(now, role, &id, &[to], Plan::Few, rand::random());
        let mut punch = self.0.punch(attempt(Role::Dialler, *at));
        called.answer_probes(attempt(Role::Publisher, self.0.local_addr().unwrap()));
        let opened = punch.opened().await.expect("probes get through");
        self.0.connect(&opened.remote, target).await
    }
}

#[cfg(feature = "quic")]
impl Ground for Punched {
    type Listener = QuicListener;

    fn new() -> Self {
        Self(<QuicEndpoint as Ground>::new())
    }

    async fn listen(_key: KeyHash) -> (QuicListener, PunchedAddr) {
        let called = <QuicEndpoint as Ground>::new();
        let at = called.local_addr().unwrap();
        (QuicListener::new(called.clone()), PunchedAddr { at, called })
    }
}

/// Runs a test over every transport, with diallers of every version that it knows.
macro_rules! over_all {
    ($test:ident) => {
        #[cfg(feature = "quic")]
        $test(House::<QuicEndpoint>::new(v2::VERSION).await).await;
        #[cfg(feature = "quic")]
        $test(House::<Punched>::new(v2::VERSION).await).await;
        for version in [v1::VERSION, v2::VERSION] {
            $test(House::<Tcp>::new(version).await).await;
            $test(House::<Memory>::new(version).await).await;
            $test(House::<Relayed>::new(version).await).await;
        }
    };
}

/// A service, the way to it, and the programs behind it.
struct House<G: Ground> {
    version: u16,
    key: KeyHash,
    tls: Arc<ClientConfig>,
    transport: G,
    at: G::Address,
    service: Arc<Service>,
    /// A connection to the backend for each tunnel.
    programs: mpsc::UnboundedReceiver<MemoryStream>,
    _stop: tokio_util::sync::DropGuard,
}

struct Service {
    tls: ServerTls,
    connections: AtomicUsize,
    is_down: AtomicBool,
    /// Ends when the next question may be answered.
    held: Mutex<Option<oneshot::Receiver<()>>>,
    backend: Mutex<mpsc::UnboundedSender<MemoryStream>>,
}

impl<G: Ground> House<G> {
    async fn new(version: u16) -> Self {
        let identity = Identity::ephemeral().unwrap();
        let key = identity.key;
        let (listener, at) = G::listen(key).await;
        let (backend, programs) = mpsc::unbounded_channel();
        let service = Arc::new(Service {
            tls: ServerTls::new((&identity).into()),
            connections: AtomicUsize::new(0),
            is_down: AtomicBool::new(false),
            held: Mutex::default(),
            backend: Mutex::new(backend),
        });
        let drain = Drain::new(None);
        let _stop = drain.kill.clone().drop_guard();
        let serving = Arc::clone(&service);
        tokio::spawn(async move {
            while let Ok((incoming, _)) = listener.accept().await {
                serving.connections.fetch_add(1, Ordering::SeqCst);
                let (service, drain) = (Arc::clone(&serving), drain.clone());
                tokio::spawn(async move { service.serve(incoming, drain).await });
            }
        });
        let tls = if version == v1::VERSION { v1::client_tls(key) } else { v2::client_tls(key, true) };
        Self { version, key, tls, transport: G::new(), at, service, programs, _stop }
    }

    fn target(&self) -> Target {
        let name = sni::server_name(self.key).unwrap();
        Target { key: self.key, tls: Arc::clone(&self.tls), name, pseudonym: None, pass: None }
    }

    async fn dial(&self, purpose: Purpose) -> Result<Box<dyn DiallerSession>, NoSession> {
        Ok(self.begin(purpose, b"").await?.session)
    }

    /// Begins a session, with `early` behind its first question.
    async fn begin(&self, purpose: Purpose, early: &[u8]) -> Result<Begun<dyn DiallerSession>, NoSession> {
        let connected = self.transport.connect(&self.at, &self.target()).await.unwrap();
        let begun = connected.connection.dial(&Preamble::default(), purpose, early).await?;
        assert_eq!(begun.session.version(), self.version);
        Ok(begun)
    }

    /// A tunnel, and the backend's end of it.
    async fn tunnel(&mut self) -> (TunnelStream, MemoryStream) {
        let tunnel = TunnelStream::last(self.dial(Purpose::Tunnel(Kind::Stream)).await.unwrap());
        (tunnel, self.programs.recv().await.unwrap())
    }

    fn connections(&self) -> usize {
        self.service.connections.load(Ordering::SeqCst)
    }
}

impl Service {
    async fn serve<I: Incoming<Connection: Connection>>(self: Arc<Self>, incoming: I, drain: Drain) -> Option<()> {
        let tls = self.tls.clone();
        let (connection, ()) = incoming.answer(move |hello| Ok((tls.choose(hello), ()))).await.ok()?;
        let Begun { mut session, .. } = connection.listen(Preamble::default(), false).await.ok()?;
        loop {
            let open = poll_fn(|cx| session.poll_next_tunnel(cx)).await.ok()?;
            if let Some(mut tunnel) = session.detach() {
                let (this, drain) = (Arc::clone(&self), drain.clone());
                tokio::spawn(async move { this.carry(&mut *tunnel, open, &drain).await });
                continue;
            }
            self.carry(&mut *session, open, &drain).await?;
            if !session.is_idle() {
                return None;
            }
        }
    }

    async fn carry(&self, session: &mut dyn ListenerSession, open: Open, drain: &Drain) -> Option<()> {
        if self.is_down.load(Ordering::SeqCst) {
            let refusal = Refusal { reason: Reason::Backend, unknown: open.unknown };
            return session.refuse(refusal).await.ok();
        }
        let (mut near, far) = MemoryStream::pair();
        self.backend.lock().unwrap().send(far).ok()?;
        let held = self.held.lock().unwrap().take();
        if let Some(held) = held {
            let _ = held.await;
        }
        // As one does that knows of no datagrams.
        session.grant(Kind::Stream).await.ok()?;
        relay(&mut near, Side::Service, session, drain).await;
        Some(())
    }
}

/// Sends `text` and its end, and returns what came to the end of the other direction.
async fn exchange(stream: &mut impl ByteStream, text: &[u8]) -> io::Result<Vec<u8>> {
    let (mut from, mut to) = tokio::io::split(stream);
    let mut heard = Vec::new();
    let sending = async {
        to.write_all(text).await?;
        to.shutdown().await
    };
    tokio::try_join!(sending, from.read_to_end(&mut heard))?;
    Ok(heard)
}

async fn say(tunnel: TunnelStream, mut program: MemoryStream) {
    let mut tunnel = tunnel;
    tunnel.write_all(b"question").await.unwrap();
    tunnel.shutdown().await.unwrap();
    assert_eq!(exchange(&mut program, b"answer").await.unwrap(), b"question");
    let mut heard = Vec::new();
    tunnel.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard, b"answer");
}

#[tokio::test]
async fn all_that_is_sent_arrives_in_both_directions_at_once() {
    async fn test<G: Ground>(mut house: House<G>) {
        let (tunnel, mut program) = house.tunnel().await;
        let (question, answer) = (vec![7; 3_000_000], vec![9; 2_000_000]);
        let (mut from, mut to) = tokio::io::split(tunnel);
        let mut heard = Vec::new();
        let sending = async {
            to.write_all(&question).await.unwrap();
            to.shutdown().await.unwrap();
        };
        let (asked, (), _) = tokio::join!(exchange(&mut program, &answer), sending, from.read_to_end(&mut heard));
        assert!(asked.unwrap() == question && heard == answer, "version {}", house.version);
    }
    over_all!(test);
}

#[tokio::test]
async fn the_first_payload_goes_with_the_question_over_a_new_connection() {
    async fn test<G: Ground>(mut house: House<G>) {
        // More than fits behind the question, too.
        for early in [vec![7; 5], vec![7; 40_000]] {
            let Begun { session, sent, .. } = house.begin(Purpose::Tunnel(Kind::Stream), &early).await.unwrap();
            let all = sent == early.len();
            assert!(if house.version == v2::VERSION { all || sent > 16_000 } else { sent == 0 }, "{sent}");
            let mut program = house.programs.recv().await.unwrap();
            let mut come = vec![0; sent];
            program.read_exact(&mut come).await.unwrap();
            assert_eq!(come, early[..sent]);
            say(TunnelStream::last(session), program).await;
        }
    }
    over_all!(test);
}

#[tokio::test]
async fn payload_that_went_with_a_refused_question_is_thrown_away() {
    async fn test<G: Ground>(mut house: House<G>) {
        house.service.is_down.store(true, Ordering::SeqCst);
        house.begin(Purpose::Tunnel(Kind::Stream), b"early").await.map(|_| ()).unwrap_err();
        house.service.is_down.store(false, Ordering::SeqCst);
        let (tunnel, program) = house.tunnel().await;
        say(tunnel, program).await;
    }
    over_all!(test);
}

/// Who waits for the answer no more, because another connection was quicker.
#[tokio::test]
async fn payload_of_a_question_that_was_overtaken_is_cut_off() {
    async fn test<G: Ground>(mut house: House<G>) {
        if house.version == v1::VERSION {
            return;
        }
        let (answer, held) = oneshot::channel::<()>();
        *house.service.held.lock().unwrap() = Some(held);
        let mut programs = std::mem::replace(&mut house.programs, mpsc::unbounded_channel().1);
        let mut program = tokio::select! {
            _ = house.begin(Purpose::Tunnel(Kind::Stream), b"early") => panic!("it was not answered yet"),
            program = programs.recv() => program.unwrap(),
        };
        drop(answer);
        let mut come = Vec::new();
        let is_broken = program.read_to_end(&mut come).await.is_err();
        assert!(is_broken || come.is_empty(), "it looks whole: {come:?}");
    }
    over_all!(test);
}

#[tokio::test]
async fn a_direction_that_has_ended_leaves_the_other_one_open() {
    async fn test<G: Ground>(mut house: House<G>) {
        let (tunnel, program) = house.tunnel().await;
        say(tunnel, program).await;
        let (mut tunnel, mut program) = house.tunnel().await;
        program.write_all(b"first").await.unwrap();
        program.shutdown().await.unwrap();
        let mut heard = Vec::new();
        tunnel.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"first");
        tunnel.write_all(b"then").await.unwrap();
        tunnel.shutdown().await.unwrap();
        let mut heard = Vec::new();
        program.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"then");
    }
    over_all!(test);
}

#[tokio::test]
async fn a_backend_that_breaks_is_seen_as_broken() {
    async fn test<G: Ground>(mut house: House<G>) {
        let (mut tunnel, mut program) = house.tunnel().await;
        program.write_all(b"half an answ").await.unwrap();
        tunnel.read_exact(&mut [0; 12]).await.unwrap();
        program.reset_on_close(hardline_proto::tunnel::frame::ResetReason::APPLICATION);
        drop(program);
        let error = tunnel.read_to_end(&mut Vec::new()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "version {}", house.version);
    }
    over_all!(test);
}

#[tokio::test]
async fn a_dialler_that_breaks_off_is_a_reset_at_the_backend() {
    async fn test<G: Ground>(mut house: House<G>) {
        let (mut tunnel, mut program) = house.tunnel().await;
        tunnel.write_all(b"half a quest").await.unwrap();
        program.read_exact(&mut [0; 12]).await.unwrap();
        tunnel.carrier().unwrap().reset_on_close(hardline_proto::tunnel::frame::ResetReason::APPLICATION);
        drop(tunnel);
        let error = program.read_to_end(&mut Vec::new()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "version {}", house.version);
    }
    over_all!(test);
}

#[tokio::test]
async fn a_backend_that_is_down_is_told_apart_from_a_computer_that_is_away() {
    async fn test<G: Ground>(house: House<G>) {
        house.service.is_down.store(true, Ordering::SeqCst);
        match (house.version, house.dial(Purpose::Tunnel(Kind::Stream)).await.unwrap_err()) {
            (v1::VERSION, NoSession::Preamble(PreambleFailure::Closed)) => {}
            (v2::VERSION, NoSession::Tunnel(NoTunnel::Refused(refusal))) => assert_eq!(refusal.reason, Reason::Backend),
            (version, other) => panic!("version {version}: {other}"),
        }
    }
    over_all!(test);
}

#[tokio::test]
async fn who_asks_for_datagrams_and_is_granted_a_stream_knows_that_the_service_speaks_no_udp() {
    async fn test<G: Ground>(house: House<G>) {
        match house.dial(Purpose::Tunnel(Kind::Datagrams)).await.unwrap_err() {
            NoSession::Tunnel(NoTunnel::Refused(refusal)) => assert_eq!(refusal.reason, Reason::NoUdp),
            other => panic!("version {}: {other}", house.version),
        }
    }
    over_all!(test);
}

/// Asks for a tunnel and waits for it.
async fn open(session: &mut dyn DiallerSession, early: &[u8]) -> Result<usize, NoTunnel> {
    let sent = session.ask(Kind::Stream, early).await?;
    session.answered().await.map(|()| sent)
}

fn route(way: Way) -> Arc<Route> {
    let addr = SocketAddr::from(([203, 0, 113, 5], 1)).into();
    let path = Path::new(&addr, way, None, &NetworkState::default());
    Arc::new(Route::new(Candidate { addr, source: OWN, version: None, way }, path))
}

/// What stands decides, also while its sessions all carry tunnels.
#[tokio::test]
async fn idle_sessions_over_a_worse_path_are_let_go_once_a_better_one_stands() {
    async fn test<G: Ground>(mut house: House<G>) {
        let pool = Pool::new(IdleLimits::DIALLER);
        let name = ServiceName { key: house.key, password: None };
        let [relayed, direct] = [Way::Relayed, Way::Straight].map(route);
        let mut sessions = Vec::new();
        for _ in 0..4 {
            let session = house.dial(Purpose::Tunnel(Kind::Stream)).await.unwrap();
            if !session.is_reusable() {
                return;
            }
            say(TunnelStream::lent(session, |_| ()), house.programs.recv().await.unwrap()).await;
            sessions.push(house.dial(Purpose::Prewarm).await.unwrap());
        }
        let mut put = |route: &Arc<Route>| pool.put(&name, Idle::new(sessions.pop().unwrap(), Arc::clone(route), 0));
        let kinds = || pool.routes().iter().map(|(_, route)| route.kind()).collect::<Vec<_>>();
        pool.stand(&name, &relayed);
        put(&relayed);
        assert_eq!(kinds(), [PathKind::Relay]);
        pool.stand(&name, &direct);
        assert_eq!(kinds(), []);
        put(&relayed);
        assert_eq!(kinds(), [], "one whose tunnel ended later");
        put(&direct);
        assert_eq!(kinds(), [PathKind::Direct]);
        // The better one is gone: what there is, is kept.
        pool.forget(&name);
        put(&relayed);
        assert_eq!(kinds(), [PathKind::Relay]);
    }
    over_all!(test);
}

#[tokio::test]
async fn a_session_goes_back_to_the_pool_and_carries_the_next_tunnel_if_it_can() {
    async fn test<G: Ground>(mut house: House<G>) {
        let pool = Arc::new(Pool::new(IdleLimits::DIALLER));
        let name = ServiceName { key: house.key, password: None };
        let route = route(Way::Straight);
        let lend = |session: Box<dyn DiallerSession>| {
            let (pool, name, route) = (Arc::clone(&pool), name.clone(), Arc::clone(&route));
            TunnelStream::lent(session, move |session| pool.put(&name, Idle::new(session, route, 0)))
        };
        let first = house.dial(Purpose::Tunnel(Kind::Stream)).await.unwrap();
        let is_reusable = first.is_reusable();
        say(lend(first), house.programs.recv().await.unwrap()).await;
        for _ in 0..3 {
            let Some(idle) = pool.take(&name) else { break };
            assert!(is_reusable);
            let mut session = idle.session;
            assert_eq!(open(&mut *session, b"early").await.unwrap(), 5);
            let mut program = house.programs.recv().await.unwrap();
            program.read_exact(&mut [0; 5]).await.unwrap();
            say(lend(session), program).await;
        }
        assert_eq!((pool.take(&name).is_some(), house.connections()), (is_reusable, 1));
        assert_eq!(is_reusable, house.version == v2::VERSION);
    }
    over_all!(test);
}

/// Those after the first are opened over its connection, and none waits for another.
#[cfg(feature = "quic")]
#[tokio::test]
async fn a_connection_with_streams_carries_many_tunnels_at_once() {
    let mut house = House::<QuicEndpoint>::new(v2::VERSION).await;
    let first = house.dial(Purpose::Tunnel(Kind::Stream)).await.unwrap();
    let mut tunnels = Vec::new();
    for _ in 0..50 {
        let mut session = first.another().unwrap();
        open(&mut *session, b"early").await.unwrap();
        tunnels.push(session);
    }
    let _program_of_the_first = house.programs.recv().await.unwrap();
    assert!(first.is_in_use() && !first.is_idle());
    for session in tunnels {
        let mut program = house.programs.recv().await.unwrap();
        program.read_exact(&mut [0; 5]).await.unwrap();
        program.write_all(b"whose?").await.unwrap();
        program.shutdown().await.unwrap();
        let mut tunnel = TunnelStream::last(session);
        tunnel.shutdown().await.unwrap();
        let mut heard = Vec::new();
        program.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"");
        tunnel.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"whose?");
    }
    assert_eq!(house.connections(), 1);
}

#[tokio::test]
async fn a_refused_session_is_idle_and_reaches_the_backend_when_it_is_up() {
    async fn test<G: Ground>(mut house: House<G>) {
        let mut session = match house.dial(Purpose::Prewarm).await {
            Ok(session) => session,
            Err(error) => return assert!(matches!(error, NoSession::NeverIdle) && house.version == v1::VERSION),
        };
        assert!(session.is_quiet());
        house.service.is_down.store(true, Ordering::SeqCst);
        assert!(matches!(open(&mut *session, b"lost").await, Err(NoTunnel::Refused(_))));
        assert!(session.is_idle());
        house.service.is_down.store(false, Ordering::SeqCst);
        open(&mut *session, b"").await.unwrap();
        say(TunnelStream::last(session), house.programs.recv().await.unwrap()).await;
        assert_eq!(house.connections(), 1);
    }
    over_all!(test);
}

#[tokio::test]
async fn somebody_else_gets_no_session() {
    async fn test<G: Ground>(house: House<G>) {
        let other = Identity::ephemeral().unwrap().key;
        let tls = v2::client_tls(other, true);
        // By the name of the house, since a relay knows no other.
        let target =
            Target { key: other, tls, name: sni::server_name(house.key).unwrap(), pseudonym: None, pass: None };
        match house.transport.connect(&house.at, &target).await {
            Err(ConnectError::WrongKey(got)) => assert_eq!(got, house.key),
            other => panic!("{:?}", other.map(|_| "connected")),
        }
    }
    over_all!(test);
}
