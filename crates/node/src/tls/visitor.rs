//! The certificate of a visitor: made for one private service, and asked for by that alone.

use std::fmt;
use std::sync::Arc;

use hardline_proto::KeyHash;
use hardline_proto::tunnel::ALPN;
use hardline_proto::visitors::{Door, Hour};
use rustls::client::Resumption;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, DigitallySignedStruct, DistinguishedName, SignatureScheme};

use super::certificate::PublicKey;
use super::config::provider;
use super::identity::{IdentityError, make_pair};
use super::pin::{PinnedKey, algorithms, refused, verify_tls12_signature, verify_tls13_signature};

/// What opens one private service: a key pair, and the secret by which its owner is found.
#[derive(Clone)]
pub struct Pass {
    /// What is shown in the ClientHello.
    pub(crate) door: Door,
    certified: Arc<CertifiedKey>,
}

/// Neither of the secrets.
impl fmt::Debug for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pass").field("key", &self.key()).finish_non_exhaustive()
    }
}

impl Pass {
    /// Makes a key pair and its certificate, both in DER: the certificate says nothing but the key.
    ///
    /// # Errors
    /// [`IdentityError::Make`] when no key can be made.
    pub fn make() -> Result<(Vec<u8>, Vec<u8>), IdentityError> {
        make_pair()
    }

    /// The pass of what [`make`](Self::make) has made. `None` when that is damaged.
    #[must_use]
    pub fn new(certificate: Vec<u8>, private_key: Vec<u8>, door: Door) -> Option<Self> {
        let key = PrivateKeyDer::try_from(private_key).ok()?;
        let key = provider().key_provider.load_private_key(key).ok()?;
        let certified = Arc::new(CertifiedKey::new(vec![certificate.into()], key));
        Some(Self { door, certified })
    }

    /// The same key pair with another door.
    pub(crate) fn by(&self, door: Door) -> Self {
        Self { door, certified: Arc::clone(&self.certified) }
    }

    /// Who it is, to the service alone.
    #[must_use]
    pub fn key(&self) -> KeyHash {
        self.certified.cert.first().map_or(KeyHash::from_bytes([0; 20]), |it| KeyHash::of_certificate(it))
    }

    /// TLS settings for one connection to `service`: TLS 1.3, in which the certificate goes to who
    /// has proven the pinned key and to nobody else, and nothing to resume.
    pub(crate) fn client_tls(&self, service: KeyHash, own_records: bool) -> Arc<ClientConfig> {
        let hour = Hour::from_unix_seconds(crate::clock::unix_time().as_secs());
        let proof = self.door.prove(&service, hour, rand::random());
        let mut config = ClientConfig::builder_with_provider(Arc::clone(provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("ring has cipher suites for TLS 1.3")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(PinnedKey { expected: service }))
            .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&self.certified))));
        config.alpn_protocols = vec![ALPN.to_vec(), proof.to_protocol()];
        config.enable_secret_extraction = own_records;
        config.resumption = Resumption::disabled();
        Arc::new(config)
    }
}

/// What a private service asks for in a handshake.
#[derive(Debug)]
pub(crate) struct AskedFor {
    /// The visitor whose door the ClientHello came through; `None` for one who is invited, and
    /// brings a key that nobody knows yet.
    pub(crate) visitor: Option<KeyHash>,
}

/// The certificate is that of somebody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this visitor's certificate is another one")]
struct WrongVisitor;

impl ClientCertVerifier for AskedFor {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        if self.visitor.is_some_and(|expected| expected != KeyHash::of_certificate(end_entity)) {
            return Err(refused(WrongVisitor));
        }
        PublicKey::of_certificate(end_entity).and_then(|key| key.require_supported()).map_err(refused)?;
        Ok(ClientCertVerified::assertion())
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
