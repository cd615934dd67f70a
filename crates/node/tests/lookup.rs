//! Finding a service again where it has gone: real nodes and sockets on loopback.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::{TestNode, backend, get, hello, lan_of_its_own, path_in, service};
use hardline_node::config::{IdentityConfig, LanConfig, NodeConfig, ServiceConfig, StaticAddress};
use hardline_node::limits::DIAL_AGAIN;
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

/// A test that waits longer has failed.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_service_that_has_moved_is_found_again_within_the_same_request() {
    let network = Network::new();
    let first = network.listener().await;
    let gateway = TestNode::start(|config| network.join(config)).await;
    let (host, key) = (format!("{}.localhost", first.key()), first.key());
    assert!(get(gateway.browser_addr(), &host, "").await.ends_with("hello"));
    let old = first.p2p();
    first.node.shutdown().await;
    // It does not come back where it was: the port is taken.
    let _holder = tokio::net::TcpListener::bind(old).await.unwrap();
    let second = network.listener().await;
    assert_eq!(second.key(), key);
    assert_ne!(second.p2p(), old);
    assert!(get(gateway.browser_addr(), &host, "").await.ends_with("hello"));
}

#[tokio::test]
async fn everybody_who_waits_is_served_when_the_service_comes() {
    let network = Network::new();
    let key = network.listener().await.key();
    let gateway = TestNode::start(|config| network.join(config)).await;
    let browser = gateway.browser_addr();
    let waiting: Vec<_> =
        (0..20).map(|_| tokio::spawn(async move { get(browser, &format!("{key}.localhost"), "").await })).collect();
    let _service = network.listener().await;
    for answer in waiting {
        assert!(timeout(PATIENCE, answer).await.unwrap().unwrap().ends_with("hello"));
    }
}

#[tokio::test]
async fn a_service_that_comes_up_at_its_address_is_reached_within_the_same_request() {
    let network = Network::new();
    let first = network.listener().await;
    let (key, at) = (first.key(), first.p2p());
    first.node.shutdown().await;
    // The LAN is asked, and nobody there knows: the address is all there is.
    let gateway = TestNode::start(|config| {
        network.join(config);
        config.static_addresses = vec![StaticAddress { key, at: at.into() }];
    })
    .await;
    tokio::time::pause();
    let browser = gateway.browser_addr();
    let answer = tokio::spawn(async move { get(browser, &format!("{key}.localhost"), "").await });
    tokio::time::sleep(DIAL_AGAIN / 2).await;
    assert!(!answer.is_finished());
    tokio::time::resume();
    let _service = network
        .listener_with(|config| {
            config.lan.enabled = false;
            config.p2p.port = at.port();
        })
        .await;
    assert!(timeout(PATIENCE, answer).await.unwrap().unwrap().ends_with("hello"));
}

#[tokio::test]
async fn a_dead_address_given_first_does_not_hide_the_good_one() {
    let network = Network::new();
    let listener = network.listener().await;
    let silent = backend(|mut stream| async move { drop(stream.read_to_end(&mut Vec::new()).await) }).await;
    let gateway = TestNode::gateway(&[(listener.key(), silent), (listener.key(), listener.p2p())]).await;
    let host = format!("{}.localhost", listener.key());
    let answer = timeout(PATIENCE, get(gateway.browser_addr(), &host, "")).await.unwrap();
    assert!(answer.ends_with("hello"));
}

/// A LAN on loopback, and the identity of the one service on it.
struct Network {
    lan: LanConfig,
    dir: TempDir,
}

impl Network {
    fn new() -> Self {
        Self { lan: lan_of_its_own(), dir: tempfile::tempdir().unwrap() }
    }

    fn join(&self, config: &mut NodeConfig) {
        config.lan = self.lan.clone();
    }

    /// The service, at a port of its own.
    async fn listener(&self) -> TestNode {
        self.listener_with(|_| {}).await
    }

    async fn listener_with(&self, change: impl FnOnce(&mut NodeConfig)) -> TestNode {
        let greeting = hello().await;
        let identity = IdentityConfig::File(path_in(&self.dir, "id"));
        TestNode::start(|config| {
            self.join(config);
            config.gateway_port = None;
            config.services = vec![ServiceConfig { identity, ..service(greeting) }];
            change(config);
        })
        .await
    }
}
