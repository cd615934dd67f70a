//! Figures of the journey, printed and never judged: `cargo bench -p hardline-node --bench journey
//! [-- NAME …]`.
//!
//! Both daemons and the browsers run in this process, on loopback, in an optimised build. Names:
//! `cold`, `first`, `parallel`, `streams`, `start`; all of them without a name.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use blake2::digest::consts::U32;
use blake2::{Blake2b, Digest};
use common::{TestNode, backend, open, pair, service};
use hardline_node::proto::KeyHash;
use hardline_node::proto::host::ServiceName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::task::JoinSet;

/// UDP port for LAN discovery, so that no real neighbour hears the benchmark.
const LAN_PORT: u16 = 26_771;

#[tokio::main]
async fn main() {
    let names: Vec<_> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let wanted = |name: &str| names.is_empty() || names.iter().any(|wanted| wanted == name);
    if wanted("start") {
        start_to_ready().await;
    }
    if wanted("cold") {
        lan_cold_start().await;
    }
    if wanted("first") {
        sequential_first_connections().await;
    }
    if wanted("parallel") {
        parallel_first_connections().await;
    }
    if wanted("streams") {
        parallel_streams().await;
    }
}

/// `Node::start` with a gateway, a store and one service whose identity is made on the spot.
async fn start_to_ready() {
    let mut times = Vec::new();
    for _ in 0..50 {
        let began = Instant::now();
        let node = TestNode::start(|config| config.services = vec![service(([127, 0, 0, 1], 9).into())]).await;
        times.push(began.elapsed());
        node.node.shutdown().await;
    }
    print("start to ready, in process", &mut times);
}

/// From GET to the first byte of the answer, found on the LAN by a gateway that has never heard of
/// the service.
async fn lan_cold_start() {
    let backend = hello().await;
    let listener = TestNode::start(|config| {
        config.gateway_port = None;
        config.services = vec![service(backend)];
        on_lan(config);
    })
    .await;
    let mut times = Vec::new();
    for _ in 0..100 {
        let gateway = TestNode::start(on_lan).await;
        times.push(first_byte(gateway.browser_addr(), listener.key()).await.expect("the first try works"));
        gateway.node.shutdown().await;
    }
    print("LAN cold start, GET to first byte", &mut times);
}

fn on_lan(config: &mut hardline_node::config::NodeConfig) {
    config.lan.enabled = true;
    config.lan.port = LAN_PORT;
}

/// Connections one after the other to a pair that has just started, LAN discovery included.
async fn sequential_first_connections() {
    let (listener, gateway) = lan_pair().await;
    let mut times = Vec::new();
    for _ in 0..1000 {
        times.extend(first_byte(gateway.browser_addr(), listener.key()).await);
    }
    println!("sequential first connections: {} of 1000 succeeded", times.len());
    print("  GET to first byte", &mut times);
}

/// Connections all at once to a pair that has just started.
async fn parallel_first_connections() {
    let (listener, gateway) = lan_pair().await;
    let (addr, key) = (gateway.browser_addr(), listener.key());
    let mut tries = JoinSet::new();
    for _ in 0..200 {
        tries.spawn(first_byte(addr, key));
    }
    let mut times: Vec<_> = tries.join_all().await.into_iter().flatten().collect();
    println!("parallel first connections: {} of 200 succeeded", times.len());
    print("  GET to first byte", &mut times);
}

async fn lan_pair() -> (TestNode, TestNode) {
    let backend = hello().await;
    let listener = TestNode::start(|config| {
        config.gateway_port = None;
        config.services = vec![service(backend)];
        on_lan(config);
    })
    .await;
    (listener, TestNode::start(on_lan).await)
}

/// Streams at once, each with this many bytes each way, in writes of random sizes; every byte is
/// hashed at both ends.
const STREAMS: u64 = 8;
const STREAM_BYTES: u64 = 256 << 20;

async fn parallel_streams() {
    let sink = backend(|mut stream| async move {
        let seed = stream.read_u64().await.unwrap();
        let (from, to) = stream.split();
        exchange(from, to, seed + 1, seed).await;
    })
    .await;
    let (listener, gateway) = pair(sink).await;
    let began = Instant::now();
    let mut streams = JoinSet::new();
    for seed in 0..STREAMS {
        let name = ServiceName { key: listener.key(), password: None };
        let mut tunnel = gateway.node.connect(&name).await.unwrap();
        streams.spawn(async move {
            tunnel.write_u64(2 * seed).await.unwrap();
            let (from, to) = tokio::io::split(tunnel);
            exchange(from, to, 2 * seed, 2 * seed + 1).await;
        });
    }
    streams.join_all().await;
    let (took, moved) = (began.elapsed().as_secs_f64(), 2 * STREAMS * STREAM_BYTES);
    println!(
        "{STREAMS} streams of {} MiB each way: all hashes equal, {:.0} MB/s in all, hashing at four ends included",
        STREAM_BYTES >> 20,
        moved as f64 / took / 1e6
    );
}

/// Sends the bytes of `send_seed`, half-closes, and checks that what comes are the bytes of
/// `receive_seed`.
async fn exchange<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    mut from: R,
    mut to: W,
    send_seed: u64,
    receive_seed: u64,
) {
    let send = async {
        let (mut bytes, mut sizes, mut left) = (Noise(send_seed), Noise(send_seed + 99), STREAM_BYTES);
        let mut chunk = vec![0; 1 << 18];
        while left > 0 {
            let size = (sizes.next() % (1 << 18) + 1).min(left) as usize;
            bytes.fill(&mut chunk[..size]);
            to.write_all(&chunk[..size]).await.unwrap();
            left -= size as u64;
        }
        to.shutdown().await.unwrap();
    };
    let receive = async {
        let (mut hash, mut chunk, mut count) = (Blake2b::<U32>::new(), vec![0; 1 << 17], 0);
        loop {
            let n = from.read(&mut chunk).await.unwrap();
            if n == 0 {
                break;
            }
            hash.update(&chunk[..n]);
            count += n as u64;
        }
        assert_eq!(count, STREAM_BYTES);
        hash.finalize().to_vec()
    };
    let ((), received) = tokio::join!(send, receive);
    assert_eq!(received, hash_of(receive_seed), "every byte is right");
}

/// The hash of all bytes of `seed`, whatever the sizes they are made in.
fn hash_of(seed: u64) -> Vec<u8> {
    let (mut bytes, mut hash, mut chunk) = (Noise(seed), Blake2b::<U32>::new(), vec![0; 1 << 20]);
    for _ in 0..STREAM_BYTES >> 20 {
        bytes.fill(&mut chunk);
        hash.update(&chunk);
    }
    hash.finalize().to_vec()
}

/// A stream of bytes that cannot be mistaken for another's (SplitMix64).
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            *byte = self.next() as u8;
        }
    }
}

/// A backend that answers a request with a small page.
async fn hello() -> SocketAddr {
    backend(|mut stream| async move {
        let _ = stream.read(&mut [0; 1024]).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello").await;
    })
    .await
}

/// Time from the request to the first byte of a good answer.
async fn first_byte(gateway: SocketAddr, key: KeyHash) -> Option<Duration> {
    let began = Instant::now();
    let mut browser = open(gateway, &format!("{key}.localhost"), "").await;
    let mut status = [0; 15];
    browser.read_exact(&mut status).await.ok()?;
    let took = began.elapsed();
    (&status == b"HTTP/1.1 200 OK").then_some(took)
}

fn print(what: &str, times: &mut [Duration]) {
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!(
        "{what}: median {:.2} ms, 95th percentile {:.2} ms, most {:.2} ms ({} times)",
        at(0.5),
        at(0.95),
        at(1.0),
        times.len()
    );
}
