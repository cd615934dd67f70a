//! A DHT of the tests' own.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use hardline_node::config::NodeConfig;
use hardline_node::dht::Rates;
use hardline_node::drivers::dht::{Dht, DhtConfig};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Three nodes on loopback that know each other.
pub struct DhtNodes {
    pub nodes: Vec<Arc<Dht>>,
    pub stop: CancellationToken,
    _stop: DropGuard,
}

impl DhtNodes {
    pub async fn start() -> Self {
        let stop = CancellationToken::new();
        let mut nodes: Vec<Arc<Dht>> = Vec::new();
        for _ in 0..3 {
            let bootstrap = nodes.first().map(|node| node.status().bound[0].to_string());
            let config = DhtConfig {
                port: 0,
                bind: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
                bootstrap: bootstrap.into_iter().collect(),
                rates: Rates::UNLIMITED,
                ..DhtConfig::default()
            };
            nodes.push(Dht::start(config, None, stop.clone()).await.unwrap());
        }
        for node in &nodes {
            timeout(Duration::from_secs(40), node.connected()).await.unwrap();
        }
        Self { nodes, stop: stop.clone(), _stop: stop.drop_guard() }
    }

    /// Lets a node find the way into this DHT and no other.
    pub fn join(&self, config: &mut NodeConfig) {
        config.is_loopback_shared = true;
        config.dht.enabled = true;
        config.dht.port = Some(0);
        config.dht.bind = vec![IpAddr::V4(Ipv4Addr::LOCALHOST)];
        config.dht.bootstrap = vec![self.nodes[0].status().bound[0].to_string()];
        config.dht.proxies = Vec::new();
        config.dht.rates = Rates::UNLIMITED;
    }
}
