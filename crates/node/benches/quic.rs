//! QUIC beside quinn's own bare stream and beside TCP, printed and never judged: `cargo bench -p
//! hardline-node --bench quic [-- NAME …]`.
//!
//! Everything runs in this process, on loopback, in an optimised build. Names: `bulk`, `tunnels`,
//! `idle`; all without a name.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{TestNode, backend, echo, service};
use hardline_node::config::StaticAddress;
use hardline_node::proto::candidate::TransportAddr;
use hardline_node::proto::host::ServiceName;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// Bytes of one stream, and how often.
const BYTES: u64 = 1 << 30;
const ROUNDS: usize = 5;

/// Bytes handed over at once.
const CHUNK: usize = 64 * 1024;

/// Tunnels opened one after the other.
const TUNNELS: usize = 2000;

/// Tunnels that carry nothing, and those before them that are not counted: what the first ones take
/// is used again.
const IDLE: usize = 200;
const WARM: usize = 20;

#[tokio::main]
async fn main() {
    let names: Vec<_> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let wanted = |name: &str| names.is_empty() || names.iter().any(|wanted| wanted == name);
    if wanted("bulk") {
        bulk().await;
    }
    if wanted("tunnels") {
        println!("asked for by a thread beside the runtime:");
        tunnels().await;
        println!("asked for by a task of the runtime, as in the program:");
        tokio::spawn(tunnels()).await.unwrap();
    }
    if wanted("idle") {
        idle().await;
    }
}

/// CPU seconds of this process, and the time that has passed.
fn spent() -> (f64, Instant) {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: f64 = [11, 12].iter().map(|at| fields[*at].parse::<f64>().unwrap()).sum();
    (ticks / 100.0, Instant::now())
}

/// One stream of [`BYTES`] by each way in turn: what quinn alone costs, the same behind a program's
/// TCP connection, and a tunnel to that program.
async fn bulk() {
    let program = backend(|mut stream| async move {
        let _ = stream.read(&mut [0; 1]).await;
        fill(&mut stream).await;
    })
    .await;
    let quinn = Bare::new(None).await;
    let behind = Bare::new(Some(program)).await;
    let (_listener, gateway, name) = pair(program, true).await;
    let (_tcp_listener, tcp_gateway, tcp_name) = pair(program, false).await;
    let mut ratios = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let alone = drained("quinn alone", quinn.stream().await).await;
        let behind = drained("quinn behind a program's TCP", behind.stream().await).await;
        let mut tunnel = gateway.node.connect(&name).await.unwrap();
        tunnel.write_all(b"?").await.unwrap();
        let ours = drained("a tunnel over QUIC to the same program", tunnel).await;
        let mut tunnel = tcp_gateway.node.connect(&tcp_name).await.unwrap();
        tunnel.write_all(b"?").await.unwrap();
        drained("a tunnel over TCP to the same program", tunnel).await;
        // The first one warms up.
        if round > 0 {
            ratios.0.push(ours / behind);
            ratios.1.push(ours / alone);
        }
    }
    print_ratio("CPU of a tunnel over QUIC against quinn behind the same TCP", &mut ratios.0);
    print_ratio("CPU of a tunnel over QUIC against quinn alone", &mut ratios.1);
}

async fn fill(to: &mut (impl AsyncWrite + Unpin)) {
    let chunk = vec![7; CHUNK];
    for _ in 0..BYTES / CHUNK as u64 {
        to.write_all(&chunk).await.unwrap();
    }
    to.shutdown().await.unwrap();
}

/// CPU seconds for a GiB.
async fn drained(what: &str, mut stream: impl AsyncRead + Unpin) -> f64 {
    let (before, began) = spent();
    let (mut room, mut heard) = (vec![0; CHUNK], 0);
    loop {
        match stream.read(&mut room).await.unwrap() {
            0 => break,
            length => heard += length as u64,
        }
    }
    assert_eq!(heard, BYTES);
    let (after, ended) = spent();
    let gib = BYTES as f64 / f64::from(1 << 30);
    let cpu = (after - before) / gib;
    println!("{what}: {cpu:.2} CPU-s/GiB, {:.0} MB/s", BYTES as f64 / (ended - began).as_secs_f64() / 1e6);
    cpu
}

/// quinn with nothing of ours: as it comes.
struct Bare {
    client: quinn::Endpoint,
    at: SocketAddr,
    has_program: bool,
}

impl Bare {
    /// Its streams bring what `program` says, or bytes out of memory.
    async fn new(program: Option<SocketAddr>) -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        let certificate = CertificateDer::from(made.cert.der().to_vec());
        let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let server = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .unwrap();
        let server = quinn::crypto::rustls::QuicServerConfig::try_from(server).unwrap();
        let server = quinn::ServerConfig::with_crypto(Arc::new(server));
        let server = quinn::Endpoint::server(server, ([127, 0, 0, 1], 0).into()).unwrap();
        let at = server.local_addr().unwrap();
        tokio::spawn(async move {
            while let Some(incoming) = server.accept().await {
                let connection = incoming.await.unwrap();
                tokio::spawn(async move {
                    while let Ok((send, recv)) = connection.accept_bi().await {
                        tokio::spawn(Self::answer(send, recv, program));
                    }
                });
            }
        });
        let mut roots = rustls::RootCertStore::empty();
        roots.add(certificate).unwrap();
        let client = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let client = quinn::crypto::rustls::QuicClientConfig::try_from(client).unwrap();
        let mut endpoint = quinn::Endpoint::client(([127, 0, 0, 1], 0).into()).unwrap();
        endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(client)));
        Self { client: endpoint, at, has_program: program.is_some() }
    }

    /// Brings bytes out of memory, or carries both ways what is said to the program and by it.
    async fn answer(mut send: quinn::SendStream, mut recv: quinn::RecvStream, program: Option<SocketAddr>) {
        recv.read_exact(&mut [0; 1]).await.unwrap();
        let Some(program) = program else {
            fill(&mut send).await;
            let _ = send.stopped().await;
            return;
        };
        let mut program = TcpStream::connect(program).await.unwrap();
        program.set_nodelay(true).unwrap();
        send.write_all(b"!").await.unwrap();
        let (from, mut to) = program.split();
        let mut from = tokio::io::BufReader::with_capacity(CHUNK, from);
        let back = async {
            tokio::io::copy_buf(&mut from, &mut send).await.unwrap();
            send.shutdown().await.unwrap();
            let _ = send.stopped().await;
        };
        let out = async {
            tokio::io::copy(&mut recv, &mut to).await.unwrap();
            to.shutdown().await.unwrap();
        };
        tokio::join!(back, out);
    }

    async fn connection(&self) -> quinn::Connection {
        self.client.connect(self.at, "localhost").unwrap().await.unwrap()
    }

    /// A stream, behind the answer if there is a program.
    async fn open(&self, connection: &quinn::Connection) -> (quinn::SendStream, quinn::RecvStream) {
        let (mut send, mut recv) = connection.open_bi().await.unwrap();
        send.write_all(b"?").await.unwrap();
        if self.has_program {
            recv.read_exact(&mut [0; 1]).await.unwrap();
        }
        (send, recv)
    }

    /// A stream that brings [`BYTES`].
    async fn stream(&self) -> quinn::RecvStream {
        let (mut send, recv) = self.open(&self.connection().await).await;
        send.write_all(b"?").await.unwrap();
        recv
    }
}

/// A service, and a node that reaches it over one transport alone.
async fn pair(backend: SocketAddr, over_quic: bool) -> (TestNode, TestNode, ServiceName) {
    let listener = TestNode::listener(vec![service(backend)]).await;
    let bound = listener.node.status().bound;
    let at = if over_quic { TransportAddr::Quic(bound.quic[0]) } else { TransportAddr::from(bound.p2p[0]) };
    let key = listener.key();
    let node = TestNode::start(|config| config.static_addresses = vec![StaticAddress { key, at }]).await;
    (listener, node, ServiceName { key, password: None })
}

/// From the wish for a tunnel to the echo of a byte, over a connection that is there; and the same
/// by quinn alone: a question, an answer behind the connection to the program, a byte and its echo.
async fn tunnels() {
    let echo = echo().await;
    let ways = [pair(echo, true).await, pair(echo, false).await];
    let bare = Bare::new(Some(echo)).await;
    let connection = bare.connection().await;
    let mut times = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..TUNNELS {
        for ((_, node, name), times) in ways.iter().zip(&mut times) {
            let began = Instant::now();
            let mut tunnel = node.node.connect(name).await.unwrap();
            tunnel.write_all(b"!").await.unwrap();
            tunnel.read_u8().await.unwrap();
            times.push(began.elapsed());
            tunnel.shutdown().await.unwrap();
            tunnel.read_to_end(&mut Vec::new()).await.unwrap();
        }
        let began = Instant::now();
        let (mut send, mut recv) = bare.open(&connection).await;
        send.write_all(b"!").await.unwrap();
        recv.read_exact(&mut [0; 1]).await.unwrap();
        times[2].push(began.elapsed());
        send.finish().unwrap();
        recv.read_to_end(1).await.unwrap();
    }
    let [quic, tcp, bare] = &mut times;
    let (quic, tcp) = (print("a tunnel over QUIC", quic), print("a tunnel over a TCP connection used again", tcp));
    let bare = print("a stream of quinn alone, to the same program", bare);
    println!("median against TCP's: {:.2}, of quinn alone: {:.2}", ratio(quic, tcp), ratio(bare, tcp));
}

/// Memory of tunnels over QUIC that carry nothing, of both nodes and the program: all are in this
/// process.
async fn idle() {
    let (_listener, node, name) = pair(echo().await, true).await;
    let (mut held, mut before) = (Vec::new(), 0.0);
    for number in 0..IDLE + WARM {
        if number == WARM {
            before = memory();
        }
        let mut tunnel = node.node.connect(&name).await.unwrap();
        tunnel.write_all(b"!").await.unwrap();
        tunnel.read_u8().await.unwrap();
        held.push(tunnel);
    }
    println!(
        "{IDLE} idle tunnels over QUIC: {:.1} KiB each, of both ends and the program",
        (memory() - before) / IDLE as f64
    );
}

/// KiB of memory that is nobody else's.
fn memory() -> f64 {
    let rollup = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss_Anon:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

fn ratio(of: Duration, to: Duration) -> f64 {
    of.as_secs_f64() / to.as_secs_f64()
}

fn print(what: &str, times: &mut [Duration]) -> Duration {
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    println!("{what}, to the first byte back: median {:?}, 99th percentile {:?}", at(0.5), at(0.99));
    at(0.5)
}

fn print_ratio(what: &str, ratios: &mut [f64]) {
    ratios.sort_by(f64::total_cmp);
    let (least, median, most) = (ratios[0], ratios[ratios.len() / 2], ratios[ratios.len() - 1]);
    println!("{what}: median {median:.2}, {least:.2} to {most:.2}");
}
