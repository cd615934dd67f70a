//! One node: datagrams answered per second, storms shrugged off, memory at rest.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a benchmark looks at the clock")]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hardline_dht::message::{Body, Message, Request};
use hardline_dht::{Config, Family, InfoHash, Node, Rates, Time};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

const ROUNDS: u32 = 2_000_000;

fn main() {
    answers_to_find();
    storm();
    memory();
}

/// A node whose table is full of good nodes.
fn settled() -> (Node, StdRng) {
    let mut rng = StdRng::seed_from_u64(1);
    let config = Config { rates: Rates::UNLIMITED, families: vec![Family::V4], ..Config::default() };
    let mut node = Node::new(Time::ZERO, config, StdRng::seed_from_u64(2));
    let mut now = Time::from_secs(1);
    for number in 0..4000_u32 {
        now += Duration::from_millis(1);
        let (id, addr) = (InfoHash::random(&mut rng), SocketAddr::from(((0x0b00_0000 + number).to_be_bytes(), 4222)));
        let mut ping = Vec::new();
        message(1, Body::Request { id, request: Request::Ping }).encode(&mut ping);
        node.handle_datagram(now, addr, &ping);
        // It asks newcomers whether they are there: they are.
        while let Some(transmit) = node.poll_transmit() {
            let question = Message::decode(&transmit.payload).unwrap();
            if let Body::Request { .. } = question.body {
                let reply = hardline_dht::message::Reply { id, ..Default::default() };
                let mut answer = Vec::new();
                message(question.tid, Body::Reply(reply)).encode(&mut answer);
                node.handle_datagram(now, transmit.to, &answer);
            }
        }
    }
    while node.poll_event().is_some() {}
    (node, rng)
}

fn message(tid: u32, body: Body<'_>) -> Message<'_> {
    Message { tid, network: 0, client: false, agent: Some(b"b"), body }
}

fn answers_to_find() {
    let (mut node, mut rng) = settled();
    let now = Time::from_secs(10);
    println!("table: {:?}", node.table_status(now, Family::V4));
    let id = InfoHash::random(&mut rng);
    let questions: Vec<Vec<u8>> = (0..1024)
        .map(|_| {
            let request = Request::Find { target: InfoHash::random(&mut rng), want: None };
            let mut datagram = Vec::new();
            message(rng.random(), Body::Request { id, request }).encode(&mut datagram);
            datagram
        })
        .collect();
    let from = SocketAddr::from(([192, 0, 2, 1], 4222));
    let begun = Instant::now();
    let mut bytes = 0;
    for round in 0..ROUNDS {
        node.handle_datagram(now, from, &questions[round as usize % questions.len()]);
        while let Some(transmit) = node.poll_transmit() {
            bytes += transmit.payload.len();
        }
    }
    let per_second = f64::from(ROUNDS) / begun.elapsed().as_secs_f64();
    println!("find: {per_second:.0} decoded and answered per second, {} bytes each", bytes / ROUNDS as usize);
}

fn storm() {
    let mut rng = StdRng::seed_from_u64(3);
    let config = Config { families: vec![Family::V4], ..Config::default() };
    let mut node = Node::new(Time::ZERO, config, StdRng::seed_from_u64(2));
    let mut ping = Vec::new();
    message(1, Body::Request { id: InfoHash::random(&mut rng), request: Request::Ping }).encode(&mut ping);
    let from = SocketAddr::from(([192, 0, 2, 1], 4222));
    let begun = Instant::now();
    // Ten seconds of 100,000 datagrams each.
    for number in 0..1_000_000_u64 {
        node.handle_datagram(Time::from_micros(1_000_000 + 10 * number), from, &ping);
        while node.poll_transmit().is_some() {}
    }
    let busy = begun.elapsed().as_secs_f64() / 10.0;
    println!("storm of 100,000 pings/s from one address: {:.1} % of a core; {:?}", busy * 100.0, node.counters());
}

fn memory() {
    let before = resident();
    let nodes: Vec<_> = (0..100).map(|_| settled().0).collect();
    let after = resident();
    println!("memory at rest: {} kB per node with a full table (100 nodes)", (after - before) / 1024 / nodes.len());
}

/// Resident memory of this process in bytes; 0 where the system does not tell.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0 kB");
    line.trim().trim_end_matches(" kB").trim().parse::<usize>().unwrap_or(0) * 1024
}
