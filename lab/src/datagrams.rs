//! Programs that speak UDP.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::helper::{Backend, helper};
use crate::network::Host;
use crate::process::{Process, until};
use crate::product::Hardline;

/// What came of a game for one player.
#[derive(Debug)]
pub struct Game {
    /// Datagrams that were not answered.
    pub lost: u64,
    /// Answers that others had overtaken.
    pub out_of_order: u64,
    /// Answers for another player.
    pub foreign: u64,
    /// Whether everything came back, in order.
    pub is_whole: bool,
    /// Time to the answer, in milliseconds: of half of them, and of 99 in a hundred.
    pub milliseconds: (f64, f64),
    /// As it was told.
    pub told: Value,
}

/// A WireGuard interface, until it is dropped.
#[derive(Debug)]
pub struct WireGuard {
    /// As others are told.
    pub public_key: String,
    socket: PathBuf,
    _process: Process,
}

impl Drop for WireGuard {
    /// It is killed, and so cannot remove its socket.
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.socket);
    }
}

impl Host {
    /// Starts somebody who sends back the datagrams that come to `listen`.
    pub fn udp_echo(&self, listen: &str) -> Result<Backend> {
        let process = self.spawn("udp echo", self.command(helper()?).args(["udp-echo", listen]))?;
        let address = process.wait_for("listening at", |line| line.strip_prefix("listening at ")?.parse().ok())?;
        Ok(Backend { address, process })
    }

    /// Publishes the UDP port at `target`. Returns its key hash, too.
    pub fn share_udp(&self, target: SocketAddr, options: &[&str]) -> Result<(Hardline, String)> {
        let target = format!("udp://{target}");
        let program = self.hardline(&[&["share", &target], options].concat())?;
        let key = program.ready["services"][0]["key"].as_str().context("a key")?.to_owned();
        Ok((program, key))
    }

    /// Makes a service a UDP port of this host, by `hardline forward`. Returns where that is, too.
    pub fn forward_udp(&self, key: &str, options: &[&str]) -> Result<(Hardline, SocketAddr)> {
        let pair = format!("{key}=udp:0");
        let program = self.hardline(&[&["forward", &pair, "--data-dir", "forwarding"], options].concat())?;
        let local = program.ready["forwards"][0]["local"].as_str().context("where it is")?;
        let at = local.strip_prefix("udp:").context("a UDP port")?.parse()?;
        Ok((program, at))
    }

    /// Sends 60 datagrams a second to `at` for so many seconds, from so many ports at once, and
    /// waits for each to come back.
    pub fn play(&self, at: SocketAddr, seconds: u32, players: u32) -> Result<Vec<Game>> {
        let (at, seconds, players) = (at.to_string(), seconds.to_string(), players.to_string());
        let told = self.run(helper()?, &["play", &at, &seconds, &players])?.success()?;
        told.stdout.lines().map(|line| Game::read(serde_json::from_str(line)?)).collect()
    }

    /// Starts dnsmasq at this UDP port of 127.0.0.1, which knows what `knowledge` tells it, as its
    /// options do, and asks nobody.
    pub fn dnsmasq(&self, port: u16, knowledge: &[&str]) -> Result<Process> {
        let mut command = self.command("/usr/sbin/dnsmasq");
        command.args([
            "--keep-in-foreground",
            "--log-facility=-",
            "--no-resolv",
            "--no-hosts",
            "--conf-file=/dev/null",
        ]);
        command.args(["--user=root", "--pid-file", "--bind-interfaces", "--listen-address=127.0.0.1"]);
        command.arg(format!("--port={port}")).args(knowledge);
        let process = self.spawn("dnsmasq", &mut command)?;
        process.wait_for_line("started, version")?;
        Ok(process)
    }

    /// Starts a WireGuard interface of this name that runs outside of the kernel, with a key of its
    /// own. Its socket is everybody's, so its name must be its own.
    pub fn wireguard(&self, interface: &str, address: &str) -> Result<WireGuard> {
        let mut command = self.command("wireguard-go");
        command.args(["--foreground", interface]).env("WG_PROCESS_FOREGROUND", "1").env("LOG_LEVEL", "error");
        let process = self.spawn("wireguard-go", &mut command)?;
        let socket = PathBuf::from(format!("/var/run/wireguard/{interface}.sock"));
        let mut end = WireGuard { public_key: String::new(), socket, _process: process };
        until(|| end.socket.exists()).context("WireGuard's socket")?;
        let key = format!("umask 077; wg genkey > {interface}.key; wg pubkey < {interface}.key");
        self.run("sh", &["-c", &key])?.success()?.stdout.trim().clone_into(&mut end.public_key);
        self.run("wg", &["set", interface, "private-key", &format!("{interface}.key")])?.success()?;
        self.ip(&format!("address add {address} dev {interface}"))?;
        // What it wraps fits into a packet of QUIC then, and so goes beside the streams.
        self.ip(&format!("link set {interface} mtu 1280 up"))?;
        Ok(end)
    }
}

impl Game {
    fn read(told: Value) -> Result<Self> {
        let number = |name: &str| told[name].as_u64().with_context(|| format!("{name} in {told}"));
        let time = |name: &str| told["ms"][name].as_f64().with_context(|| format!("{name} in {told}"));
        Ok(Self {
            lost: number("lost")?,
            out_of_order: number("out_of_order")?,
            foreign: number("foreign")?,
            is_whole: told["same_hash"] == true,
            milliseconds: (time("half")?, time("most")?),
            told,
        })
    }
}
