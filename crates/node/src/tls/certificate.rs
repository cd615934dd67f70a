//! DER certificate → the public key in it, and nothing else.
//!
//! Names, dates, extensions and version mean nothing here, so they are stepped over unread: a certificate is no worse
//! for what is wrong in them.

use rustls::pki_types::{SubjectPublicKeyInfoDer, alg_id};
use x509_parser::asn1_rs::{Any, Class, FromDer, Header, Oid, Tag};

/// Shortest and longest RSA modulus whose signatures can be verified, in bytes.
const RSA_MODULUS: std::ops::RangeInclusive<usize> = 2048 / 8..=8192 / 8;

/// Why a certificate cannot prove who presents it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// The bytes are no X.509 certificate.
    #[error("this is no X.509 certificate")]
    Malformed,
    /// The signatures of such a key cannot be verified.
    #[error("the certificate has {kind}; RSA of 2048 to 8192 bits, P-256, P-384 and Ed25519 are supported")]
    UnsupportedKey {
        /// The kind of key, with its article.
        kind: String,
    },
}

/// The public key of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PublicKey<'a> {
    /// The whole SubjectPublicKeyInfo (RFC 5280, section 4.1.2.7), in DER.
    spki: &'a [u8],
    /// Inside of its AlgorithmIdentifier.
    algorithm: &'a [u8],
    /// The bits of the key itself.
    bits: &'a [u8],
}

impl<'a> PublicKey<'a> {
    /// Finds the public key in a certificate of any version.
    ///
    /// # Errors
    /// [`CertificateError::Malformed`] when there is none. Its kind is not judged: see [`Self::require_supported`].
    pub(super) fn of_certificate(der: &'a [u8]) -> Result<Self, CertificateError> {
        subject_public_key_info(der).and_then(Self::from_spki).ok_or(CertificateError::Malformed)
    }

    /// Takes a SubjectPublicKeyInfo apart.
    fn from_spki(spki: &'a [u8]) -> Option<Self> {
        let (algorithm, key) = next(alone(spki, Tag::Sequence)?, Tag::Sequence)?;
        // The first byte of a bit string counts the unused bits of its last byte; a key has none.
        let bits = alone(key, Tag::BitString)?.strip_prefix(&[0])?;
        Some(Self { spki, algorithm, bits })
    }

    /// The whole SubjectPublicKeyInfo.
    pub(super) fn spki(&self) -> SubjectPublicKeyInfoDer<'a> {
        SubjectPublicKeyInfoDer::from(self.spki)
    }

    /// Inside of the AlgorithmIdentifier, as `SignatureVerificationAlgorithm::public_key_alg_id` has it.
    pub(super) fn algorithm(&self) -> &'a [u8] {
        self.algorithm
    }

    /// The bits of the key itself.
    pub(super) fn bits(&self) -> &'a [u8] {
        self.bits
    }

    /// Tells keys whose signatures can be verified from others, so that the answer is not "bad signature".
    ///
    /// # Errors
    /// [`CertificateError::UnsupportedKey`]
    pub(super) fn require_supported(&self) -> Result<(), CertificateError> {
        match self.unsupported_kind() {
            None => Ok(()),
            Some(kind) => Err(CertificateError::UnsupportedKey { kind }),
        }
    }

    /// What is wrong with the kind of this key, if anything.
    fn unsupported_kind(&self) -> Option<String> {
        let is = |id: rustls::pki_types::AlgorithmIdentifier| self.algorithm == id.as_ref();
        if is(alg_id::ED25519) {
            None
        } else if is(alg_id::ECDSA_P256) || is(alg_id::ECDSA_P384) {
            let is_uncompressed = self.bits.first() == Some(&4);
            (!is_uncompressed).then(|| "an ECDSA key with a compressed point".to_owned())
        } else if is(alg_id::RSA_ENCRYPTION) {
            let length = rsa_modulus_length(self.bits);
            (!RSA_MODULUS.contains(&length)).then(|| format!("an RSA key of {} bits", length * 8))
        } else if is(alg_id::ECDSA_P521) {
            Some("an ECDSA key on the curve P-521".to_owned())
        } else {
            let oid =
                Oid::from_der(self.algorithm).map_or_else(|_| "unreadable".to_owned(), |(_, oid)| oid.to_string());
            Some(format!("a public key of another kind (object identifier {oid})"))
        }
    }
}

/// The SubjectPublicKeyInfo of a certificate, with its header (RFC 5280, section 4.1).
fn subject_public_key_info(der: &[u8]) -> Option<&[u8]> {
    let (tbs, _signature) = next(alone(der, Tag::Sequence)?, Tag::Sequence)?;
    let after_version = match Header::from_der(tbs).ok()?.1.class() {
        Class::ContextSpecific => Any::from_der(tbs).ok()?.0,
        _ => tbs, // version 1 is not written
    };
    let (_serial, rest) = next(after_version, Tag::Integer)?;
    let (_signature, rest) = next(rest, Tag::Sequence)?;
    let (_issuer, rest) = next(rest, Tag::Sequence)?;
    let (_validity, rest) = next(rest, Tag::Sequence)?;
    let (_subject, rest) = next(rest, Tag::Sequence)?;
    let (_inside, after) = next(rest, Tag::Sequence)?;
    rest.get(..rest.len() - after.len())
}

/// Length of the modulus in an RSAPublicKey (RFC 8017, appendix A.1.1), in bytes; 0 when there is none.
fn rsa_modulus_length(key: &[u8]) -> usize {
    let modulus = alone(key, Tag::Sequence).and_then(|inside| next(inside, Tag::Integer));
    modulus.map_or(0, |(modulus, _exponent)| modulus.iter().skip_while(|byte| **byte == 0).count())
}

/// Inside of the first element, which must have `tag`, and what follows it.
fn next(der: &[u8], tag: Tag) -> Option<(&[u8], &[u8])> {
    let (rest, any) = Any::from_der(der).ok()?;
    (any.class() == Class::Universal && any.tag() == tag).then_some((any.data, rest))
}

/// Inside of the one element, which must have `tag` and be followed by nothing.
fn alone(der: &[u8], tag: Tag) -> Option<&[u8]> {
    next(der, tag).and_then(|(inside, rest)| rest.is_empty().then_some(inside))
}
