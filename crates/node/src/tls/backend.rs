//! TLS towards the program behind a service: who answers there is verified by the system's
//! authorities, by a certificate given by hand, or not at all.

use std::io;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use hardline_proto::hosts::Host;
use ring::digest::{SHA256, digest};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::config::provider;
use super::pin;
use crate::config::BackendCertificate;

/// Most certificates of a file: more than any system's authorities.
const MAX_CERTIFICATES: usize = 1000;

/// How connections to one program are secured.
#[derive(Clone)]
pub(crate) struct BackendTls {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl std::fmt::Debug for BackendTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BackendTls").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The certificate that was presented is not the one that was set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("its certificate has the fingerprint {got}")]
struct WrongCertificate {
    got: String,
}

impl BackendTls {
    /// For a program at `host`.
    ///
    /// # Errors
    /// When the file of `certificate` cannot be used.
    pub(crate) fn new(host: &Host, certificate: Option<&BackendCertificate>) -> io::Result<Self> {
        let trust = match certificate {
            None => Trust::Authorities(system_authorities()?),
            Some(BackendCertificate::Sha256(fingerprint)) => Trust::Fingerprint(*fingerprint),
            Some(BackendCertificate::File(path)) => Trust::of_file(path)?,
            Some(BackendCertificate::Any) => Trust::Any,
        };
        let mut config = ClientConfig::builder_with_provider(Arc::clone(provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(BackendVerifier { trust }))
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let name = match host {
            Host::Ip(ip) => ServerName::from(*ip),
            Host::LinkLocal(ip, _) => ServerName::from(IpAddr::V6(*ip)),
            Host::Name(name) => ServerName::try_from(name.clone()).map_err(io::Error::other)?,
        };
        Ok(Self { config: Arc::new(config), name })
    }

    /// Shakes hands over `stream`.
    ///
    /// # Errors
    /// That of the connection, or why the program is not believed.
    pub(crate) async fn connect<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S) -> io::Result<TlsStream<S>> {
        TlsConnector::from(Arc::clone(&self.config)).connect(self.name.clone(), stream).await
    }
}

/// SHA-256 of a certificate, as `backend_certificate` takes it.
#[must_use]
pub fn fingerprint(certificate: &[u8]) -> String {
    let hex: Vec<String> = digest(&SHA256, certificate).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("SHA256:{}", hex.concat())
}

#[derive(Debug)]
enum Trust {
    Authorities(Arc<WebPkiServerVerifier>),
    Fingerprint([u8; 32]),
    /// One of these, or one that they vouch for.
    File(Vec<CertificateDer<'static>>, Option<Arc<WebPkiServerVerifier>>),
    Any,
}

impl Trust {
    fn of_file(path: &std::path::Path) -> io::Result<Self> {
        let in_file = |error: &dyn std::fmt::Display| io::Error::other(format!("{}: {error}", path.display()));
        let certificates: Vec<_> = CertificateDer::pem_file_iter(path)
            .map_err(|error| in_file(&error))?
            .take(MAX_CERTIFICATES)
            .collect::<Result<_, _>>()
            .map_err(|error| in_file(&error))?;
        if certificates.is_empty() {
            return Err(in_file(&"there is no certificate in this file"));
        }
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(certificates.iter().cloned());
        let verifier = if roots.is_empty() { None } else { Some(authorities(roots)?) };
        Ok(Self::File(certificates, verifier))
    }
}

fn authorities(roots: RootCertStore) -> io::Result<Arc<WebPkiServerVerifier>> {
    let builder = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider()));
    builder.build().map_err(io::Error::other)
}

/// The system's, read when the first service needs them.
fn system_authorities() -> io::Result<Arc<WebPkiServerVerifier>> {
    static SYSTEM: OnceLock<Arc<WebPkiServerVerifier>> = OnceLock::new();
    if let Some(known) = SYSTEM.get() {
        return Ok(Arc::clone(known));
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        let reason =
            "this system has no certificate authorities, so backend_certificate must say which certificate is right";
        return Err(io::Error::new(io::ErrorKind::NotFound, reason));
    }
    let verifier = authorities(roots)?;
    Ok(Arc::clone(SYSTEM.get_or_init(|| verifier)))
}

#[derive(Debug)]
struct BackendVerifier {
    trust: Trust,
}

impl ServerCertVerifier for BackendVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let by = |verifier: &WebPkiServerVerifier| {
            verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
        };
        let wrong = || pin::refused(WrongCertificate { got: fingerprint(end_entity) });
        match &self.trust {
            Trust::Authorities(verifier) => by(verifier),
            Trust::Any => Ok(ServerCertVerified::assertion()),
            Trust::Fingerprint(expected) if digest(&SHA256, end_entity).as_ref() == expected => {
                Ok(ServerCertVerified::assertion())
            }
            Trust::Fingerprint(_) => Err(wrong()),
            Trust::File(certificates, _) if certificates.iter().any(|one| one == end_entity) => {
                Ok(ServerCertVerified::assertion())
            }
            Trust::File(_, Some(verifier)) => by(verifier),
            Trust::File(_, None) => Err(wrong()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        pin::verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        pin::verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        pin::algorithms().supported_schemes()
    }
}
