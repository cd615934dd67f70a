//! Two ends behind a real handshake, and a row of operations on them.

#![allow(clippy::unwrap_used, unreachable_pub, reason = "shared with the fuzz targets")]

use std::sync::{Arc, LazyLock};

use hardline_record::{ALERT, Content, HEADER, MAX_PLAINTEXT, RecordError, RecordLayer, Secrets, TRAILER, UPDATE};
use rustls::client::UnbufferedClientConnection;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, UnbufferedStatus};
use rustls::{AlertDescription, CipherSuite, ClientConfig, ContentType, ServerConfig, SignatureScheme};

/// One end, and what is on its way to it.
pub struct End {
    pub layer: RecordLayer,
    /// Bytes that have arrived.
    pub incoming: Vec<u8>,
    /// Payload sent to it, and payload it has read.
    pub sent: Vec<u8>,
    pub read: Vec<u8>,
    pub is_closed: bool,
    pub error: Option<RecordError>,
}

impl End {
    fn new(layer: RecordLayer, incoming: Vec<u8>) -> Self {
        Self { layer, incoming, sent: Vec::new(), read: Vec::new(), is_closed: false, error: None }
    }

    /// The records that carry `payload`, with a word about new keys in front when it is time for
    /// it.
    pub fn seal(&mut self, payload: &[u8]) -> Vec<u8> {
        let mut bytes = self.layer.update().unwrap().map(Vec::from).unwrap_or_default();
        bytes.extend(self.seal_as(ContentType::ApplicationData, payload));
        bytes
    }

    pub fn seal_as(&mut self, content_type: ContentType, content: &[u8]) -> Vec<u8> {
        let mut record = vec![0; HEADER + content.len() + TRAILER];
        record[HEADER..][..content.len()].copy_from_slice(content);
        let length = self.layer.seal_as(content_type, &mut record, content.len()).unwrap();
        assert_eq!(length, record.len());
        record
    }

    /// Opens whatever has arrived as a whole.
    pub fn open(&mut self) {
        while self.error.is_none() && !self.is_closed {
            match self.layer.open(&mut self.incoming) {
                Ok(None) => return,
                Ok(Some(opened)) => {
                    match opened.content {
                        Content::Payload(at) => self.read.extend_from_slice(&self.incoming[at]),
                        Content::Closed => self.is_closed = true,
                        Content::Control => {}
                    }
                    self.incoming.drain(..opened.length);
                }
                Err(error) => self.error = Some(error),
            }
        }
    }
}

/// A client and a server behind a handshake with `suite`; the server's tickets are on their way.
pub fn pair(suite: CipherSuite) -> (End, End) {
    let (client, server) = configurations(suite);
    pair_with(client, server)
}

/// The same with these configurations.
pub fn pair_with(client: Arc<ClientConfig>, server: Arc<ServerConfig>) -> (End, End) {
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = UnbufferedClientConnection::new(client, name).unwrap();
    let mut server = UnbufferedServerConnection::new(server).unwrap();
    let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
    while client.is_handshaking() || server.is_handshaking() {
        while drive(&mut to_client, &mut to_server, |incoming, out| step(client.process_tls_records(incoming), out)) {}
        if !client.is_handshaking() && !server.is_handshaking() {
            break;
        }
        while drive(&mut to_server, &mut to_client, |incoming, out| step(server.process_tls_records(incoming), out)) {}
    }
    let (secrets, kernel) = client.dangerous_into_kernel_connection().unwrap();
    let client = RecordLayer::new(secrets, Secrets::Client(kernel)).unwrap();
    let (secrets, kernel) = server.dangerous_into_kernel_connection().unwrap();
    let server = RecordLayer::new(secrets, Secrets::Server(kernel)).unwrap();
    (End::new(client, to_client), End::new(server, to_server))
}

fn drive(
    incoming: &mut Vec<u8>,
    out: &mut Vec<u8>,
    step: impl FnOnce(&mut [u8], &mut Vec<u8>) -> (usize, bool),
) -> bool {
    let (used, is_busy) = step(incoming, out);
    incoming.drain(..used);
    is_busy
}

/// Returns how many bytes are done with, and whether there is more to do.
fn step<Data>(status: UnbufferedStatus<'_, '_, Data>, out: &mut Vec<u8>) -> (usize, bool) {
    let is_busy = match status.state.unwrap() {
        ConnectionState::EncodeTlsData(mut data) => {
            let Err(EncodeError::InsufficientSize(size)) = data.encode(&mut []) else { panic!("an empty message") };
            let start = out.len();
            out.resize(start + size.required_size, 0);
            data.encode(&mut out[start..]).unwrap();
            true
        }
        ConnectionState::TransmitTlsData(data) => {
            data.done();
            true
        }
        _ => false,
    };
    (status.discard, is_busy)
}

/// Any row of operations on both ends: nothing panics, nobody reads what was not sent, and who
/// reads all reads all of it. After a record that was changed, left out, or has no meaning, nothing
/// more is read.
pub fn record_ops(bytes: &[u8]) {
    let suites = [
        CipherSuite::TLS13_AES_128_GCM_SHA256,
        CipherSuite::TLS13_AES_256_GCM_SHA384,
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
    ];
    let Some((&first, mut rest)) = bytes.split_first() else { return };
    let (mut client, mut server) = pair(suites[usize::from(first) % 3]);
    for end in [&mut client, &mut server] {
        if first & 0x80 != 0 {
            end.layer.change_keys_after(64 + u64::from(first & 7));
        }
    }
    // Which end's bytes are no longer what the other sent.
    let mut is_spoilt = [false; 2];
    // Empty records toward each end: too many are refused, and rightly, with the key updates in
    // front of each.
    let mut empty = [0; 2];
    for _ in 0..64 {
        let Some((&[op, size], after)) = rest.split_first_chunk::<2>() else { break };
        rest = after;
        let toward = usize::from(op & 1);
        let (from, to) = if toward == 0 { (&mut server, &mut client) } else { (&mut client, &mut server) };
        match op >> 1 & 7 {
            // Payload, also none, and up to a full record.
            0..=2 => {
                empty[toward] += u32::from(size == 0);
                let size = if empty[toward] > 8 { size.max(1) } else { size };
                let payload = vec![size; usize::from(size) * if op & 0x80 == 0 { 1 } else { 64 }];
                to.incoming.extend(from.seal(&payload));
                to.sent.extend_from_slice(&payload);
            }
            // Any content under the right key.
            3 => {
                let content = &rest[..rest.len().min(usize::from(size))];
                to.incoming.extend(from.seal_as(ContentType::from(op), content));
                rest = &rest[content.len()..];
                // Some of it has a meaning; what it is, the oracle does not know.
                is_spoilt = [true; 2];
            }
            // A key update that asks for one in return.
            4 if from.error.is_none() => {
                let _ = from.layer.update();
                to.incoming.extend(from.seal_as(ContentType::Handshake, &[24, 0, 0, 1, 1]));
                // The sender's own key is still the old one: what it says next is not understood.
                is_spoilt[toward] = true;
            }
            // A bit falls over on its way.
            5 if !to.incoming.is_empty() => {
                let at = usize::from(size) % to.incoming.len();
                to.incoming[at] ^= 1 << (op & 7);
                is_spoilt[toward] = true;
            }
            // Something is lost on its way.
            6 if !to.incoming.is_empty() => {
                let length = usize::from(size) % to.incoming.len();
                to.incoming.drain(..length);
                is_spoilt[toward] |= length > 0;
            }
            _ => to.open(),
        }
        assert!(is_spoilt[toward] || to.error.is_none() || from.error.is_some(), "{:?}", to.error);
        assert!(to.sent.starts_with(&to.read) || is_spoilt[toward], "read what was not sent");
    }
    for (toward, end) in [&mut client, &mut server].into_iter().enumerate() {
        end.open();
        if !is_spoilt[toward] {
            assert_eq!(end.error, None);
            assert!(end.read == end.sent, "{} of {} bytes", end.read.len(), end.sent.len());
        }
        let word = end.layer.alert(AlertDescription::CloseNotify).unwrap();
        assert_eq!(word.len(), ALERT);
    }
    const { assert!(UPDATE < MAX_PLAINTEXT) };
}

/// Client and server that speak `suite`. The certificate is made once: it is not what is looked at.
/// Both ends' settings, for one cipher.
pub fn configurations(suite: CipherSuite) -> (Arc<ClientConfig>, Arc<ServerConfig>) {
    static IDENTITY: LazyLock<(CertificateDer<'static>, Vec<u8>)> = LazyLock::new(|| {
        let rcgen::CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(["localhost".into()]).unwrap();
        (cert.der().clone(), signing_key.serialize_der())
    });
    let mut provider = default_provider();
    provider.cipher_suites.retain(|other| other.suite() == suite);
    let provider = Arc::new(provider);
    let versions = &[&rustls::version::TLS13];
    let mut client = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_no_client_auth();
    client.enable_secret_extraction = true;
    let (certificate, key) = IDENTITY.clone();
    let mut server = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], PrivateKeyDer::try_from(key).unwrap())
        .unwrap();
    server.enable_secret_extraction = true;
    (Arc::new(client), Arc::new(server))
}

/// Believes every certificate: here nobody is dialled.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.2".into()))
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        default_provider().signature_verification_algorithms.supported_schemes()
    }
}
