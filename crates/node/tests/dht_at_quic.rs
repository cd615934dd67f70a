//! The DHT and QUIC at one socket.
#![cfg(feature = "quic")]
#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::dht::DhtNodes;
use common::{TestNode, service};
use hardline_node::config::NodeConfig;
use hardline_node::drivers::dht::DhtStatus;
use tokio::time::timeout;

/// A test that waits longer has failed.
const LIMIT: Duration = Duration::from_secs(40);

/// A publisher in the DHT of `nodes`, its DHT node, and the port of QUIC.
async fn publisher(nodes: &DhtNodes, change: impl FnOnce(&mut NodeConfig)) -> (TestNode, DhtStatus, Option<u16>) {
    let service = service(([127, 0, 0, 1], 9).into());
    let node = TestNode::start(|config| {
        nodes.join(config);
        config.gateway_port = None;
        config.dht.port = None;
        config.dht.bind = Vec::new();
        config.p2p.bind = Vec::new();
        config.p2p.port_mapping = false;
        config.services = vec![service];
        config.services[0].dht = true;
        change(config);
    })
    .await;
    let connected = async {
        loop {
            match node.node.status().dht.filter(DhtStatus::is_connected) {
                Some(status) => return status,
                None => tokio::task::yield_now().await,
            }
        }
    };
    let status = timeout(LIMIT, connected).await.unwrap();
    let quic = node.node.status().bound.quic.first().map(|at| at.port());
    (node, status, quic)
}

#[tokio::test]
async fn a_publisher_takes_part_by_the_socket_of_quic_and_lets_go_of_it() {
    let nodes = DhtNodes::start().await;
    let (publisher, status, quic) = publisher(&nodes, |_| {}).await;
    assert!(status.is_at_quic && status.lost == 0, "{status:?}");
    assert!(status.bound.iter().all(|at| Some(at.port()) == quic), "{status:?}");
    // Within less than the grace of running tunnels: nothing holds the socket.
    timeout(Duration::from_secs(10), publisher.node.shutdown()).await.unwrap();
}

#[tokio::test]
async fn where_a_port_is_set_or_quic_is_off_the_dht_has_a_socket_of_its_own() {
    let nodes = DhtNodes::start().await;
    let (_publisher, status, quic) = publisher(&nodes, |config| config.dht.port = Some(0)).await;
    assert!(!status.is_at_quic && status.bound.iter().all(|at| Some(at.port()) != quic), "{status:?}");
    let (_publisher, status, quic) = publisher(&nodes, |config| config.p2p.quic = false).await;
    assert_eq!((status.is_at_quic, quic), (false, None), "{status:?}");
}
