//! Presented certificate → key hash and proven key.

use std::sync::Arc;

use hardline_proto::KeyHash;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, OtherError, PeerMisbehaved, SignatureScheme};

use super::certificate::PublicKey;
use super::config::provider;

/// Accepts the one certificate that hashes to `expected`, whatever else it says, if the handshake's signature verifies
/// under its public key.
#[derive(Debug)]
pub struct PinnedKey {
    /// The address.
    pub expected: KeyHash,
}

/// The presented certificate has another hash. Found inside the `rustls::Error` (`CertificateError::Other`) of a failed
/// handshake: see [`wrong_key`].
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
    match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::InvalidCertificate(rustls::CertificateError::Other(OtherError(cause))) => {
            cause.downcast_ref::<WrongKey>().copied()
        }
        _ => None,
    }
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
        let key = PublicKey::of_certificate(cert).map_err(refused)?;
        verify_tls12_signature_with_raw_key(message, &key, dss, &algorithms())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let key = PublicKey::of_certificate(cert).map_err(refused)?;
        verify_tls13_signature_with_raw_key(message, &key.spki(), dss, &algorithms())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        algorithms().supported_schemes()
    }
}

/// Verifies the signature of a TLS 1.2 ServerKeyExchange (RFC 5246, section 7.4.3) under `key`.
///
/// rustls has this for TLS 1.3 only; its own functions for TLS 1.2 take a certificate, and refuse version 1. In TLS 1.2
/// a signature scheme does not say the curve of its key, so every algorithm of the scheme that fits the key is tried.
fn verify_tls12_signature_with_raw_key(
    message: &[u8],
    key: &PublicKey<'_>,
    dss: &DigitallySignedStruct,
    supported: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, rustls::Error> {
    let Some((_, algorithms)) = supported.mapping.iter().find(|(scheme, _)| *scheme == dss.scheme) else {
        return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
    };
    let is_valid = algorithms.iter().any(|algorithm| {
        algorithm.public_key_alg_id().as_ref() == key.algorithm()
            && algorithm.verify_signature(key.bits(), message, dss.signature()).is_ok()
    });
    if is_valid { Ok(HandshakeSignatureValid::assertion()) } else { Err(rustls::CertificateError::BadSignature.into()) }
}

/// The signature algorithms of the one provider in use.
fn algorithms() -> WebPkiSupportedAlgorithms {
    provider().signature_verification_algorithms
}

/// Carries our own reason through rustls.
fn refused(reason: impl std::error::Error + Send + Sync + 'static) -> rustls::Error {
    rustls::CertificateError::Other(OtherError(Arc::new(reason))).into()
}
