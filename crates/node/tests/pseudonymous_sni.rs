//! What a service is called on the wire: its key hash, or a name of the day that only those
//! understand who know it.
#![allow(clippy::unwrap_used)]

mod common;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::wire::wiretap;
use common::{TestNode, backend, echo, lan_of_its_own, service};
use hardline_node::config::{LanConfig, StaticAddress};
use hardline_node::drivers::lan::{Lan, LanService};
use hardline_node::network::NetworkMonitor;
use hardline_node::proto::KeyHash;
use hardline_node::proto::host::ServiceName;
use hardline_node::session::{v1, v2};
use hardline_node::tls::identity::Identity;
use hardline_node::tls::sni;
use rustls::ServerConfig;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

fn name(key: KeyHash) -> ServiceName {
    ServiceName { key, password: None }
}

#[tokio::test]
async fn who_watches_the_wire_sees_the_name_of_a_known_peer_no_more() {
    let listener = TestNode::listener(vec![service(echo().await)]).await;
    let key = listener.key();
    let (at, mut heard) = wiretap(listener.p2p()).await;
    let gateway = TestNode::gateway(&[(key, at)]).await;
    let mut tunnels = Vec::new();
    for _ in 0..3 {
        tunnels.push(gateway.node.connect(&name(key)).await.unwrap());
    }
    assert!(heard.recv().await.unwrap().names(key));
    for _ in 0..2 {
        assert!(heard.recv().await.unwrap().hides(key));
    }
}

#[tokio::test]
async fn an_answer_on_the_lan_hides_the_name_from_the_first_connection_on() {
    let listener = TestNode::listener(vec![service(echo().await)]).await;
    let key = listener.key();
    let (at, mut heard) = wiretap(listener.p2p()).await;
    let lan = lan_of_its_own();
    let _neighbour = neighbour(lan.clone(), key, at).await;
    let gateway = TestNode::start(|config| config.lan = lan.clone()).await;
    let _tunnel = gateway.node.connect(&name(key)).await.unwrap();
    assert!(heard.recv().await.unwrap().hides(key));
}

#[tokio::test]
async fn what_an_earlier_run_remembers_hides_the_name_too() {
    let listener = TestNode::listener(vec![service(echo().await)]).await;
    let key = listener.key();
    let (at, mut heard) = wiretap(listener.p2p()).await;
    let given = vec![StaticAddress { key, at: at.into() }];
    let first = TestNode::gateway(&[(key, at)]).await;
    drop(first.node.connect(&name(key)).await.unwrap());
    let dir = first.dir;
    first.node.shutdown().await;
    assert!(heard.recv().await.unwrap().names(key), "nothing was known");
    for given in [Vec::new(), given] {
        let later = TestNode::start(|config| {
            config.data_dir = dir.path().to_owned();
            config.static_addresses = given;
        })
        .await;
        drop(later.node.connect(&name(key)).await.unwrap());
        later.node.shutdown().await;
        assert!(heard.recv().await.unwrap().hides(key));
    }
}

#[tokio::test]
async fn a_neighbour_that_is_wrong_about_the_version_costs_one_connection_and_no_failure() {
    for manner in [Manner::Refuses, Manner::HangsUp, Manner::IsAnother] {
        let identity = Identity::ephemeral().unwrap();
        let key = identity.key;
        let (at, connections) = old_listener(identity, manner).await;
        let lan = lan_of_its_own();
        let _neighbour = neighbour(lan.clone(), key, at).await;
        let gateway = TestNode::start(|config| config.lan = lan.clone()).await;
        let _one = gateway.node.connect(&name(key)).await.unwrap();
        assert_eq!(connections.load(Ordering::SeqCst), 2);
        let _two = gateway.node.connect(&name(key)).await.unwrap();
        assert_eq!(connections.load(Ordering::SeqCst), 3, "what was seen counts for more than what is said");
    }
}

#[tokio::test]
async fn a_listener_that_does_not_know_the_pseudonym_is_asked_for_by_the_plain_one() {
    let identity = Identity::ephemeral().unwrap();
    let key = identity.key;
    let config = v2::server_tls(&identity);
    // Its clock is off by years: it knows no code of ours.
    let at = backend(move |stream| {
        let config = config.clone();
        async move {
            let acceptor = tokio_rustls::LazyConfigAcceptor::new(rustls::server::Acceptor::default(), stream);
            let mut hello = acceptor.await.unwrap();
            if hello.client_hello().server_name() != Some(&key.to_string()) {
                return sni::refuse_unknown_name(&mut hello.io).await.unwrap();
            }
            let mut session = BufReader::new(hello.into_stream(config).await.unwrap());
            session.write_all(b"{}\n").await.unwrap();
            for _ in 0..2 {
                session.read_line(&mut String::new()).await.unwrap();
            }
            session.write_all(b"{\"opened\":{}}\n").await.unwrap();
            std::future::pending::<()>().await;
        }
    })
    .await;
    let gateway = TestNode::gateway(&[(key, at)]).await;
    let _one = gateway.node.connect(&name(key)).await.unwrap();
    let _two = gateway.node.connect(&name(key)).await.unwrap();
}

/// What a listener of version 1 does when it does not know a name.
#[derive(Clone, Copy)]
enum Manner {
    Refuses,
    HangsUp,
    /// Answers with the certificate of another service.
    IsAnother,
}

/// A listener of version 1, and how many connections it got.
async fn old_listener(identity: Identity, manner: Manner) -> (SocketAddr, Arc<AtomicUsize>) {
    let connections = Arc::new(AtomicUsize::new(0));
    let (counter, key) = (Arc::clone(&connections), identity.key);
    let (right, other) = (v1::server_tls(&identity), v1::server_tls(&Identity::ephemeral().unwrap()));
    let at = backend(move |stream| {
        counter.fetch_add(1, Ordering::SeqCst);
        let (right, other): (Arc<ServerConfig>, Arc<ServerConfig>) = (right.clone(), other.clone());
        async move {
            let acceptor = tokio_rustls::LazyConfigAcceptor::new(rustls::server::Acceptor::default(), stream);
            let mut hello = acceptor.await.unwrap();
            if hello.client_hello().server_name() != Some(&key.to_string()) {
                match manner {
                    Manner::Refuses => sni::refuse_unknown_name(&mut hello.io).await.unwrap(),
                    Manner::HangsUp => {}
                    Manner::IsAnother => drop(hello.into_stream(other).await),
                }
                return;
            }
            let mut tunnel = BufReader::new(hello.into_stream(right).await.unwrap());
            tunnel.write_all(b"{}\n").await.unwrap();
            tunnel.read_line(&mut String::new()).await.unwrap();
            std::future::pending::<()>().await;
        }
    })
    .await;
    (at, connections)
}

/// Somebody on the LAN who says that `key` is at `at`, and that version 2 is spoken there.
async fn neighbour(lan: LanConfig, key: KeyHash, at: SocketAddr) -> Arc<Lan> {
    let lan = Lan::start(
        lan,
        &NetworkMonitor::start(CancellationToken::new(), &TaskTracker::new()),
        CancellationToken::new(),
    )
    .await
    .unwrap();
    let title = "a test".to_owned();
    lan.set_services(vec![LanService { key, port: at.port(), title, freetext: None, unlisted: false }]);
    lan
}
