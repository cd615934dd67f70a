//! The DHT node that all parts share: asleep until somebody needs it, and asleep again afterwards.

#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hardline_node::config::DhtSettings;
use hardline_node::dht::{Event, InfoHash, Rates, Value, ValueType};
use hardline_node::drivers::dht::shared::{IDLE, SharedDht};
use hardline_node::drivers::dht::{Dht, DhtConfig};
use hardline_node::network::NetworkMonitor;
use tokio::net::UdpSocket;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A test that waits longer has failed.
const LIMIT: Duration = Duration::from_secs(30);

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
async fn a_client_makes_place_for_a_node_that_takes_part_and_ends_with_what_is_under_way() {
    let other = Dht::start(loopback(), None, CancellationToken::new()).await.unwrap();
    let entrance = other.status().bound[0];
    let shared = shared(entrance, CancellationToken::new());
    let client = shared.use_now().await.unwrap();
    timeout(LIMIT, client.connected()).await.unwrap();
    let client_addr = client.status().bound[0];
    assert_eq!(keepers(&other).await, 0, "a client keeps nothing for others");

    shared.take_part();
    assert_eq!(shared.status().unwrap().id, client.status().id, "not before somebody asks for it");
    let full = shared.use_now().await.unwrap();
    assert_ne!(full.status().id, client.status().id);
    assert_eq!(shared.status().unwrap().id, full.status().id);
    timeout(LIMIT, full.connected()).await.unwrap();
    assert_eq!(keepers(&other).await, 1);

    // What was begun over the client is finished there.
    let (_, summary) = client.get_all(InfoHash([7; 20]), LIMIT).await;
    assert!(summary.is_some());
    drop(client);
    timeout(LIMIT, async {
        while UdpSocket::bind(client_addr).await.is_err() {
            tokio::task::yield_now().await; // until its socket is closed
        }
    })
    .await
    .unwrap();
    assert_eq!(shared.use_now().await.unwrap().status().id, full.status().id);
}

#[tokio::test]
async fn a_client_that_nobody_uses_ends_when_its_place_is_taken() {
    let (_entrance, shared) = asleep().await;
    let client_addr = shared.use_now().await.unwrap().status().bound[0];
    shared.take_part();
    let _full = shared.use_now().await.unwrap();
    timeout(LIMIT, async {
        while UdpSocket::bind(client_addr).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
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

/// How many nodes take a value that `node` has.
async fn keepers(node: &Dht) -> usize {
    let value = Value::new(1, ValueType::USER_DATA, b"a value", "").unwrap();
    let mut put = node.put(InfoHash([9; 20]), value, false);
    loop {
        match timeout(LIMIT, put.next()).await.unwrap() {
            Some(Event::PutDone { acknowledged, .. }) => return acknowledged,
            Some(_) => {}
            None => return 0,
        }
    }
}

fn loopback() -> DhtConfig {
    DhtConfig {
        port: 0,
        bind: vec!["127.0.0.1".parse().unwrap()],
        bootstrap: Vec::new(),
        rates: Rates::UNLIMITED,
        ..DhtConfig::default()
    }
}

fn shared(entrance: SocketAddr, shutdown: CancellationToken) -> Arc<SharedDht> {
    let settings = DhtSettings {
        port: Some(0),
        bind: vec!["127.0.0.1".parse().unwrap()],
        bootstrap: vec![entrance.to_string()],
        proxies: Vec::new(),
        ..DhtSettings::default()
    };
    let network = NetworkMonitor::start(shutdown.clone(), &TaskTracker::new());
    SharedDht::new(&settings, false, None, network, shutdown).unwrap()
}
