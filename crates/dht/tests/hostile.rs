//! Strangers that mean harm, and what a node does: answer as the protocol says, or drop and count.

#![allow(clippy::unwrap_used, reason = "a test")]

mod checks;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hardline_dht::message::{
    Body, ERROR_BAD_REQUEST, ERROR_NOT_FOUND, ERROR_WRONG_TOKEN, Fragment, Message, Reply, Request, ValueEntry,
};
use hardline_dht::{Config, Counters, Family, InfoHash, Node, Rates, Signed, Time, Value, ValueType};
use proptest::prelude::*;
use rand::SeedableRng as _;
use rand::rngs::StdRng;

const STRANGER: SocketAddr = SocketAddr::V4(std::net::SocketAddrV4::new(std::net::Ipv4Addr::new(192, 0, 2, 1), 4222));
const ID: InfoHash = InfoHash([7; 20]);
const KEY: InfoHash = InfoHash([9; 20]);

/// A node and a stranger that talks to it.
struct Talk {
    node: Node,
    now: Time,
}

impl Talk {
    fn new() -> Self {
        let config = Config { families: vec![Family::V4], ..Config::default() };
        Self { node: Node::new(Time::ZERO, config, StdRng::seed_from_u64(1)), now: Time::from_secs(1) }
    }

    /// Sends bytes; gives what comes back to the sender, requests of the node's own left out.
    fn send(&mut self, from: SocketAddr, bytes: &[u8]) -> Vec<Vec<u8>> {
        self.node.handle_datagram(self.now, from, bytes);
        let mut answers = Vec::new();
        while let Some(transmit) = self.node.poll_transmit() {
            let is_request = matches!(Message::decode(&transmit.payload).unwrap().body, Body::Request { .. });
            if !is_request {
                assert_eq!(transmit.to, from);
                answers.push(transmit.payload);
            }
        }
        self.node.check_invariants(self.now).unwrap();
        answers
    }

    fn ask(&mut self, request: Request<'_>) -> Vec<Vec<u8>> {
        self.send(STRANGER, &encode(5, Body::Request { id: ID, request }))
    }

    #[track_caller]
    fn expect_error(&mut self, request: Request<'_>, expected: u64) {
        let answers = self.ask(request);
        assert_eq!(answers.len(), 1);
        match Message::decode(&answers[0]).unwrap() {
            Message { tid: 5, body: Body::Error { id: Some(id), code, .. }, .. } => {
                assert_eq!((id, code), (self.node.id(), expected));
            }
            other => panic!("{other:?}"),
        }
    }

    fn token(&mut self) -> Vec<u8> {
        let answer = self.ask(Request::Find { target: KEY, want: None }).remove(0);
        let Body::Reply(reply) = Message::decode(&answer).unwrap().body else { panic!("no reply") };
        reply.token.to_vec()
    }

    fn counters(&self) -> Counters {
        self.node.counters()
    }
}

fn encode(tid: u32, body: Body<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    Message { tid, network: 0, client: false, agent: None, body }.encode(&mut bytes);
    bytes
}

fn put(token: Vec<u8>, values: Vec<ValueEntry<'static>>) -> Request<'static> {
    Request::Put { hash: Some(KEY), values, created: None, token: token.into() }
}

fn inline(value: &Value) -> Vec<ValueEntry<'static>> {
    vec![ValueEntry::Inline(value.packed().to_vec().into())]
}

#[test]
fn requests_that_cannot_be_served_get_the_error_of_the_protocol() {
    let mut talk = Talk::new();
    let token = talk.token();
    let value = Value::new(1, ValueType::USER_DATA, b"x", "").unwrap();
    let wrong = || vec![1; 32];
    talk.expect_error(Request::Get { hash: None, query: None, want: None }, ERROR_BAD_REQUEST);
    talk.expect_error(put(wrong(), inline(&value)), ERROR_WRONG_TOKEN);
    talk.expect_error(put(vec![], inline(&value)), ERROR_WRONG_TOKEN);
    let listen = Request::Listen { hash: Some(KEY), version: 1, socket: 1, token: wrong().into(), query: None };
    talk.expect_error(listen, ERROR_WRONG_TOKEN);
    let refresh = |token: Vec<u8>| Request::Refresh { hash: Some(KEY), value_id: 1, token: token.into() };
    talk.expect_error(refresh(wrong()), ERROR_WRONG_TOKEN);
    talk.expect_error(refresh(token.clone()), ERROR_NOT_FOUND);
    // Id 0, written by hand: `Value` refuses to make one.
    let zero = b"\x82\xa2id\x00\xa3dat\x81\xa4body\x82\xa4type\x00\xa4data\xc4\x00";
    talk.expect_error(put(token, vec![ValueEntry::Inline(zero.as_slice().into())]), ERROR_BAD_REQUEST);
    assert_eq!(talk.node.stored(), (0, 0));
}

#[test]
fn what_is_no_message_is_dropped_and_counted() {
    let mut talk = Talk::new();
    let ping = encode(1, Body::Request { id: ID, request: Request::Ping });
    let deep = [&[0x81, 0xa1, b'x'][..], &[0x81; 1000]].concat();
    for bytes in [&ping[..ping.len() - 1], &deep, b"", b"GET / HTTP/1.1\r\n\r\n", &[0xdd, 0xff, 0xff, 0xff, 0xff]] {
        assert!(talk.send(STRANGER, bytes).is_empty());
    }
    assert_eq!(talk.counters().dropped_malformed, 5);
    assert_eq!(talk.send(STRANGER, &ping).len(), 1);
}

#[test]
fn senders_nobody_can_be_are_not_answered() {
    let mut talk = Talk::new();
    let ping = encode(1, Body::Request { id: ID, request: Request::Ping });
    for from in ["192.0.2.1:0", "0.0.0.0:1", "255.255.255.255:1", "[2001:db8::1]:1"] {
        assert!(talk.send(from.parse().unwrap(), &ping).is_empty(), "{from}");
    }
    let own_id = talk.node.id();
    for id in [own_id, InfoHash::ZERO] {
        assert!(talk.send(STRANGER, &encode(1, Body::Request { id, request: Request::Ping })).is_empty());
    }
    assert_eq!(talk.counters().dropped_foreign, 6);
}

#[test]
fn replies_nobody_asked_for_and_replies_from_elsewhere_change_nothing() {
    let mut talk = Talk::new();
    talk.node.bootstrap(talk.now, &[STRANGER]);
    let ping = talk.node.poll_transmit().unwrap();
    let tid = Message::decode(&ping.payload).unwrap().tid;
    let reply = || Body::Reply(Reply { id: ID, ..Reply::default() });
    talk.send(STRANGER, &encode(tid.wrapping_add(1), reply()));
    talk.send("192.0.2.2:4222".parse().unwrap(), &encode(tid, reply()));
    assert_eq!(talk.counters().dropped_unsolicited, 2);
    assert!(!talk.node.is_connected(Family::V4));
    talk.send(STRANGER, &encode(tid, reply()));
    assert!(talk.node.is_connected(Family::V4));
}

#[test]
fn a_value_that_is_too_large_is_not_even_awaited() {
    let mut talk = Talk::new();
    let token = talk.token();
    assert!(talk.ask(put(token.clone(), vec![ValueEntry::Size(65_569)])).is_empty());
    assert!(talk.ask(put(token, vec![ValueEntry::Size(u64::MAX); 1000])).is_empty());
    assert_eq!(talk.node.stored(), (0, 0));
}

#[test]
fn a_storm_from_one_address_is_answered_up_to_its_allowance_and_does_not_hinder_others() {
    let mut talk = Talk::new();
    let ping = encode(1, Body::Request { id: ID, request: Request::Ping });
    let answered = (0..100_000).filter(|_| !talk.send(STRANGER, &ping).is_empty()).count();
    assert_eq!(answered, 1024);
    assert_eq!(talk.counters().dropped_rate, 100_000 - 1024);
    assert_eq!(talk.send("192.0.2.2:4222".parse().unwrap(), &ping).len(), 1);
}

#[test]
fn a_storm_from_many_addresses_is_looked_at_up_to_the_allowance_of_all() {
    let rates = Rates { datagrams: 1000, requests: 100, ..Rates::default() };
    let config = Config { families: vec![Family::V4], rates, ..Config::default() };
    let mut talk = Talk { node: Node::new(Time::ZERO, config, StdRng::seed_from_u64(1)), now: Time::from_secs(1) };
    let ping = encode(1, Body::Request { id: ID, request: Request::Ping });
    let mut storm = |bytes: &[u8]| {
        let from = |n: u32| SocketAddr::from((std::net::Ipv4Addr::from(0x0b00_0000 + n), 4222));
        (0..20_000).filter(|n| !talk.send(from(*n), bytes).is_empty()).count()
    };
    assert_eq!(storm(&ping), 100);
    // What is dropped is not even read: it does not count as malformed.
    assert_eq!(storm(b"no message"), 0);
    let counters = talk.counters();
    assert_eq!((counters.dropped_rate, counters.dropped_malformed), (40_000 - 100, 0));
    talk.now = Time::from_secs(2);
    assert_eq!(talk.send(STRANGER, &ping).len(), 1, "a second later");
}

#[test]
fn many_values_in_one_datagram_count_one_by_one() {
    let mut talk = Talk::new();
    let token = talk.token();
    let value = |id| Value::new(id, ValueType::USER_DATA, b"x", "").unwrap();
    for n in 0..4 {
        let values = (1..=500).map(|id| ValueEntry::Inline(value(n * 500 + id).packed().to_vec().into())).collect();
        talk.ask(put(token.clone(), values));
    }
    // One was the token.
    assert_eq!(talk.node.stored().0, 1023);
    assert!(talk.counters().dropped_rate > 0);
}

#[test]
fn signatures_are_checked_up_to_an_allowance_and_one_that_is_stored_not_again() {
    static CHECKS: AtomicUsize = AtomicUsize::new(0);
    let verify = |_: Signed<'_>| {
        CHECKS.fetch_add(1, Ordering::Relaxed);
        true
    };
    let config = Config { families: vec![Family::V4], verify: Some(verify), ..Config::default() };
    let mut talk = Talk { node: Node::new(Time::ZERO, config, StdRng::seed_from_u64(1)), now: Time::from_secs(1) };
    let token = talk.token();
    let confirmed = |talk: &mut Talk, ids: std::ops::Range<u64>| {
        ids.filter(|id| !talk.ask(put(token.clone(), inline(&signed(*id)))).is_empty()).count()
    };
    assert_eq!(confirmed(&mut talk, 1..500), 64);
    assert_eq!((CHECKS.load(Ordering::Relaxed), talk.node.stored().0), (64, 64));
    assert_eq!(confirmed(&mut talk, 1..65), 64, "those are there");
    assert_eq!(CHECKS.load(Ordering::Relaxed), 64);
    talk.now = Time::from_secs(2);
    assert_eq!(confirmed(&mut talk, 65..66), 1, "who puts again later is heard");
}

/// A value with something in the place of a signature.
fn signed(id: u64) -> Value {
    let field = |name: &str, bytes: &[u8]| {
        let mut field = vec![0xa0 + name.len() as u8];
        field.extend_from_slice(name.as_bytes());
        field.extend_from_slice(&[0xc4, bytes.len() as u8]);
        field.extend_from_slice(bytes);
        field
    };
    let mut packed = vec![0x82, 0xa2, b'i', b'd', 0xcf];
    packed.extend_from_slice(&id.to_be_bytes());
    packed.extend_from_slice(b"\xa3dat\x82\xa4body\x84\xa3seq\x00");
    packed.extend(field("owner", b"key"));
    packed.extend_from_slice(b"\xa4type\x00");
    packed.extend(field("data", b"x"));
    packed.extend(field("sig", b"signature"));
    Value::parse(&packed).unwrap()
}

#[test]
fn forged_gets_do_not_turn_a_large_value_into_a_flood() {
    let mut talk = Talk::new();
    let large = Value::new(1, ValueType::USER_DATA, &[0; 60_000], "").unwrap();
    talk.node.put(talk.now, KEY, large, false).unwrap();
    let mut bytes = 0;
    for _ in 0..1000 {
        bytes += talk.ask(Request::Get { hash: Some(KEY), query: None, want: None }).concat().len();
    }
    assert!(bytes < 2 * 1024 * 1024, "{bytes}");
}

#[test]
fn a_node_that_gives_no_token_is_not_listened_to_any_more() {
    let mut talk = Talk::new();
    talk.node.bootstrap(talk.now, &[STRANGER]);
    let ping = talk.node.poll_transmit().unwrap();
    let tid = Message::decode(&ping.payload).unwrap().tid;
    talk.node.handle_datagram(talk.now, STRANGER, &encode(tid, Body::Reply(Reply { id: ID, ..Reply::default() })));
    // Connected, it looks for its own id; the answer lacks a token.
    let later = talk.now + Duration::from_millis(1);
    talk.node.handle_timeout(later);
    let find = talk.node.poll_transmit().unwrap();
    let tid = Message::decode(&find.payload).unwrap().tid;
    talk.node.handle_datagram(later, STRANGER, &encode(tid, Body::Reply(Reply { id: ID, ..Reply::default() })));
    let ping = encode(1, Body::Request { id: ID, request: Request::Ping });
    assert!(talk.send(STRANGER, &ping).is_empty());
    assert_eq!(talk.counters().dropped_blacklisted, 1);
    talk.now = later + Duration::from_secs(30 * 60);
    talk.node.handle_timeout(talk.now);
    assert_eq!(talk.send(STRANGER, &ping).len(), 1);
}

#[test]
fn fragments_that_overtake_their_announcement_are_used() {
    let mut talk = Talk::new();
    let token = talk.token();
    let value = Value::new(1, ValueType::USER_DATA, &[7; 30_000], "").unwrap();
    let size = value.packed().len() as u64;
    for (number, data) in value.packed().chunks(1280).enumerate() {
        let fragment = Fragment { index: 0, offset: number as u64 * 1280, data };
        assert!(talk.send(STRANGER, &encode(5, Body::Fragments(vec![fragment]))).is_empty());
    }
    assert_eq!(talk.ask(put(token, vec![ValueEntry::Size(size)])).len(), 1);
    assert_eq!((talk.node.stored().0, talk.counters().dropped_unsolicited), (1, 0));
}

#[test]
fn fragments_of_nothing_are_dropped_and_counted() {
    let mut talk = Talk::new();
    for tid in 0..2000 {
        let fragment = Fragment { index: 0, offset: 0, data: &[7; 1280] };
        talk.send(STRANGER, &encode(tid, Body::Fragments(vec![fragment])));
    }
    let counters = talk.counters();
    assert!(counters.dropped_unsolicited > 0 && counters.dropped_rate > 0, "{counters:?}");
}

#[test]
fn one_household_cannot_fill_the_store() {
    let config =
        Config { families: vec![Family::V4], max_stored_bytes: 100_000, rates: Rates::UNLIMITED, ..Config::default() };
    let mut talk = Talk { node: Node::new(Time::ZERO, config, StdRng::seed_from_u64(1)), now: Time::from_secs(1) };
    let token = talk.token();
    for id in 1..2000 {
        let value = Value::new(id, ValueType::USER_DATA, &[0; 400], "").unwrap();
        assert_eq!(talk.ask(put(token.clone(), inline(&value))).len(), 1);
    }
    assert!(talk.node.stored().1 <= 100_000);
}

#[test]
fn a_listener_is_told_of_values_that_have_to_go_for_lack_of_room() {
    let config =
        Config { families: vec![Family::V4], max_stored_bytes: 10_000, rates: Rates::UNLIMITED, ..Config::default() };
    let mut talk = Talk { node: Node::new(Time::ZERO, config, StdRng::seed_from_u64(1)), now: Time::from_secs(1) };
    let token = talk.token();
    let listen = Request::Listen { hash: Some(KEY), version: 1, socket: 77, token: token.clone().into(), query: None };
    assert_eq!(talk.ask(listen).len(), 1);
    let mut gone = Vec::new();
    for id in 1..=30 {
        let value = Value::new(id, ValueType::USER_DATA, &[0; 400], "").unwrap();
        let datagram = encode(5, Body::Request { id: ID, request: put(token.clone(), inline(&value)) });
        talk.node.handle_datagram(talk.now, STRANGER, &datagram);
        while let Some(transmit) = talk.node.poll_transmit() {
            let message = Message::decode(&transmit.payload).unwrap();
            if let Body::Request { request: Request::Update(update), .. } = message.body {
                assert_eq!((transmit.to, update.socket), (STRANGER, 77));
                gone.extend(update.expired);
            }
        }
    }
    let stored = talk.node.stored().0 as u64;
    assert!(stored > 5, "{stored}");
    assert_eq!(gone, (1..=30 - stored).collect::<Vec<_>>(), "the oldest first");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_sequence_of_datagrams_times_and_operations_leaves_a_node_sound(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        checks::dht_ops(&bytes);
    }
}

/// Inputs that a fuzzer once found, and those it starts from.
#[test]
fn every_input_of_the_fuzz_corpora_keeps_the_promises() {
    for (target, check) in [("dht_message", checks::dht_message as fn(&[u8])), ("dht_ops", checks::dht_ops)] {
        let folder = format!("{}/../../fuzz/corpus/{target}", env!("CARGO_MANIFEST_DIR"));
        let inputs: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(!inputs.is_empty(), "{target}");
        inputs.iter().for_each(|input| check(&std::fs::read(input).unwrap()));
    }
}
