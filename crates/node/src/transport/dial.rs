//! Whom a dialler wants to reach, and what came of it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use hardline_proto::KeyHash;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::time::{Instant, timeout};

use super::ByteStream;
use super::handshake;
use super::secure::SecureStream;
use crate::limits::DIAL_HANDSHAKE_TIMEOUT;
use crate::tls::Pass;
use crate::tls::pin::wrong_key;

/// A way to reach services.
pub(crate) trait Transport: Sync {
    /// How it is told where to go.
    type Address: Sync;
    /// What it makes: a connection whose peer has proven the key that was asked for.
    type Connection: Send;

    /// Connects to `address` and verifies `target` there, within
    /// [`CONNECT_TIMEOUT`](crate::limits::CONNECT_TIMEOUT) and [`DIAL_HANDSHAKE_TIMEOUT`].
    fn connect(
        &self,
        address: &Self::Address,
        target: &Target,
    ) -> impl Future<Output = Result<Connected<Self::Connection>, ConnectError>> + Send;
}

/// Whom a dialler wants to reach.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) key: KeyHash,
    /// Pinned to the key hash.
    pub(crate) tls: Arc<ClientConfig>,
    pub(crate) name: ServerName<'static>,
    /// The name of the day, to be asked for first. A listener that does not know it, because its
    /// clock is off or somebody was wrong about it, may refuse it, hang up, or answer with another
    /// service's certificate; then it is asked for by its name, over another connection.
    pub(crate) pseudonym: Option<ServerName<'static>>,
    /// What opens the service, if it is a private one: it is called by the name of the day alone.
    pub(crate) pass: Option<Pass>,
}

impl Target {
    /// TLS settings for one connection.
    pub(crate) fn client_tls(&self) -> Arc<ClientConfig> {
        match &self.pass {
            Some(pass) => pass.client_tls(self.key, self.tls.enable_secret_extraction),
            None => Arc::clone(&self.tls),
        }
    }
}

/// A verified connection.
#[derive(Debug)]
pub(crate) struct Connected<C> {
    pub(crate) connection: C,
    pub(crate) remote: SocketAddr,
    /// When somebody answered there. What is said before the first payload has
    /// [`DIAL_HANDSHAKE_TIMEOUT`] from then on.
    pub(crate) answered: Instant,
}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum ConnectError {
    /// Nobody answers.
    Unreachable(io::Error),
    /// Somebody else answers.
    WrongKey(KeyHash),
    /// Whoever answers does not prove a key.
    Handshake(String),
    /// Nor does anything else within [`DIAL_HANDSHAKE_TIMEOUT`].
    Silent,
}

/// Connects by `open`, and verifies `target` in a TLS handshake over the stream.
pub(super) async fn over_streams<W: ByteStream, F>(
    target: &Target,
    open: impl Fn() -> F + Send + Sync,
) -> Result<Connected<SecureStream<W>>, ConnectError>
where
    F: Future<Output = io::Result<(W, SocketAddr)>> + Send,
{
    let (stream, remote) = open().await.map_err(ConnectError::Unreachable)?;
    let answered = Instant::now();
    let verifying = async {
        let Some(pseudonym) = &target.pseudonym else { return verify(target, &target.name, stream).await };
        match verify(target, pseudonym, stream).await {
            Ok(connection) => Ok(connection),
            Err(_) => verify(target, &target.name, open().await.map_err(ConnectError::Unreachable)?.0).await,
        }
    };
    // On the heap: the handshake's state is large, and the race holds several attempts.
    let verified = timeout(DIAL_HANDSHAKE_TIMEOUT, Box::pin(verifying)).await;
    let connection = verified.unwrap_or(Err(ConnectError::Silent))?;
    Ok(Connected { connection, remote, answered })
}

async fn verify<W: ByteStream>(
    target: &Target,
    name: &ServerName<'static>,
    stream: W,
) -> Result<SecureStream<W>, ConnectError> {
    let connected = handshake::connect(target.client_tls(), name.clone(), stream).await;
    let connection = connected.map_err(|error| match wrong_key(&error) {
        Some(wrong) => ConnectError::WrongKey(wrong.got),
        None => ConnectError::Handshake(error.to_string()),
    })?;
    // A resumed TLS session brings the certificate of its first handshake along, and verifies
    // nothing anew.
    match connection.proven_key() {
        Some(key) if key == target.key => Ok(connection),
        Some(got) => Err(ConnectError::WrongKey(got)),
        None => Err(ConnectError::Handshake("no certificate".to_owned())),
    }
}
