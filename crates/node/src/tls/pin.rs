//! Presented certificate → key hash and proven key.

use std::sync::Arc;

use hardline_proto::KeyHash;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, ServerName, SignatureVerificationAlgorithm, UnixTime};
use rustls::{CommonState, DigitallySignedStruct, OtherError, PeerMisbehaved, SignatureScheme};

use super::certificate::PublicKey;
use super::config::provider;

/// Accepts the one certificate that hashes to `expected`, whatever else it says, if the handshake's
/// signature verifies under its public key.
#[derive(Debug)]
pub struct PinnedKey {
    /// The address.
    pub expected: KeyHash,
}

/// The presented certificate has another hash. Found inside the `rustls::Error`
/// (`CertificateError::Other`) of a failed handshake: see [`wrong_key`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the certificate is that of {got}, not of {expected}")]
pub struct WrongKey {
    /// The address.
    pub expected: KeyHash,
    /// Whose certificate it is.
    pub got: KeyHash,
}

/// Finds a [`WrongKey`] in a handshake's error.
#[must_use]
pub fn wrong_key(error: &std::io::Error) -> Option<WrongKey> {
    wrong_key_in(error.get_ref()?.downcast_ref::<rustls::Error>()?)
}

/// Finds a [`WrongKey`] in what a verifier says.
pub(crate) fn wrong_key_in(error: &rustls::Error) -> Option<WrongKey> {
    match error {
        rustls::Error::InvalidCertificate(rustls::CertificateError::Other(OtherError(cause))) => {
            cause.downcast_ref::<WrongKey>().copied()
        }
        _ => None,
    }
}

/// The key hash of the certificate that the peer proved, in this handshake or in the one that it
/// resumed.
#[must_use]
pub fn proven_key(tls: &CommonState) -> Option<KeyHash> {
    Some(KeyHash::of_certificate(tls.peer_certificates()?.first()?))
}

impl ServerCertVerifier for PinnedKey {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let got = KeyHash::of_certificate(end_entity);
        if got != self.expected {
            return Err(refused(WrongKey { expected: self.expected, got }));
        }
        PublicKey::of_certificate(end_entity).and_then(|key| key.require_supported()).map_err(refused)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        algorithms().supported_schemes()
    }
}

/// Verifies a signature of TLS 1.2 under the public key of `cert`, whatever else it says.
pub(crate) fn verify_tls12_signature(
    message: &[u8],
    cert: &CertificateDer<'_>,
    dss: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, rustls::Error> {
    let key = PublicKey::of_certificate(cert).map_err(refused)?;
    verify_tls12_signature_with_raw_key(message, &key, dss, &algorithms())
}

/// The same for TLS 1.3.
pub(crate) fn verify_tls13_signature(
    message: &[u8],
    cert: &CertificateDer<'_>,
    dss: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, rustls::Error> {
    let key = PublicKey::of_certificate(cert).map_err(refused)?;
    verify_tls13_signature_with_raw_key(message, &key.spki(), dss, &algorithms())
}

/// Verifies the signature of a TLS 1.2 ServerKeyExchange (RFC 5246, section 7.4.3) under `key`.
///
/// rustls has this for TLS 1.3 only; its own functions for TLS 1.2 take a certificate, and refuse
/// version 1. In TLS 1.2 a signature scheme does not say the curve of its key, so every algorithm
/// of the scheme that fits the key is tried.
fn verify_tls12_signature_with_raw_key(
    message: &[u8],
    key: &PublicKey<'_>,
    dss: &DigitallySignedStruct,
    supported: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, rustls::Error> {
    let Some((_, algorithms)) = supported.mapping.iter().find(|(scheme, _)| *scheme == dss.scheme) else {
        return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
    };
    if verifies(algorithms, key, message, dss.signature()) {
        Ok(HandshakeSignatureValid::assertion())
    } else {
        Err(rustls::CertificateError::BadSignature.into())
    }
}

/// Whether `signature` is one over `message` under `key`, by any of `algorithms` that fits the kind
/// of key.
pub(super) fn verifies(
    algorithms: &[&dyn SignatureVerificationAlgorithm],
    key: &PublicKey<'_>,
    message: &[u8],
    signature: &[u8],
) -> bool {
    algorithms.iter().any(|algorithm| {
        algorithm.public_key_alg_id().as_ref() == key.algorithm()
            && algorithm.verify_signature(key.bits(), message, signature).is_ok()
    })
}

/// The signature algorithms of the one provider in use.
pub(crate) fn algorithms() -> WebPkiSupportedAlgorithms {
    provider().signature_verification_algorithms
}

/// Carries our own reason through rustls.
pub(super) fn refused(reason: impl std::error::Error + Send + Sync + 'static) -> rustls::Error {
    rustls::CertificateError::Other(OtherError(Arc::new(reason))).into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, KeyPair, SigningKey};
    use rustls::pki_types::pem::PemObject;

    use super::*;
    use crate::tls::certificate::CertificateError;

    #[test]
    fn only_the_certificate_that_hashes_to_the_address_passes() {
        let pem = include_bytes!("../../tests/vectors/v1-rsa4096-sha512.pem");
        let certificate = CertificateDer::from_pem_slice(pem).unwrap();
        let expected: KeyHash = "88c810fbcfd5be6be85ea2d3ba3b204f96a2e40c".parse().unwrap();
        let other = KeyHash::from_bytes([7; 20]);
        assert!(verify(expected, &certificate).is_ok());
        let error = std::io::Error::other(verify(other, &certificate).unwrap_err());
        assert_eq!(wrong_key(&error), Some(WrongKey { expected: other, got: expected }));
    }

    #[test]
    fn other_errors_are_no_wrong_key() {
        for error in [
            std::io::Error::other("text"),
            std::io::ErrorKind::ConnectionReset.into(),
            std::io::Error::other(rustls::Error::from(rustls::CertificateError::BadSignature)),
            std::io::Error::other(refused(CertificateError::Malformed)),
        ] {
            assert_eq!(wrong_key(&error), None);
        }
    }

    #[test]
    fn a_presented_certificate_that_is_none_is_refused_even_when_it_has_the_hash() {
        let garbage = CertificateDer::from(b"garbage".to_vec());
        let error = verify(KeyHash::of_certificate(b"garbage"), &garbage).unwrap_err();
        assert_eq!(error.to_string(), refused(CertificateError::Malformed).to_string());
    }

    #[test]
    fn a_signature_is_valid_under_its_own_key_and_message_alone() {
        let (key, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let signature = key.sign(b"message").unwrap();
        let broken = [&signature[..signature.len() - 1], &[signature[signature.len() - 1] ^ 1]].concat();
        let check = |key: &KeyPair, message: &[u8], signature: &[u8]| {
            let certificate = CertificateParams::default().self_signed(key).unwrap();
            verifies(algorithms().all, &PublicKey::of_certificate(certificate.der()).unwrap(), message, signature)
        };
        assert!(check(&key, b"message", &signature));
        assert!(!check(&key, b"message", &broken));
        assert!(!check(&key, b"message", &[]));
        assert!(!check(&key, b"massage", &signature));
        assert!(!check(&other, b"message", &signature));
    }

    proptest! {
        #[test]
        fn a_certificate_with_bytes_changed_never_panics_and_never_verifies_what_its_key_did_not_sign(
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
            signature in proptest::collection::vec(any::<u8>(), 0..600),
        ) {
            let certificate = CertificateParams::default().self_signed(&KeyPair::generate().unwrap()).unwrap();
            let mut der = certificate.der().to_vec();
            for (at, value) in changes {
                let at = at.index(der.len());
                der[at] = value;
            }
            let _ = verify(KeyHash::of_certificate(&der), &CertificateDer::from(&der[..]));
            if let Ok(key) = PublicKey::of_certificate(&der) {
                prop_assert!(!verifies(algorithms().all, &key, b"message", &signature));
            }
        }
    }

    fn verify(expected: KeyHash, certificate: &CertificateDer<'_>) -> Result<ServerCertVerified, rustls::Error> {
        let name = ServerName::try_from("name").unwrap();
        PinnedKey { expected }.verify_server_cert(certificate, &[], &name, &[], UnixTime::now())
    }
}
