//! DER certificate → the public key in it, and nothing else.
//!
//! Names, dates, extensions and version mean nothing here, so they are stepped over unread: a
//! certificate is no worse for what is wrong in them.

use rustls::pki_types::{SubjectPublicKeyInfoDer, alg_id};
use x509_parser::asn1_rs::{Any, Class, FromDer, Header, Oid, Tag};
use x509_parser::oid_registry::OID_KEY_TYPE_EC_PUBLIC_KEY;

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
    /// [`CertificateError::Malformed`] when there is none. Its kind is not judged: see
    /// [`Self::require_supported`].
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

    /// Inside of the AlgorithmIdentifier, as `SignatureVerificationAlgorithm::public_key_alg_id`
    /// has it.
    pub(super) fn algorithm(&self) -> &'a [u8] {
        self.algorithm
    }

    /// The bits of the key itself.
    pub(super) fn bits(&self) -> &'a [u8] {
        self.bits
    }

    /// Tells keys whose signatures can be verified from others, so that the answer is not "bad
    /// signature".
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
            Some(match Oid::from_der(self.algorithm) {
                Ok((_, oid)) if oid == OID_KEY_TYPE_EC_PUBLIC_KEY => "an ECDSA key on another curve".to_owned(),
                Ok((_, oid)) => format!("a public key of another kind (object identifier {oid})"),
                Err(_) => "a public key of an unreadable kind".to_owned(),
            })
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

/// Length of the modulus in an RSAPublicKey (RFC 8017, appendix A.1.1), in bytes; 0 when there is
/// none.
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, CustomExtension, KeyPair, PublicKeyData};
    use rustls::pki_types::{CertificateDer, pem::PemObject};

    use super::*;

    /// As release 0.0.12 makes them.
    const VERSION_1: &[u8] = include_bytes!("../../tests/vectors/v1-rsa4096-sha512.pem");

    #[test]
    fn a_version_1_certificate_gives_its_key() {
        let der = version_1();
        let key = PublicKey::of_certificate(&der).unwrap();
        assert_eq!(key.require_supported(), Ok(()));
        assert_eq!(key.algorithm(), alg_id::RSA_ENCRYPTION.as_ref());
        assert_eq!(rsa_modulus_length(key.bits()), 4096 / 8);
        let (_, x509) = x509_parser::parse_x509_certificate(&der).unwrap();
        assert_eq!(key.spki().as_ref(), x509.public_key().raw);
    }

    #[test]
    fn a_version_3_certificate_gives_its_key_whatever_else_it_says() {
        let pair = KeyPair::generate().unwrap();
        let der = version_3(&pair);
        let key = PublicKey::of_certificate(&der).unwrap();
        assert_eq!(key.require_supported(), Ok(()));
        assert_eq!(key.spki().as_ref(), pair.subject_public_key_info());
    }

    /// An X.509 parser that reads everything stumbles over such a date.
    #[test]
    fn a_date_that_is_none_does_no_harm() {
        let mut der = version_1();
        let date =
            der.windows(13).position(|window| window.ends_with(b"Z") && window[..12].iter().all(u8::is_ascii_digit));
        der[date.unwrap()..][..12].copy_from_slice(b"999999999999");
        assert!(x509_parser::parse_x509_certificate(&der).is_err());
        assert!(PublicKey::of_certificate(&der).is_ok());
    }

    #[test]
    fn what_is_no_certificate_is_malformed() {
        let der = version_1();
        for bytes in
            [&[][..], &[0x30], &[0x30, 0], b"hello", &der[1..], &der[..der.len() - 1], &[&der[..], &[0]].concat()]
        {
            assert_eq!(PublicKey::of_certificate(bytes), Err(CertificateError::Malformed));
        }
    }

    #[test]
    fn keys_whose_signatures_cannot_be_verified_are_named() {
        #[track_caller]
        fn check(algorithm: &[u8], bits: &[u8], kind: &str) {
            let error = PublicKey { spki: &[], algorithm, bits }.require_supported().unwrap_err();
            assert_eq!(error, CertificateError::UnsupportedKey { kind: kind.to_owned() });
        }
        let modulus = [[0x30, 0x82, 0x01, 0x05, 0x02, 0x82, 0x01, 0x01, 0].as_slice(), &[0xff; 128]].concat();
        check(&alg_id::RSA_ENCRYPTION, &modulus, "an RSA key of 0 bits"); // cut off
        check(&alg_id::RSA_ENCRYPTION, &[0x30, 0x04, 0x02, 0x02, 0, 0xff], "an RSA key of 8 bits");
        check(&alg_id::ECDSA_P256, &[2; 33], "an ECDSA key with a compressed point");
        check(&alg_id::ECDSA_P384, &[], "an ECDSA key with a compressed point");
        check(&alg_id::ECDSA_P521, &[4; 133], "an ECDSA key on the curve P-521");
        check(&[6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1], &[4; 65], "an ECDSA key on another curve");
        check(&[6, 3, 0x2b, 0x65, 0x71], &[0; 57], "a public key of another kind (object identifier 1.3.101.113)");
        check(&[], &[], "a public key of an unreadable kind");
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(der in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = PublicKey::of_certificate(&der).map(|key| key.require_supported());
        }

        #[test]
        fn a_certificate_with_bytes_changed_never_panics(
            is_version_1: bool,
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
            length in any::<prop::sample::Index>(),
            is_cut: bool,
        ) {
            let mut der = if is_version_1 { version_1() } else { version_3(&KeyPair::generate().unwrap()) };
            for (at, value) in changes {
                let at = at.index(der.len());
                der[at] = value;
            }
            if is_cut {
                der.truncate(length.index(der.len()));
            }
            let _ = PublicKey::of_certificate(&der).map(|key| key.require_supported());
        }
    }

    fn version_1() -> Vec<u8> {
        CertificateDer::from_pem_slice(VERSION_1).unwrap().to_vec()
    }

    /// With a critical extension that nobody knows.
    fn version_3(key: &KeyPair) -> Vec<u8> {
        let mut params = CertificateParams::default();
        let mut extension = CustomExtension::from_oid_content(&[1, 2, 3, 4, 5], vec![5, 0]);
        extension.set_criticality(true);
        params.custom_extensions.push(extension);
        params.self_signed(key).unwrap().der().to_vec()
    }
}
