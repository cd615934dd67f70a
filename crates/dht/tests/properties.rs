//! What must hold for any message and for any bytes.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::net::IpAddr;

use hardline_dht::message::{
    Body, Condition, Field, Fragment, Message, NODE4_LEN, NODE6_LEN, Query, Reply, Request, Update, ValueEntry, Want,
};
use hardline_dht::{InfoHash, Value, ValueType};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

fn hash() -> impl Strategy<Value = InfoHash> {
    any::<[u8; 20]>().prop_filter("zero means none", |bytes| *bytes != [0; 20]).prop_map(InfoHash)
}

fn token() -> impl Strategy<Value = std::borrow::Cow<'static, [u8]>> {
    vec(any::<u8>(), 1..=64).prop_map(Into::into)
}

fn want() -> impl Strategy<Value = Option<Want>> {
    option::of((any::<bool>(), any::<bool>()).prop_map(|(v4, v6)| Want { v4, v6 }))
}

fn values() -> impl Strategy<Value = Vec<ValueEntry<'static>>> {
    let inline = (1u64.., any::<u16>(), vec(any::<u8>(), 0..50), "[a-z/]{0,9}").prop_map(|(id, kind, data, utype)| {
        ValueEntry::Inline(Value::new(id, ValueType(kind), &data, &utype).unwrap().packed().to_vec().into())
    });
    vec(prop_oneof![inline, any::<u64>().prop_map(ValueEntry::Size)], 0..5)
}

fn query() -> impl Strategy<Value = Option<Query>> {
    let field = prop::sample::select(vec![Field::Id, Field::Type, Field::Owner, Field::Seq, Field::UserType]);
    let condition = prop_oneof![
        any::<u64>().prop_map(Condition::Id),
        any::<u64>().prop_map(Condition::Type),
        hash().prop_map(Condition::Owner),
        vec(any::<u8>(), 0..9).prop_map(Condition::UserType),
    ];
    option::of((vec(field, 0..5), vec(condition, 0..5)).prop_map(|(select, conditions)| Query { select, conditions }))
}

fn request() -> impl Strategy<Value = Request<'static>> {
    prop_oneof![
        Just(Request::Ping),
        (hash(), want()).prop_map(|(target, want)| Request::Find { target, want }),
        (option::of(hash()), query(), want()).prop_map(|(hash, query, want)| Request::Get { hash, query, want }),
        (option::of(hash()), values(), any::<Option<u64>>(), token())
            .prop_map(|(hash, values, created, token)| Request::Put { hash, values, created, token }),
        (option::of(hash()), any::<u64>(), token()).prop_map(|(hash, value_id, token)| Request::Refresh {
            hash,
            value_id,
            token
        }),
        (option::of(hash()), 0u64..3, any::<u32>(), token(), query())
            .prop_map(|(hash, version, socket, token, query)| Request::Listen { hash, version, socket, token, query }),
        (option::of(hash()), any::<u32>(), values(), token(), vec(any::<u64>(), 0..9), vec(any::<u64>(), 0..9))
            .prop_map(|(hash, socket, values, token, refreshed, expired)| Request::Update(Update {
                version: hash.map(|_| 1),
                hash,
                socket,
                values,
                created: None,
                token,
                refreshed,
                expired
            })),
    ]
}

fn reply() -> impl Strategy<Value = Reply<'static>> {
    let nodes = |record: usize| (0..=8usize).prop_flat_map(move |count| vec(any::<u8>(), count * record));
    let fields = || any::<Option<u64>>();
    (hash(), fields(), any::<Option<IpAddr>>(), nodes(NODE4_LEN), nodes(NODE6_LEN), token(), values()).prop_map(
        |(id, value_id, address, nodes4, nodes6, token, values)| Reply {
            id,
            value_id,
            address,
            nodes4: nodes4.into(),
            nodes6: nodes6.into(),
            token,
            values,
            fields: None,
        },
    )
}

fn body() -> impl Strategy<Value = Body<'static>> {
    let data = vec(any::<u8>(), 0..100).prop_map(|data| &*data.leak());
    let fragment = (any::<u32>(), 0u64..200_000, data).prop_map(|(index, offset, data)| Fragment {
        index: index.into(),
        offset,
        data,
    });
    prop_oneof![
        (hash(), request()).prop_map(|(id, request)| Body::Request { id, request }),
        reply().prop_map(Body::Reply),
        (hash(), any::<u64>(), "[ -~]{0,20}").prop_map(|(id, code, text)| Body::Error {
            id: Some(id),
            code,
            text: text.into_bytes().into()
        }),
        vec(fragment, 1..3).prop_map(Body::Fragments),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(tid: u32, network: u32, client: bool, body in body()) {
        let message = Message { tid, network, client, agent: Some(b"hl"), body };
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        prop_assert_eq!(Message::decode(&bytes), Ok(message));
    }

    #[test]
    fn cut_or_damaged_messages_are_refused_or_read_and_never_panic(
        body in body(), cut: prop::sample::Index, at: prop::sample::Index, byte: u8
    ) {
        let mut bytes = Vec::new();
        Message { tid: 1, network: 0, client: false, agent: None, body }.encode(&mut bytes);
        prop_assert!(Message::decode(&bytes[..cut.index(bytes.len())]).is_err());
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(message) = Message::decode(&bytes) {
            let mut again = Vec::new();
            message.encode(&mut again);
            prop_assert!(Message::decode(&again).is_ok());
        }
    }

    #[test]
    fn noise_never_panics(bytes in vec(any::<u8>(), 0..300)) {
        let _ = Message::decode(&bytes);
    }
}

#[test]
fn hostile_shapes_are_refused() {
    let deep = |inner: &[u8]| [&[0x81, 0xa1, b'x'][..], &[0x91; 1000], inner].concat();
    let cases: [(&str, Vec<u8>); 7] = [
        ("empty", vec![]),
        ("not a map", vec![0xc0]),
        ("a map that is longer than the datagram", vec![0xdf, 0xff, 0xff, 0xff, 0xff]),
        ("nested 1,000 deep, cut", deep(&[])),
        ("nested 1,000 deep, whole, but no message", deep(&[0xc0])),
        ("an array of four milliards", vec![0x81, 0xa1, b'e', 0xdd, 0xff, 0xff, 0xff, 0xff]),
        ("transaction id as text", vec![0x81, 0xa1, b't', 0xa1, b'x']),
    ];
    for (what, bytes) in cases {
        assert!(Message::decode(&bytes).is_err(), "{what}");
    }
}
