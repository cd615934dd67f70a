//! What our program publishes, as released nodes give it back.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use hardline_node::config::{
    DhtSettings, HttpSettings, IdentityConfig, LanConfig, NodeConfig, P2pConfig, ServiceConfig, Target,
};
use hardline_node::dht::InfoHash;
use hardline_node::drivers::dht::proxy::client::ProxyClient;
use hardline_node::node::Node;
use hardline_node::proto::dht_key;
use hardline_node::proto::rolling::Day;
use hardline_node::proto::sealed::open;
use hardline_node::tls::sealed::verify;

use crate::real;
use crate::{LIMIT, PAUSE};

#[tokio::test(flavor = "multi_thread")]
async fn released_nodes_store_what_a_service_publishes_and_give_it_back() -> Result<()> {
    let nodes = real::network(8)?;
    let folder = tempfile::tempdir()?;
    let node = sharing(folder.path(), nodes[0].addr().to_string()).await?;
    let started = Instant::now();
    while !node.status().published.iter().any(|service| service.state.is_published()) {
        ensure!(started.elapsed() < LIMIT, "{:?}", node.status().published);
        tokio::time::sleep(PAUSE).await;
    }
    println!("{}", node.status().published[0].state);

    let key = node.status().services[0].key;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let today = Day::from_unix_seconds(now.as_secs());
    let proxy = ProxyClient::new(&[format!("http://127.0.0.1:{}", nodes[7].proxy_port)])?;
    for (question, hash) in [dht_key::rolling(&key, today), dht_key::plain(&key)].into_iter().enumerate() {
        let service = [u8::try_from(question)?; 20];
        let found = proxy.ask(service, &[InfoHash(hash)], LIMIT, |_| true).await?.context("no text")?;
        ensure!(found.data() == b"203.0.113.5:7008", "{found:?}");
    }
    let hash = InfoHash(dht_key::sealed(&key, today));
    let sealed = proxy.ask([9; 20], &[hash], LIMIT, |_| true).await?.context("no sealed record")?;
    let record = open(sealed.data(), &key, today, u64::try_from(now.as_millis())?, verify)?;
    ensure!(record.addresses.to_string() == "203.0.113.5:7008", "{record:?}");
    node.shutdown().await;
    Ok(())
}

/// A node that shares `folder` and enters the DHT at `entrance`.
async fn sharing(folder: &std::path::Path, entrance: String) -> Result<Node> {
    let loopback: std::net::IpAddr = "127.0.0.1".parse()?;
    let mut config = NodeConfig::new(folder.join("data"));
    config.gateway_port = None;
    config.p2p = P2pConfig {
        port: 0,
        bind: vec![loopback],
        public_addresses: vec!["203.0.113.5:7008".parse()?],
        ..P2pConfig::default()
    };
    config.lan = LanConfig { enabled: false, ..LanConfig::default() };
    config.dht = DhtSettings {
        port: Some(0),
        bind: vec![loopback],
        bootstrap: vec![entrance],
        proxies: Vec::new(),
        rates: hardline_node::dht::Rates::UNLIMITED,
        ..DhtSettings::default()
    };
    config.services = vec![ServiceConfig {
        target: Target::Folder(folder.to_owned()),
        identity: IdentityConfig::Ephemeral,
        title: "a test".into(),
        access: None,
        unlisted: false,
        private: false,
        dht: true,
        http: HttpSettings::default(),
    }];
    Ok(Node::start(config).await?.0)
}
