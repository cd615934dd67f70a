//! Released nodes of the DHT (Debian's `dhtnode`), each on a host of its own.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::internet::{internet_v4, internet_v6};
use crate::lab::Lab;
use crate::network::{Host, Switch};
use crate::process::Process;

/// UDP port of every node.
pub const DHT_PORT: u16 = 4222;

/// TCP port of every node's proxy.
const PROXY_PORT: u16 = 8080;

/// The first node is 203.0.113.101, the next .102 and so on.
const FIRST_NUMBER: u8 = 101;

/// Longest time until the nodes know each other; a few seconds are usual.
const READY_LIMIT: Duration = Duration::from_secs(60);

/// Pause between two looks at a node.
const PAUSE: Duration = Duration::from_millis(100);

/// A network of released nodes.
#[derive(Debug)]
pub struct DhtNetwork {
    nodes: Vec<DhtNode>,
}

/// A released node, which is also a proxy.
#[derive(Debug)]
struct DhtNode {
    address: IpAddr,
    host: Host,
    process: Process,
}

impl Lab {
    /// So many nodes on the internet (203.0.113.101 and on, IPv4), which know each other.
    pub fn dht(&self, internet: &Switch, count: u8) -> Result<DhtNetwork> {
        self.dht_network(internet, count, internet_v4)
    }

    /// The same, with IPv6 alone (2001:db8::101 and on).
    pub fn dht_over_ipv6(&self, internet: &Switch, count: u8) -> Result<DhtNetwork> {
        self.dht_network(internet, count, internet_v6)
    }

    fn dht_network(&self, internet: &Switch, count: u8, address: impl Fn(u8) -> IpAddr) -> Result<DhtNetwork> {
        let mut nodes: Vec<DhtNode> = Vec::new();
        for number in FIRST_NUMBER..FIRST_NUMBER + count {
            let address = address(number);
            let host = self.host(&format!("dht{number}-{}", if address.is_ipv4() { "ipv4" } else { "ipv6" }))?;
            host.join_as(internet, "eth0", &[address])?;
            nodes.push(DhtNode::start(host, address, nodes.first().map(|first| first.address))?);
        }
        for node in &nodes {
            node.wait_until_it_knows_others()?;
        }
        Ok(DhtNetwork { nodes })
    }
}

impl DhtNetwork {
    /// Where the network is entered: `host:port` of the first node.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        socket(self.nodes[0].address, DHT_PORT)
    }

    /// URL of a node's proxy.
    #[must_use]
    pub fn proxy(&self, node: usize) -> String {
        format!("http://{}", socket(self.nodes[node].address, PROXY_PORT))
    }

    /// Ends every node.
    pub fn stop(&mut self) -> Result<()> {
        for node in &mut self.nodes {
            node.process.kill()?;
        }
        Ok(())
    }
}

impl DhtNode {
    /// Starts a node that enters the network at `bootstrap`.
    pub(crate) fn start(host: Host, address: IpAddr, bootstrap: Option<IpAddr>) -> Result<Self> {
        let mut command = host.command("dhtnode");
        // -s, which its help does not name: it ends with its standard input otherwise.
        command.args(["-s", "-p", &DHT_PORT.to_string(), "--proxyserver", &PROXY_PORT.to_string()]);
        if let Some(bootstrap) = bootstrap {
            command.args(["-b", &socket(bootstrap, DHT_PORT)]);
        }
        let process = host.spawn("dhtnode", &mut command)?;
        Ok(Self { address, host, process })
    }

    /// Waits until it has talked with another, then asks for something, so that it meets those nearest to it.
    fn wait_until_it_knows_others(&self) -> Result<()> {
        let deadline = Instant::now() + READY_LIMIT;
        let url = format!("http://localhost:{PROXY_PORT}");
        loop {
            let said = self.host.curl(&["--max-time", "2", &format!("{url}/node/info")])?.stdout;
            let info: Value = serde_json::from_str(&said).unwrap_or_default();
            let family = if self.address.is_ipv4() { "ipv4" } else { "ipv6" };
            if info[family]["good"].as_u64() >= Some(1) {
                let own = info["node_id"].as_str().context("a node's id")?;
                self.host.curl(&[&format!("{url}/key/{own}")])?.success()?;
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "the node at {} knows no other: {said}", self.address);
            std::thread::sleep(PAUSE);
        }
    }
}

/// `host:port`, an IPv6 address in brackets.
fn socket(address: IpAddr, port: u16) -> String {
    SocketAddr::new(address, port).to_string()
}
