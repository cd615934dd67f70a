//! Sessions over QUIC between our own peers: as over TCP (`sessions.rs`), with many tunnels over
//! one connection.
#![cfg(feature = "quic")]
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{TestNode, backend, echo, echoed, get, name, nobody, open, service};
use hardline_node::access::Access;
use hardline_node::config::{IdentityConfig, NodeConfig, ServiceConfig, StaticAddress};
use hardline_node::limits::FRESH_SESSION;
use hardline_node::proto::KeyHash;
use hardline_node::proto::candidate::TransportAddr;
use hardline_node::proto::host::ServiceName;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UdpSocket;

/// A cable between dialler and listener that counts connections, and can fall silent.
#[derive(Clone)]
struct Cable {
    addr: SocketAddr,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    /// What diallers called their connections.
    connections: HashSet<Vec<u8>>,
    /// Nothing passes until a new connection begins.
    is_silent: bool,
}

impl Cable {
    async fn to(listener: SocketAddr) -> Self {
        let near = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let far = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        far.connect(listener).await.unwrap();
        let seen = Arc::<Mutex<Seen>>::default();
        let cable = Self { addr: near.local_addr().unwrap(), seen: Arc::clone(&seen) };
        tokio::spawn(async move {
            let (mut there, mut back, mut dialler) = ([0; 2048], [0; 2048], None);
            loop {
                tokio::select! {
                    Ok((length, from)) = near.recv_from(&mut there) => {
                        dialler = Some(from);
                        if seen.lock().unwrap().passes(&there[..length]) {
                            let _ = far.send(&there[..length]).await;
                        }
                    }
                    Ok(length) = far.recv(&mut back) => {
                        if let Some(dialler) = dialler.filter(|_| !seen.lock().unwrap().is_silent) {
                            let _ = near.send_to(&back[..length], dialler).await;
                        }
                    }
                }
            }
        });
        cable
    }

    fn connections(&self) -> usize {
        self.seen.lock().unwrap().connections.len()
    }

    fn silence(&self) {
        self.seen.lock().unwrap().is_silent = true;
    }
}

impl Seen {
    /// Whether a dialler's packet passes. One that begins a connection names the dialler's end of
    /// it behind the listener's (RFC 9000, section 17.2.2).
    fn passes(&mut self, packet: &[u8]) -> bool {
        if packet[0] & 0xf0 == 0xc0 {
            let behind = &packet[6 + usize::from(packet[5])..];
            let name = behind[1..=usize::from(behind[0])].to_vec();
            if self.connections.insert(name) {
                self.is_silent = false;
            }
        }
        !self.is_silent
    }
}

async fn listener(services: Vec<ServiceConfig>) -> TestNode {
    TestNode::listener(services).await
}

/// A gateway that reaches `key` at `at` over QUIC alone.
async fn gateway_with(key: KeyHash, at: SocketAddr, change: impl FnOnce(&mut NodeConfig)) -> TestNode {
    TestNode::start(|config| {
        config.static_addresses = vec![StaticAddress { key, at: TransportAddr::Quic(at) }];
        // The backends send back what they get.
        config.trusted = vec![key];
        change(config);
    })
    .await
}

async fn gateway(key: KeyHash, at: SocketAddr) -> TestNode {
    gateway_with(key, at, |_| ()).await
}

fn udp(node: &TestNode) -> SocketAddr {
    node.node.status().bound.quic[0]
}

/// A service, and a gateway that reaches it through a cable.
async fn through_a_cable(backend: SocketAddr) -> (TestNode, Cable, TestNode) {
    let listener = listener(vec![service(backend)]).await;
    let cable = Cable::to(udp(&listener)).await;
    let gateway = gateway(listener.key(), cable.addr).await;
    (listener, cable, gateway)
}

async fn say(gateway: &TestNode, key: KeyHash, text: &str) {
    let mut tunnel = gateway.node.connect(&name(key)).await.unwrap();
    assert_eq!(echoed(&mut tunnel, text).await, text);
}

#[tokio::test]
async fn one_connection_carries_one_tunnel_after_the_other_and_many_at_once() {
    let (listener, cable, gateway) = through_a_cable(echo().await).await;
    for turn in 0..20 {
        say(&gateway, listener.key(), &format!("turn {turn}")).await;
    }
    let mut tunnels = Vec::new();
    for _ in 0..100 {
        tunnels.push(gateway.node.connect(&name(listener.key())).await.unwrap());
    }
    for (number, tunnel) in tunnels.iter_mut().enumerate() {
        assert_eq!(echoed(tunnel, &number.to_string()).await, number.to_string());
    }
    assert_eq!(cable.connections(), 1);
}

#[tokio::test]
async fn a_connection_that_nobody_uses_is_let_go_when_its_time_is_over() {
    let listener = listener(vec![service(echo().await)]).await;
    let key = listener.key();
    let gateway = gateway_with(key, udp(&listener), |config| config.idle_limits.time = Duration::from_secs(2)).await;
    say(&gateway, key, "once").await;
    assert_eq!(gateway.node.status().peers.len(), 1, "it waits for its next use");
    let is_gone = async {
        while !gateway.node.status().peers.is_empty() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(40), is_gone).await.unwrap();
}

#[tokio::test]
async fn a_connection_that_carries_as_many_as_it_may_is_followed_by_another() {
    let (listener, cable, gateway) = through_a_cable(echo().await).await;
    let mut tunnels = Vec::new();
    for _ in 0..300 {
        tunnels.push(gateway.node.connect(&name(listener.key())).await.unwrap());
    }
    assert_eq!(cable.connections(), 2);
    for tunnel in &mut tunnels {
        assert_eq!(echoed(tunnel, "here").await, "here");
    }
}

#[tokio::test]
async fn a_request_over_a_connection_that_is_there_is_answered() {
    let hello = backend(|mut stream| async move {
        let mut head = BufReader::new(&mut stream);
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            head.read_line(&mut line).await.unwrap();
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").await.unwrap();
    })
    .await;
    let (listener, cable, gateway) = through_a_cable(hello).await;
    let host = format!("{}.localhost", listener.key());
    for _ in 0..10 {
        let long = format!("Cookie: {}\r\n", "x".repeat(40_000)); // does not go with the question
        assert!(get(gateway.browser_addr(), &host, &long).await.ends_with("hello"));
        assert!(get(gateway.browser_addr(), &host, "").await.ends_with("hello"));
    }
    assert_eq!(cable.connections(), 1);
}

#[tokio::test]
async fn a_service_that_is_kept_ready_is_dialled_before_anybody_asks_and_its_backend_is_not_touched() {
    let touched = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&touched);
    let counting = backend(move |mut stream| {
        counted.fetch_add(1, Ordering::SeqCst);
        async move {
            let (mut from, mut to) = stream.split();
            let _ = tokio::io::copy(&mut from, &mut to).await;
        }
    })
    .await;
    let listener = listener(vec![service(counting)]).await;
    let cable = Cable::to(udp(&listener)).await;
    let key = listener.key();
    let gateway = gateway_with(key, cable.addr, |config| config.ready = vec![name(key)]).await;
    while cable.connections() == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(touched.load(Ordering::SeqCst), 0);
    for _ in 0..3 {
        say(&gateway, key, "asked").await;
    }
    assert_eq!(touched.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_connection_that_leads_nowhere_any_more_costs_a_moment_and_no_error() {
    let (listener, cable, gateway) = through_a_cable(echo().await).await;
    say(&gateway, listener.key(), "before").await;
    cable.silence();
    tokio::time::pause();
    tokio::time::advance(FRESH_SESSION).await;
    tokio::time::resume();
    let host = format!("{}.localhost", listener.key());
    let mut browser = open(gateway.browser_addr(), &host, "").await;
    let mut heard = [0; 14];
    browser.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"GET / HTTP/1.1");
    assert_eq!(cable.connections(), 2);
}

#[tokio::test]
async fn a_listener_that_was_restarted_is_reached_as_if_nothing_had_been() {
    let (dir, backend) = (tempfile::tempdir().unwrap(), echo().await);
    let start = async |port: u16| {
        let identity = IdentityConfig::File(dir.path().join("id"));
        TestNode::start(|config| {
            config.gateway_port = None;
            config.p2p.port = port;
            config.services = vec![ServiceConfig { identity, ..service(backend) }];
        })
        .await
    };
    let listener = start(0).await;
    let (key, p2p, quic) = (listener.key(), listener.p2p(), udp(&listener));
    assert_eq!(p2p, quic, "the same number for both");
    let gateway = gateway(key, quic).await;
    say(&gateway, key, "one").await;
    say(&gateway, key, "two").await;
    listener.node.shutdown().await;
    let listener = start(p2p.port()).await;
    assert_eq!(udp(&listener), quic);
    say(&gateway, key, "three").await;
}

#[tokio::test]
async fn a_download_whose_service_dies_never_looks_complete() {
    let endless = backend(|mut stream| async move {
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nthe beginning").await.unwrap();
        let _ = stream.read(&mut [0; 4096]).await;
        std::future::pending::<()>().await;
    })
    .await;
    let listener = TestNode::start(|config| {
        config.gateway_port = None;
        config.services = vec![service(endless)];
        config.grace = Duration::ZERO;
    })
    .await;
    let gateway = gateway(listener.key(), udp(&listener)).await;
    let mut browser = open(gateway.browser_addr(), &format!("{}.localhost", listener.key()), "").await;
    browser.read_exact(&mut [0; 32]).await.unwrap();
    listener.node.shutdown().await;
    let error = browser.read_to_end(&mut Vec::new()).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_browser_that_breaks_off_is_a_reset_at_the_backend_and_the_next_tunnel_is_whole() {
    let (broken, mut how) = tokio::sync::mpsc::unbounded_channel();
    let watching = backend(move |mut stream| {
        let broken = broken.clone();
        async move {
            stream.write_all(b"x").await.unwrap();
            let end = stream.read_to_end(&mut Vec::new()).await;
            broken.send(end.map_err(|error| error.kind())).unwrap();
        }
    })
    .await;
    let (listener, cable, gateway) = through_a_cable(watching).await;
    for _ in 0..3 {
        let mut browser = open(gateway.browser_addr(), &format!("{}.localhost", listener.key()), "").await;
        browser.read_exact(&mut [0]).await.unwrap();
        browser.set_zero_linger().unwrap();
        drop(browser);
        assert_eq!(how.recv().await, Some(Err(std::io::ErrorKind::ConnectionReset)));
    }
    assert_eq!(cable.connections(), 1);
}

#[tokio::test]
async fn why_a_service_refuses_is_told_apart() {
    let mut guarded = service(echo().await);
    guarded.access = Some(Access::Password("sesame".into()));
    let listener = listener(vec![service(nobody().await), guarded]).await;
    let keys: Vec<_> = listener.node.status().services.iter().map(|service| service.key).collect();
    let at = TransportAddr::Quic(udp(&listener));
    let gateway = TestNode::start(|config| {
        config.static_addresses = keys.iter().map(|key| StaticAddress { key: *key, at: at.clone() }).collect();
    })
    .await;
    for (host, status, code) in [
        (format!("{}.localhost", keys[0]), 502, "\"backend_down\""),
        (format!("{}.localhost", keys[1]), 403, "\"password_needed\""),
        (format!("wrong-{}.localhost", keys[1]), 403, "\"wrong_password\""),
    ] {
        for _ in 0..2 {
            let answer = get(gateway.browser_addr(), &host, "Accept: application/json\r\n").await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(code), "{answer}");
        }
    }
    let sesame = ServiceName { key: keys[1], password: Some("sesame".into()) };
    let mut tunnel = gateway.node.connect(&sesame).await.unwrap();
    assert_eq!(echoed(&mut tunnel, "open").await, "open");
}

#[tokio::test]
async fn a_backend_that_comes_up_is_reached_over_the_connection_that_was_refused() {
    let program = tokio::net::TcpSocket::new_v4().unwrap();
    program.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let (listener, _cable, gateway) = through_a_cable(program.local_addr().unwrap()).await;
    assert!(gateway.node.connect(&name(listener.key())).await.is_err());
    let program = program.listen(1).unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = program.accept().await.unwrap();
        stream.write_all(b"up").await.unwrap();
    });
    let mut tunnel = gateway.node.connect(&name(listener.key())).await.unwrap();
    let mut heard = String::new();
    tunnel.read_to_string(&mut heard).await.unwrap();
    assert_eq!(heard, "up");
}

#[tokio::test]
async fn with_p2p_quic_off_there_is_no_udp_socket_and_none_is_dialled() {
    let off = |config: &mut NodeConfig| config.p2p.quic = false;
    let backend = echo().await;
    let deaf = TestNode::start(|config| {
        config.services = vec![service(backend)];
        off(config);
    })
    .await;
    assert!(deaf.node.status().bound.quic.is_empty());
    let there = listener(vec![service(echo().await)]).await;
    let gateway = gateway_with(there.key(), udp(&there), off).await;
    let error = gateway.node.connect(&name(there.key())).await.unwrap_err();
    assert!(error.report.attempts.is_empty(), "{error:?}");
}
