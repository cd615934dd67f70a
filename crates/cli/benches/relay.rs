//! What a relay costs, printed and never judged: `cargo bench -p hardline --bench relay [-- NAME
//! …]`.
//!
//! The relay is the real program in a process of its own, on loopback. Names: `bulk`, its CPU
//! beside that of a plain copying relay in the same place; `idle`, its memory for registered
//! publishers and for connections that carry nothing; both without a name.
#![allow(clippy::unwrap_used, missing_docs)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hardline_node::proto::KeyHash;
use hardline_node::proto::relay::message::{CLIENT_ADDRESS, FromPublisher, FromRelay, data_preamble};
use hardline_node::proto::relay::{ALPN, Id, RelayUrl};
use hardline_node::session::v2;
use hardline_node::tls::sni;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;

/// Bytes of a transfer, and how often.
const BYTES: u64 = 1 << 30;
const ROUNDS: usize = 5;

/// Bytes handed over at once.
const CHUNK: usize = 64 * 1024;

/// Publishers that are registered.
const PUBLISHERS: usize = 1000;

/// Connections that are joined, if the descriptors suffice.
const CONNECTIONS: usize = 10_000;

/// Publishers to whom they lead: few, so that the descriptors are left to the connections.
const REACHED: usize = 20;

/// Descriptors of a registered publisher: its control connection, and two data connections that are
/// ready for the next clients.
const PER_PUBLISHER: usize = 3;

/// Descriptors of the relay that are none of these.
const OTHER_DESCRIPTORS: usize = 140;

/// Time between two signs of life of a publisher.
const PING: Duration = Duration::from_secs(10);

/// Clients from one loopback address: it has few ports.
const CLIENTS_PER_ADDRESS: usize = 500;

/// Makes this program a plain copying relay: `copy FROM TO`, two ports.
const COPY: &str = "copy";

/// Makes this program many clients of a relay: `clients ADDRESS`, and the number of the next one in
/// a line. In a process of their own they have descriptors of their own.
const CLIENTS: &str = "clients";

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    if let [word, from, to] = &arguments[..]
        && word == COPY
    {
        return runtime().block_on(copy(from.parse().unwrap(), to.parse().unwrap()));
    }
    if let [word, at] = &arguments[..]
        && word == CLIENTS
    {
        allowed_descriptors();
        return runtime().block_on(clients(at.parse().unwrap()));
    }
    let wanted = |name: &str| arguments.is_empty() || arguments.iter().any(|wanted| wanted == name);
    if wanted("bulk") {
        bulk();
    }
    if wanted("idle") {
        let descriptors = allowed_descriptors();
        runtime().block_on(registered());
        runtime().block_on(joined(descriptors));
    }
}

/// As many descriptors as the system lets a process have.
fn allowed_descriptors() -> usize {
    let all = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: all, maximum: all }).unwrap();
    all.and_then(|all| usize::try_from(all).ok()).unwrap_or(usize::MAX)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// A process, ended with the bench.
struct Process(Child, Value);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    /// Our program, when it is ready, with its data in `folder`.
    fn hardline(folder: &Path, arguments: &[&str]) -> Self {
        let alone = ["--set", "lan.enabled=false", "--no-dht", "--no-port-mapping", "--json", "--data-dir"];
        let mut child = Command::new(env!("CARGO_BIN_EXE_hardline"))
            .args(arguments)
            .args(alone)
            .arg(folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(ready["event"], "ready", "{ready}");
        Self(child, ready)
    }

    /// A relay that limits nothing, and the address that publishers use.
    fn relay(folder: &Path) -> (Self, RelayUrl) {
        let at = format!("127.0.0.1:{}", free_port());
        let settings = [
            "bytes_per_second_per_token=0",
            "registrations_per_token=1000000",
            "joined=1000000",
            "joined_per_name=1000000",
            "joined_per_address=1000000",
        ];
        let settings = settings.map(|setting| format!("relay.{setting}"));
        let settings = settings.iter().flat_map(|setting| ["--set", setting]);
        let port = at.rsplit_once(':').unwrap().1;
        let ports = ["relay", "--p2p-port", port, "--public-address", &at, "--gateway-port", "0"];
        let limits = ["--set", "limits.handshakes_per_address=100000", "--set", "limits.handshakes_per_second=100000"];
        let arguments: Vec<_> = ports.into_iter().chain(settings).chain(limits).collect();
        let relay = Self::hardline(folder, &arguments);
        let url = relay.1["relay"].as_str().unwrap().parse().unwrap();
        (relay, url)
    }

    fn port(&self, of: &str) -> u16 {
        self.1[of][0].as_str().unwrap().parse::<SocketAddr>().unwrap().port()
    }

    /// CPU seconds so far.
    fn cpu(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap();
        let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        [11, 12].iter().map(|at| fields[*at].parse::<f64>().unwrap()).sum::<f64>() / 100.0
    }

    /// KiB of memory that is nobody else's.
    fn memory(&self) -> f64 {
        let rollup = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", self.0.id())).unwrap();
        let line = rollup.lines().find_map(|line| line.strip_prefix("Pss_Anon:")).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// Carries each connection to `from` on to `to`, as plainly as can be.
async fn copy(from: u16, to: u16) {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, from)).await.unwrap();
    println!("{{\"event\":\"ready\"}}");
    loop {
        let (mut near, _) = listener.accept().await.unwrap();
        tokio::spawn(async move {
            let mut far = tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, to)).await.unwrap();
            near.set_nodelay(true).unwrap();
            far.set_nodelay(true).unwrap();
            let _ = tokio::io::copy_bidirectional_with_sizes(&mut near, &mut far, CHUNK, CHUNK).await;
        });
    }
}

/// A GiB through each relay in turn, between the same programs. What differs is the relay alone.
fn bulk() {
    let data = tempfile::tempdir().unwrap();
    let folder = |name: &str| data.path().join(name);
    let backend = backend().to_string();
    let (relay, url) = Process::relay(&folder("relay"));
    let url = url.to_string();
    let share = ["share", &backend, "--relay", &url, "--gateway-port", "0", "--p2p-port", "0"];
    // It tells no address of its own: a client would take that instead of the relay.
    let publisher = Process::hardline(&folder("publisher"), &[&share[..], &["--set", "p2p.bind=127.0.0.1"]].concat());
    let link = publisher.1["services"][0]["link_elsewhere"].as_str().unwrap().to_owned();
    let (from, to) = (free_port(), publisher.port("p2p"));
    let mut plain = Command::new(std::env::current_exe().unwrap())
        .args([COPY, &from.to_string(), &to.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    BufReader::new(plain.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
    let plain = Process(plain, Value::Null);
    let gateway = |name: &str, port: u16| {
        let file = data.path().join(format!("{name}.toml"));
        std::fs::write(&file, format!("[[peer]]\nlink = \"{link}\"\naddresses = [\"127.0.0.1:{port}\"]\n")).unwrap();
        Process::hardline(&folder(name), &["--config", file.to_str().unwrap(), "--gateway-port", "0"])
    };
    let relay_port = url.rsplit_once('/').unwrap().0.rsplit_once(':').unwrap().1.parse().unwrap();
    let ways = [(&relay, gateway("by-relay", relay_port)), (&plain, gateway("plain", from))];
    wait_until(|| status(ways[0].1.port("gateway"), &link) == 200);
    let mut ratios = Vec::new();
    for round in 0..=ROUNDS {
        let [ours, theirs] = [0, 1].map(|way| {
            let (relay, gateway) = &ways[way];
            let (before, began) = (relay.cpu(), Instant::now());
            assert_eq!(drained(gateway.port("gateway"), &link), BYTES);
            let (cpu, took) = (relay.cpu() - before, began.elapsed().as_secs_f64());
            let name = ["the relay", "a plain copying relay"][way];
            println!("{name}: {cpu:.2} CPU-s/GiB, {:.0} MB/s from end to end", BYTES as f64 / took / 1e6);
            cpu
        });
        // The first one warms up.
        if round > 0 {
            ratios.push(ours / theirs);
        }
    }
    ratios.sort_by(f64::total_cmp);
    let (least, median, most) = (ratios[0], ratios[ROUNDS / 2], ratios[ROUNDS - 1]);
    println!("CPU of the relay against the plain copying one: median {median:.2}, {least:.2} to {most:.2}");
}

/// A web server that answers `/` with [`BYTES`], and everything else with nothing.
fn backend() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || serve(stream));
        }
    });
    port
}

fn serve(mut stream: TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if !matches!(stream.read(&mut byte), Ok(1)) {
            return;
        }
        head.push(byte[0]);
    }
    let bytes = if head.starts_with(b"GET / ") { BYTES } else { 0 };
    let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\nConnection: close\r\n\r\n");
    let chunk = vec![7; CHUNK];
    for _ in 0..bytes / CHUNK as u64 {
        if stream.write_all(&chunk).is_err() {
            return;
        }
    }
}

/// Asks the gateway for `path` of the service.
fn asked(port: u16, link: &str, path: &str) -> BufReader<TcpStream> {
    let host = link.strip_prefix("http://").unwrap().trim_end_matches('/');
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
    BufReader::with_capacity(CHUNK, stream)
}

fn status(port: u16, link: &str) -> u16 {
    let mut line = String::new();
    asked(port, link, "/small").read_line(&mut line).unwrap();
    line.split_whitespace().nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
}

/// Bytes of the answer's body.
fn drained(port: u16, link: &str) -> u64 {
    let mut stream = asked(port, link, "/");
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        assert!(stream.read_line(&mut line).unwrap() > 0);
    }
    std::io::copy(&mut stream, &mut std::io::sink()).unwrap()
}

fn wait_until(is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(60), "it takes too long");
    }
}

/// Publishers that have registered, and are called by nobody.
async fn registered() {
    let data = tempfile::tempdir().unwrap();
    let (relay, url) = Process::relay(data.path());
    let before = relay.memory();
    let (called, _calls) = mpsc::channel(1);
    for number in 0..PUBLISHERS {
        publish(&url, address(&url), name(number), called.clone()).await;
    }
    let each = (relay.memory() - before) / PUBLISHERS as f64;
    println!("{PUBLISHERS} registered publishers, {PER_PUBLISHER} connections each: {each:.1} KiB each");
}

/// Connections that were joined and carry nothing. The clients' ends are in a process of their own,
/// the publishers' in this one.
async fn joined(descriptors: usize) {
    let data = tempfile::tempdir().unwrap();
    let (relay, url) = Process::relay(data.path());
    let (called, mut calls) = mpsc::channel(1);
    for number in 0..REACHED {
        publish(&url, address(&url), name(number), called.clone()).await;
    }
    let mut clients = Command::new(std::env::current_exe().unwrap())
        .args([CLIENTS, &address(&url).to_string()])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut next = clients.stdin.take().unwrap();
    let _clients = Process(clients, Value::Null);
    let connections = CONNECTIONS.min((descriptors - PER_PUBLISHER * REACHED - OTHER_DESCRIPTORS) / 2);
    let (before, mut held) = (relay.memory(), Vec::new());
    for number in 0..connections {
        writeln!(next, "{number}").unwrap();
        let data = tokio::time::timeout(Duration::from_secs(20), calls.recv()).await.expect("joined in time");
        held.push(data.unwrap());
    }
    let each = (relay.memory() - before) / connections as f64;
    println!("{connections} idle relayed connections to {REACHED} publishers: {each:.1} KiB each");
    if connections < CONNECTIONS {
        println!("(this system allows a process {descriptors} descriptors; a relayed connection takes two)");
    }
}

fn address(relay: &RelayUrl) -> SocketAddr {
    relay.at.as_ref().unwrap().to_string().parse().unwrap()
}

/// Opens a connection for each number that is said, and holds it.
async fn clients(at: SocketAddr) {
    let mut numbers = tokio::io::BufReader::new(tokio::io::stdin()).lines();
    let mut held = Vec::new();
    while let Some(number) = numbers.next_line().await.unwrap() {
        let number: usize = number.parse().unwrap();
        let source = Ipv4Addr::new(127, 1, (number / CLIENTS_PER_ADDRESS) as u8, 1);
        held.push(client(source, at, name(number % REACHED)).await);
    }
}

/// The service of a publisher.
fn name(number: usize) -> KeyHash {
    let mut bytes = [0xab; KeyHash::LEN];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    KeyHash::from_bytes(bytes)
}

/// Registers `service`, and opens the data connections that the relay asks for; they go to `joined`
/// when a client is there.
async fn publish(url: &RelayUrl, at: SocketAddr, service: KeyHash, joined: mpsc::Sender<tokio::net::TcpStream>) {
    let mut config = (*v2::client_tls(url.key, false)).clone();
    config.alpn_protocols = vec![ALPN.to_vec()];
    let tcp = tokio::net::TcpStream::connect(at).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let mut tls = connector.connect(sni::server_name(url.key).unwrap(), tcp).await.unwrap();
    let mut publisher = [0; Id::LEN];
    publisher.copy_from_slice(&service.as_bytes()[..Id::LEN]);
    let names = vec![*service.as_bytes()];
    let hello =
        FromPublisher::Register { token: url.token, publisher: Id::from_bytes(publisher), names, takes_calls: false };
    tls.write_all(&hello.encode()).await.unwrap();
    let (reading, mut writing) = tokio::io::split(tls);
    let mut lines = tokio::io::BufReader::with_capacity(512, reading).lines();
    let first = lines.next_line().await.unwrap().unwrap();
    let first = FromRelay::parse(first.as_bytes()).unwrap();
    assert!(matches!(&first, Some(FromRelay::Registered { refused, .. }) if refused.is_empty()), "{first:?}");
    tokio::spawn(async move {
        let mut pings = tokio::time::interval(PING);
        loop {
            let line = tokio::select! {
                line = lines.next_line() => line,
                _ = pings.tick() => {
                    writing.write_all(&FromPublisher::Ping.encode()).await.unwrap();
                    continue;
                }
            };
            let Ok(Some(line)) = line else { return };
            let Ok(Some(FromRelay::Connect { token })) = FromRelay::parse(line.as_bytes()) else { continue };
            let mut data = tokio::net::TcpStream::connect(at).await.unwrap();
            data.write_all(&data_preamble(&token)).await.unwrap();
            let joined = joined.clone();
            tokio::spawn(async move {
                // The ready ones wait here for as long as nobody comes.
                if data.read_exact(&mut [0; CLIENT_ADDRESS]).await.is_ok() {
                    let _ = joined.send(data).await;
                }
            });
        }
    });
}

/// A client that has said whom it wants, and nothing else.
async fn client(source: Ipv4Addr, at: SocketAddr, service: KeyHash) -> tokio::net::TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind((source, 0).into()).unwrap();
    let mut stream = socket.connect(at).await.unwrap();
    let name = sni::server_name(service).unwrap();
    let mut hello = rustls::ClientConnection::new(v2::client_tls(service, false), name).unwrap();
    let mut bytes = Vec::new();
    hello.write_tls(&mut bytes).unwrap();
    stream.write_all(&bytes).await.unwrap();
    stream
}
