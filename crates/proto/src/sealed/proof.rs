//! Certificate, statement and signature ⇄ bytes: vectors behind their lengths, as TLS writes them
//! (RFC 8446, section 3.4).
//!
//! ```text
//! opaque certificate<0..2^16-1>; uint16 scheme; opaque signature<0..2^16-1>;
//! opaque statement[to the end];
//! ```

use super::{MAX_CERTIFICATE, MAX_SIGNATURE, MAX_STATEMENT, SealedError};

/// Bytes beside the three parts: two lengths and the scheme.
pub const OVERHEAD: usize = 6;

/// What is signed begins as in TLS 1.3 (RFC 8446, section 4.4.3), with a text of our own: no
/// handshake's signature can pass as one over a record, or the other way round.
const PADDING: [u8; 64] = [b' '; 64];
const CONTEXT: &[u8] = b"hardline/2, sealed record\0";

/// A signature, and how it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// TLS's number of the algorithm (`SignatureScheme`), one that TLS 1.3 allows.
    pub scheme: u16,
    /// The signature.
    pub bytes: Vec<u8>,
}

/// What is to be verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proof<'a> {
    /// DER certificate whose key has signed.
    pub certificate: &'a [u8],
    /// TLS's number of the algorithm.
    pub scheme: u16,
    /// The signature over [`Proof::signed_bytes`].
    pub signature: &'a [u8],
    /// What is stated, JSON.
    pub statement: &'a [u8],
}

impl<'a> Proof<'a> {
    /// Takes a plaintext apart.
    ///
    /// # Errors
    /// [`SealedError::Malformed`].
    pub fn read(plaintext: &'a [u8]) -> Result<Self, SealedError> {
        let (certificate, rest) = vector(plaintext, MAX_CERTIFICATE).ok_or(SealedError::Malformed("certificate"))?;
        let (scheme, rest) = rest.split_first_chunk().ok_or(SealedError::Malformed("scheme"))?;
        let (signature, statement) = vector(rest, MAX_SIGNATURE).ok_or(SealedError::Malformed("signature"))?;
        if statement.len() > MAX_STATEMENT {
            return Err(SealedError::Malformed("statement"));
        }
        Ok(Self { certificate, scheme: u16::from_be_bytes(*scheme), signature, statement })
    }

    /// The bytes that are signed.
    #[must_use]
    pub fn signed_bytes(&self) -> Vec<u8> {
        signed_bytes(self.statement)
    }
}

/// Puts a plaintext together. The parts are within their bounds.
pub(super) fn write(certificate: &[u8], signature: &Signature, statement: &[u8]) -> Vec<u8> {
    let scheme = signature.scheme.to_be_bytes();
    let (certificate_len, signature_len) = (length(certificate), length(&signature.bytes));
    [&certificate_len[..], certificate, &scheme, &signature_len, &signature.bytes, statement].concat()
}

/// The bytes that are signed to make `statement` believed.
pub(super) fn signed_bytes(statement: &[u8]) -> Vec<u8> {
    [&PADDING[..], CONTEXT, statement].concat()
}

fn length(part: &[u8]) -> [u8; 2] {
    u16::try_from(part.len()).expect("parts are bounded below 64 KiB").to_be_bytes()
}

/// A part of at most `limit` bytes behind its length, and what follows.
fn vector(bytes: &[u8], limit: usize) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk()?;
    let len = usize::from(u16::from_be_bytes(*len));
    rest.split_at_checked(len).filter(|_| len <= limit)
}
