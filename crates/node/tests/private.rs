//! Private services: who was invited comes in, everybody else meets nobody, and who is revoked is
//! out at once.
#![allow(clippy::unwrap_used)]

mod common;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use common::{TestNode, backend, echo, echoed, get, happens, name, service};
use hardline_node::config::{ServiceConfig, StaticAddress};
use hardline_node::node::{AcceptError, TunnelStream};
use hardline_node::proto::KeyHash;
use hardline_node::proto::candidate::TransportAddr;
use hardline_node::proto::rate::Rate;
use hardline_node::proto::rolling::{Day, RollingCode};
use hardline_node::proto::visitors::{Door, Enrolled, Hour, Invitation, Refused, Secret};
use hardline_node::session::{v1, v2};
use hardline_node::store::{NewInvitation, Store};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const DAY: Duration = Duration::from_secs(86_400);
const LIMIT: Duration = Duration::from_secs(30);

/// How long a revocation may take.
const AT_ONCE: Duration = Duration::from_millis(200);

/// A node with a private service, and the store as commands open it.
struct House {
    node: TestNode,
    store: Store,
}

impl House {
    async fn of(backend: SocketAddr) -> Self {
        Self::with(ServiceConfig { private: true, ..service(backend) }).await
    }

    async fn with(service: ServiceConfig) -> Self {
        let node = TestNode::start(|config| {
            config.services = vec![service];
            config.p2p.limits.handshake_rate = Rate { burst: 100_000, per_second: 100_000 };
        })
        .await;
        let (store, _) = Store::open(node.dir.path(), None).await.unwrap();
        Self { node, store }
    }

    fn key(&self) -> KeyHash {
        self.node.key()
    }

    async fn invite(&self, name: Option<&str>, uses: u32, expires: SystemTime, stay: Option<Duration>) -> Invitation {
        let (service, secret) = (self.key(), Secret::from_bytes(rand::random()));
        let new = NewInvitation { service, secret: secret.clone(), name: name.map(str::to_owned), uses, expires, stay };
        self.store.invite(new).await.unwrap();
        Invitation { key: service, secret }
    }

    /// An invitation for one, which is good for a day.
    async fn invite_one(&self, name: &str) -> Invitation {
        self.invite(Some(name), 1, SystemTime::now() + DAY, None).await
    }

    /// Somebody elsewhere, who knows where the service is.
    async fn dialler(&self) -> TestNode {
        TestNode::gateway(&[(self.key(), self.node.p2p())]).await
    }

    async fn quic_dialler(&self) -> TestNode {
        let (key, at) = (self.key(), TransportAddr::Quic(self.node.node.status().bound.quic[0]));
        TestNode::start(|config| config.static_addresses = vec![StaticAddress { key, at }]).await
    }

    /// Somebody who has been enrolled under this name.
    async fn visitor(&self, name: &str) -> TestNode {
        let dialler = self.dialler().await;
        accepted(&dialler, &self.invite_one(name).await).await.unwrap();
        dialler
    }

    /// As the command does: returns how many tunnels were ended.
    async fn revoke(&self, name: &str) -> u64 {
        let id = self.store.revoke(self.key(), name.to_owned()).await.unwrap().unwrap().id.unwrap();
        let mut ended = None;
        happens(async || {
            ended = self.store.revocation_ended(id).await.unwrap();
            ended.is_some()
        })
        .await;
        ended.unwrap()
    }
}

/// Until the service listens to the invitation: it looks ten times a second.
async fn accepted(dialler: &TestNode, invitation: &Invitation) -> Result<Enrolled, AcceptError> {
    let mut last = None;
    happens(async || {
        last = Some(dialler.node.accept_invitation(invitation, None).await);
        !matches!(last, Some(Err(AcceptError::NotReached(_))))
    })
    .await;
    last.unwrap()
}

async fn is_refused(dialler: &TestNode, key: KeyHash) -> bool {
    timeout(LIMIT, dialler.node.connect(&name(key))).await.unwrap().is_err()
}

async fn alive(tunnel: &mut TunnelStream) {
    tunnel.write_all(b"x").await.unwrap();
    assert_eq!(timeout(LIMIT, tunnel.read_u8()).await.unwrap().unwrap(), b'x');
}

/// Waits for the end of a tunnel, which must not look like one that is whole.
async fn broken(tunnel: &mut TunnelStream) {
    let read = timeout(LIMIT, tunnel.read_to_end(&mut Vec::new())).await.unwrap();
    assert!(read.is_err(), "{read:?}");
}

#[tokio::test]
async fn who_was_invited_is_in_and_who_is_revoked_is_out_at_once() {
    let house = House::of(echo().await).await;
    let (alice, bob) = (house.visitor("alice").await, house.visitor("bob").await);
    let mut idle = alice.node.connect(&name(house.key())).await.unwrap();
    assert_eq!(echoed(&mut idle, "hello").await, "hello");
    drop(idle); // its session is in the pool
    let mut tunnels = Vec::new();
    for _ in 0..3 {
        let mut tunnel = alice.node.connect(&name(house.key())).await.unwrap();
        alive(&mut tunnel).await;
        tunnels.push(tunnel);
    }
    let mut of_bob = bob.node.connect(&name(house.key())).await.unwrap();
    alive(&mut of_bob).await;

    assert_eq!(house.revoke("alice").await, 3);
    let returned = Instant::now();
    for tunnel in &mut tunnels {
        broken(tunnel).await;
    }
    assert!(returned.elapsed() < AT_ONCE, "{:?}", returned.elapsed());
    assert!(is_refused(&alice, house.key()).await, "neither by a pooled session nor by a new one");
    alive(&mut of_bob).await;
    assert!(house.store.visitors(house.key()).await.unwrap().iter().all(|visitor| visitor.name == "bob"));

    // Whoever lets her in again lets her in by the same key.
    assert_eq!(accepted(&alice, &house.invite_one("alice").await).await.unwrap().name, "alice");
    alive(&mut alice.node.connect(&name(house.key())).await.unwrap()).await;
}

#[tokio::test]
async fn over_quic_each_stream_of_a_revoked_visitor_ends_and_no_other_begins() {
    let house = House::of(echo().await).await;
    let alice = house.quic_dialler().await;
    accepted(&alice, &house.invite_one("alice").await).await.unwrap();
    let mut tunnels = Vec::new();
    for _ in 0..5 {
        let mut tunnel = alice.node.connect(&name(house.key())).await.unwrap();
        alive(&mut tunnel).await;
        tunnels.push(tunnel);
    }
    assert!(alice.node.status().peers.iter().all(|peer| peer.path.is_udp));
    assert_eq!(house.revoke("alice").await, 5);
    let returned = Instant::now();
    for tunnel in &mut tunnels {
        broken(tunnel).await;
    }
    assert!(returned.elapsed() < AT_ONCE, "{:?}", returned.elapsed());
    assert!(is_refused(&alice, house.key()).await);
}

#[tokio::test]
async fn a_download_of_a_revoked_visitor_breaks_off_in_the_middle() {
    let endless = backend(|mut stream| async move {
        let _ = stream.read(&mut [0; 4096]).await;
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 100 * 1024 * 1024);
        let _ = stream.write_all(head.as_bytes()).await;
        while stream.write_all(&[7; 16 * 1024]).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    let house = House::of(endless).await;
    let alice = house.visitor("alice").await;
    let host = format!("{}.localhost", house.key());
    let mut browser = common::open(alice.browser_addr(), &host, "").await;
    browser.read_exact(&mut [0; 100_000]).await.unwrap();
    assert_eq!(house.revoke("alice").await, 1);
    let returned = Instant::now();
    let read = timeout(LIMIT, browser.read_to_end(&mut Vec::new())).await.unwrap();
    assert!(read.is_err(), "the browser sees a broken download: {read:?}");
    assert!(returned.elapsed() < AT_ONCE, "{:?}", returned.elapsed());
    let page = get(alice.browser_addr(), &host, "Accept: text/plain\r\n").await;
    assert!(page.starts_with("HTTP/1.1 5"), "{page}");
}

#[tokio::test]
async fn the_time_of_a_visitor_ends_its_tunnels() {
    let house = House::of(echo().await).await;
    let alice = house.dialler().await;
    let stay = Duration::from_secs(2);
    let invitation = house.invite(Some("alice"), 1, SystemTime::now() + DAY, Some(stay)).await;
    let began = Instant::now();
    accepted(&alice, &invitation).await.unwrap();
    let mut tunnel = alice.node.connect(&name(house.key())).await.unwrap();
    alive(&mut tunnel).await;
    broken(&mut tunnel).await;
    assert!((stay..stay + Duration::from_secs(10)).contains(&began.elapsed()), "{:?}", began.elapsed());
    assert!(is_refused(&alice, house.key()).await);
}

#[tokio::test]
async fn this_computers_own_browsers_open_its_private_services() {
    let house = House::of(common::hello().await).await;
    let page = get(house.node.browser_addr(), &format!("{}.localhost", house.key()), "").await;
    assert!(page.ends_with("hello"), "{page}");
}

#[tokio::test]
async fn each_end_of_an_invitation_has_its_own_sentence() {
    let house = House::of(echo().await).await;
    let (alice, mallory) = (house.dialler().await, house.dialler().await);
    let used = house.invite_one("alice").await;
    accepted(&alice, &used).await.unwrap();
    assert!(matches!(accepted(&mallory, &used).await, Err(AcceptError::Refused(Refused::Used))));
    assert_eq!(accepted(&alice, &used).await.unwrap().name, "alice", "who asks again is answered again");
    let expired = house.invite(None, 1, SystemTime::now() - Duration::from_secs(1), None).await;
    assert!(matches!(accepted(&mallory, &expired).await, Err(AcceptError::Refused(Refused::Expired))));
    let taken_back = house.invite(Some("mallory"), 1, SystemTime::now() + DAY, None).await;
    let revoked = house.store.revoke(house.key(), "mallory".into()).await.unwrap().unwrap();
    assert_eq!((revoked.id, revoked.invitations), (None, 1));
    assert!(matches!(accepted(&mallory, &taken_back).await, Err(AcceptError::Refused(Refused::Revoked))));
    // Nobody made this one.
    let guessed = Invitation { key: house.key(), secret: Secret::from_bytes([7; 16]) };
    assert!(matches!(mallory.node.accept_invitation(&guessed, None).await, Err(AcceptError::NotReached(_))));
    assert!(is_refused(&mallory, house.key()).await);
}

#[tokio::test]
async fn a_revoked_visitor_does_not_come_back_by_the_invitation_that_let_it_in() {
    let house = House::of(echo().await).await;
    let (alice, invitation) = (house.dialler().await, house.invite(None, 9, SystemTime::now() + DAY, None).await);
    let name = accepted(&alice, &invitation).await.unwrap().name;
    house.revoke(&name).await;
    assert!(matches!(accepted(&alice, &invitation).await, Err(AcceptError::Refused(Refused::Revoked))));
    assert!(is_refused(&alice, house.key()).await);
}

#[tokio::test]
async fn two_services_cannot_tell_that_it_is_the_same_visitor() {
    let (one, other) = (House::of(echo().await).await, House::of(echo().await).await);
    let given = [(one.key(), one.node.p2p()), (other.key(), other.node.p2p())];
    let dialler = TestNode::gateway(&given).await;
    let mut keys = Vec::new();
    for house in [&one, &other] {
        accepted(&dialler, &house.invite_one("alice").await).await.unwrap();
        keys.push(house.store.visitors(house.key()).await.unwrap()[0].key);
    }
    assert_ne!(keys[0], keys[1]);
}

#[tokio::test]
async fn of_a_hundred_redemptions_at_once_exactly_as_many_succeed_as_may() {
    let house = House::of(echo().await).await;
    house.invite(None, 7, SystemTime::now() + DAY, None).await;
    let id = house.store.invitations(house.key()).await.unwrap()[0].id;
    let mut processes = Vec::new();
    for _ in 0..4 {
        processes.push(Store::open(house.node.dir.path(), None).await.unwrap().0);
    }
    let mut redeeming = tokio::task::JoinSet::new();
    for number in 0..100_u8 {
        let store = processes[usize::from(number) % 4].clone();
        let (key, door) = (KeyHash::from_bytes([number; 20]), Door::from_bytes([number; 32]));
        redeeming.spawn(async move { store.redeem(id, key, door, Some("alice".into())).await.unwrap() });
    }
    let answers = redeeming.join_all().await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 7);
    assert!(answers.iter().all(|answer| !matches!(answer, Err(refused) if *refused != Refused::Used)));
    let visitors = house.store.visitors(house.key()).await.unwrap();
    assert_eq!(visitors.len(), 7, "and their names differ");
}

/// What a stranger hears who says hello like this, byte for byte.
async fn heard(at: SocketAddr, config: &Arc<rustls::ClientConfig>, name: &str) -> Vec<u8> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut tls = rustls::ClientConnection::new(Arc::clone(config), name).unwrap();
    let mut hello = Vec::new();
    tls.write_tls(&mut hello).unwrap();
    said(at, &hello).await
}

async fn said(at: SocketAddr, hello: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(at).await.unwrap();
    stream.write_all(hello).await.unwrap();
    let mut heard = Vec::new();
    timeout(LIMIT, stream.read_to_end(&mut heard)).await.unwrap().unwrap();
    heard
}

fn today() -> Day {
    Day::from_unix_seconds(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs())
}

/// The TLS settings of somebody with a proof by `door`.
fn proving(key: KeyHash, door: &Door) -> Arc<rustls::ClientConfig> {
    let hour = Hour::from_unix_seconds(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs());
    let mut config = (*v2::client_tls(key, false)).clone();
    config.alpn_protocols.push(door.prove(&key, hour, rand::random()).to_protocol());
    Arc::new(config)
}

#[tokio::test]
async fn a_stranger_with_the_link_hears_byte_for_byte_what_is_heard_under_an_unknown_name() {
    let house = House::of(echo().await).await;
    let _alice = house.visitor("alice").await;
    let (key, at, unknown) = (house.key(), house.node.p2p(), KeyHash::from_bytes([0xab; 20]));
    let guessed = Door::from_bytes([7; 32]);
    for config in [v2::client_tls(key, true), v1::client_tls(key), proving(key, &guessed)] {
        let nobody = heard(at, &config, &unknown.to_string()).await;
        assert!(nobody.len() < 20, "an alert and nothing else: {nobody:?}");
        for name in [key.to_string(), RollingCode::of(&key, today()).to_string()] {
            assert_eq!(heard(at, &config, &name).await, nobody);
        }
    }
}

#[tokio::test]
async fn a_stranger_with_the_link_waits_as_long_as_under_an_unknown_name() {
    let house = House::of(echo().await).await;
    let _alice = house.visitor("alice").await;
    let (key, at) = (house.key(), house.node.p2p());
    let config = proving(key, &Door::from_bytes([7; 32]));
    let names = [KeyHash::from_bytes([0xab; 20]).to_string(), key.to_string()];
    let mut took = [Vec::new(), Vec::new()];
    for _ in 0..2000 {
        for (name, took) in names.iter().zip(&mut took) {
            let began = Instant::now();
            heard(at, &config, name).await;
            took.push(began.elapsed());
        }
    }
    let [nobody, private] = took.map(|mut took| {
        took.sort();
        took[took.len() / 2]
    });
    println!("median of 2000: unknown {nobody:?}, private {private:?}");
    let ratio = private.as_secs_f64() / nobody.as_secs_f64();
    assert!((0.8..1.25).contains(&ratio), "unknown {nobody:?}, private {private:?}");
}

#[tokio::test]
async fn who_repeats_a_visitors_hello_meets_nobody() {
    let house = House::of(echo().await).await;
    let alice = house.dialler().await;
    accepted(&alice, &house.invite_one("alice").await).await.unwrap();
    // Somebody on the path writes down what a visitor says.
    let (key, at) = (house.key(), house.node.p2p());
    let kept = Store::open(alice.dir.path(), None).await.unwrap().0.pass(key).await.unwrap().unwrap();
    let config = proving(key, &kept.door);
    let name = ServerName::try_from(RollingCode::of(&key, today()).to_string()).unwrap();
    let mut tls = rustls::ClientConnection::new(config, name).unwrap();
    let mut hello = Vec::new();
    tls.write_tls(&mut hello).unwrap();
    let mut first = TcpStream::connect(at).await.unwrap();
    first.write_all(&hello).await.unwrap();
    let mut record = [0; 5];
    first.read_exact(&mut record).await.unwrap();
    assert_eq!(record[0], 22, "a server hello");
    assert_eq!(
        said(at, &hello).await,
        heard(at, &v2::client_tls(key, true), &KeyHash::from_bytes([0xab; 20]).to_string()).await
    );
}

#[tokio::test]
async fn a_visitors_door_without_its_key_leads_nowhere() {
    let house = House::of(echo().await).await;
    let alice = house.visitor("alice").await;
    let (key, at) = (house.key(), house.node.p2p());
    let kept = Store::open(alice.dir.path(), None).await.unwrap().0.pass(key).await.unwrap().unwrap();
    let connector = tokio_rustls::TlsConnector::from(proving(key, &kept.door));
    let name = ServerName::try_from(RollingCode::of(&key, today()).to_string()).unwrap();
    let mut stream = connector.connect(name, TcpStream::connect(at).await.unwrap()).await.unwrap();
    let _ = stream.write_all(b"{}\n{\"open\":{}}\n").await;
    let read = timeout(LIMIT, stream.read_to_end(&mut Vec::new())).await.unwrap();
    assert!(read.is_err() || read.unwrap() == 0, "not a byte of the service");
    assert!(house.node.node.status().visitors.is_empty());
}

#[tokio::test]
async fn a_service_that_becomes_private_takes_no_more_tunnels_over_older_sessions() {
    let house = House::with(service(echo().await)).await;
    let dialler = house.dialler().await;
    let mut ended = dialler.node.connect(&name(house.key())).await.unwrap();
    assert_eq!(echoed(&mut ended, "a").await, "a");
    drop(ended);
    house.node.node.change_service(&house.key(), |config| config.private = true).unwrap();
    assert!(is_refused(&dialler, house.key()).await);
}

#[tokio::test]
async fn a_visitor_is_told_of_with_its_name_and_when_it_was_here_last() {
    let house = House::of(echo().await).await;
    let alice = house.visitor("alice").await;
    let mut tunnel = alice.node.connect(&name(house.key())).await.unwrap();
    alive(&mut tunnel).await;
    let sentences = house.node.node.status().sentences().join("\n");
    assert!(sentences.contains("alice, a visitor of"), "{sentences}");
    happens(async || house.store.visitors(house.key()).await.unwrap()[0].seen.is_some()).await;
    assert_eq!(house.store.rename_visitor(house.key(), "alice".into(), "eve".into()).await.unwrap(), Some(true));
    alive(&mut tunnel).await;
}

/// A request for the page of an invitation, and the whole answer.
async fn page(gateway: SocketAddr, method: &str, invitation: &Invitation, headers: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(gateway).await.unwrap();
    let (path, host) = (format!("/invite/{}", invitation.code()), format!("localhost:{}", gateway.port()));
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nAccept: text/html\r\n{headers}Content-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(LIMIT, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    answer
}

#[tokio::test]
async fn the_gateways_page_accepts_an_invitation_when_its_own_button_is_pressed() {
    let house = House::of(common::hello().await).await;
    let alice = house.dialler().await;
    let invitation = house.invite(None, 1, SystemTime::now() + DAY, None).await;
    let at = alice.browser_addr();
    let shown = page(at, "GET", &invitation, "", "").await;
    assert!(shown.contains("<form method=\"post\">") && shown.contains(&house.key().to_string()), "{shown}");
    assert!(shown.contains("form-action 'self'") && shown.contains("X-Frame-Options: DENY"), "{shown}");
    assert!(house.store.visitors(house.key()).await.unwrap().is_empty(), "to look at it changes nothing");
    let own = format!("Origin: http://localhost:{}\r\nSec-Fetch-Site: same-origin\r\n", at.port());
    happens(async || page(at, "POST", &invitation, &own, "name=Alice%27s+laptop").await.contains("You are in")).await;
    let visitors = house.store.visitors(house.key()).await.unwrap();
    assert_eq!(visitors.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["Alice's laptop"]);
    let opened = get(at, &format!("{}.localhost", house.key()), "").await;
    assert!(opened.ends_with("hello"), "{opened}");
}

#[tokio::test]
async fn a_page_elsewhere_cannot_accept_an_invitation_for_the_user() {
    let house = House::of(echo().await).await;
    let alice = house.dialler().await;
    let invitation = house.invite_one("alice").await;
    let at = alice.browser_addr();
    for headers in [
        "Origin: http://example.org\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n",
        "Origin: null\r\n",
        "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n",
        "Sec-Fetch-Site: same-site\r\nSec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: empty\r\n",
    ] {
        let answer = page(at, "POST", &invitation, headers, "name=eve").await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{headers}: {answer}");
    }
    assert!(house.store.visitors(house.key()).await.unwrap().is_empty());
    assert_eq!(accepted(&alice, &invitation).await.unwrap().name, "alice", "it is as good as before");
}
