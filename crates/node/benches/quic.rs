//! QUIC beside quinn's own bare stream and beside TCP, printed and never judged: `cargo bench -p
//! hardline-node --bench quic [-- NAME …]`.
//!
//! Everything runs in this process, on loopback, in an optimised build. Names: `bulk`, `tunnels`;
//! both without a name.
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

#[tokio::main]
async fn main() {
    let names: Vec<_> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let wanted = |name: &str| names.is_empty() || names.iter().any(|wanted| wanted == name);
    if wanted("bulk") {
        bulk().await;
    }
    if wanted("tunnels") {
        tunnels().await;
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
                let (mut send, mut recv) = connection.accept_bi().await.unwrap();
                recv.read(&mut [0; 1]).await.unwrap();
                match program {
                    None => fill(&mut send).await,
                    Some(program) => {
                        let mut program = TcpStream::connect(program).await.unwrap();
                        program.write_all(b"?").await.unwrap();
                        let mut program = tokio::io::BufReader::with_capacity(CHUNK, program);
                        tokio::io::copy_buf(&mut program, &mut send).await.unwrap();
                        send.shutdown().await.unwrap();
                    }
                }
                let _ = send.stopped().await;
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
        Self { client: endpoint, at }
    }

    async fn stream(&self) -> quinn::RecvStream {
        let connection = self.client.connect(self.at, "localhost").unwrap().await.unwrap();
        let (mut send, recv) = connection.open_bi().await.unwrap();
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

/// From the wish for a tunnel to the echo of a byte, over a connection that is there.
async fn tunnels() {
    let echo = echo().await;
    let ways = [pair(echo, true).await, pair(echo, false).await];
    let mut times = [Vec::new(), Vec::new()];
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
    }
    let [quic, tcp] = &mut times;
    let (quic, tcp) = (print("a tunnel over QUIC", quic), print("a tunnel over a TCP connection used again", tcp));
    println!("median against TCP's: {:.2}", quic.as_secs_f64() / tcp.as_secs_f64());
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
