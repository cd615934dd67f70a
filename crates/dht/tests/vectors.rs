//! Datagrams recorded from released nodes.

#![allow(clippy::unwrap_used, reason = "a test")]

use hardline_dht::message::{Body, Field, FieldValue, Message, Request, ValueEntry};
use hardline_dht::{InfoHash, Value};

struct Vector {
    name: &'static str,
    sender: &'static str,
    bytes: Vec<u8>,
}

fn vectors() -> Vec<Vector> {
    let lines = include_str!("vectors/datagrams.txt").lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let vectors: Vec<_> = lines
        .map(|line| {
            let mut words = line.split(' ');
            let (name, sender) = (words.next().unwrap(), words.next().unwrap());
            Vector { name, sender, bytes: unhex(words.next().unwrap()) }
        })
        .collect();
    assert_eq!(vectors.len(), 83);
    vectors
}

fn vector(name: &str) -> Vec<u8> {
    vectors().into_iter().find(|vector| vector.name == name).unwrap().bytes
}

fn unhex(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn encode(message: &Message<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    message.encode(&mut bytes);
    bytes
}

/// Released nodes write refreshed and expired lists with another order of keys; the prototype wrote
/// its own. Legacy pushes are only received, and their content is not kept.
fn may_differ(vector: &Vector) -> bool {
    let other_order = ["update-refreshed", "update-expired", "put-request-bad-token", "legacy-push-values-v0"];
    vector.sender == "prototype" || other_order.contains(&vector.name) || vector.name == "legacy-push-refreshed-v0"
}

#[test]
fn every_recorded_datagram_is_read() {
    for vector in vectors() {
        let message = Message::decode(&vector.bytes).unwrap_or_else(|error| panic!("{}: {error}", vector.name));
        let agent = message.agent.unwrap_or_default();
        let expected = if vector.sender == "4.3.1" { &b"o2"[..] } else { b"RNG1" };
        let fragment = matches!(message.body, Body::Fragments(_));
        assert_eq!(agent, if fragment || agent.is_empty() { &[] } else { expected }, "{}", vector.name);
    }
}

#[test]
fn what_released_nodes_wrote_is_written_again_byte_by_byte() {
    for vector in vectors() {
        let message = Message::decode(&vector.bytes).unwrap();
        let again = encode(&message);
        if !may_differ(&vector) {
            assert_eq!(again, vector.bytes, "{}", vector.name);
        }
        assert_eq!(Message::decode(&again).unwrap(), message, "{}", vector.name);
    }
}

#[test]
fn every_kind_of_request_is_recognised() {
    for (name, kind) in [
        ("ping-request-2.4", "ping"),
        ("find-request-want-both-2.4", "find"),
        ("get-request-select-where", "get"),
        ("put-request-utype", "put"),
        ("refresh-request", "refresh"),
        ("listen-request-with-query", "listen"),
        ("update-values-4.3", "update"),
    ] {
        let bytes = vector(name);
        match Message::decode(&bytes).unwrap().body {
            Body::Request { request, .. } => assert_eq!(request.name(), kind),
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn a_client_says_so() {
    assert!(Message::decode(&vector("ping-request-4.3-client-mode")).unwrap().client);
    assert!(!Message::decode(&vector("ping-request-4.3")).unwrap().client);
    assert_eq!(Message::decode(&vector("ping-request-netid")).unwrap().network, 7);
}

#[test]
fn a_reply_names_nodes_of_both_families() {
    let bytes = vector("find-reply-n4-n6");
    let Body::Reply(reply) = Message::decode(&bytes).unwrap().body else { panic!("no reply") };
    let nodes: Vec<_> = reply.nodes().collect();
    assert_eq!(nodes.len(), 6);
    assert_eq!(nodes[0].addr, "127.0.0.1:5303".parse().unwrap());
    assert_eq!(nodes[4].addr, "[::1]:5320".parse().unwrap());
    assert_eq!(reply.token.len(), 32);
}

#[test]
fn a_reply_with_two_values_has_both() {
    let bytes = vector("get-reply-two-values-inline");
    let Body::Reply(reply) = Message::decode(&bytes).unwrap().body else { panic!("no reply") };
    let values: Vec<_> = reply
        .values
        .iter()
        .map(|entry| match entry {
            ValueEntry::Inline(packed) => Value::parse(packed).unwrap(),
            ValueEntry::Size(_) => panic!("not inline"),
        })
        .collect();
    assert_eq!(
        (values[0].id(), values[0].data(), values[0].user_type()),
        (0x1122_3344_5566_7788, &b"world"[..], &b"text/plain"[..])
    );
    assert_eq!((values[1].id(), values[1].data()), (5, &b"small"[..]));
}

#[test]
fn selected_fields_come_in_rows() {
    let bytes = vector("get-reply-fields-all");
    let Body::Reply(reply) = Message::decode(&bytes).unwrap().body else { panic!("no reply") };
    let fields = reply.fields.unwrap();
    assert_eq!(fields.fields, [Field::Id, Field::Type, Field::Owner, Field::Seq, Field::UserType]);
    for row in fields.rows() {
        assert_eq!(row[2], FieldValue::Bin(InfoHash::ZERO.0.to_vec().into()));
    }
}

#[test]
fn a_fragmented_value_is_whole_again_when_its_parts_are_joined() {
    let mut packed = Vec::new();
    for part in 0..3 {
        let bytes = vector(&format!("put-large-part-{part}"));
        let Body::Fragments(fragments) = Message::decode(&bytes).unwrap().body else { panic!("no fragment") };
        assert_eq!(fragments[0].offset as usize, packed.len());
        packed.extend_from_slice(fragments[0].data);
    }
    let value = Value::parse(&packed).unwrap();
    assert_eq!((value.id(), value.data().len()), (9, 3072));
    assert_eq!(Value::new(9, value.kind(), value.data(), "").unwrap(), value);
}

#[test]
fn a_signed_value_shows_what_its_signature_covers() {
    let bytes = vector("put-signed-part-0");
    let Body::Fragments(fragments) = Message::decode(&bytes).unwrap().body else { panic!("no fragment") };
    let value = Value::parse(fragments[0].data).unwrap();
    let signed = value.signed().unwrap();
    assert_eq!(signed.signature.len(), 512);
    assert_eq!(signed.message[0] & 0xf0, 0x80);
}

#[test]
fn a_hash_that_is_missing_or_zero_is_told_from_one_that_is_there() {
    for (name, there) in [("put-request-no-hash", false), ("get-request-no-hash", false), ("put-request-2.4", true)] {
        let bytes = vector(name);
        let Body::Request { request, .. } = Message::decode(&bytes).unwrap().body else { panic!("no request") };
        match request {
            Request::Put { hash, .. } | Request::Get { hash, .. } => assert_eq!(hash.is_some(), there, "{name}"),
            other => panic!("{other:?}"),
        }
    }
}
