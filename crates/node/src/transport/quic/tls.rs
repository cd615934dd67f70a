//! Our TLS settings, as QUIC wants them: TLS 1.3, no resumption, the same certificates and pin.
//!
//! A connection carries every tunnel to a service, so there are few handshakes to spare.

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use hardline_proto::KeyHash;
use hardline_proto::tunnel::ALPN;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{Connection, TransportErrorCode};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{AlertDescription, DigitallySignedStruct, DistinguishedName, SignatureScheme};

use crate::tls::config::server_asking;
use crate::tls::pin::{PinnedKey, algorithms, verify_tls12_signature, verify_tls13_signature, wrong_key_in};
use crate::tls::visitor::AskedFor;
use crate::transport::{ServiceTls, Target, Unserved};

/// Whose certificate a server presented, if it was the wrong one. QUIC tells of it in words alone.
#[derive(Debug, Clone, Default)]
pub(super) struct Proof(Arc<OnceLock<KeyHash>>);

impl Proof {
    pub(super) fn wrong_key(&self) -> Option<KeyHash> {
        self.0.get().copied()
    }
}

/// Settings for one connection to `target`.
pub(super) fn client(target: &Target, proof: &Proof) -> Arc<QuicClientConfig> {
    let mut config = (*target.client_tls()).clone();
    if target.pass.is_none() {
        config.alpn_protocols = vec![ALPN.to_vec()];
    }
    config.resumption = Resumption::disabled();
    config.enable_secret_extraction = false;
    let verifier = Noted { pin: PinnedKey { expected: target.key }, proof: proof.clone() };
    config.dangerous().set_certificate_verifier(Arc::new(verifier));
    Arc::new(QuicClientConfig::try_from(config).expect("the provider has the cipher of first packets"))
}

/// The pin, which notes whose certificate it refused.
#[derive(Debug)]
struct Noted {
    pin: PinnedKey,
    proof: Proof,
}

impl ServerCertVerifier for Noted {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified = self.pin.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        if let Some(wrong) = verified.as_ref().err().and_then(wrong_key_in) {
            let _ = self.proof.0.set(wrong.got); // one handshake, one certificate
        }
        verified
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.pin.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.pin.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.pin.supported_verify_schemes()
    }
}

/// The key hash of the certificate that the peer of a connection proved.
pub(super) fn proven_key(connection: &Connection) -> Option<KeyHash> {
    let chain = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    Some(KeyHash::of_certificate(chain.first()?))
}

/// Whether a server refused the name: rustls says `access_denied` when it is given no certificate,
/// for whatever reason; others say what RFC 6066 wants.
pub(super) fn is_refusal(code: TransportErrorCode) -> bool {
    [AlertDescription::AccessDenied, AlertDescription::UnrecognisedName]
        .into_iter()
        .any(|alert| code == TransportErrorCode::crypto(u8::from(alert)))
}

/// Says how a hello is answered.
type Choose<T> = Box<dyn FnOnce(&ClientHello<'_>) -> Result<(ServiceTls, T), Unserved> + Send>;

/// One peer's question for a service, asked and answered within the handshake.
pub(super) struct Choice<T>(Mutex<State<T>>);

enum State<T> {
    Waiting(Choose<T>),
    /// Kept for a second hello (RFC 8446, section 4.1.4).
    Chosen(Option<T>, Option<Arc<CertifiedKey>>, Option<Arc<AskedFor>>),
    Unserved(Option<Unserved>),
}

impl<T> fmt::Debug for Choice<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Choice").finish_non_exhaustive()
    }
}

impl<T: Send + 'static> Choice<T> {
    pub(super) fn new(
        choose: impl FnOnce(&ClientHello<'_>) -> Result<(ServiceTls, T), Unserved> + Send + 'static,
    ) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State::Waiting(Box::new(choose)))))
    }

    /// Settings for one peer, whose hello is answered with the certificate of whoever is chosen.
    pub(super) fn server(self: &Arc<Self>) -> Arc<QuicServerConfig> {
        let (resolver, verifier) = (Arc::clone(self), Arc::clone(self));
        let mut config = server_asking(resolver, &[&rustls::version::TLS13], verifier);
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.send_tls13_tickets = 0;
        Arc::new(QuicServerConfig::try_from(config).expect("the provider has the cipher of first packets"))
    }

    /// What is asked of the peer, who has said hello.
    fn asked_for(&self) -> Option<Arc<AskedFor>> {
        match &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            State::Chosen(.., asked_for) => asked_for.clone(),
            State::Waiting(_) | State::Unserved(_) => None,
        }
    }

    /// What was chosen, behind the handshake; or why nothing was.
    pub(super) fn take(&self) -> Result<T, Option<Unserved>> {
        match &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            State::Waiting(_) => Err(None),
            State::Chosen(chosen, ..) => chosen.take().ok_or(None),
            State::Unserved(why) => Err(why.take()),
        }
    }
}

impl<T: Send + 'static> ResolvesServerCert for Choice<T> {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = match std::mem::replace(&mut *state, State::Unserved(None)) {
            State::Waiting(choose) => choose,
            chosen => {
                *state = chosen;
                return if let State::Chosen(_, certificate, _) = &*state { certificate.clone() } else { None };
            }
        };
        match waiting(&hello) {
            Ok((tls, chosen)) => {
                let certificate = tls.config.cert_resolver.resolve(hello);
                *state = State::Chosen(Some(chosen), certificate.clone(), tls.asked_for);
                certificate
            }
            Err(unserved) => {
                *state = State::Unserved(Some(unserved));
                None
            }
        }
    }
}

/// Asked for a certificate is who comes to a private service.
impl<T: Send + 'static> ClientCertVerifier for Choice<T> {
    fn offer_client_auth(&self) -> bool {
        self.asked_for().is_some()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let asked_for = self.asked_for().ok_or(rustls::CertificateError::ApplicationVerificationFailure)?;
        asked_for.verify_client_cert(end_entity, intermediates, now)
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
