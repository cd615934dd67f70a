//! Sealed records: what passes, what does not, and the published vector.

#![allow(clippy::unwrap_used)]

use hardline_proto::KeyHash;
use hardline_proto::dht_key;
use hardline_proto::hosts::{HostList, MAX_HOSTS};
use hardline_proto::rolling::Day;
use hardline_proto::sealed::{
    AddressKind, Home, MAX_AHEAD_MS, MAX_CERTIFICATE, MAX_LIFETIME_MS, MAX_PUNCH, MAX_QUIC, MAX_RELAYS, MAX_SEALED,
    Proof, SealError, SealedError, SealedRecord, Signature, envelope, open, seal,
};
use proptest::prelude::*;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};

/// Made by `openssl req -x509` for the Ed25519 key of [`signer`].
const CERTIFICATE: &[u8] = include_bytes!("vectors/sealed/certificate.der");
/// Ed25519 in TLS (RFC 8446, section 4.2.3).
const SCHEME: u16 = 0x0807;
const DAY: Day = Day(20_779);
const NOW: u64 = 1_795_370_400_000;
const NONCE: [u8; 24] = [9; 24];

#[test]
fn the_vector_is_sealed_and_opened_byte_for_byte() {
    let text = include_str!("vectors/sealed/README.md");
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} = ")));
        line.unwrap_or_else(|| panic!("no {name}")).to_owned()
    };
    let key = key();
    assert_eq!(key.to_string(), value("key hash"));
    assert_eq!(DAY.0.to_string(), value("day"));
    assert_eq!(hex(&dht_key::plain(&key)), value("plain DHT key"));
    assert_eq!(hex(&dht_key::rolling(&key, DAY)), value("rolling DHT key"));
    assert_eq!(hex(&dht_key::sealed(&key, DAY)), value("sealed DHT key"));
    assert_eq!(hex(&envelope::key(&key, DAY)), value("encryption key"));
    let sealed = sealed(&record());
    assert_eq!(hex(&sealed), value("sealed record"));
    let plaintext = envelope::decrypt(&sealed, &key, DAY).unwrap();
    let proof = Proof::read(&plaintext).unwrap();
    assert_eq!(hex(proof.signature), value("signature"));
    assert_eq!(String::from_utf8_lossy(proof.statement), value("statement"));
}

#[test]
fn a_record_is_read_as_it_was_written() {
    assert_eq!(opened(&sealed(&record())), Ok(record()));
}

#[test]
fn a_record_is_for_one_service_and_one_day() {
    let sealed = sealed(&record());
    let other = KeyHash::from_bytes([1; 20]);
    assert_eq!(open(&sealed, &other, DAY, NOW, verify), Err(SealedError::NotDecryptable));
    for day in [DAY.0 - 1, DAY.0 + 1] {
        assert_eq!(open(&sealed, &key(), Day(day), NOW, verify), Err(SealedError::NotDecryptable));
    }
}

/// Whoever knows the address can encrypt for it; only the signature tells the service.
#[test]
fn who_only_knows_the_address_cannot_seal() {
    let foreign = KeyHash::of_certificate(b"stranger's");
    let plaintext = envelope::decrypt(&sealed(&record()), &key(), DAY).unwrap();
    let swapped = [&[0, 10][..], b"stranger's", &plaintext[2 + CERTIFICATE.len()..]].concat();
    let forged = envelope::encrypt(&swapped, &key(), DAY, NONCE);
    assert_eq!(opened(&forged), Err(SealedError::WrongKey { expected: key(), got: foreign }));

    let text = String::from_utf8_lossy(&plaintext).into_owned();
    assert!(text.contains("203.0.113.5"), "the statement is JSON");
    let mut changed = plaintext.clone();
    let at = plaintext.windows(11).position(|part| part == b"203.0.113.5").unwrap();
    changed[at..at + 11].copy_from_slice(b"203.0.113.6");
    assert_eq!(opened(&envelope::encrypt(&changed, &key(), DAY, NONCE)), Err(SealedError::BadSignature));
}

#[test]
fn a_record_has_its_time() {
    let lived = |issued_ms, expires_ms| opened(&sealed(&SealedRecord { issued_ms, expires_ms, ..record() })).map(drop);
    assert_eq!(lived(NOW - 1000, NOW + 1), Ok(()));
    assert_eq!(lived(NOW - 1000, NOW), Err(SealedError::Expired { ago_ms: 0 }));
    assert_eq!(lived(NOW - 1000, NOW - 7), Err(SealedError::Expired { ago_ms: 7 }));
    assert_eq!(lived(NOW, NOW + MAX_LIFETIME_MS), Ok(()));
    assert_eq!(lived(NOW, NOW + MAX_LIFETIME_MS + 1), Err(SealedError::BadTimes));
    assert_eq!(lived(NOW + MAX_AHEAD_MS, NOW + MAX_AHEAD_MS + 1), Ok(()));
    assert_eq!(lived(NOW + MAX_AHEAD_MS + 1, NOW + MAX_AHEAD_MS + 2), Err(SealedError::BadTimes));
    assert_eq!(lived(NOW, NOW - 1), Err(SealedError::BadTimes));
    assert_eq!(lived(u64::MAX, u64::MAX), Err(SealedError::BadTimes));
}

#[test]
fn what_does_not_fit_is_refused() {
    let large = vec![0; MAX_CERTIFICATE + 1];
    let error = seal(&record(), &large, DAY, NONCE, sign).unwrap_err();
    assert_eq!(error, SealError::CertificateTooLarge { len: MAX_CERTIFICATE + 1 });
    let long = |_: &[u8]| Some(Signature { scheme: 1, bytes: vec![0; 1025] });
    assert_eq!(seal(&record(), CERTIFICATE, DAY, NONCE, long), Err(SealError::SignatureTooLarge { len: 1025 }));
    assert_eq!(seal(&record(), CERTIFICATE, DAY, NONCE, |_| None), Err(SealError::NotSigned));
    assert_eq!(opened(&vec![2; MAX_SEALED + 1]), Err(SealedError::TooLarge { len: MAX_SEALED + 1 }));
    assert_eq!(opened(&[]), Err(SealedError::NotDecryptable));
    assert_eq!(opened(&[3; 100]), Err(SealedError::UnknownVersion));
}

#[test]
fn the_largest_record_fits() {
    let name =
        |i: usize| format!("{}.{}.{}.{}{i:02}:65535", "a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(58));
    let addresses: HostList = (0..MAX_HOSTS).map(|i| name(i).parse().unwrap()).collect();
    assert_eq!(addresses.as_slice().len(), MAX_HOSTS);
    let relays = addresses.as_slice()[..MAX_RELAYS].iter().cloned().collect();
    let quic = vec![([0xffff; 8], u16::MAX).into(); MAX_QUIC];
    let punch = vec![([0xffff; 8], u16::MAX).into(); MAX_PUNCH];
    let record = SealedRecord { addresses, relays, quic, punch, tunnels: vec![u16::MAX; 8], ..record() };
    let certificate = vec![0; MAX_CERTIFICATE];
    let sign = |_: &[u8]| Some(Signature { scheme: 1, bytes: vec![0; 1024] });
    let sealed = seal(&record, &certificate, DAY, NONCE, sign).unwrap();
    assert!(sealed.len() <= MAX_SEALED);
    assert_eq!(open(&sealed, &KeyHash::of_certificate(&certificate), DAY, NOW, |_| true), Ok(record));
}

#[test]
fn addresses_carry_the_network_they_belong_to() {
    for (at, kind) in [
        ("203.0.113.5:7008", AddressKind::Ipv4),
        ("[2001:db8::1]:7008", AddressKind::Ipv6),
        ("[200:1::2]:7008", AddressKind::Mesh),
        ("[3ff::2]:7008", AddressKind::Mesh),
        ("[400::2]:7008", AddressKind::Ipv6),
        ("home.example.org:7008", AddressKind::Name),
    ] {
        assert_eq!(AddressKind::of(&at.parse().unwrap()), kind, "{at}");
    }
}

/// A later version may know more kinds of addresses, and say more.
#[test]
fn what_is_not_understood_is_passed_over() {
    let statement = format!(
        r#"{{"addresses":[{{"kind":"onion","at":"abc.onion:1"}},{{"kind":"ipv4","at":"192.0.2.1:1","hint":[]}},
           {{"kind":"ipv4","at":"192.0.2.1"}},{{"kind":"ipv6","at":"192.0.2.2:1"}}],
           "issued":{NOW},"expires":{},"sequence":1,"publisher":2,"tunnels":[1,2,3,4,5,6,7,8,9],"home":{{"outside":"nowhere","inside":["192.168.1.2:7008"]}},"new":{{"a":[1]}}}}"#,
        NOW + 1
    );
    let plaintext = [&297_u16.to_be_bytes()[..], CERTIFICATE, &[0, 1, 0, 0], statement.as_bytes()].concat();
    let record = open(&envelope::encrypt(&plaintext, &key(), DAY, NONCE), &key(), DAY, NOW, |_| true).unwrap();
    assert_eq!(record.addresses.to_string(), "192.0.2.1:1");
    assert_eq!(record.relays.as_slice(), []);
    assert!(record.home.is_empty());
    assert_eq!(record.tunnels, [1, 2, 3, 4, 5, 6, 7, 8]);
}

proptest! {
    #[test]
    fn no_changed_byte_passes(at in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let mut sealed = sealed(&record());
        let at = at.index(sealed.len());
        sealed[at] ^= 1 << bit;
        let expected = if at == 0 { SealedError::UnknownVersion } else { SealedError::NotDecryptable };
        prop_assert_eq!(opened(&sealed), Err(expected));
    }

    #[test]
    fn no_part_of_a_record_passes(end in any::<prop::sample::Index>()) {
        let sealed = sealed(&record());
        prop_assert_eq!(opened(&sealed[..end.index(sealed.len())]), Err(SealedError::NotDecryptable));
    }

    #[test]
    fn any_record_is_read_as_it_was_written(
        ports in prop::collection::vec(1..=u16::MAX, 0..20),
        lifetime in 1..=MAX_LIFETIME_MS,
        sequence: u64,
        publisher: u64,
        tunnels in prop::collection::vec(any::<u16>(), 0..8),
        nonce: [u8; 24],
    ) {
        let addresses = ports.iter().map(|port| format!("[2001:db8::{port:x}]:{port}").parse().unwrap()).collect();
        let inside = ports.iter().map(|port| format!("10.0.0.1:{port}").parse().unwrap());
        let home = Home::new("203.0.113.5".parse().ok(), inside);
        let relays = ports.iter().take(MAX_RELAYS).map(|port| format!("192.0.2.1:{port}").parse().unwrap()).collect();
        let quic = ports.iter().take(MAX_QUIC).map(|port| (std::net::Ipv6Addr::LOCALHOST, *port).into()).collect();
        let punch = ports.iter().take(MAX_PUNCH).map(|port| ([192, 0, 2, 1], *port).into()).collect();
        let record = SealedRecord {
            addresses, relays, quic, home, punch, issued_ms: NOW, expires_ms: NOW + lifetime, sequence, publisher, tunnels };
        let sealed = seal(&record, CERTIFICATE, DAY, nonce, sign).unwrap();
        prop_assert_eq!(opened(&sealed), Ok(record));
    }
}

fn key() -> KeyHash {
    KeyHash::of_certificate(CERTIFICATE)
}

fn record() -> SealedRecord {
    SealedRecord {
        addresses: HostList::parse_lenient("203.0.113.5:7008,[2001:db8::1]:7008,[200:1::2]:7008,home.example.org:443"),
        relays: HostList::default(),
        quic: Vec::new(),
        home: Home::default(),
        punch: Vec::new(),
        issued_ms: NOW,
        expires_ms: NOW + 3_600_000,
        sequence: NOW,
        publisher: 1_234_567_890_123_456_789,
        tunnels: vec![1, 2],
    }
}

fn sealed(record: &SealedRecord) -> Vec<u8> {
    seal(record, CERTIFICATE, DAY, NONCE, sign).unwrap()
}

fn opened(bytes: &[u8]) -> Result<SealedRecord, SealedError> {
    open(bytes, &key(), DAY, NOW, verify)
}

fn signer() -> Ed25519KeyPair {
    let seed: Vec<u8> = (0..32).collect();
    Ed25519KeyPair::from_seed_unchecked(&seed).unwrap()
}

fn sign(message: &[u8]) -> Option<Signature> {
    Some(Signature { scheme: SCHEME, bytes: signer().sign(message).as_ref().to_vec() })
}

fn verify(proof: &Proof<'_>) -> bool {
    let key = UnparsedPublicKey::new(&ED25519, signer().public_key().as_ref().to_vec());
    proof.scheme == SCHEME && key.verify(&proof.signed_bytes(), proof.signature).is_ok()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
