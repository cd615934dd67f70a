//! Nothing → key → certificate.

use std::sync::Arc;

use hardline_proto::KeyHash;
use rcgen::{Certificate, CertificateParams, DistinguishedName, DnType, KeyPair, SerialNumber};
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::CertifiedKey;

use super::files::Files;
use super::{Identity, IdentityError, load};
use crate::access::Access;
use crate::tls::config::provider;

/// Makes an ECDSA key on the curve P-256, in PEM (PKCS#8): the released peers accept it, and it
/// signs two orders of magnitude faster than RSA-4096.
pub(super) fn key() -> Result<Vec<u8>, IdentityError> {
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(IdentityError::Make)?;
    Ok(key.serialize_pem().into_bytes())
}

/// Makes a certificate, in PEM, for the key in `key_text`.
pub(super) fn certificate(files: &Files, key_text: &[u8]) -> Result<Vec<u8>, IdentityError> {
    let der = load::private_key(&files.key, key_text)?;
    let key = KeyPair::try_from(&der).map_err(|_| IdentityError::MissingCertificate {
        certificate: files.certificate.clone(),
        key: files.key.clone(),
    })?;
    Ok(nameable(|| self_signed(&key), |certificate| KeyHash::of_certificate(certificate.der()))?.pem().into_bytes())
}

/// Makes an identity in memory alone.
pub(super) fn ephemeral() -> Result<Identity, IdentityError> {
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(IdentityError::Make)?;
    let certificate = nameable(|| self_signed(&key), |certificate| KeyHash::of_certificate(certificate.der()))?;
    let signing_key = provider()
        .key_provider
        .load_private_key(PrivateKeyDer::from(key))
        .map_err(|_| IdentityError::Make(rcgen::Error::CouldNotParseKeyPair))?;
    let certificate = certificate.der().clone();
    Ok(Identity {
        key: KeyHash::of_certificate(&certificate),
        certified: Arc::new(CertifiedKey::new(vec![certificate], signing_key)),
        access: Access::Open,
    })
}

/// Makes a certificate and its key, both in DER; the certificate with a hash as of an identity.
pub(in crate::tls) fn pair() -> Result<(Vec<u8>, Vec<u8>), IdentityError> {
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(IdentityError::Make)?;
    let certificate = nameable(|| self_signed(&key), |certificate| KeyHash::of_certificate(certificate.der()))?;
    Ok((certificate.der().to_vec(), key.serialize_der()))
}

/// Makes certificates until one has a hash that TLS can carry as a name: see
/// [`KeyHash::is_all_decimal`].
pub(super) fn nameable<T>(
    mut make: impl FnMut() -> Result<T, IdentityError>,
    hash: impl Fn(&T) -> KeyHash,
) -> Result<T, IdentityError> {
    loop {
        let made = make()?;
        if !hash(&made).is_all_decimal() {
            return Ok(made);
        }
    }
}

/// Signs a certificate that says as little as possible, and is valid for longer than anybody will
/// look. A random serial number makes every one differ, whatever the kind of key.
fn self_signed(key: &KeyPair) -> Result<Certificate, IdentityError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "hardline");
    params.serial_number = Some(SerialNumber::from(rand::random::<u64>()));
    params.self_signed(key).map_err(IdentityError::Make)
}
