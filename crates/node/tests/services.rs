//! Services that are added, changed and removed while the node runs.
#![allow(clippy::unwrap_used)]

mod common;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use common::{TestNode, backend, echo, get, service, service_for};
use hardline_node::access::Access;
use hardline_node::config::{IdentityConfig, ServiceConfig, Target};
use hardline_node::node::{Node, TunnelStream};
use hardline_node::proto::KeyHash;
use hardline_node::proto::host::ServiceName;
use hardline_node::services::ServiceError;
use hardline_node::tls::identity::Identity;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

const LIMIT: Duration = Duration::from_secs(30);

fn name(key: KeyHash) -> ServiceName {
    ServiceName { key, password: None }
}

/// A service with an identity in `dir`, so that it keeps its name when it comes back.
fn lasting(dir: &tempfile::TempDir, backend: SocketAddr) -> (KeyHash, ServiceConfig) {
    let path = dir.path().join("lasting");
    let (identity, _) = Identity::load_or_create(&path).unwrap();
    (identity.key, ServiceConfig { identity: IdentityConfig::File(path), ..service(backend) })
}

/// Somebody who greets with one byte, and then sends back what comes.
async fn greeting(byte: u8) -> SocketAddr {
    backend(move |mut stream| async move {
        let _ = stream.write_all(&[byte]).await;
        let (mut from, mut to) = stream.split();
        let _ = tokio::io::copy(&mut from, &mut to).await;
        let _ = to.shutdown().await;
    })
    .await
}

async fn greeted(tunnel: &mut TunnelStream) -> u8 {
    timeout(LIMIT, tunnel.read_u8()).await.unwrap().unwrap()
}

/// Sends numbered blocks through a tunnel and reads each back whole, until told to end; then the
/// rest, to the clean end. Returns how many.
async fn carry(tunnel: TunnelStream, seed: u64, ends: Arc<AtomicBool>, carried: Arc<AtomicU64>) -> u64 {
    let (mut from, mut to) = tokio::io::split(tunnel);
    let mut number = 0;
    while !ends.load(Ordering::Relaxed) {
        let mut state = seed ^ number;
        let block: Vec<u8> = (0..4096)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 56) as u8
            })
            .collect();
        let mut back = vec![0; block.len()];
        let (sent, read) = tokio::join!(to.write_all(&block), from.read_exact(&mut back));
        sent.unwrap();
        read.unwrap();
        assert!(block == back, "block {number} came back changed");
        number += 1;
        carried.fetch_add(1, Ordering::Relaxed);
    }
    to.shutdown().await.unwrap();
    assert_eq!(from.read_to_end(&mut Vec::new()).await.unwrap(), 0);
    number
}

async fn is_refused(node: &Node, key: KeyHash) -> bool {
    timeout(LIMIT, node.connect(&name(key))).await.unwrap().is_err()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_lose_no_byte_while_a_service_comes_and_changes_and_goes() {
    let dir = tempfile::tempdir().unwrap();
    let backends = [greeting(b'1').await, greeting(b'2').await];
    let (key, config) = lasting(&dir, backends[0]);
    let listener = TestNode::listener(vec![service(echo().await), service(echo().await)]).await;
    let keys: Vec<_> = listener.node.status().services.iter().map(|service| service.key).collect();
    let given: Vec<_> = keys.iter().chain([&key]).map(|key| (*key, listener.p2p())).collect();
    let dialler = TestNode::gateway(&given).await;

    let (ends, carried) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut carrying = Vec::new();
    for number in 0..16 {
        let tunnel = dialler.node.connect(&name(keys[number % 2])).await.unwrap();
        carrying.push(tokio::spawn(carry(tunnel, number as u64, Arc::clone(&ends), Arc::clone(&carried))));
    }
    for round in 0..120 {
        assert_eq!(listener.node.add_service(config.clone()).unwrap().0, key);
        let mut first = dialler.node.connect(&name(key)).await.unwrap();
        assert_eq!(greeted(&mut first).await, b'1');
        let target = Target::Tcp(backends[1].into());
        listener.node.change_service(&key, |config| config.target = target).unwrap();
        let mut second = dialler.node.connect(&name(key)).await.unwrap();
        assert_eq!(greeted(&mut second).await, b'2', "new tunnels go to the new target");
        first.write_all(b"x").await.unwrap();
        assert_eq!(greeted(&mut first).await, b'x', "a tunnel that runs is left alone");

        let before = carried.load(Ordering::Relaxed);
        listener.node.remove_service(&key).unwrap();
        for mut tunnel in [first, second] {
            assert!(timeout(LIMIT, tunnel.read_u8()).await.unwrap().is_err(), "its tunnels end");
        }
        // Being refused takes the dialler its time.
        if round % 40 == 0 {
            assert!(is_refused(&dialler.node, key).await);
            assert!(carried.load(Ordering::Relaxed) > before, "the others go on");
        }
    }
    ends.store(true, Ordering::Relaxed);
    for carrying in carrying {
        assert!(timeout(LIMIT, carrying).await.unwrap().unwrap() > 0);
    }
    let gone = async {
        while listener.node.status().tunnels > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LIMIT, gone).await.unwrap();
    let metrics = listener.node.status().metrics;
    assert_eq!(metrics["tunnels_clean"], 16);
    assert_eq!(metrics["tunnels_removed"], 240);
    // Joins every task.
    timeout(LIMIT, async { tokio::join!(listener.node.shutdown(), dialler.node.shutdown()) }).await.unwrap();
}

#[tokio::test]
async fn a_node_without_services_begins_to_listen_with_its_first() {
    let listener = TestNode::start(|_| {}).await;
    assert!(listener.node.status().bound.p2p.is_empty() && listener.node.status().reach.is_none());
    let (key, _) = listener.node.add_service(service(greeting(b'1').await)).unwrap();
    let status = listener.node.status();
    assert!(status.reach.is_some());
    assert_eq!(status.services.len(), 1);
    let page = get(listener.browser_addr(), "localhost", "Accept: text/plain\r\n").await;
    assert!(page.contains(&key.to_string()), "the first page shows it: {page}");

    // From its own gateway, and from another.
    assert_eq!(greeted(&mut listener.node.connect(&name(key)).await.unwrap()).await, b'1');
    let dialler = TestNode::gateway(&[(key, status.bound.p2p[0])]).await;
    assert_eq!(greeted(&mut dialler.node.connect(&name(key)).await.unwrap()).await, b'1');

    listener.node.remove_service(&key).unwrap();
    assert!(listener.node.status().services.is_empty());
    assert!(matches!(listener.node.remove_service(&key), Err(ServiceError::Unknown(_))));
}

#[tokio::test]
async fn a_new_password_is_asked_of_new_tunnels_over_old_sessions_too() {
    let listener = TestNode::listener(vec![service(echo().await)]).await;
    let (key, at) = (listener.key(), listener.p2p());
    let dialler = TestNode::gateway(&[(key, at)]).await;
    let mut running = dialler.node.connect(&name(key)).await.unwrap();
    running.write_all(b"a").await.unwrap();
    assert_eq!(greeted(&mut running).await, b'a');
    let mut ended = dialler.node.connect(&name(key)).await.unwrap();
    ended.shutdown().await.unwrap();
    assert_eq!(ended.read_to_end(&mut Vec::new()).await.unwrap(), 0);
    drop(ended); // its session is idle

    listener.node.change_service(&key, |config| config.access = Some(Access::Password("sesame".into()))).unwrap();
    assert_eq!(listener.node.status().services[0].access, Access::Password("sesame".into()));
    assert!(is_refused(&dialler.node, key).await);
    let with_password = ServiceName { key, password: Some("sesame".into()) };
    let mut allowed = dialler.node.connect(&with_password).await.unwrap();
    allowed.write_all(b"b").await.unwrap();
    assert_eq!(greeted(&mut allowed).await, b'b');
    running.write_all(b"c").await.unwrap();
    assert_eq!(greeted(&mut running).await, b'c', "a tunnel that runs is left alone");
}

#[tokio::test]
async fn what_cannot_be_served_changes_nothing() {
    let listener = TestNode::listener(vec![service(echo().await)]).await;
    let nowhere = Target::Folder("/nowhere/at/all".into());
    assert!(matches!(listener.node.add_service(service_for(nowhere.clone())), Err(ServiceError::Backend { .. })));
    let change = listener.node.change_service(&listener.key(), |config| config.target = nowhere);
    assert!(matches!(change, Err(ServiceError::Backend { .. })));
    let dialler = TestNode::gateway(&[(listener.key(), listener.p2p())]).await;
    let mut tunnel = dialler.node.connect(&name(listener.key())).await.unwrap();
    tunnel.write_all(b"x").await.unwrap();
    assert_eq!(greeted(&mut tunnel).await, b'x');
}
