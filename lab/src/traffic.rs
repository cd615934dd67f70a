//! Lost packets and counted ones.

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::network::Host;

/// What a host sent through an interface, as its kernel counted since the counting began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// Packets.
    pub packets: u64,
    /// Bytes, IP headers included.
    pub bytes: u64,
}

impl Host {
    /// Loses this part of the packets that come in through an interface, in percent. (Packets
    /// dropped on their way out would fail the sender's call, which no real loss does.)
    pub fn lose_incoming(&self, interface: &str, percent: u32) -> Result<()> {
        // The packet filter knows no number below 100 of which all are smaller.
        let chance = if percent < 100 { format!("numgen random mod 100 < {percent}") } else { String::new() };
        self.nft(&format!(
            "table netdev loss {{ chain ingress {{ type filter hook ingress device \"{interface}\" priority 0\n \
             meta protocol {{ ip, ip6 }} {chance} drop\n }}\n }}\n"
        ))
    }

    /// Loses no more packets.
    pub fn lose_nothing(&self) -> Result<()> {
        self.nft("delete table netdev loss\n")
    }

    /// Begins to count what leaves this host for the internet: neither for a private network nor to
    /// a group. What goes to or from UDP port `dht` is counted apart.
    pub fn count_sent(&self, dht: u16) -> Result<()> {
        let near = "10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 127.0.0.0/8, 224.0.0.0/3";
        self.nft(&format!(
            "table inet sent {{ counter internet {{ }}\n counter dht {{ }}\n counter total {{ }}\n \
             chain out {{ type filter hook output priority 0\n oifname \"lo\" accept\n counter name \"total\"\n \
             ip daddr {{ {near} }} accept\n ip6 daddr {{ fe80::/10, fc00::/7, ff00::/8 }} accept\n \
             udp dport {dht} counter name \"dht\" accept\n udp sport {dht} counter name \"dht\" accept\n \
             counter name \"internet\"\n }}\n }}\n"
        ))
    }

    /// What left for the internet, but for the DHT's packets.
    pub fn sent_to_internet(&self) -> Result<Sent> {
        self.counted("internet")
    }

    /// What left from or to the DHT's port.
    pub fn sent_to_dht(&self) -> Result<Sent> {
        self.counted("dht")
    }

    /// What left, to neighbours too.
    pub fn sent_in_all(&self) -> Result<Sent> {
        self.counted("total")
    }

    fn counted(&self, name: &str) -> Result<Sent> {
        let said = self.run("nft", &["-j", "list", "counter", "inet", "sent", name])?.success()?.stdout;
        let said: Value = serde_json::from_str(&said)?;
        let counter = said["nftables"].as_array().and_then(|all| all.iter().find_map(|one| one.get("counter")));
        let read = |what: &str| counter.and_then(|counter| counter[what].as_u64());
        let [packets, bytes] = ["packets", "bytes"].map(read);
        Ok(Sent { packets: packets.context("packets")?, bytes: bytes.context("bytes")? })
    }

    /// Adds rules to this host's packet filter.
    pub fn nft(&self, rules: &str) -> Result<()> {
        let file = self.home().join("rules.nft");
        std::fs::write(&file, rules)?;
        self.run("nft", &["-f", file.to_str().context("a path")?])?.success().context("nft")?;
        Ok(())
    }
}
