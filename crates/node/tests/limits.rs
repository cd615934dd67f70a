//! At a limit the newcomer is refused and those who are in stay.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::ErrorKind;
use std::net::Ipv4Addr;

use common::{TestNode, backend, echo, get, lan_of_its_own, open, service};
use hardline_node::config::LanConfig;
use hardline_node::proto::admission::AdmissionLimits;
use hardline_node::proto::lan::Rates;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};

async fn listener(limits: AdmissionLimits) -> TestNode {
    let service = service(echo().await);
    TestNode::start(|config| {
        config.gateway_port = None;
        config.services = vec![service];
        config.p2p.limits = limits;
    })
    .await
}

/// A peer at `source` that connects and says nothing.
async fn silent_peer(source: &str, listener: &TestNode) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{source}:0").parse().unwrap()).unwrap();
    socket.connect(listener.p2p()).await.unwrap()
}

fn is_open(peer: &TcpStream) -> bool {
    matches!(peer.try_read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
}

#[tokio::test]
async fn silent_peers_take_the_handshakes_of_their_own_address_only() {
    let listener = listener(AdmissionLimits { handshakes_per_address: 2, ..AdmissionLimits::default() }).await;
    let inside = [silent_peer("127.0.0.1", &listener).await, silent_peer("127.0.0.1", &listener).await];
    let elsewhere = silent_peer("127.0.0.2", &listener).await;
    let mut refused = silent_peer("127.0.0.1", &listener).await;
    // Connections are accepted in their order: the fate of all four is known when the last one's
    // is.
    assert_eq!(refused.read(&mut [0]).await.unwrap(), 0);
    assert!(inside.iter().all(is_open));
    assert!(is_open(&elsewhere));
}

#[tokio::test]
async fn a_peer_that_says_nothing_has_the_time_that_was_set() {
    let service = service(echo().await);
    let limit = std::time::Duration::from_secs(2);
    let listener = TestNode::start(|config| {
        config.gateway_port = None;
        config.services = vec![service];
        config.p2p.handshake_timeout = limit;
    })
    .await;
    let mut silent = silent_peer("127.0.0.1", &listener).await;
    // Connections are accepted in their order: when the next one is refused, the first one's time
    // runs.
    let mut next = silent_peer("127.0.0.1", &listener).await;
    next.write_all(b"no TLS").await.unwrap();
    let _ = next.read_to_end(&mut Vec::new()).await;
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    assert_eq!(silent.read(&mut [0]).await.unwrap(), 0);
    let took = began.elapsed();
    assert!(took <= limit + std::time::Duration::from_millis(100), "{took:?}");
}

#[tokio::test]
async fn who_speaks_no_tls_is_let_go_at_its_first_bytes_and_who_begins_byte_by_byte_is_served() {
    let listener = listener(AdmissionLimits::default()).await;
    let mut other = silent_peer("127.0.0.1", &listener).await;
    other.write_all(&[22, 4]).await.unwrap();
    assert!(!matches!(other.read(&mut [0]).await, Ok(1..)));

    let p2p = listener.p2p();
    let slow = backend(move |mut near| async move {
        let mut far = TcpStream::connect(p2p).await.unwrap();
        far.set_nodelay(true).unwrap();
        for _ in 0..64 {
            far.write_u8(near.read_u8().await.unwrap()).await.unwrap();
            tokio::task::yield_now().await;
        }
        let _ = copy_bidirectional(&mut near, &mut far).await;
    })
    .await;
    let gateway = TestNode::gateway(&[(listener.key(), slow)]).await;
    let mut inside = open(gateway.browser_addr(), &format!("{}.localhost", listener.key()), "").await;
    assert_eq!(inside.read_u8().await.unwrap(), b'G', "the echo of GET");
}

#[tokio::test]
async fn what_was_refused_is_counted_for_who_asks() {
    let listener = listener(AdmissionLimits { handshakes_per_address: 1, ..AdmissionLimits::default() }).await;
    let _inside = silent_peer("127.0.0.1", &listener).await;
    let mut refused = silent_peer("127.0.0.1", &listener).await;
    assert_eq!(refused.read(&mut [0]).await.unwrap(), 0);
    let status = listener.node.status().to_json();
    assert_eq!(status["metrics"]["refused_handshakes_per_address"], 1, "{status}");
}

#[tokio::test]
async fn what_was_dropped_of_a_loud_neighbour_is_counted_for_who_asks() {
    let lan = LanConfig { rates: Rates { datagrams_per_source: 1, ..Rates::DEFAULT }, ..lan_of_its_own() };
    let at = (Ipv4Addr::LOCALHOST, lan.port);
    let node = TestNode::start(|config| config.lan = lan).await.node;
    let neighbour = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let loud = async {
        while node.status().metrics["lan_dropped_datagrams"] == 0 {
            neighbour.send_to(b"noise", at).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), loud).await.unwrap();
}

#[tokio::test]
async fn a_service_that_is_full_refuses_the_newcomer_and_has_room_again_later() {
    let listener = listener(AdmissionLimits { tunnels_per_service: 1, ..AdmissionLimits::default() }).await;
    let gateway = TestNode::gateway(&[(listener.key(), listener.p2p())]).await;
    let host = format!("{}.localhost", listener.key());
    let mut inside = open(gateway.browser_addr(), &host, "").await;
    inside.read_exact(&mut [0]).await.unwrap();

    let answer = get(gateway.browser_addr(), &host, "Connection: close\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 50"), "{answer}");
    inside.write_all(b"still here").await.unwrap();
    let mut said = Vec::new();
    while !said.ends_with(b"still here") {
        assert_ne!(inside.read_buf(&mut said).await.unwrap(), 0, "who is in stays");
    }

    drop(inside);
    let room = async {
        loop {
            let mut later = open(gateway.browser_addr(), &host, "").await;
            later.shutdown().await.unwrap();
            let mut echoed = String::new();
            later.read_to_string(&mut echoed).await.unwrap();
            if echoed.starts_with("GET /") {
                break;
            }
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), room).await.unwrap();
}
