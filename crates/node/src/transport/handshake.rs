//! A stream of bytes → a verified connection, by TLS.

use std::io;
use std::sync::Arc;

use hardline_proto::KeyHash;
use hardline_proto::client_hello::{Hello as Read, read_client_hello};
use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::{Accepted, Acceptor, ClientHello, UnbufferedServerConnection};
use rustls::{ClientConfig, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::secure::SecureStream;
use super::{ByteStream, ServiceTls, Unserved, read_onto};
use crate::tls::pin::proven_key;
use crate::tls::sni::refuse_unknown_name;
use crate::transport::engine::{Engine, Progress};

/// Bytes asked of the socket at once: a whole flight of most handshakes.
const CHUNK: usize = 4096;

/// Most bytes kept of a flight that has not come as a whole: the longest handshake message that
/// rustls takes is of 64 KiB.
const MAX_FLIGHT: usize = 96 * 1024;

/// What a handshake came to, before anything else was sent.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) engine: Engine,
    /// What came behind the handshake.
    pub(super) incoming: Vec<u8>,
    /// Whether the keys may be taken from rustls.
    pub(super) is_extractable: bool,
}

impl Done {
    /// Whether the protocol that our configuration offers by ALPN was agreed on.
    pub(super) fn is_alpn_agreed(&self) -> bool {
        self.engine.agreed().alpn_protocol().is_some()
    }

    pub(super) fn proven_key(&self) -> Option<KeyHash> {
        proven_key(self.engine.agreed())
    }
}

/// Makes the handshake as a client. The last of it is sent with the first that is written, so write
/// without waiting for the server.
///
/// # Errors
/// That of the connection; or, as [`io::ErrorKind::InvalidData`] around a [`rustls::Error`], that
/// of the handshake.
pub async fn connect<W: ByteStream>(
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    mut wire: W,
) -> io::Result<SecureStream<W>> {
    let is_extractable = config.enable_secret_extraction;
    let engine = Engine::client(UnbufferedClientConnection::new(config, name).map_err(invalid)?);
    let (engine, incoming) = finish(engine, Vec::new(), &mut wire).await?;
    SecureStream::new(wire, Done { engine, incoming, is_extractable })
}

/// A client that has said hello, and waits for a server to be chosen.
#[derive(Debug)]
pub struct Hello<W> {
    /// The stream, to be refused.
    pub wire: W,
    /// On the heap: it is large, and every future that hands the hello on has room for it.
    accepted: Box<Accepted>,
    bytes: Vec<u8>,
}

/// Reads a client's hello.
///
/// # Errors
/// As [`connect`]; the client has been told, if it is told of such errors.
pub async fn hello<W: ByteStream>(wire: W) -> io::Result<Hello<W>> {
    read_hello(wire, Vec::new()).await
}

/// Reads the rest of a hello that begins with `bytes`.
async fn read_hello<W: ByteStream>(mut wire: W, mut bytes: Vec<u8>) -> io::Result<Hello<W>> {
    let mut acceptor = None;
    let mut given = 0;
    loop {
        read_more(&mut wire, &mut bytes).await?;
        // rustls's part takes some KiB, which those do not get who say one byte now and then.
        if acceptor.is_none() && read_client_hello(&bytes) == Ok(Read::Partial) {
            continue;
        }
        let acceptor = acceptor.get_or_insert_with(|| Box::new(Acceptor::default()));
        let mut fresh = &bytes[given..];
        given = bytes.len();
        while !fresh.is_empty() {
            acceptor.read_tls(&mut fresh)?;
            match acceptor.accept() {
                // What stands behind the hello is read again by who answers it.
                Ok(Some(accepted)) => return Ok(Hello { wire, accepted: Box::new(accepted), bytes }),
                Ok(None) => {}
                Err((error, mut alert)) => {
                    let mut record = Vec::new();
                    alert.write_all(&mut record)?;
                    let _ = wire.write_all(&record).await; // who is gone needs no alert
                    return Err(invalid(error));
                }
            }
        }
    }
}

/// Answers who came in over `wire`: waits for the first bytes, which must begin a TLS handshake,
/// has the stream prepared, reads the hello and goes on as `choose` says.
///
/// Each step on the heap and apart: what it needs is not kept for the next, and who says nothing,
/// or speaks no TLS, does not get it.
pub(super) async fn answer<W: ByteStream, T>(
    wire: W,
    prepare: impl FnOnce(&W),
    choose: impl FnOnce(&ClientHello<'_>) -> Result<(ServiceTls, T), Unserved>,
) -> Result<(SecureStream<W>, T), Unserved> {
    let hello = Box::pin(greet(wire, prepare)).await?;
    match choose(&hello.client_hello()) {
        Ok((tls, chosen)) => {
            let connection = Box::pin(hello.accept(tls.config)).await.map_err(Unserved::Handshake)?;
            Ok((connection, chosen))
        }
        Err(Unserved::UnknownName) => Err(hello.refuse().await),
        Err(unserved) => Err(unserved),
    }
}

/// Waits for the first bytes, which must begin a TLS handshake, has the stream prepared, and reads
/// the hello.
pub(super) async fn greet<W: ByteStream>(mut wire: W, prepare: impl FnOnce(&W)) -> Result<Hello<W>, Unserved> {
    let first = expect_tls(&mut wire).await?;
    prepare(&wire);
    Box::pin(read_hello(wire, first)).await.map_err(Unserved::Handshake)
}

/// Waits for the first bytes, and looks whether they begin a TLS handshake: a record of type 22 and
/// version 3.x (RFC 8446, section 5.1).
async fn expect_tls(wire: &mut impl ByteStream) -> Result<Vec<u8>, Unserved> {
    let mut first = [0; 2];
    let length = wire.read(&mut first).await.map_err(Unserved::Handshake)?;
    let first = &first[..length];
    if length > 0 && [22, 3].starts_with(first) { Ok(first.to_vec()) } else { Err(Unserved::NoTls) }
}

impl<W: ByteStream> Hello<W> {
    /// What the client asks for.
    #[must_use]
    pub fn client_hello(&self) -> ClientHello<'_> {
        self.accepted.client_hello()
    }

    /// Gives the stream back, with all that has been read of it.
    #[must_use]
    pub fn into_parts(self) -> (W, Vec<u8>) {
        (self.wire, self.bytes)
    }

    /// Says that the name is nobody's here.
    pub(super) async fn refuse(mut self) -> Unserved {
        // Who is gone needs no alert.
        let _ = refuse_unknown_name(&mut self.wire).await;
        Unserved::UnknownName
    }

    /// Goes on as the server that `config` tells of. The last of the handshake is sent with the
    /// first that is written.
    ///
    /// # Errors
    /// As [`connect`].
    pub async fn accept(mut self, config: Arc<ServerConfig>) -> io::Result<SecureStream<W>> {
        let is_extractable = config.enable_secret_extraction;
        let engine = Engine::server(UnbufferedServerConnection::new(config).map_err(invalid)?);
        let (engine, incoming) = finish(engine, self.bytes, &mut self.wire).await?;
        SecureStream::new(self.wire, Done { engine, incoming, is_extractable })
    }
}

/// Goes on to the end of the handshake. What is left to be sent then stays in the engine, and what
/// came behind the handshake stays where it is: most diallers send their first words with the last
/// of it, and what rustls has opened cannot be handed over.
async fn finish(
    mut engine: Engine,
    mut incoming: Vec<u8>,
    wire: &mut impl ByteStream,
) -> io::Result<(Engine, Vec<u8>)> {
    loop {
        let end = if engine.agreed().is_handshaking() { incoming.len() } else { 0 };
        let mut rest = &mut incoming[..end];
        let progress = engine.advance(&mut rest);
        if progress.is_err() {
            engine.fail(&mut rest);
        }
        let used = end - rest.len();
        incoming.drain(..used);
        match progress {
            Ok(Progress::Again) => {}
            Ok(Progress::Blocked) if !engine.agreed().is_handshaking() => return Ok((engine, incoming)),
            Ok(Progress::Blocked | Progress::Written(_)) => {
                send(&mut engine, wire).await?;
                read_more(wire, &mut incoming).await?;
            }
            Ok(Progress::Closed) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error) => {
                let _ = send(&mut engine, wire).await; // who is gone needs no alert
                return Err(invalid(error));
            }
        }
    }
}

async fn send(engine: &mut Engine, wire: &mut impl ByteStream) -> io::Result<()> {
    let outgoing = std::mem::take(&mut engine.outgoing);
    wire.write_all(&outgoing).await
}

async fn read_more(wire: &mut impl ByteStream, incoming: &mut Vec<u8>) -> io::Result<()> {
    if incoming.len() > MAX_FLIGHT {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a handshake message without end"));
    }
    match read_onto::<CHUNK>(wire, incoming).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

fn invalid(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
