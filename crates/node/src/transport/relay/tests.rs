//! Relay and publisher over loopback, with real TLS on the control connection.

#[cfg(feature = "quic")]
mod calls; // calls that a relay carries

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hardline_proto::KeyHash;
use hardline_proto::hosts::{HostList, HostPort};
use hardline_proto::relay::dial_back::PER_WINDOW;
use hardline_proto::relay::message::{DialBackOutcome, FromPublisher, FromRelay, dial_back_preamble};
use hardline_proto::relay::registry::RelayLimits;
use hardline_proto::relay::{Id, Name, RelayUrl};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::dial_back::DialBacks;
use super::lines::Lines;
use super::port::{P2pListener, Witness};
use super::publisher::client_tls;
use super::publisher::{Publisher, RegistrationStatus, RelayedCall, RelayedListener};
use super::server::Relay;
use super::tokens::TokenFile;
use super::verify::ToVerify;
use crate::config::{IdentityConfig, RelayConfig};
use crate::metrics::Metrics;
use crate::network::NetworkState;
use crate::tls;
use crate::tls::config::pinned_client;
use crate::tls::identity::Identity;
use crate::transport::{Incoming, Listener, Unserved, handshake};

const SOON: Duration = Duration::from_secs(10);
const A: Name = [0xa1; 20];
const B: Name = [0xb2; 20];

/// A relay that listens.
struct World {
    folder: tempfile::TempDir,
    relay: Arc<Relay>,
    at: SocketAddr,
    stop: CancellationToken,
    _stop: tokio_util::sync::DropGuard,
}

/// A publisher, and the clients that have come to it.
struct Home {
    clients: RelayedListener,
    names: watch::Sender<Vec<Name>>,
    network: watch::Sender<Arc<NetworkState>>,
    status: watch::Receiver<RegistrationStatus>,
    stop: CancellationToken,
    _stop: tokio_util::sync::DropGuard,
}

/// The defaults; the identity is made by the test.
fn config() -> RelayConfig {
    RelayConfig::new(IdentityConfig::Ephemeral)
}

impl World {
    async fn new(config: RelayConfig) -> Self {
        Self::at("127.0.0.1", config).await
    }

    async fn at(ip: &str, config: RelayConfig) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tokens = TokenFile::new(folder.path());
        tokens.first().unwrap();
        tokens.add("bob").unwrap();
        let (identity, _) = Identity::load_or_create(&folder.path().join("relay")).unwrap();
        let stop = CancellationToken::new();
        let relay =
            Relay::new(&identity, config, tokens, Metrics::default(), TaskTracker::new(), stop.clone()).unwrap();
        let listener = TcpListener::bind((ip, 0)).await.unwrap();
        let at = listener.local_addr().unwrap();
        tokio::spawn(accept(port(listener, Some(&relay), Arc::default()), stop.clone()));
        Self { folder, relay, at, _stop: stop.clone().drop_guard(), stop }
    }

    /// The same relay again, as after a restart of its program.
    async fn restarted(self) -> Self {
        self.stop.cancel();
        let listener = loop {
            match TcpListener::bind(self.at).await {
                Ok(listener) => break listener,
                Err(_) => tokio::task::yield_now().await,
            }
        };
        let (identity, _) = Identity::load_or_create(&self.folder.path().join("relay")).unwrap();
        let stop = CancellationToken::new();
        let config = config();
        let relay =
            Relay::new(&identity, config, self.tokens(), Metrics::default(), TaskTracker::new(), stop.clone()).unwrap();
        tokio::spawn(accept(port(listener, Some(&relay), Arc::default()), stop.clone()));
        Self { relay, _stop: stop.clone().drop_guard(), stop, ..self }
    }

    fn tokens(&self) -> TokenFile {
        TokenFile::new(self.folder.path())
    }

    fn url(&self, token: &str) -> RelayUrl {
        let token = self.tokens().list().unwrap().into_iter().find(|it| it.name == token).unwrap();
        RelayUrl { token: token.secret, at: Some(self.at.into()), key: self.relay.key }
    }

    fn home(&self, url: RelayUrl, id: u8, names: &[Name]) -> Home {
        self.home_told(url, id, names, nothing_to_verify())
    }

    fn home_told(&self, url: RelayUrl, id: u8, names: &[Name], to_verify: ToVerify) -> Home {
        self.home_called(url, id, names, to_verify, None)
    }

    fn home_called(
        &self,
        url: RelayUrl,
        id: u8,
        names: &[Name],
        to_verify: ToVerify,
        calls: Option<mpsc::Sender<RelayedCall>>,
    ) -> Home {
        let (relayed, clients) = RelayedListener::new();
        let (names, names_receiver) = watch::channel(names.to_vec());
        let (network, network_receiver) = watch::channel(Arc::default());
        let connecting = RegistrationStatus::Connecting { problem: None };
        let (status_sender, status) = watch::channel(connecting);
        let stop = CancellationToken::new();
        let publisher = Publisher {
            locate: Box::new(locate(url.at.clone().unwrap())),
            relay: url,
            id: Id::from_bytes([id; 16]),
            names: names_receiver,
            network: network_receiver,
            relayed,
            calls,
            to_verify,
            tell: Box::new(move |status, _| drop(status_sender.send_replace(status))),
            tasks: TaskTracker::new(),
            stop: stop.clone(),
        };
        tokio::spawn(publisher.run());
        Home { clients, names, network, status, _stop: stop.clone().drop_guard(), stop }
    }

    async fn registered(&self, id: u8, names: &[Name]) -> Home {
        let mut home = self.home(self.url("first"), id, names);
        home.is(|status| matches!(status, RegistrationStatus::Registered { .. })).await;
        home
    }

    /// A client that says a real hello to `name`, and what it said.
    async fn client(&self, name: Name) -> (TcpStream, Vec<u8>) {
        let mut tcp = TcpStream::connect(self.at).await.unwrap();
        let hello = hello(name);
        tcp.write_all(&hello).await.unwrap();
        (tcp, hello)
    }
}

impl Home {
    async fn is(&mut self, wanted: impl FnMut(&RegistrationStatus) -> bool) {
        timeout(SOON, self.status.wait_for(wanted)).await.expect("in time").expect("it runs");
    }

    async fn client(&mut self) -> (TcpStream, SocketAddr) {
        let (client, addr) = timeout(SOON, self.clients.accept()).await.expect("in time").unwrap();
        (client.0, addr)
    }
}

/// Where clients come in of a publisher that is registered at a relay; both live as long as this.
pub(crate) struct RelayedHome {
    home: Home,
    _world: World,
}

impl RelayedHome {
    /// Registers `name`. Returns where the relay listens as well.
    pub(crate) async fn registered(name: Name) -> (Self, HostPort) {
        let world = World::new(config()).await;
        let (home, at) = (world.registered(1, &[name]).await, world.at.into());
        (Self { home, _world: world }, at)
    }
}

impl Listener for RelayedHome {
    type Incoming = super::publisher::RelayedIncoming;

    async fn accept(&self) -> io::Result<(Self::Incoming, SocketAddr)> {
        self.home.clients.accept().await
    }
}

fn nothing_to_verify() -> ToVerify {
    ToVerify { wanted: watch::channel(HostList::default()).1, dial_backs: Arc::default(), tell: Arc::new(|_, _| {}) }
}

fn port(listener: TcpListener, relay: Option<&Arc<Relay>>, dial_backs: Arc<DialBacks>) -> P2pListener {
    P2pListener { listener, relay: relay.cloned(), witness: Witness { dial_backs, came: Arc::new(|_, _| {}) } }
}

/// As a node's listening side does it, without services of its own.
async fn accept(listener: P2pListener, stop: CancellationToken) {
    while let Some(Ok((incoming, _))) = stop.run_until_cancelled(listener.accept()).await {
        tokio::spawn(incoming.answer(|_| Err::<(_, ()), _>(Unserved::UnknownName)));
    }
}

fn locate(at: HostPort) -> impl Fn() -> mpsc::Receiver<HostPort> {
    move || {
        let (sender, receiver) = mpsc::channel(1);
        sender.try_send(at.clone()).unwrap();
        receiver
    }
}

/// The first flight of a TLS client.
fn hello(name: Name) -> Vec<u8> {
    let key = KeyHash::from_bytes(name);
    let name = ServerName::try_from(key.to_string()).unwrap();
    let mut client = rustls::ClientConnection::new(Arc::new(pinned_client(key)), name).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

/// Sends bytes both ways and compares them.
async fn exchange(client: &mut TcpStream, home: &mut TcpStream, hello: &[u8]) {
    let mut got = vec![0; hello.len()];
    home.read_exact(&mut got).await.unwrap();
    assert_eq!(got, hello, "what the client said first");
    send(client, home).await;
    send(home, client).await;
}

async fn send(from: &mut TcpStream, to: &mut TcpStream) {
    from.write_all(b"bytes as they are").await.unwrap();
    let mut got = [0; 17];
    timeout(SOON, to.read_exact(&mut got)).await.expect("in time").unwrap();
    assert_eq!(&got, b"bytes as they are");
}

async fn is_reset(tcp: &mut TcpStream) {
    let read = timeout(SOON, async {
        loop {
            match tcp.read(&mut [0; 64]).await {
                Ok(0) => break Ok(0),
                Ok(_) => {}
                Err(error) => break Err(error),
            }
        }
    });
    assert_eq!(read.await.expect("in time").unwrap_err().kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_client_reaches_the_publisher_byte_for_byte_and_its_address_is_told() {
    let world = World::new(config()).await;
    let mut home = world.registered(1, &[A]).await;
    for _ in 0..50 {
        let (mut client, hello) = world.client(A).await;
        let (mut tcp, addr) = home.client().await;
        assert_eq!(addr, client.local_addr().unwrap());
        exchange(&mut client, &mut tcp, &hello).await;
    }
    assert_eq!(world.relay.status().joined, 50);
}

#[tokio::test]
async fn fifty_clients_at_once_are_all_joined() {
    let world = World::new(config()).await;
    let mut home = world.registered(1, &[A]).await;
    let mut clients = Vec::new();
    for _ in 0..50 {
        clients.push(world.client(A).await);
    }
    for _ in 0..50 {
        let (mut tcp, addr) = home.client().await;
        let (client, hello) = clients.iter_mut().find(|(it, _)| it.local_addr().unwrap() == addr).unwrap();
        exchange(client, &mut tcp, hello).await;
    }
    assert_eq!(world.relay.status().refused, 0);
}

#[tokio::test]
async fn an_unknown_name_is_refused_as_by_any_listener() {
    let world = World::new(config()).await;
    let _home = world.registered(1, &[A]).await;
    let (mut client, _) = world.client(B).await;
    let mut alert = Vec::new();
    client.read_to_end(&mut alert).await.unwrap();
    assert_eq!(alert, [21, 3, 3, 0, 2, 2, 112]);
}

#[tokio::test]
async fn a_stranger_without_a_token_registers_nothing() {
    let world = World::new(config()).await;
    let url = RelayUrl { token: Id::from_bytes([0; 16]), ..world.url("first") };
    let mut stranger = world.home(url, 1, &[A]);
    stranger.is(|status| matches!(status, RegistrationStatus::Refused { .. })).await;
    assert_eq!(world.relay.status().publishers, 0);
}

#[tokio::test]
async fn a_relay_with_another_key_is_not_used() {
    let world = World::new(config()).await;
    let url = RelayUrl { key: KeyHash::from_bytes([9; 20]), ..world.url("first") };
    let mut home = world.home(url, 1, &[A]);
    home.is(|status| matches!(status, RegistrationStatus::Connecting { problem: Some(_) })).await;
    assert_eq!(world.relay.status().publishers, 0);
}

#[tokio::test]
async fn a_revoked_token_ends_its_publishers_and_what_is_joined_and_no_others() {
    let world = World::new(config()).await;
    let mut alice = world.registered(1, &[A]).await;
    let mut bob = world.home(world.url("bob"), 2, &[B]);
    bob.is(|status| matches!(status, RegistrationStatus::Registered { .. })).await;
    let (mut of_alice, hello_a) = world.client(A).await;
    let (mut of_bob, hello_b) = world.client(B).await;
    let (mut at_alice, _) = alice.client().await;
    let (mut at_bob, _) = bob.client().await;
    exchange(&mut of_alice, &mut at_alice, &hello_a).await;
    exchange(&mut of_bob, &mut at_bob, &hello_b).await;

    world.tokens().revoke("bob").unwrap();
    is_reset(&mut of_bob).await;
    is_reset(&mut at_bob).await;
    bob.is(|status| matches!(status, RegistrationStatus::Refused { .. })).await;
    send(&mut of_alice, &mut at_alice).await;
}

#[tokio::test]
async fn a_relay_that_comes_back_has_its_publishers_again_within_three_seconds() {
    let world = World::new(config()).await;
    let mut home = world.registered(1, &[A]).await;
    let world = world.restarted().await;
    let back = std::time::Instant::now();
    home.is(|status| matches!(status, RegistrationStatus::Connecting { .. })).await;
    home.is(|status| matches!(status, RegistrationStatus::Registered { .. })).await;
    assert!(back.elapsed() < Duration::from_secs(3), "{:?}", back.elapsed());
    let (mut client, hello) = world.client(A).await;
    let (mut tcp, _) = home.client().await;
    exchange(&mut client, &mut tcp, &hello).await;
}

#[tokio::test]
async fn a_publisher_that_stops_is_forgotten_and_what_is_joined_goes_on() {
    let world = World::new(config()).await;
    let mut home = world.registered(1, &[A]).await;
    let (mut client, hello) = world.client(A).await;
    let (mut tcp, _) = home.client().await;
    exchange(&mut client, &mut tcp, &hello).await;
    home.stop.cancel();
    timeout(SOON, async {
        while world.relay.status().publishers > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("in time");
    send(&mut client, &mut tcp).await;
}

#[tokio::test]
async fn names_are_registered_anew_when_they_change() {
    let world = World::new(config()).await;
    let home = world.registered(1, &[A]).await;
    home.names.send_replace(vec![B]);
    let joined = timeout(SOON, async {
        loop {
            let (mut client, _) = world.client(B).await;
            tokio::select! {
                // Refused until the new names have arrived.
                _ = client.read_u8() => {}
                joined = home.clients.accept() => break joined,
            }
        }
    });
    joined.await.expect("in time").unwrap();
}

#[tokio::test]
async fn a_client_is_told_soon_that_its_publisher_does_not_answer() {
    let config = RelayConfig { first_byte_timeout: Duration::from_millis(50), ..config() };
    let world = World::new(config).await;
    // Registered, and deaf from then on: a control connection alone.
    let url = world.url("first");
    let name = tls::sni::server_name(url.key).unwrap();
    let tcp = TcpStream::connect(world.at).await.unwrap();
    let mut control = handshake::connect(client_tls(url.key), name, tcp).await.unwrap();
    let register = hardline_proto::relay::message::FromPublisher::Register {
        token: url.token,
        publisher: Id::from_bytes([1; 16]),
        names: vec![A],
        takes_calls: false,
    };
    control.write_all(&register.encode()).await.unwrap();
    control.flush().await.unwrap();
    control.read_exact(&mut [0; 16]).await.unwrap();
    let (mut client, _) = world.client(A).await;
    let mut alert = Vec::new();
    timeout(SOON, client.read_to_end(&mut alert)).await.expect("in time").unwrap();
    assert_eq!(alert.len(), 7);
    let status = world.relay.status();
    assert_eq!((status.unanswered, status.clients), (1, 0));
}

#[tokio::test]
async fn at_a_limit_the_newcomer_is_refused_and_counted() {
    let limits = RelayLimits { joined_per_name: 1, ..RelayLimits::default() };
    let world = World::new(RelayConfig { limits, ..config() }).await;
    let mut home = world.registered(1, &[A]).await;
    let (mut first, hello) = world.client(A).await;
    let (mut tcp, _) = home.client().await;
    exchange(&mut first, &mut tcp, &hello).await;
    let (mut second, _) = world.client(A).await;
    let mut alert = Vec::new();
    second.read_to_end(&mut alert).await.unwrap();
    assert_eq!((alert.len(), world.relay.status().refused), (7, 1));
    send(&mut first, &mut tcp).await;
}

#[tokio::test]
async fn a_data_connection_that_nobody_asked_for_is_closed() {
    let world = World::new(config()).await;
    for bytes in
        [&hardline_proto::relay::message::data_preamble(&Id::from_bytes([7; 16]))[..], b"GET / HTTP/1.1\r\n\r\n"]
    {
        let mut tcp = TcpStream::connect(world.at).await.unwrap();
        tcp.write_all(bytes).await.unwrap();
        let ended = timeout(SOON, tcp.read(&mut [0; 8])).await.expect("in time");
        assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    }
    assert_eq!(world.relay.status(), Default::default());
}

#[tokio::test]
async fn garbage_on_a_control_connection_ends_it_alone() {
    let world = World::new(config()).await;
    let mut home = world.registered(1, &[A]).await;
    let url = world.url("first");
    for garbage in [&b"\n"[..], b"{}\n", b"{\"type\":\"register\"}\n", b"{\"type\":\"reg"] {
        let name = tls::sni::server_name(url.key).unwrap();
        let tcp = TcpStream::connect(world.at).await.unwrap();
        let mut control = handshake::connect(client_tls(url.key), name, tcp).await.unwrap();
        control.write_all(garbage).await.unwrap();
        control.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let _ = timeout(SOON, control.read_to_end(&mut answer)).await.expect("in time");
        assert_eq!(answer, b"", "{garbage:?}");
    }
    let (mut client, hello) = world.client(A).await;
    let (mut tcp, _) = home.client().await;
    exchange(&mut client, &mut tcp, &hello).await;
}

#[tokio::test]
async fn a_move_to_another_network_is_followed_by_a_question_at_once() {
    let world = World::new(config()).await;
    let mut home = world.registered(1, &[A]).await;
    home.network.send_replace(Arc::default());
    // Still registered, over the same connection.
    let (mut client, hello) = world.client(A).await;
    let (mut tcp, _) = home.client().await;
    exchange(&mut client, &mut tcp, &hello).await;
}

/// What a relay says of `at`, at which `listener` takes who comes, as a publisher's listening side.
#[cfg(target_os = "linux")]
async fn verified(listener: Option<TcpListener>, at: SocketAddr) -> (World, HostPort, bool) {
    // Linux alone has another address of loopback, so that the relay is elsewhere.
    let world = World::at("127.0.0.2", config()).await;
    let dial_backs = Arc::<DialBacks>::default();
    if let Some(listener) = listener {
        tokio::spawn(accept(port(listener, None, Arc::clone(&dial_backs)), world.stop.clone()));
    }
    let (tell, mut told) = mpsc::channel(8);
    let (addresses, wanted) = watch::channel(HostList::default());
    let tell = Arc::new(move |at, from| tell.try_send((at, from)).unwrap());
    let _home = world.home_told(world.url("first"), 1, &[A], ToVerify { wanted, dial_backs, tell });
    // Known later than the relay.
    let elsewhere = "192.0.2.1:7008".parse().unwrap();
    addresses.send_replace([elsewhere, at.into()].into_iter().collect());
    let (said_of, from) = timeout(SOON, told.recv()).await.expect("in time").unwrap();
    (world, said_of, from.is_some())
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_relay_dials_back_and_the_publisher_recognises_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let (_world, said_of, is_open) = verified(Some(listener), at).await;
    assert_eq!((said_of, is_open), (at.into(), true));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_port_that_nobody_opens_is_told_as_closed() {
    let at = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (_world, said_of, is_open) = verified(None, at).await;
    assert_eq!((said_of, is_open), (at.into(), false));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn somebody_else_who_takes_the_connection_verifies_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        tcp.read_exact(&mut [0; 18]).await.unwrap();
    });
    let (_world, said_of, is_open) = verified(None, at).await;
    assert_eq!((said_of, is_open), (at.into(), false));
}

/// A publisher that asks to be dialled back at `ports`, and what it hears.
async fn asks(world: &World, ports: impl Iterator<Item = u16>) -> Vec<DialBackOutcome> {
    let url = world.url("first");
    let name = tls::sni::server_name(url.key).unwrap();
    let tcp = TcpStream::connect(world.at).await.unwrap();
    let mut control = handshake::connect(client_tls(url.key), name, tcp).await.unwrap();
    let publisher = Id::from_bytes([1; 16]);
    let register = FromPublisher::Register { token: url.token, publisher, names: vec![A], takes_calls: false };
    control.write_all(&register.encode()).await.unwrap();
    control.flush().await.unwrap();
    let (mut lines, mut outcomes) = (Lines::default(), Vec::new());
    for port in ports {
        let nonce = Id::from_bytes(rand::random());
        control.write_all(&FromPublisher::DialBack { nonce, port }.encode()).await.unwrap();
        control.flush().await.unwrap();
        outcomes.push(loop {
            let line = timeout(SOON, lines.next(&mut control)).await.expect("in time").unwrap().unwrap();
            match FromRelay::parse(&line).unwrap().unwrap() {
                FromRelay::DialledBack { nonce: of, outcome } if of == nonce => break outcome,
                _ => {}
            }
        });
    }
    outcomes
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_relay_that_is_asked_too_often_dials_no_more() {
    let world = World::at("127.0.0.2", config()).await;
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let outcomes = asks(&world, std::iter::repeat_n(closed, PER_WINDOW + 2)).await;
    let dialled = outcomes.iter().filter(|outcome| **outcome == DialBackOutcome::Closed).count();
    assert_eq!((dialled, outcomes[PER_WINDOW]), (PER_WINDOW, DialBackOutcome::Refused));
}

/// Who comes through a program of the relay's computer would have that computer's ports tried.
#[tokio::test]
async fn nobody_has_a_relay_dial_the_relays_own_computer() {
    let world = World::new(config()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    assert_eq!(asks(&world, [port].into_iter()).await, [DialBackOutcome::Refused]);
    assert!(timeout(Duration::from_millis(50), listener.accept()).await.is_err());
}

#[tokio::test]
async fn a_stranger_is_not_taken_for_a_dial_back() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let dial_backs = Arc::<DialBacks>::default();
    let expected = dial_backs.expect(Id::from_bytes([1; 16]));
    let listener = port(listener, None, Arc::clone(&dial_backs));
    for (nonce, is_ours) in [(2, false), (1, true)] {
        let mut tcp = TcpStream::connect(at).await.unwrap();
        tcp.write_all(&dial_back_preamble(&Id::from_bytes([nonce; 16]))).await.unwrap();
        let (incoming, _) = listener.accept().await.unwrap();
        let unserved = incoming.answer(|_| Err::<(_, ()), _>(Unserved::UnknownName)).await.err().unwrap();
        assert_eq!(matches!(unserved, Unserved::DialBack), is_ours, "{unserved}");
        assert_eq!(expected.from().is_some(), is_ours);
    }
    drop(expected);
    assert!(!dial_backs.is_expecting(), "nobody is looked at any more");
}
