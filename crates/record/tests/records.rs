//! What one end makes of what the other seals.

#![allow(clippy::unwrap_used)]

mod checks;

use std::fs;
use std::path::Path;

use checks::{End, pair};
use hardline_record::{MAX_PLAINTEXT, RecordError};
use proptest::prelude::*;
use rustls::{AlertDescription, CipherSuite, ContentType};

const SUITE: CipherSuite = CipherSuite::TLS13_AES_128_GCM_SHA256;

#[test]
fn payload_of_every_size_arrives_with_every_cipher() {
    for suite in [SUITE, CipherSuite::TLS13_AES_256_GCM_SHA384, CipherSuite::TLS13_CHACHA20_POLY1305_SHA256] {
        let (mut client, mut server) = pair(suite);
        for length in [0, 1, 255, 256, MAX_PLAINTEXT - 1, MAX_PLAINTEXT] {
            let payload: Vec<u8> = (0..length).map(|at| at as u8).collect();
            server.incoming.extend(client.seal(&payload));
            server.open();
            assert_eq!((server.error.take(), &server.read), (None, &payload));
            server.read.clear();
        }
        client.open(); // the tickets
        assert_eq!((&client.error, client.read.len()), (&None, 0));
    }
}

#[test]
fn a_record_that_has_not_come_as_a_whole_waits() {
    let (mut client, mut server) = pair(SUITE);
    for byte in client.seal(b"slow") {
        assert_eq!(server.read, b"");
        server.incoming.push(byte);
        server.open();
    }
    assert_eq!(server.read, b"slow");
}

#[test]
fn a_changed_a_lost_and_a_repeated_record_are_none_of_the_peers() {
    let (mut client, mut server) = pair(SUITE);
    let record = client.seal(b"payload");
    for at in 0..record.len() {
        let (mut client, mut server) = pair(SUITE);
        let mut record = client.seal(b"payload");
        record[at] ^= 1;
        server.incoming = record;
        // A length that became longer waits for the rest of the record.
        server.incoming.resize(server.incoming.len() + 0x200, 0);
        server.open();
        assert!(server.error.is_some() && server.read.is_empty(), "byte {at}");
    }
    for _ in 0..2 {
        server.incoming.extend_from_slice(&record);
    }
    server.open();
    assert_eq!((server.error, &server.read[..]), (Some(RecordError::NotAuthentic), &b"payload"[..]));
    let (mut client, mut server) = pair(SUITE);
    client.seal(b"lost");
    server.incoming = client.seal(b"next");
    server.open();
    assert_eq!(server.error.as_ref().and_then(RecordError::alert), Some(AlertDescription::BadRecordMac));
}

#[test]
fn keys_change_before_their_limit_in_both_directions_and_nothing_is_lost() {
    let (mut client, mut server) = pair(SUITE);
    for end in [&mut client, &mut server] {
        end.layer.change_keys_after(100);
    }
    let mut updates = 0;
    for round in 0..1000_u32 {
        let payload = round.to_be_bytes();
        let bytes = client.seal(&payload);
        updates += u32::from(bytes.len() > client.seal_length(payload.len()));
        exchange(bytes, &mut server, &payload);
        let bytes = server.seal(&payload);
        exchange(bytes, &mut client, &payload);
    }
    assert!((20..=30).contains(&updates), "{updates} updates of a key of 100 records, 64 of them kept in reserve");
}

#[test]
fn a_key_update_that_is_asked_for_is_made_once_and_before_the_next_record() {
    let (mut client, mut server) = pair(SUITE);
    client.open();
    server.incoming = client.seal_as(ContentType::Handshake, &[24, 0, 0, 1, 1]);
    server.open();
    assert_eq!(server.error, None);
    let length = server.seal_length(2);
    let first = server.seal(b"ab");
    assert!(first.len() > length, "a word about the key in front");
    exchange(first, &mut client, b"ab");
    let second = server.seal(b"cd");
    assert_eq!(second.len(), length);
    exchange(second, &mut client, b"cd");
}

#[test]
fn what_has_no_meaning_is_refused_with_its_alert() {
    let ticket_to_server = [4, 0, 0, 4, 0, 0, 0, 0];
    for (content_type, content, alert) in [
        (ContentType::Handshake, &[][..], AlertDescription::UnexpectedMessage),
        (ContentType::Handshake, &ticket_to_server, AlertDescription::UnexpectedMessage),
        (ContentType::Handshake, &[24, 0, 0, 1, 2], AlertDescription::UnexpectedMessage),
        (ContentType::Handshake, &[24, 0, 0, 2, 0, 0], AlertDescription::UnexpectedMessage),
        (ContentType::Handshake, &[24, 0, 0, 1, 0, 24, 0, 0, 1, 0], AlertDescription::UnexpectedMessage),
        (ContentType::Handshake, &[1, 0xff, 0, 0], AlertDescription::DecodeError),
        (ContentType::Alert, &[1], AlertDescription::DecodeError),
        (ContentType::Alert, &[1, 0, 0], AlertDescription::DecodeError),
        (ContentType::ChangeCipherSpec, &[1], AlertDescription::UnexpectedMessage),
        (ContentType::Unknown(0), b"only zeros are padding", AlertDescription::UnexpectedMessage),
    ] {
        let (mut client, mut server) = pair(SUITE);
        let content = if content_type == ContentType::Unknown(0) { &[0; 40] } else { content };
        server.incoming = client.seal_as(content_type, content);
        server.open();
        let got = server.error.as_ref().and_then(RecordError::alert);
        assert_eq!(got, Some(alert), "{content_type:?} {content:?}: {:?}", server.error);
    }
}

#[test]
fn a_message_in_parts_is_put_together_and_nothing_may_come_between() {
    let (mut client, mut server) = pair(SUITE);
    for part in [&[24][..], &[0, 0], &[1, 0]] {
        server.incoming.extend(client.seal_as(ContentType::Handshake, part));
    }
    server.open();
    assert_eq!(server.error, None);
    let (mut client, mut server) = pair(SUITE);
    server.incoming.extend(client.seal_as(ContentType::Handshake, &[24, 0]));
    server.incoming.extend(client.seal(b"between"));
    server.open();
    assert_eq!((server.error, server.read.len()), (Some(RecordError::Unexpected), 0));
}

#[test]
fn padding_is_taken_off() {
    let (mut client, mut server) = pair(SUITE);
    // Type 23 and zeros behind it, in a record whose own type is a zero.
    server.incoming = client.seal_as(ContentType::Unknown(0), &[&b"padded\x17"[..], &[0; 100]].concat());
    server.open();
    assert_eq!((server.error, &server.read[..]), (None, &b"padded"[..]));
}

#[test]
fn records_without_payload_are_ended_and_payload_in_between_makes_it_good() {
    for (content_type, content) in [(ContentType::ApplicationData, &[][..]), (ContentType::Alert, &[1, 90])] {
        let (mut client, mut server) = pair(SUITE);
        for _ in 0..32 {
            server.incoming.extend(client.seal_as(content_type, content));
        }
        server.incoming.extend(client.seal(b"payload"));
        server.open();
        assert_eq!(server.error, None);
        for _ in 0..33 {
            server.incoming.extend(client.seal_as(content_type, content));
        }
        server.open();
        assert_eq!(server.error, Some(RecordError::TooManyEmptyRecords));
    }
}

#[test]
fn a_record_longer_than_records_are_is_refused_by_its_header() {
    let (_, mut server) = pair(SUITE);
    server.incoming = vec![23, 3, 3, 0x41, 1];
    server.open();
    assert_eq!(server.error, Some(RecordError::TooLong));
    let (_, mut server) = pair(SUITE);
    server.incoming = b"GET / HTTP/1.1".to_vec();
    server.open();
    assert_eq!(server.error, Some(RecordError::Unexpected));
}

#[test]
fn the_ends_word_is_read_and_other_alerts_are_errors() {
    let (mut client, mut server) = pair(SUITE);
    server.incoming.extend(client.seal(b"last"));
    server.incoming.extend(client.layer.alert(AlertDescription::CloseNotify).unwrap());
    server.open();
    assert!(server.is_closed && server.read == b"last");
    client.incoming.extend(server.layer.alert(AlertDescription::InternalError).unwrap());
    client.open();
    assert_eq!(client.error, Some(RecordError::Alert(AlertDescription::InternalError)));
}

#[test]
fn every_input_of_the_corpus_keeps_the_promises() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/record_ops");
    let inputs: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(inputs.len() >= 5, "{} inputs", inputs.len());
    for path in inputs {
        println!("{}", path.display()); // shown when the check fails
        checks::record_ops(&fs::read(&path).unwrap());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]
    #[test]
    fn any_row_of_operations_keeps_the_promises(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        checks::record_ops(&bytes);
    }
}

#[track_caller]
fn exchange(bytes: Vec<u8>, to: &mut End, payload: &[u8]) {
    to.incoming.extend(bytes);
    to.open();
    assert_eq!((&to.error, &to.read[..]), (&None, payload));
    to.read.clear();
}

impl End {
    /// Bytes of one record with so much payload.
    fn seal_length(&self, payload: usize) -> usize {
        hardline_record::HEADER + payload + hardline_record::TRAILER
    }
}
