//! What fuzz targets and property tests check.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "each user needs another part of these checks")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use hardline_dht::message::{Body, Fragment, Message, NODE4_LEN, Reply, Request, ValueEntry};
use hardline_dht::{Config, InfoHash, Node, Time, Value, ValueType};
use rand::SeedableRng as _;
use rand::rngs::StdRng;

/// Lets `bytes` decide what happens to a node: datagrams made of recorded ones, time that goes by,
/// operations. Used by property tests and by the fuzzer.
pub fn dht_ops(mut bytes: &[u8]) {
    let recorded = recorded();
    let config = Config { unix_time_at_zero: Some(1_700_000_000), ..Config::default() };
    let mut node = Node::new(Time::ZERO, config, StdRng::seed_from_u64(1));
    let mut now = Time::from_secs(1);
    let mut asked: Vec<(SocketAddr, u32)> = Vec::new();
    let mut tokens: BTreeMap<SocketAddr, Vec<u8>> = BTreeMap::new();
    let mut ops = Vec::new();
    while let Some((choice, rest)) = bytes.split_first_chunk::<4>() {
        bytes = rest;
        let [kind, which, at, byte] = *choice;
        let key = InfoHash([which; InfoHash::LEN]);
        let from = SocketAddr::from(([192, 0, 2, which % 4 + 1], 4000 + u16::from(at % 3)));
        match kind % 12 {
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
            9..=10 => write(&mut node, now, from, tokens.get(&from), choice),
            _ if ops.is_empty() => node.bootstrap(now, &[from]),
            _ => node.cancel(ops.swap_remove(usize::from(at) % ops.len())),
        }
        node.handle_timeout(now);
        assert!(node.poll_timeout() > now, "handling the timeout left one");
        while let Some(transmit) = node.poll_transmit() {
            let message = Message::decode(&transmit.payload).expect("we write what we can read");
            match message.body {
                Body::Request { .. } => asked.push((transmit.to, message.tid)),
                Body::Reply(reply) if !reply.token.is_empty() => {
                    tokens.insert(transmit.to, reply.token.to_vec());
                }
                _ => {}
            }
            if asked.len() > 64 {
                asked.remove(0);
            }
        }
        while node.poll_event().is_some() {}
        if let Err(broken) = node.check_invariants(now) {
            panic!("at {now:?}: {broken}");
        }
    }
}

/// Stores, refreshes or listens, with a token that the node gave out; announced values come by
/// [`answer`].
fn write(node: &mut Node, now: Time, from: SocketAddr, token: Option<&Vec<u8>>, [_, which, at, byte]: &[u8; 4]) {
    let hash = Some(InfoHash([which % 4; InfoHash::LEN]));
    let token = token.cloned().unwrap_or_default().into();
    let value = value_for(&InfoHash([*which; InfoHash::LEN]), u64::from(*at) + 1);
    let values = |entry| vec![ValueEntry::Inline(value.packed().into()), entry];
    let request = match byte % 4 {
        0 => Request::Find { target: InfoHash([*which; InfoHash::LEN]), want: None },
        1 => Request::Put { hash, values: values(ValueEntry::Size(u64::from(*byte) * 300)), created: None, token },
        2 => Request::Refresh { hash, value_id: value.id(), token },
        _ => Request::Listen { hash, version: 1, socket: u32::from(*at), token, query: None },
    };
    let id = InfoHash([byte % 16 + 1; InfoHash::LEN]);
    send(node, now, from, u32::from(*which), Body::Request { id, request });
}

/// Answers something the node asked, more or less well, or sends a piece of an answer.
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
    let piece = Fragment { index: u64::from(at % 2), offset: u64::from(byte % 4) * 300, data: &[*byte; 300] };
    let body = match at % 6 {
        4 => Body::Error { id: Some(reply.id), code: u64::from(*byte) + 200, text: b"no"[..].into() },
        5 => Body::Fragments(vec![piece]),
        _ => Body::Reply(reply),
    };
    // A piece of what `write` announced bears its transaction id.
    let tid = if at % 12 == 11 { u32::from(*which) } else { tid };
    send(node, now, from, tid, body);
}

fn send(node: &mut Node, now: Time, from: SocketAddr, tid: u32, body: Body<'_>) {
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
