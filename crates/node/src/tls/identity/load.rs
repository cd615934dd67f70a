//! Texts of the files → identity.

use std::path::Path;
use std::sync::Arc;

use hardline_proto::KeyHash;
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SigningKey};

use super::files::{Files, Texts};
use super::{Identity, IdentityError, hash_file};
use crate::access::Access;
use crate::tls::certificate::PublicKey;
use crate::tls::config::provider;

/// What marks an encrypted key: the label of PKCS#8 (RFC 5958), the header of the older formats
/// (RFC 1421).
const ENCRYPTED: [&str; 2] = ["-----BEGIN ENCRYPTED PRIVATE KEY-----", "Proc-Type: 4,ENCRYPTED"];

/// Puts an identity together, and checks that certificate, key and hash belong to each other.
pub(super) fn identity(files: &Files, texts: &Texts) -> Result<Identity, IdentityError> {
    let certificate = certificate(&files.certificate, &texts.certificate)?;
    let key = match &texts.key {
        Some(text) => private_key(&files.key, text)?,
        None => key_beside_certificate(files, &texts.certificate)?,
    };
    let key_file = files.key_file(texts);
    let signing_key = provider()
        .key_provider
        .load_private_key(key)
        .map_err(|_| IdentityError::UnusableKey { path: key_file.to_owned() })?;
    require_fit(files, key_file, &certificate, &*signing_key)?;

    let hash = KeyHash::of_certificate(&certificate);
    if hash.is_all_decimal() {
        return Err(IdentityError::AllDecimal { path: files.certificate.clone(), hash });
    }
    let access = texts.hash.as_ref().map_or(Ok(Access::Open), |text| access(files, text, hash))?;
    Ok(Identity { key: hash, certified: Arc::new(CertifiedKey::new(vec![certificate], signing_key)), access })
}

/// The first private key of a file, in whichever of the three encodings.
pub(super) fn private_key(path: &Path, text: &[u8]) -> Result<PrivateKeyDer<'static>, IdentityError> {
    let path = path.to_owned();
    let text_for_search = String::from_utf8_lossy(text);
    if ENCRYPTED.iter().any(|mark| text_for_search.contains(mark)) {
        return Err(IdentityError::EncryptedKey { path });
    }
    PrivateKeyDer::from_pem_slice(text).map_err(|error| match error {
        PemError::NoItemsFound => IdentityError::NoKey { path },
        _ => IdentityError::BadPem { path },
    })
}

fn key_beside_certificate(files: &Files, text: &[u8]) -> Result<PrivateKeyDer<'static>, IdentityError> {
    private_key(&files.certificate, text).map_err(|error| match error {
        IdentityError::NoKey { path } => IdentityError::MissingKey { certificate: path, key: files.key.clone() },
        other => other,
    })
}

/// The first certificate of a file, with a public key that peers can verify.
fn certificate(path: &Path, text: &[u8]) -> Result<CertificateDer<'static>, IdentityError> {
    let certificate = CertificateDer::from_pem_slice(text).map_err(|error| match error {
        PemError::NoItemsFound => IdentityError::NoCertificate { path: path.to_owned() },
        _ => IdentityError::BadPem { path: path.to_owned() },
    })?;
    PublicKey::of_certificate(&certificate)
        .and_then(|key| key.require_supported())
        .map_err(|source| IdentityError::Certificate { path: path.to_owned(), source })?;
    Ok(certificate)
}

/// Compares public keys. `CertifiedKey::keys_match` would do, but refuses certificates of version
/// 1.
fn require_fit(
    files: &Files,
    key_file: &Path,
    certificate: &CertificateDer<'_>,
    key: &dyn SigningKey,
) -> Result<(), IdentityError> {
    let certified = PublicKey::of_certificate(certificate).map(|key| key.spki()).ok();
    if certified.is_some() && certified == key.public_key() {
        return Ok(());
    }
    Err(IdentityError::KeyDoesNotFit { certificate: files.certificate.clone(), key: key_file.to_owned() })
}

/// Who may come in by a `.hash` file whose hash is that of the certificate.
fn access(files: &Files, text: &[u8], actual: KeyHash) -> Result<Access, IdentityError> {
    let (access, stated) = hash_file::parse(&String::from_utf8_lossy(text))
        .map_err(|source| IdentityError::BadHash { path: files.hash.clone(), source })?;
    if stated != actual {
        let (path, certificate) = (files.hash.clone(), files.certificate.clone());
        return Err(IdentityError::HashContradicts { path, stated, certificate, actual });
    }
    Ok(access)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_file_panics(
            label in prop::sample::select(vec!["CERTIFICATE", "PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY", "ODD"]),
            inside in prop::collection::vec(any::<u8>(), 0..200),
            is_pem: bool,
        ) {
            let text = if is_pem {
                format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", String::from_utf8_lossy(&inside)).into_bytes()
            } else {
                inside
            };
            let files = Files::new(Path::new("service"));
            let texts = Texts { certificate: text.clone(), key: Some(text.clone()), hash: Some(text) };
            prop_assert!(identity(&files, &texts).is_err());
        }
    }
}
