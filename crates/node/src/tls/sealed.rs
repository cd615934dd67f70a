//! Signatures of sealed records, by the keys of identities: the same keys and algorithms as in TLS
//! 1.3.

use hardline_proto::sealed::{Proof, Signature};
use rustls::SignatureScheme;
use rustls::sign::CertifiedKey;

use super::certificate::PublicKey;
use super::pin::{algorithms, verifies};

/// Algorithms that TLS 1.3 allows in a handshake (RFC 8446, section 4.2.3), the cheapest to verify
/// first.
const SCHEMES: [SignatureScheme; 6] = [
    SignatureScheme::ED25519,
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ECDSA_NISTP384_SHA384,
    SignatureScheme::RSA_PSS_SHA256,
    SignatureScheme::RSA_PSS_SHA384,
    SignatureScheme::RSA_PSS_SHA512,
];

/// Signs what a sealed record states. `None` when the key does not sign.
#[must_use]
pub fn sign(identity: &CertifiedKey, message: &[u8]) -> Option<Signature> {
    let signer = identity.key.choose_scheme(&SCHEMES)?;
    let bytes = signer.sign(message).ok()?;
    Some(Signature { scheme: signer.scheme().into(), bytes })
}

/// Whether the proof's signature is that of its certificate's key. Its certificate is not judged
/// here: who asks has compared its hash.
#[must_use]
pub fn verify(proof: &Proof<'_>) -> bool {
    let scheme = SignatureScheme::from(proof.scheme);
    let supported = algorithms();
    let algorithms = supported.mapping.iter().find(|(other, _)| *other == scheme && SCHEMES.contains(other));
    let (Some((_, algorithms)), Ok(key)) = (algorithms, PublicKey::of_certificate(proof.certificate)) else {
        return false;
    };
    key.require_supported().is_ok() && verifies(algorithms, &key, &proof.signed_bytes(), proof.signature)
}

#[cfg(test)]
mod tests {
    use hardline_proto::KeyHash;
    use hardline_proto::hosts::HostList;
    use hardline_proto::rolling::Day;
    use hardline_proto::sealed::{Home, SealedError, SealedRecord, open, seal};
    use rcgen::{CertificateParams, KeyPair};
    use rustls::pki_types::PrivateKeyDer;

    use super::*;
    use crate::tls::config::provider;

    #[test]
    fn every_kind_of_identity_seals_and_is_believed() {
        for algorithm in [&rcgen::PKCS_ED25519, &rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384] {
            check(&certified(&KeyPair::generate_for(algorithm).unwrap()));
        }
    }

    #[test]
    fn the_published_vector_is_believed() {
        let text = include_str!("../../../proto/tests/vectors/sealed/README.md");
        let line = text.lines().find_map(|line| line.strip_prefix("sealed record = ")).unwrap();
        let bytes: Vec<u8> =
            (0..line.len()).step_by(2).map(|at| u8::from_str_radix(&line[at..at + 2], 16).unwrap()).collect();
        let key = "4592121fb7adbe3388a5c247b93aaf8f958e47a4".parse().unwrap();
        let record = open(&bytes, &key, Day(20_779), 1_795_370_400_000, verify).unwrap();
        assert_eq!(record.addresses.as_slice().len(), 4);
    }

    #[test]
    fn an_algorithm_that_tls_1_3_does_not_allow_is_refused() {
        let identity = certified(&KeyPair::generate().unwrap());
        let certificate = identity.cert[0].as_ref();
        let signature = sign(&identity, b"x").unwrap();
        for scheme in [0, 0x0203, 0x0401, u16::MAX] {
            let proof = Proof { certificate, scheme, signature: &signature.bytes, statement: b"x" };
            assert!(!verify(&proof), "{scheme:x}");
        }
    }

    /// Seals, opens, and does not open what another key has signed.
    #[track_caller]
    fn check(identity: &CertifiedKey) {
        let certificate = identity.cert[0].as_ref();
        let key = KeyHash::of_certificate(certificate);
        let record = SealedRecord {
            addresses: HostList::parse_lenient("203.0.113.5:7008"),
            relays: HostList::default(),
            home: Home::default(),
            quic: Vec::new(),
            punch: Vec::new(),
            issued_ms: 1,
            expires_ms: 1000,
            sequence: 1,
            publisher: 1,
            tunnels: vec![1],
        };
        let sealed = seal(&record, certificate, Day(1), [0; 24], |message| sign(identity, message)).unwrap();
        assert_eq!(open(&sealed, &key, Day(1), 2, verify), Ok(record.clone()));
        let other = certified(&KeyPair::generate().unwrap());
        let forged = seal(&record, certificate, Day(1), [0; 24], |message| sign(&other, message)).unwrap();
        assert_eq!(open(&forged, &key, Day(1), 2, verify), Err(SealedError::BadSignature));
    }

    fn certified(pair: &KeyPair) -> CertifiedKey {
        let certificate = CertificateParams::default().self_signed(pair).unwrap();
        let key = PrivateKeyDer::try_from(pair.serialize_der()).unwrap();
        let key = provider().key_provider.load_private_key(key).unwrap();
        CertifiedKey::new(vec![certificate.der().clone()], key)
    }
}
