//! Presented certificate → key hash and proven key.

use hardline_proto::KeyHash;

/// Accepts the one certificate that hashes to `expected`, whatever else it says, if the handshake's signature verifies
/// under its public key. Implements `rustls::client::danger::ServerCertVerifier`.
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
    let _ = error;
    todo!()
}
