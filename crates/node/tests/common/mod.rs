//! Nodes, backends and browsers for the tests of the journey.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

pub mod dht; // a DHT of the tests' own
pub mod wire; // somebody who reads along

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::time::Duration;

use hardline_node::config::{
    HttpSettings, IdentityConfig, LanConfig, NodeConfig, P2pConfig, ServiceConfig, StaticAddress, Target,
};
use hardline_node::node::{Node, TunnelStream};
use hardline_node::proto::KeyHash;
use hardline_node::proto::host::ServiceName;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// A LAN on loopback that nobody else is in: its port is its own.
pub fn lan_of_its_own() -> LanConfig {
    let port = UdpSocket::bind("0.0.0.0:0").unwrap().local_addr().unwrap().port();
    LanConfig { port, bind: vec![Ipv4Addr::LOCALHOST], ..LanConfig::default() }
}

/// A node with a data folder of its own, without LAN discovery.
pub struct TestNode {
    pub node: Node,
    pub dir: TempDir,
}

impl TestNode {
    /// A node that publishes `services` and has no gateway.
    pub async fn listener(services: Vec<ServiceConfig>) -> Self {
        Self::start(|config| {
            config.gateway_port = None;
            config.services = services;
        })
        .await
    }

    /// A node with a gateway, told by hand where services are, which trusts them: it carries bytes
    /// as they are.
    pub async fn gateway(given: &[(KeyHash, SocketAddr)]) -> Self {
        Self::start(|config| {
            config.static_addresses = addresses(given);
            config.trusted = given.iter().map(|(key, _)| *key).collect();
        })
        .await
    }

    /// The same without trust, as gateways are by default.
    pub async fn isolating_gateway(given: &[(KeyHash, SocketAddr)]) -> Self {
        Self::start(|config| config.static_addresses = addresses(given)).await
    }

    /// A node with `change` made to a configuration that takes free ports and keeps to loopback.
    pub async fn start(change: impl FnOnce(&mut NodeConfig)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = NodeConfig::new(dir.path().to_owned());
        config.gateway_port = Some(0);
        config.p2p = P2pConfig { port: 0, bind: vec!["127.0.0.1".parse().unwrap()], ..P2pConfig::default() };
        config.lan.enabled = false;
        config.dht.enabled = false;
        change(&mut config);
        let (node, _) = Node::start(config).await.unwrap();
        Self { node, dir }
    }

    pub fn key(&self) -> KeyHash {
        self.node.status().services[0].key
    }

    pub fn p2p(&self) -> SocketAddr {
        self.node.status().bound.p2p[0]
    }

    /// Where browsers connect, on IPv4.
    pub fn browser_addr(&self) -> SocketAddr {
        self.node.status().bound.gateway[0]
    }
}

fn addresses(given: &[(KeyHash, SocketAddr)]) -> Vec<StaticAddress> {
    given.iter().map(|(key, at)| StaticAddress { key: *key, at: (*at).into() }).collect()
}

/// A service for a TCP backend, with an identity for this test alone.
pub fn service(backend: SocketAddr) -> ServiceConfig {
    service_for(Target::Tcp(backend.into()))
}

pub fn service_for(target: Target) -> ServiceConfig {
    ServiceConfig {
        target,
        identity: IdentityConfig::Ephemeral,
        title: "a test".into(),
        access: None,
        unlisted: false,
        private: false,
        dht: true,
        http: HttpSettings::default(),
    }
}

/// A service in front of `backend`, and a gateway that knows where it is.
pub async fn pair(backend: SocketAddr) -> (TestNode, TestNode) {
    pair_for(service(backend)).await
}

pub async fn pair_for(service: ServiceConfig) -> (TestNode, TestNode) {
    let listener = TestNode::listener(vec![service]).await;
    let gateway = TestNode::gateway(&[(listener.key(), listener.p2p())]).await;
    (listener, gateway)
}

/// Runs `serve` for every connection to a new port on loopback.
pub async fn backend<F, Fut>(serve: F) -> SocketAddr
where
    F: Fn(TcpStream) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1024).unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    addr
}

/// A backend that sends back what it gets and ends when its peer does.
pub async fn echo() -> SocketAddr {
    backend(|mut stream| async move {
        let (mut from, mut to) = stream.split();
        let _ = tokio::io::copy(&mut from, &mut to).await;
        let _ = to.shutdown().await;
    })
    .await
}

/// A backend that answers a request with a page that reads "hello", and ends.
pub async fn hello() -> SocketAddr {
    backend(|mut stream| async move {
        let _ = stream.read(&mut [0; 4096]).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello").await;
    })
    .await
}

/// A port on loopback where nobody listens.
pub async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// A browser's connection to `host` at a gateway, the request head sent.
pub async fn open(gateway: SocketAddr, host: &str, headers: &str) -> TcpStream {
    let mut stream = TcpStream::connect(gateway).await.unwrap();
    let head = format!("GET / HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

/// The whole answer to a GET, until the connection is closed.
pub async fn get(gateway: SocketAddr, host: &str, headers: &str) -> String {
    let mut answer = String::new();
    open(gateway, host, headers).await.read_to_string(&mut answer).await.unwrap();
    answer
}

/// Waits until `is_so`; a test where it does not happen has failed.
pub async fn happens(mut is_so: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(40), waiting).await.unwrap();
}

/// A path in a folder that lives as long as the test.
pub fn path_in(dir: &TempDir, name: &str) -> PathBuf {
    dir.path().join(name)
}

/// The service of `key`, without a password.
pub fn name(key: KeyHash) -> ServiceName {
    ServiceName { key, password: None }
}

/// Somebody who greets with one byte, and then sends back what comes.
pub async fn greeting(byte: u8) -> SocketAddr {
    backend(move |mut stream| async move {
        let _ = stream.write_all(&[byte]).await;
        let (mut from, mut to) = stream.split();
        let _ = tokio::io::copy(&mut from, &mut to).await;
        let _ = to.shutdown().await;
    })
    .await
}

/// Sends `text`, ends that direction, and returns what comes back.
pub async fn echoed(tunnel: &mut TunnelStream, text: &str) -> String {
    tunnel.write_all(text.as_bytes()).await.unwrap();
    tunnel.shutdown().await.unwrap();
    let mut heard = String::new();
    tunnel.read_to_string(&mut heard).await.unwrap();
    heard
}
