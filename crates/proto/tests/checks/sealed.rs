//! Promises of sealed records.

use hardline_proto::KeyHash;
use hardline_proto::rolling::Day;
use hardline_proto::sealed::{MAX_TUNNEL_VERSIONS, Signature, envelope, open, seal};

/// Time of the corpus's records, Unix milliseconds.
const NOW: u64 = 1_795_370_400_000;

/// The input is a plaintext that somebody encrypted who knows the address, under a certificate of
/// the corpus; and also a value as it comes from the DHT. What is read is bounded, and reads the
/// same when it is sealed again.
pub fn sealed(bytes: &[u8]) {
    let certificate = b"certificate";
    let key = KeyHash::of_certificate(certificate);
    assert!(open(bytes, &key, Day(0), NOW, |_| true).is_err(), "nobody guesses a tag of 128 bits");
    let encrypted = envelope::encrypt(bytes, &key, Day(0), [0; envelope::NONCE_LEN]);
    assert_eq!(encrypted.len(), bytes.len() + envelope::OVERHEAD);
    let Ok(record) = open(&encrypted, &key, Day(0), NOW, |_| true) else { return };
    assert!(open(&encrypted, &key, Day(0), NOW, |_| false).is_err());
    assert!(record.tunnels.len() <= MAX_TUNNEL_VERSIONS);
    assert!(record.expires_ms > NOW);
    let sign = |_: &[u8]| Some(Signature { scheme: 0, bytes: Vec::new() });
    let again = seal(&record, certificate, Day(0), [0; envelope::NONCE_LEN], sign).unwrap_or_default();
    assert_eq!(open(&again, &key, Day(0), NOW, |_| true), Ok(record));
}
