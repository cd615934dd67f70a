//! Where services are registered while the node runs: the LAN, the DHT, a relay. Each hears of one
//! that is added, of what changes, and that it is gone.
#![allow(clippy::unwrap_used)]

mod common;

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, UNIX_EPOCH};

use common::dht::DhtNodes;
use common::wire::first_answer;
use common::{TestNode, echo, happens, lan_of_its_own, service};
use hardline_node::access::Access;
use hardline_node::config::{IdentityConfig, RelayConfig, ServiceConfig};
use hardline_node::dht::{InfoHash, Value, ValueType};
use hardline_node::drivers::dht::Dht;
use hardline_node::drivers::lan::{FoundService, Lan};
use hardline_node::network::NetworkMonitor;
use hardline_node::node::Node;
use hardline_node::proto::host::ServiceName;
use hardline_node::proto::relay::RelayUrl;
use hardline_node::proto::rolling::{Day, RollingCode};
use hardline_node::proto::sealed::open;
use hardline_node::proto::{KeyHash, dht_key};
use hardline_node::tls::sealed::verify;
use hardline_node::transport::relay::tokens::TokenFile;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A test that waits longer has failed. Neighbours that hear nothing forget a service after 90 s.
const LIMIT: Duration = Duration::from_secs(40);

/// Longer than a value of the DHT lives that nobody refreshes.
const VALUES_LIVE: Duration = Duration::from_secs(11 * 60);

/// Where a value stands that is refreshed all the time.
const KEPT: InfoHash = InfoHash([5; 20]);

/// Where the service says that it is.
const ADDRESS: &str = "203.0.113.5:7008";

/// First byte of an answer that goes on with TLS.
const TLS_HANDSHAKE: u8 = 22;

#[tokio::test]
async fn the_lan_hears_of_a_service_that_is_added_of_its_title_and_that_it_is_removed() {
    let config = lan_of_its_own();
    let lan = config.clone();
    let node = TestNode::start(|config| config.lan = lan).await.node;
    let monitor = NetworkMonitor::start(CancellationToken::new(), &TaskTracker::new());
    let neighbour = Lan::start(config, &monitor, CancellationToken::new()).await.unwrap();
    let mut heard = neighbour.browse();

    let titled = |title: &str| ServiceConfig { title: title.into(), ..quiet() };
    let (key, _) = node.add_service(titled("first")).unwrap();
    let (other, _) = node.add_service(titled("other")).unwrap();
    let p2p = node.status().bound.p2p[0];
    let found = until(&mut heard, |found| found.len() == 2).await;
    let of = |found: &[FoundService], key| found.iter().find(|service| service.key == key).cloned();
    let first = of(&found, key).unwrap();
    assert_eq!((first.title.as_str(), first.addrs, first.v2), ("first", vec![p2p], vec![p2p]));

    node.change_service(&key, |config| config.title = "second".into()).unwrap();
    until(&mut heard, |found| of(found, key).is_some_and(|service| service.title == "second")).await;
    node.change_service(&key, |config| config.unlisted = true).unwrap();
    until(&mut heard, |found| of(found, key).is_none()).await;
    assert_eq!(
        timeout(LIMIT, neighbour.search(key).recv()).await.unwrap(),
        Some(p2p),
        "by its name it is found all the same"
    );
    node.change_service(&key, |config| (config.unlisted, config.title) = (false, "third".into())).unwrap();
    until(&mut heard, |found| of(found, key).is_some_and(|service| service.title == "third")).await;

    node.remove_service(&key).unwrap();
    let left = until(&mut heard, |found| of(found, key).is_none()).await;
    assert!(of(&left, other).is_some(), "the other one stays");
    node.shutdown().await;
    until(&mut heard, |found| found.is_empty()).await;
}

#[tokio::test]
async fn a_relay_joins_clients_with_a_service_that_is_added_and_knows_no_name_of_it_when_it_is_removed() {
    let relay = TestNode::start(|config| {
        config.gateway_port = None;
        config.relay = Some(RelayConfig::new(IdentityConfig::Ephemeral));
    })
    .await;
    let at = relay.p2p();
    let token = TokenFile::new(relay.dir.path()).first().unwrap().unwrap().secret;
    let url = RelayUrl { token, at: Some(at.into()), key: relay.node.relay_key().unwrap() };
    let home = TestNode::start(|config| config.relays = vec![url]).await.node;

    let (key, _) = home.add_service(service(echo().await)).unwrap();
    let (other, _) = home.add_service(service(echo().await)).unwrap();
    for name in names(key).into_iter().chain(names(other)) {
        happens(async || first_answer(at, name).await[0] == TLS_HANDSHAKE).await;
    }
    let client = TestNode::gateway(&[(key, at)]).await.node;
    let mut tunnel = client.connect(&ServiceName { key, password: None }).await.unwrap();
    tunnel.write_all(b"through the relay").await.unwrap();
    tunnel.read_exact(&mut [0; 17]).await.unwrap();

    home.change_service(&key, |config| config.access = Some(Access::Password("sesame".into()))).unwrap();
    tunnel.write_all(b"x").await.unwrap();
    assert_eq!(tunnel.read_u8().await.unwrap(), b'x', "a tunnel that runs is left alone");
    let with_password = ServiceName { key, password: Some("sesame".into()) };
    client.connect(&with_password).await.unwrap();
    assert!(client.connect(&ServiceName { key, password: None }).await.is_err());

    home.remove_service(&key).unwrap();
    let refusal = first_answer(at, never_there()).await;
    // The relay tells who is not registered; whom it joins is told the same by the service's host.
    happens(async || !is_joined(&relay.node, at, key).await).await;
    for name in names(key) {
        assert!(!is_joined(&relay.node, at, name).await, "registered still");
        assert_eq!(first_answer(at, name).await, refusal);
    }
    for name in names(other) {
        assert!(is_joined(&relay.node, at, name).await, "the other one stays");
    }
    home.remove_service(&other).unwrap();
    happens(async || !is_joined(&relay.node, at, other).await).await;
}

#[tokio::test]
async fn the_dht_gets_a_service_that_is_added_and_loses_it_when_it_is_removed() {
    let dht = DhtNodes::start().await;
    let _kept = dht.nodes[2].put(KEPT, Value::new(1, ValueType::USER_DATA, b"kept", "").unwrap(), true);
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let node = TestNode::start(|config| {
        dht.join(config);
        config.dht.port = Some(port);
        config.p2p.public_addresses = vec![ADDRESS.parse().unwrap()];
    })
    .await
    .node;
    // A search starts the DHT node as a client.
    let nobody = ServiceName { key: never_there(), password: None };
    tokio::select! {
        _ = node.connect(&nobody) => panic!("not asked in the DHT"),
        () = happens(async || node.status().dht.is_some()) => {}
    }
    assert_ne!(node.status().dht.unwrap().bound[0].port(), port);

    let (key, _) = node.add_service(quiet()).unwrap();
    published(&node, key).await;
    assert_eq!(node.status().dht.unwrap().bound[0].port(), port, "a node that takes part, at its port");
    assert_eq!(addresses(&dht.nodes[1], key).await, [ADDRESS]);

    outlive(&dht).await;
    happens(async || addresses(&dht.nodes[1], key).await == [ADDRESS]).await;

    node.change_service(&key, |config| config.dht = false).unwrap();
    happens(async || node.status().published.is_empty()).await;
    outlive(&dht).await;
    assert!(values(&dht.nodes[1], key).await.is_empty(), "withdrawn");
    node.change_service(&key, |config| config.dht = true).unwrap();
    published(&node, key).await;
    assert_eq!(addresses(&dht.nodes[1], key).await, [ADDRESS]);

    node.remove_service(&key).unwrap();
    happens(async || node.status().published.is_empty()).await;
    outlive(&dht).await;
    assert!(values(&dht.nodes[1], key).await.is_empty());
}

/// A service that nobody opens.
fn quiet() -> ServiceConfig {
    service(([127, 0, 0, 1], 9).into())
}

/// What the neighbour has heard, as soon as it is `wanted`.
async fn until(
    heard: &mut watch::Receiver<Vec<FoundService>>,
    wanted: impl FnMut(&Vec<FoundService>) -> bool,
) -> Vec<FoundService> {
    timeout(LIMIT, heard.wait_for(wanted)).await.unwrap().unwrap().clone()
}

/// Everything that a service is called in a ClientHello.
fn names(key: KeyHash) -> Vec<KeyHash> {
    let codes = today().with_neighbours().map(|day| KeyHash::from_bytes(*RollingCode::of(&key, day).as_bytes()));
    codes.into_iter().chain([key]).collect()
}

/// Whether the relay at `at` joins a client that asks for `name` with somebody.
async fn is_joined(relay: &Node, at: SocketAddr, name: KeyHash) -> bool {
    let before = relay.status().relay.unwrap().joined;
    first_answer(at, name).await;
    relay.status().relay.unwrap().joined > before
}

/// A name of nobody.
const fn never_there() -> KeyHash {
    KeyHash::from_bytes([0xee; 20])
}

/// Waits until the network has given back what the node stored for `key`.
async fn published(node: &Node, key: KeyHash) {
    happens(async || node.status().published.iter().any(|it| it.key == key && it.state.is_published())).await;
}

/// What the DHT has of `key`, under each of its keys.
async fn values(dht: &Dht, key: KeyHash) -> Vec<Value> {
    let mut values = Vec::new();
    for hash in [dht_key::sealed(&key, today()), dht_key::rolling(&key, today()), dht_key::plain(&key)] {
        values.extend(dht.get_all(InfoHash(hash), LIMIT).await.0);
    }
    values
}

/// The addresses that the newest record of `key` tells.
async fn addresses(dht: &Dht, key: KeyHash) -> Vec<String> {
    let now_ms = UNIX_EPOCH.elapsed().unwrap().as_millis() as u64;
    let values = dht.get_all(InfoHash(dht_key::sealed(&key, today())), LIMIT).await.0;
    let records = values.iter().map(|value| open(value.data(), &key, today(), now_ms, verify).unwrap());
    let newest = records.max_by_key(|record| record.sequence);
    newest.map(|record| record.addresses.to_string()).into_iter().collect()
}

/// Lets the timers go on until values are gone that nobody refreshes, and waits until one is there
/// again that somebody does.
async fn outlive(dht: &DhtNodes) {
    tokio::time::pause();
    tokio::time::advance(VALUES_LIVE).await;
    tokio::time::resume();
    happens(async || !dht.nodes[1].get_all(KEPT, LIMIT).await.0.is_empty()).await;
}

fn today() -> Day {
    Day::from_unix_seconds(UNIX_EPOCH.elapsed().unwrap().as_secs())
}
