//! Services that are added, changed and removed while the node runs. Under load:
//! `services_under_load.rs`.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::{TestNode, echo, get, greeting, name, service, service_for};
use hardline_node::access::Access;
use hardline_node::config::Target;
use hardline_node::node::{Node, TunnelStream};
use hardline_node::proto::KeyHash;
use hardline_node::proto::host::ServiceName;
use hardline_node::services::ServiceError;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

const LIMIT: Duration = Duration::from_secs(30);

async fn greeted(tunnel: &mut TunnelStream) -> u8 {
    timeout(LIMIT, tunnel.read_u8()).await.unwrap().unwrap()
}

async fn is_refused(node: &Node, key: KeyHash) -> bool {
    timeout(LIMIT, node.connect(&name(key))).await.unwrap().is_err()
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
