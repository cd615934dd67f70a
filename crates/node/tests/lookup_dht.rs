//! Finding a service through the DHT: own nodes on loopback, real sockets, and strangers who write
//! what they like.
#![allow(clippy::unwrap_used)]

mod common;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use common::dht::DhtNodes;
use common::wire::wiretap;
use common::{TestNode, get, hello, path_in, service};
use hardline_node::config::{IdentityConfig, ServiceConfig};
use hardline_node::dht::{Event, InfoHash, Value, ValueType};
use hardline_node::discovery::{DHT_PLAIN, DHT_SEALED};
use hardline_node::drivers::dht::proxy::server::ProxyServer;
use hardline_node::limits::{LOOKUP_TIMEOUT, PATIENT_LOOKUP_TIMEOUT};
use hardline_node::proto::host::ServiceName;
use hardline_node::proto::hosts::HostList;
use hardline_node::proto::rolling::Day;
use hardline_node::proto::sealed::{Home, SealedRecord, seal};
use hardline_node::proto::{KeyHash, dht_key};
use hardline_node::tls;
use hardline_node::tls::identity::Identity;
use tempfile::TempDir;
use tokio::net::{TcpListener, UdpSocket};
use tokio::time::timeout;

/// A test that waits longer has failed.
const PATIENCE: Duration = Duration::from_secs(40);

#[tokio::test]
async fn a_service_is_found_by_the_record_it_sealed() {
    let world = World::new().await;
    let listener = world.listener().await;
    world.put_sealed(1, &record(listener.p2p())).await;
    let gateway = world.gateway().await;
    assert!(world.open(&gateway).await.ends_with("hello"));
}

#[cfg(feature = "quic")]
#[tokio::test]
async fn where_a_service_speaks_quic_stands_in_its_record() {
    let world = World::new().await;
    let listener = world.listener().await;
    let quic = listener.node.status().bound.quic;
    let record = SealedRecord { addresses: HostList::default(), quic, ..record(listener.p2p()) };
    world.put_sealed(1, &record).await;
    let gateway = world.gateway().await;
    assert!(world.open(&gateway).await.ends_with("hello"));
}

#[tokio::test]
async fn a_sealed_record_hides_the_name_from_the_first_connection_on() {
    for (tunnels, is_hidden) in [(vec![1, 2], true), (vec![1], false)] {
        let world = World::new().await;
        let listener = world.listener().await;
        let (at, mut heard) = wiretap(listener.p2p()).await;
        world.put_sealed(1, &SealedRecord { tunnels, ..record(at) }).await;
        assert!(world.open(&world.gateway().await).await.ends_with("hello"));
        let heard = heard.recv().await.unwrap();
        assert_eq!((heard.hides(listener.key()), heard.names(listener.key())), (is_hidden, !is_hidden));
    }
}

/// When the page says that nothing was found, the search goes on, and asks again twelve seconds
/// after its beginning: what is put meanwhile is told by the nodes.
#[tokio::test]
async fn what_is_put_while_somebody_waits_is_heard_of_at_once() {
    let heard = async |is_sealed| {
        let world = World::new().await;
        let (listener, gateway) = (world.listener().await, world.gateway().await);
        let host = format!("{}.localhost", world.identity.key);
        let page = get(gateway.browser_addr(), &host, "Accept: text/html\r\n").await;
        assert!(page.starts_with("HTTP/1.1 504 "), "{page}");
        match is_sealed {
            true => world.put_sealed(1, &record(listener.p2p())).await,
            false => world.put(1, dht_key::plain(&world.identity.key), listener.p2p().to_string().as_bytes()).await,
        }
        let put = Instant::now();
        assert!(world.open(&gateway).await.ends_with("hello"));
        put.elapsed()
    };
    let (sealed, plain) = tokio::join!(heard(true), heard(false));
    assert!(sealed.max(plain) < Duration::from_secs(1), "{sealed:?} {plain:?}");
}

#[tokio::test]
async fn released_peers_are_found_under_their_keys() {
    for key in [dht_key::rolling as fn(&KeyHash, Day) -> [u8; 20], |key, _| dht_key::plain(key)] {
        let world = World::new().await;
        let listener = world.listener().await;
        world.put(1, key(&world.identity.key, today()), listener.p2p().to_string().as_bytes()).await;
        assert!(world.open(&world.gateway().await).await.ends_with("hello"));
    }
}

#[tokio::test]
async fn of_two_publishers_of_one_identity_the_one_that_answers_is_used() {
    let world = World::new().await;
    let (first, second) = (world.listener().await, world.listener().await);
    world.put_sealed(1, &SealedRecord { publisher: 1, ..record(first.p2p()) }).await;
    world.put_sealed(2, &SealedRecord { publisher: 2, ..record(second.p2p()) }).await;
    let gateway = world.gateway().await;
    first.node.shutdown().await;
    assert!(world.open(&gateway).await.ends_with("hello"));
}

#[tokio::test]
async fn forged_expired_and_replayed_records_lead_nowhere() {
    let world = World::new().await;
    let now = now_ms();
    let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let stranger = Identity::ephemeral().unwrap();
    let forged = seal(&record(at(1)), world.certificate(), today(), [1; 24], |message| {
        tls::sealed::sign(&stranger.certified, message)
    });
    let expired = SealedRecord { issued_ms: now - 2000, expires_ms: now - 1000, ..record(at(2)) };
    world.put(1, world.sealed_key(), &forged.unwrap()).await;
    world.put_sealed(2, &expired).await;
    world.put(3, world.sealed_key(), b"nonsense").await;
    let gateway = world.gateway().await;
    let name = ServiceName { key: world.identity.key, password: None };
    let error = gateway.node.connect(&name).await.unwrap_err();
    assert!(error.report.attempts.is_empty(), "{:?}", error.report);
    assert!(error.report.sources.iter().any(|entry| entry.source == DHT_SEALED && entry.found == 0));

    // A newer record has been read once; who puts the older one again is not believed.
    let listener = world.listener().await;
    world.put_sealed(4, &SealedRecord { sequence: 5, ..record(listener.p2p()) }).await;
    assert!(world.open(&gateway).await.ends_with("hello"));
    listener.node.shutdown().await;
    world.put_sealed(5, &SealedRecord { sequence: 4, ..record(at(3)) }).await;
    let error = gateway.node.connect(&name).await.unwrap_err();
    assert!(error.report.attempts.iter().all(|attempt| attempt.addr != at(3).into()), "{:?}", error.report);
}

#[tokio::test]
async fn two_hundred_values_of_a_stranger_neither_hide_the_service_nor_make_us_dial_them_all() {
    let world = World::new().await;
    let (dialled, stranger) = counting_listener().await;
    for number in 1..=200_u16 {
        let at = SocketAddr::from(([127, 0, number as u8, 9], stranger.port()));
        world.put(number.into(), dht_key::plain(&world.identity.key), at.to_string().as_bytes()).await;
    }
    let listener = world.listener().await;
    world.put_sealed(1, &record(listener.p2p())).await;
    assert!(world.open(&world.gateway().await).await.ends_with("hello"));
    assert!(dialled.load(Ordering::SeqCst) <= 16);
    listener.node.shutdown().await;
    let gateway = world.gateway().await;
    let name = ServiceName { key: world.identity.key, password: None };
    let error = gateway.node.connect(&name).await.unwrap_err();
    let plain = error.report.attempts.iter().filter(|attempt| attempt.source == DHT_PLAIN).count();
    assert!((1..=8).contains(&plain), "{:?}", error.report);
    assert!(error.report.attempts.len() <= 16, "{:?}", error.report);
}

#[tokio::test]
async fn without_udp_a_proxy_finds_it() {
    let world = World::new().await;
    let listener = world.listener().await;
    world.put_sealed(1, &record(listener.p2p())).await;
    let proxy = world.proxy().await;
    let gateway = TestNode::start(|config| {
        world.dht.join(config);
        config.dht.bootstrap = Vec::new();
        config.dht.proxies = vec![format!("http://{}", proxy.addr())];
    })
    .await;
    assert!(world.open(&gateway).await.ends_with("hello"));
}

#[tokio::test]
async fn a_client_that_reaches_what_is_at_hand_sends_nothing_to_the_dht() {
    let world = World::new().await;
    let listener = world.listener().await;
    let bootstrap = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let gateway = TestNode::start(|config| {
        world.dht.join(config);
        config.dht.bootstrap = vec![bootstrap.local_addr().unwrap().to_string()];
        config.static_addresses =
            vec![hardline_node::config::StaticAddress { key: listener.key(), at: listener.p2p().into() }];
    })
    .await;
    assert!(world.open(&gateway).await.ends_with("hello"));
    gateway.node.shutdown().await;
    assert_eq!(bootstrap.try_recv(&mut [0; 2000]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

#[tokio::test]
async fn a_program_waits_longer_for_what_is_far_away_than_a_page_that_tries_again() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let host = format!("{}.localhost", world.identity.key);
    tokio::time::pause();
    for (headers, limit) in [("Accept: text/html\r\n", LOOKUP_TIMEOUT), ("", PATIENT_LOOKUP_TIMEOUT)] {
        let began = tokio::time::Instant::now();
        let answer = get(gateway.browser_addr(), &host, headers).await;
        assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
        let waited = began.elapsed();
        assert!(waited >= limit && waited < limit + Duration::from_secs(2), "{waited:?} and not {limit:?}");
    }
}

/// A DHT of three nodes on loopback, and the identity of the one service it is about.
struct World {
    dht: DhtNodes,
    identity: Identity,
    dir: TempDir,
}

impl World {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (identity, _) = Identity::load_or_create(&path_in(&dir, "id")).unwrap();
        Self { dht: DhtNodes::start().await, identity, dir }
    }

    /// The service, which greets.
    async fn listener(&self) -> TestNode {
        let greeting = hello().await;
        let identity = IdentityConfig::File(path_in(&self.dir, "id"));
        TestNode::listener(vec![ServiceConfig { identity, ..service(greeting) }]).await
    }

    /// A node that knows nothing but where the DHT is.
    async fn gateway(&self) -> TestNode {
        TestNode::start(|config| self.dht.join(config)).await
    }

    async fn proxy(&self) -> ProxyServer {
        ProxyServer::start(([127, 0, 0, 1], 0).into(), Arc::clone(&self.dht.nodes[1]), self.dht.stop.clone())
            .await
            .unwrap()
    }

    async fn open(&self, gateway: &TestNode) -> String {
        let host = format!("{}.localhost", self.identity.key);
        timeout(PATIENCE, get(gateway.browser_addr(), &host, "")).await.unwrap()
    }

    fn certificate(&self) -> &[u8] {
        self.identity.certified.cert[0].as_ref()
    }

    fn sealed_key(&self) -> [u8; 20] {
        dht_key::sealed(&self.identity.key, today())
    }

    async fn put_sealed(&self, id: u64, record: &SealedRecord) {
        let sign = |message: &[u8]| tls::sealed::sign(&self.identity.certified, message);
        let sealed = seal(record, self.certificate(), today(), [id as u8; 24], sign).unwrap();
        self.put(id, self.sealed_key(), &sealed).await;
    }

    async fn put(&self, id: u64, key: [u8; 20], data: &[u8]) {
        let value = Value::new(id, ValueType::USER_DATA, data, "").unwrap();
        let mut put = self.dht.nodes[2].put(InfoHash(key), value, false);
        while !matches!(timeout(PATIENCE, put.next()).await.unwrap(), Some(Event::PutDone { .. }) | None) {}
    }
}

/// What a publisher at `at` says of itself.
fn record(at: SocketAddr) -> SealedRecord {
    SealedRecord {
        addresses: HostList::parse_lenient(&at.to_string()),
        relays: HostList::default(),
        home: Home::default(),
        quic: Vec::new(),
        punch: Vec::new(),
        issued_ms: now_ms(),
        expires_ms: now_ms() + 3_600_000,
        sequence: 1,
        publisher: 1,
        tunnels: vec![1],
    }
}

/// A port on all of loopback whose owner counts who comes, and says nothing.
async fn counting_listener() -> (Arc<AtomicUsize>, SocketAddr) {
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            counter.fetch_add(1, Ordering::SeqCst);
            held.push(stream);
        }
    });
    (count, addr)
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

fn today() -> Day {
    Day::from_unix_seconds(now_ms() / 1000)
}
