//! The DHT node that all parts share: asleep until somebody needs it, and asleep again afterwards.

#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hardline_node::config::DhtSettings;
use hardline_node::drivers::dht::shared::{IDLE, SharedDht};
use hardline_node::network::NetworkMonitor;
use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

#[tokio::test]
async fn nothing_is_sent_before_somebody_needs_it() {
    let (entrance, shared) = asleep().await;
    assert!(shared.status().is_none());
    let mut buffer = [0; 2048];
    tokio::time::pause();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    tokio::time::resume();
    assert!(entrance.try_recv_from(&mut buffer).is_err(), "nobody has used it");
    let _dht = shared.use_now().await.unwrap();
    entrance.recv_from(&mut buffer).await.unwrap();
}

#[tokio::test]
async fn all_parts_share_one_node() {
    let (_entrance, shared) = asleep().await;
    let (one, other) = tokio::join!(shared.use_now(), shared.use_now());
    let (one, other) = (one.unwrap(), other.unwrap());
    assert_eq!(one.status().id, other.status().id);
    assert_eq!(shared.status().unwrap().id, one.status().id);
}

#[tokio::test]
async fn it_stops_when_nobody_has_used_it_for_a_while_and_starts_again() {
    let (_entrance, shared) = asleep().await;
    let (one, other) = (shared.use_now().await.unwrap(), shared.use_now().await.unwrap());
    let (first, addr) = (one.status().id, one.status().bound[0]);
    tokio::time::pause();
    drop(one);
    tokio::time::sleep(2 * IDLE).await;
    assert!(shared.status().is_some(), "one use goes on");
    drop(other);
    tokio::time::sleep(IDLE - Duration::from_secs(1)).await;
    assert!(shared.status().is_some(), "not yet");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(shared.status().is_none());
    tokio::time::resume();
    while UdpSocket::bind(addr).await.is_err() {
        tokio::task::yield_now().await; // until its socket is closed
    }
    assert_ne!(shared.use_now().await.unwrap().status().id, first, "a new one");
}

#[tokio::test]
async fn it_ends_with_the_program() {
    let entrance = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let shutdown = CancellationToken::new();
    let shared = shared(entrance.local_addr().unwrap(), shutdown.clone());
    let _dht = shared.use_now().await.unwrap();
    shutdown.cancel();
    shared.stopped().await;
    assert!(shared.status().is_none());
    assert!(shared.use_now().await.is_err());
}

/// A node that has not been used, and the socket of what it takes for the network's entrance.
async fn asleep() -> (UdpSocket, Arc<SharedDht>) {
    let entrance = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let shared = shared(entrance.local_addr().unwrap(), CancellationToken::new());
    (entrance, shared)
}

fn shared(entrance: SocketAddr, shutdown: CancellationToken) -> Arc<SharedDht> {
    let settings = DhtSettings {
        port: 0,
        bind: vec!["127.0.0.1".parse().unwrap()],
        bootstrap: vec![entrance.to_string()],
        proxies: Vec::new(),
        ..DhtSettings::default()
    };
    let network = NetworkMonitor::start(shutdown.clone(), &TaskTracker::new());
    SharedDht::new(&settings, false, None, network, shutdown).unwrap()
}
