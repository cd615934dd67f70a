//! Released OpenDHT nodes: Debian's `dhtnode`, steered through its console.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use hardline_node::dht::InfoHash;

/// How long a node may take to say what is waited for. A dead node among the nearest costs seconds,
/// a busy machine more.
const LIMIT: Duration = Duration::from_secs(60);

/// Pause between repeated questions.
const PAUSE: Duration = Duration::from_millis(200);

/// A running `dhtnode`; killed on drop.
pub(crate) struct RealNode {
    child: Child,
    console: ChildStdin,
    said: Arc<(Mutex<Vec<String>>, Condvar)>,
    pub(crate) port: u16,
    pub(crate) proxy_port: u16,
    pub(crate) id: InfoHash,
}

impl RealNode {
    /// Starts a node that enters the network at `bootstrap`.
    pub(crate) fn start(bootstrap: Option<SocketAddr>) -> Result<Self> {
        let (port, proxy_port) = (free_port()?, free_tcp_port()?);
        let mut command = Command::new("dhtnode");
        // Without limits: a whole network on one address would share the allowance of one.
        command.args(["-U", "-p", &port.to_string(), "--proxyserver", &proxy_port.to_string()]);
        if let Some(bootstrap) = bootstrap {
            command.args(["-b", &bootstrap.to_string()]);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().context("starting dhtnode (Debian package dhtnode)")?;
        let console = child.stdin.take().context("a piped stdin")?;
        let stdout = child.stdout.take().context("a piped stdout")?;
        let said = Arc::new((Mutex::new(Vec::new()), Condvar::new()));
        let heard = Arc::clone(&said);
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
                heard
                    .0
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(String::from_utf8_lossy(&line).into_owned());
                heard.1.notify_all();
            }
        });
        let mut node = Self { child, console, said, port, proxy_port, id: InfoHash::ZERO };
        node.id = node.wait_for(0, |line| line.strip_prefix("OpenDHT node ")?.get(..40)?.parse().ok())?;
        Ok(node)
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    /// Types `command` and waits until `look` finds something in what follows.
    pub(crate) fn ask<T>(&mut self, command: &str, look: impl Fn(&str) -> Option<T>) -> Result<T> {
        let from = self.type_in(command)?;
        self.wait_for(from, look).with_context(|| format!("after {command:?}"))
    }

    /// Types `command`; returns where in the output the answer will begin.
    pub(crate) fn type_in(&mut self, command: &str) -> Result<usize> {
        let from = self.lines().len();
        writeln!(self.console, "{command}")?;
        Ok(from)
    }

    /// Waits until `look` finds something in a line from number `from` on.
    pub(crate) fn wait_for<T>(&self, from: usize, look: impl Fn(&str) -> Option<T>) -> Result<T> {
        let deadline = Instant::now() + LIMIT;
        let mut lines = self.said.0.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(found) = lines.iter().skip(from).find_map(|line| look(line)) {
                return Ok(found);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                bail!("dhtnode on port {} said only: {:?}", self.port, &lines[from.min(lines.len())..]);
            }
            lines = self.said.1.wait_timeout(lines, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Repeats `command` until `look` finds something in its answer.
    pub(crate) fn ask_until<T>(&mut self, command: &str, look: impl Fn(&str) -> Option<T>) -> Result<T> {
        let deadline = Instant::now() + LIMIT;
        loop {
            let from = self.type_in(command)?;
            std::thread::sleep(PAUSE);
            if let Some(found) = self.lines().iter().skip(from).find_map(|line| look(line)) {
                return Ok(found);
            }
            if Instant::now() > deadline {
                bail!("{command:?} on port {} answers: {:?}", self.port, &self.lines()[from..]);
            }
        }
    }

    /// Waits until it knows `count` good IPv4 nodes.
    pub(crate) fn wait_for_good_nodes(&mut self, count: usize) -> Result<()> {
        self.ask_until("ll", |line| {
            let good: usize = line.strip_prefix("Known nodes: ")?.split(' ').next()?.parse().ok()?;
            (good >= count).then_some(())
        })
    }

    /// Waits until `id` stands in its routing table as a good node.
    pub(crate) fn has_in_table(&mut self, id: InfoHash) -> Result<()> {
        self.ask_until("lr", |line| is_good(line, id).then_some(()))
    }

    /// Its IPv4 routing table as it prints it, a line per node.
    pub(crate) fn table(&mut self) -> Result<Vec<String>> {
        let from = self.type_in("lr")?;
        self.wait_for(from, |line| line.starts_with("IPv6 routing table").then_some(()))?;
        let lines = self.lines().into_iter().skip(from);
        let ipv4 = lines.take_while(|line| !line.starts_with("IPv6 routing table"));
        Ok(ipv4.filter(|line| line.contains("Node ")).collect())
    }

    /// Whether it stores a value at `key`.
    pub(crate) fn stores(&mut self, key: InfoHash) -> Result<bool> {
        let from = self.type_in("ld")?;
        self.wait_for(from, |line| line.starts_with("Total ").then_some(()))?;
        let storage = format!("Storage {key} ");
        let is_held = |line: &String| line.contains(&storage) && !line.contains(" 0 values");
        Ok(self.lines().iter().skip(from).any(is_held))
    }

    pub(crate) fn stop(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    fn lines(&self) -> Vec<String> {
        self.said.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for RealNode {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether `id` stands in a [`RealNode::table`] as a good node.
pub(crate) fn is_good_in(table: &[String], id: InfoHash) -> bool {
    table.iter().any(|line| is_good(line, id))
}

fn is_good(line: &str, id: InfoHash) -> bool {
    line.contains(&id.to_string()) && line.contains("[good]")
}

/// A network of released nodes that know each other.
///
/// They name to others only nodes that have answered them, and left alone they ask each other at
/// random times, some only after half a minute. Hence each stores something: the first asks all,
/// for all have come to it, and then names them to the others, who ask them.
pub(crate) fn network(count: usize) -> Result<Vec<RealNode>> {
    let first = RealNode::start(None)?;
    let bootstrap = first.addr();
    let mut nodes = vec![first];
    for _ in 1..count {
        nodes.push(RealNode::start(Some(bootstrap))?);
    }
    for node in &mut nodes {
        node.wait_for_good_nodes(1)?;
    }
    let key = InfoHash::of(b"small talk");
    for node in &mut nodes {
        node.ask(&format!("p {key} hello"), |line| line.contains("Put: success").then_some(()))?;
    }
    Ok(nodes)
}

/// A UDP port that nobody uses just now.
fn free_port() -> Result<u16> {
    Ok(UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn free_tcp_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
