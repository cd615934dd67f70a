//! What fuzz targets and property tests check.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "each user needs another part of these checks")]

use std::net::SocketAddr;
use std::time::Duration;

use hardline_dht::message::{Body, Message, NODE4_LEN, Reply, ValueEntry};
use hardline_dht::{Config, InfoHash, Node, Time, Value, ValueType};
use rand::SeedableRng as _;
use rand::rngs::StdRng;

/// Lets `bytes` decide what happens to a node: datagrams made of recorded ones, time that goes by, operations. Used by
/// property tests and by the fuzzer.
pub fn dht_ops(mut bytes: &[u8]) {
    let recorded = recorded();
    let config = Config { unix_time_at_zero: Some(1_700_000_000), ..Config::default() };
    let mut node = Node::new(Time::ZERO, config, StdRng::seed_from_u64(1));
    let mut now = Time::from_secs(1);
    let mut asked: Vec<(SocketAddr, u32)> = Vec::new();
    let mut ops = Vec::new();
    while let Some((choice, rest)) = bytes.split_first_chunk::<4>() {
        bytes = rest;
        let [kind, which, at, byte] = *choice;
        let key = InfoHash([which; InfoHash::LEN]);
        let from = SocketAddr::from(([192, 0, 2, which % 4 + 1], 4000 + u16::from(at % 3)));
        match kind % 10 {
            0..=2 => {
                let mut datagram = recorded[usize::from(which) % recorded.len()].clone();
                let place = usize::from(at) % datagram.len();
                datagram[place] = byte;
                node.handle_datagram(now, from, &datagram);
            }
            3..=4 => answer(&mut node, now, &asked, choice),
            5 => now += Duration::from_millis(u64::from(at) * u64::from(byte)),
            6 => ops.extend(node.get(now, key).ok()),
            7 => ops.extend(node.put(now, key, value_for(&key, u64::from(at) + 1), byte % 2 == 0).ok()),
            8 => ops.extend(node.listen(now, key).ok()),
            _ if ops.is_empty() => node.bootstrap(now, &[from]),
            _ => node.cancel(ops.swap_remove(usize::from(at) % ops.len())),
        }
        node.handle_timeout(now);
        assert!(node.poll_timeout() > now, "handling the timeout left one");
        while let Some(transmit) = node.poll_transmit() {
            let message = Message::decode(&transmit.payload).expect("we write what we can read");
            if matches!(message.body, Body::Request { .. }) && asked.len() < 64 {
                asked.push((transmit.to, message.tid));
            }
        }
        while node.poll_event().is_some() {}
        if let Err(broken) = node.check_invariants(now) {
            panic!("at {now:?}: {broken}");
        }
    }
}

/// Answers something the node asked, more or less well.
fn answer(node: &mut Node, now: Time, asked: &[(SocketAddr, u32)], [_, which, at, byte]: &[u8; 4]) {
    if asked.is_empty() {
        return;
    }
    let (from, tid) = asked[usize::from(*which) % asked.len()];
    let value = value_for(&InfoHash([*which; InfoHash::LEN]), u64::from(*byte) + 1);
    let nodes4: Vec<u8> = (0..NODE4_LEN * usize::from(at % 9)).map(|place| byte.wrapping_add(place as u8)).collect();
    let reply = Reply {
        id: InfoHash([byte % 16 + 1; InfoHash::LEN]),
        nodes4: nodes4.into(),
        token: vec![*at; usize::from(at % 40)].into(),
        values: vec![ValueEntry::Inline(value.packed().into()), ValueEntry::Size(u64::from(*byte) * 300)],
        ..Reply::default()
    };
    let body = if at % 5 == 4 {
        let code = u64::from(*byte) + 200;
        Body::Error { id: Some(reply.id), code, text: b"no"[..].into() }
    } else {
        Body::Reply(reply)
    };
    let mut datagram = Vec::new();
    Message { tid, network: 0, client: false, agent: None, body }.encode(&mut datagram);
    node.handle_datagram(now, from, &datagram);
}

/// The datagrams of `tests/vectors`.
pub fn recorded() -> Vec<Vec<u8>> {
    let lines = include_str!("../vectors/datagrams.txt").lines();
    let hex = lines.filter(|line| !line.starts_with('#')).filter_map(|line| line.split(' ').nth(2));
    hex.map(|hex| (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect())
        .collect()
}

/// Whatever can be read can be written, and then reads the same.
pub fn dht_message(bytes: &[u8]) {
    if let Ok(message) = Message::decode(bytes) {
        let mut again = Vec::new();
        message.encode(&mut again);
        let same = Message::decode(&again).expect("what was written is read");
        assert_eq!(same, message);
    }
    let _ = Value::parse(bytes);
}

fn value_for(key: &InfoHash, id: u64) -> Value {
    Value::new(id, ValueType::USER_DATA, &key.0, "").unwrap()
}
