//! Services that speak UDP, through forwarded UDP ports: over QUIC, and over TCP.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use common::{TestNode, echo, get, happens, name, service, service_for};
use hardline_node::access::Access;
use hardline_node::config::{IdentityConfig, LocalAddr, StaticAddress, Target};
use hardline_node::node::Cause;
use hardline_node::proto::KeyHash;
use hardline_node::proto::host::ServiceName;
use hardline_node::proto::tunnel::Reason;
use hardline_node::proto::tunnel::datagram::MAX_DATAGRAM;
use tokio::net::{TcpListener, UdpSocket};
use tokio::time::timeout;

/// Time for an answer on one computer. Datagrams may be lost, so who asks asks again.
const ANSWER: Duration = Duration::from_millis(500);

/// A program that sends back what it gets, with the port where it came from in front.
async fn udp_echo() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let at = socket.local_addr().unwrap();
    tokio::spawn(run_echo(socket));
    at
}

async fn run_echo(socket: UdpSocket) {
    let mut bytes = vec![0; MAX_DATAGRAM];
    while let Ok((length, from)) = socket.recv_from(&mut bytes).await {
        let _ = socket.send_to(&[&from.port().to_be_bytes(), &bytes[..length]].concat(), from).await;
    }
}

/// A service for the UDP port, and a node that knows where it is, with a port that leads there.
struct World {
    listener: TestNode,
    dialler: TestNode,
    port: SocketAddr,
}

impl World {
    async fn new(target: SocketAddr, over_quic: bool) -> Self {
        let listener = TestNode::listener(vec![service_for(Target::Udp(target.into()))]).await;
        Self::at(listener, over_quic).await
    }

    async fn at(listener: TestNode, over_quic: bool) -> Self {
        let (key, at) = (listener.key(), listener.p2p().into());
        let dialler = TestNode::start(|config| {
            config.static_addresses = vec![StaticAddress { key, at }];
            config.p2p.quic = over_quic;
        })
        .await;
        let port = forward(&dialler, name(key));
        Self { listener, dialler, port }
    }

    async fn program(&self) -> Program {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect(self.port).await.unwrap();
        Program(socket)
    }

    fn status(&self) -> serde_json::Value {
        self.dialler.node.status().to_json()
    }
}

fn forward(dialler: &TestNode, name: ServiceName) -> SocketAddr {
    let local = dialler.node.forward(&"udp:0".parse().unwrap(), &name).unwrap();
    let LocalAddr::Udp(port) = local else { panic!("a UDP port") };
    port
}

/// A program at a port of its own.
struct Program(UdpSocket);

impl Program {
    /// Asks until the answer is there; returns it without the echo's word in front, and that.
    async fn ask(&self, datagram: &[u8]) -> u16 {
        for _ in 0..40 {
            self.0.send(datagram).await.unwrap();
            if let Some((port, answer)) = self.heard().await
                && answer == datagram
            {
                return port;
            }
        }
        panic!("no answer to {} bytes", datagram.len());
    }

    async fn heard(&self) -> Option<(u16, Vec<u8>)> {
        let mut bytes = vec![0; MAX_DATAGRAM];
        let length = timeout(ANSWER, self.0.recv(&mut bytes)).await.ok()?.ok()?;
        bytes.truncate(length);
        Some((u16::from_be_bytes([bytes[0], bytes[1]]), bytes.split_off(2)))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn datagrams_of_every_length_arrive_over_quic_and_over_tcp() {
    for over_quic in [true, false] {
        let world = World::new(udp_echo().await, over_quic).await;
        let program = world.program().await;
        for length in [0, 1, 1000, 1200, 1500, 9000, 16_380, 16_384, 40_000, MAX_DATAGRAM - 2] {
            let datagram: Vec<u8> = (0..length).map(|number| (number % 251) as u8).collect();
            program.ask(&datagram).await;
        }
        let status = world.status();
        let forward = &status["forwards"][0];
        assert_eq!((&forward["kind"], &forward["open"]), (&"udp".into(), &1.into()), "{status}");
        let transport = if over_quic { "quic" } else { "tcp" };
        assert_eq!(forward["path"]["transport"], transport, "{status}");
        assert_eq!(forward["is_udp_over_tcp"], !over_quic, "{status}");
        assert_eq!(status["sentences"].to_string().contains("UDP over TCP"), !over_quic, "{status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_port_of_a_program_is_a_flow_and_flows_do_not_mix() {
    for over_quic in [true, false] {
        let world = World::new(udp_echo().await, over_quic).await;
        let mut programs = Vec::new();
        for _ in 0..20 {
            programs.push(world.program().await);
        }
        let mut seen = BTreeSet::new();
        for (number, program) in programs.iter().enumerate() {
            let ours = format!("{number}");
            let port = program.ask(ours.as_bytes()).await;
            assert!(seen.insert(port), "the service sees another port for each");
            assert_eq!(program.ask(ours.as_bytes()).await, port, "and always the same");
        }
        for (number, program) in programs.iter().enumerate().take(3) {
            // Nothing but answers to what was asked twice.
            while let Some((_, answer)) = program.heard().await {
                assert_eq!(answer, format!("{number}").as_bytes());
            }
        }
        assert_eq!(world.status()["forwards"][0]["open"], 20);
        assert_eq!(world.listener.node.status().tunnels, 20);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_starts_later_is_reached_by_the_flow_that_is_there() {
    let at = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let world = World::new(at, true).await;
    let program = world.program().await;
    for _ in 0..3 {
        program.0.send(b"too early").await.unwrap();
        assert_eq!(program.heard().await, None);
    }
    tokio::spawn(run_echo(UdpSocket::bind(at).await.unwrap()));
    let port = program.ask(b"hello").await;
    assert_eq!(program.ask(b"again").await, port);
    assert_eq!(world.dialler.node.status().metrics["tunnels_opened"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_whose_tunnel_has_died_is_opened_anew_by_the_next_datagram() {
    for over_quic in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let mut config = service_for(Target::Udp(udp_echo().await.into()));
        config.identity = IdentityConfig::File(dir.path().join("id"));
        let world = World::at(TestNode::listener(vec![config.clone()]).await, over_quic).await;
        let program = world.program().await;
        let before = program.ask(b"one").await;
        let key = world.listener.key();
        world.listener.node.remove_service(&key).unwrap();
        happens(async || world.listener.node.status().tunnels == 0).await;
        world.listener.node.add_service(config).unwrap();
        assert_ne!(program.ask(b"two").await, before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_a_udp_service_for_a_stream_is_told_what_to_do() {
    let target = udp_echo().await;
    let listener = TestNode::listener(vec![service_for(Target::Udp(target.into()))]).await;
    let gateway = TestNode::gateway(&[(listener.key(), listener.p2p())]).await;
    let error = gateway.node.connect(&name(listener.key())).await.unwrap_err();
    assert!(matches!(&error.cause, Cause::Refused { refusal, .. } if refusal.reason == Reason::Udp), "{error}");
    let page = get(gateway.browser_addr(), &format!("{}.localhost", listener.key()), "Accept: text/html\r\n").await;
    assert!(page.contains("is not for browsers") && page.contains("forward KEYHASH=udp:PORT"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_speaks_tcp_gets_no_datagrams() {
    let backend = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let listener = TestNode::listener(vec![service(backend.local_addr().unwrap())]).await;
    let world = World::at(listener, true).await;
    let program = world.program().await;
    for _ in 0..3 {
        program.0.send(b"hello").await.unwrap();
        assert_eq!(program.heard().await, None);
    }
    happens(async || world.status()["forwards"][0]["has_failed"] == true).await;
    assert!(timeout(ANSWER, backend.accept()).await.is_err(), "its program was not touched");
    // A stream to it works as before.
    let listener = TestNode::listener(vec![service(echo().await)]).await;
    let dialler = TestNode::gateway(&[(listener.key(), listener.p2p())]).await;
    assert!(dialler.node.connect(&name(listener.key())).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_asked_for_before_a_datagram_passes() {
    let mut config = service_for(Target::Udp(udp_echo().await.into()));
    config.access = Some(Access::Password("sesame".into()));
    let world = World::at(TestNode::listener(vec![config]).await, true).await;
    let program = world.program().await;
    program.0.send(b"hello").await.unwrap();
    assert_eq!(program.heard().await, None);
    let key: KeyHash = world.listener.key();
    let port = forward(&world.dialler, ServiceName { key, password: Some("sesame".into()) });
    program.0.connect(port).await.unwrap();
    program.ask(b"hello").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_flows_than_one_connection_carries_go_over_several() {
    let world = World::new(udp_echo().await, true).await;
    let mut programs = Vec::new();
    for number in 0..300_u16 {
        let program = world.program().await;
        program.ask(&number.to_be_bytes()).await;
        // Its port is its own for as long as it lives.
        programs.push(program);
    }
    assert_eq!(world.status()["forwards"][0]["open"], 300);
}
