//! Released nodes of the DHT (Debian's `dhtnode`), each on a host of its own.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use data_encoding::{BASE64, HEXLOWER};
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
            let process = host.dht_node(nodes.first().map(|first| first.address))?;
            nodes.push(DhtNode { address, host, process });
        }
        for node in &nodes {
            node.wait_until_it_knows_others()?;
        }
        Ok(DhtNetwork { nodes })
    }
}

impl Host {
    /// Starts a released node that enters the network at `bootstrap`.
    pub fn dht_node(&self, bootstrap: Option<IpAddr>) -> Result<Process> {
        let mut command = self.command("dhtnode");
        // -s, which its help does not name: it ends with its standard input otherwise.
        command.args(["-s", "-p", &DHT_PORT.to_string(), "--proxyserver", &PROXY_PORT.to_string()]);
        if let Some(bootstrap) = bootstrap {
            command.args(["-b", &socket(bootstrap, DHT_PORT)]);
        }
        self.spawn("dhtnode", &mut command)
    }

    /// The values at a key, as the node on this host finds them.
    pub fn dht_values(&self, key: [u8; 20]) -> Result<Vec<Vec<u8>>> {
        // A node that has just started does not listen there yet.
        let patience = ["--retry-connrefused", "--retry", "30", "--retry-delay", "1"];
        let lines = self.curl(&[&patience[..], &[&own_proxy(key)]].concat())?.success()?.stdout;
        let values = lines.lines().map(|line| {
            let value: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
            Ok(BASE64.decode(value["data"].as_str().context("data")?.as_bytes())?)
        });
        values.collect()
    }

    /// Waits until the node on this host finds a value at `key` that is as wanted, and gives it
    /// back.
    ///
    /// # Errors
    /// If there is none after a minute.
    pub fn wait_for_value(&self, key: [u8; 20], is_wanted: impl Fn(&[u8]) -> bool) -> Result<Vec<u8>> {
        let deadline = Instant::now() + READY_LIMIT;
        loop {
            if let Some(value) = self.dht_values(key)?.into_iter().find(|value| is_wanted(value)) {
                return Ok(value);
            }
            ensure!(Instant::now() < deadline, "nothing was stored at {}", HEXLOWER.encode(&key));
            std::thread::sleep(PAUSE);
        }
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

    /// What the options of our program are to be, so that it enters this network and asks no proxy.
    #[must_use]
    pub fn options(&self) -> [String; 4] {
        ["--dht-bootstrap", &self.bootstrap(), "--dht-proxy", "none"].map(str::to_owned)
    }

    /// Waits until a node of the network finds a value at `key` that is as wanted, and gives it
    /// back.
    ///
    /// # Errors
    /// If there is none after a minute.
    pub fn wait_for_value(&self, key: [u8; 20], is_wanted: impl Fn(&[u8]) -> bool) -> Result<Vec<u8>> {
        self.nodes[0].host.wait_for_value(key, is_wanted)
    }

    /// Has every node ask around for `key`. Those whom it meets it can name to others afterwards: a
    /// released node names only who has answered it.
    pub fn have_all_ask(&self, key: [u8; 20]) -> Result<()> {
        self.nodes.iter().try_for_each(|node| node.host.dht_values(key).map(drop))
    }

    /// The values at a key, as a node of the network finds them.
    pub fn values(&self, key: [u8; 20]) -> Result<Vec<Vec<u8>>> {
        self.nodes[0].host.dht_values(key)
    }

    /// Has a stranger's value stored at a key, by a node's proxy.
    pub fn put_as_a_stranger(&self, key: [u8; 20], id: u64, data: &[u8]) -> Result<()> {
        let body = serde_json::json!({"data": BASE64.encode(data), "id": id.to_string()}).to_string();
        let host = &self.nodes[id as usize % self.nodes.len()].host;
        host.curl(&["--fail", "--data-binary", &body, &own_proxy(key)])?.success()?;
        Ok(())
    }

    /// Ends one node without a word, and gives its place to a new one, which has to find the others
    /// anew.
    pub fn replace(&mut self, node: usize) -> Result<()> {
        let other = self.nodes[(node + 1) % self.nodes.len()].address;
        let node = &mut self.nodes[node];
        node.process.kill()?;
        node.process = node.host.dht_node(Some(other))?;
        Ok(())
    }

    /// How many nodes there are.
    #[must_use]
    pub fn size(&self) -> usize {
        self.nodes.len()
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
    /// Waits until it has talked with another, then asks for something, so that it meets those
    /// nearest to it.
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

/// URL of a key at the proxy on the host itself.
fn own_proxy(key: [u8; 20]) -> String {
    format!("http://localhost:{PROXY_PORT}/key/{}", HEXLOWER.encode(&key))
}

/// `host:port`, an IPv6 address in brackets.
fn socket(address: IpAddr, port: u16) -> String {
    SocketAddr::new(address, port).to_string()
}
