//! One connection that says nothing, or one byte now and then.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::sleep;
use tokio_rustls::TlsConnector;

/// Time between two bytes of a slow one.
const BETWEEN_BYTES: Duration = Duration::from_secs(5);

/// What one does who has connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    Silent,
    SlowHandshake,
    SlowOpening,
    SlowHead,
    /// Opens a tunnel (version 1) and leaves it.
    Idle,
}

#[derive(Clone)]
pub(super) struct Stranger {
    manner: Manner,
    tls: Arc<ClientConfig>,
    name: ServerName<'static>,
    /// What is dripped, byte by byte.
    words: Arc<[u8]>,
}

/// A connection, through TLS or not.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Stream for T {}

impl Stranger {
    pub(super) fn new(manner: Manner, key: &str) -> Result<Self> {
        let provider = Arc::new(ring::default_provider());
        let tls = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
            .with_no_client_auth();
        let tls = Arc::new(tls);
        let name = ServerName::try_from(key.to_owned()).context("the key hash as a server name")?;
        let words: Vec<u8> = match manner {
            Manner::SlowHandshake => client_hello(&tls, &name)?,
            Manner::SlowHead => format!("GET / HTTP/1.1\r\nHost: {key}.localhost\r\nX: {}", "x".repeat(1000)).into(),
            Manner::SlowOpening => format!("{{\"x\": \"{}", "x".repeat(1000)).into(),
            Manner::Silent | Manner::Idle => Vec::new(),
        };
        Ok(Self { manner, tls, name, words: words.into() })
    }

    /// Does at once what comes before the dawdling.
    pub(super) async fn enter(&self, tcp: TcpStream) -> Result<Box<dyn Stream>> {
        if !matches!(self.manner, Manner::SlowOpening | Manner::Idle) {
            return Ok(Box::new(tcp));
        }
        let mut stream = TlsConnector::from(Arc::clone(&self.tls)).connect(self.name.clone(), tcp).await?;
        if self.manner == Manner::Idle {
            stream.write_all(b"{}\n").await?;
            let mut line = Vec::new();
            while !line.ends_with(b"\n") {
                if stream.read_buf(&mut line).await? == 0 {
                    bail!("no preamble");
                }
            }
        }
        Ok(Box::new(stream))
    }

    /// Dawdles until the other side has enough of it.
    pub(super) async fn stay(&self, stream: Box<dyn Stream>) {
        let (mut from, mut to) = tokio::io::split(stream);
        let drip = async {
            for byte in self.words.iter() {
                if to.write_all(&[*byte]).await.is_err() || to.flush().await.is_err() {
                    return;
                }
                sleep(BETWEEN_BYTES).await;
            }
            std::future::pending().await
        };
        let ended = async {
            let mut ignored = [0; 256];
            while from.read(&mut ignored).await.is_ok_and(|n| n > 0) {}
        };
        tokio::select! { () = drip => (), () = ended => () }
    }
}

fn client_hello(tls: &Arc<ClientConfig>, name: &ServerName<'static>) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    ClientConnection::new(Arc::clone(tls), name.clone())?.write_tls(&mut bytes)?;
    Ok(bytes)
}

/// A stranger does not care whom it talks to.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
