//! A TCP connection → a TLS connection.

use std::io;
use std::sync::Arc;

use hardline_proto::KeyHash;
use hardline_proto::client_hello::{Hello as Read, read_client_hello};
use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::{Accepted, Acceptor, ClientHello, UnbufferedServerConnection};
use rustls::{ClientConfig, ServerConfig};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::secure::SecureStream;
use crate::tls::config::is_v2;
use crate::tls::pin::proven_key;
use crate::tls::session::{Progress, Session};
use crate::transport::tcp::read_onto;

/// Bytes asked of the socket at once: a whole flight of most handshakes.
const CHUNK: usize = 4096;

/// Most bytes kept of a flight that has not come as a whole: the longest handshake message that rustls takes is of 64 KiB.
const MAX_FLIGHT: usize = 96 * 1024;

/// What a handshake came to, before anything else was sent.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) session: Session,
    /// What came behind the handshake.
    pub(super) incoming: Vec<u8>,
    /// Whether the keys may be taken from rustls.
    pub(super) is_extractable: bool,
}

impl Done {
    pub(super) fn is_v2(&self) -> bool {
        is_v2(self.session.agreed())
    }

    pub(super) fn proven_key(&self) -> Option<KeyHash> {
        proven_key(self.session.agreed())
    }
}

/// Makes the handshake as a client. The last of it is sent with the first that is written, so write without waiting for
/// the server.
///
/// # Errors
/// That of the connection; or, as [`io::ErrorKind::InvalidData`] around a [`rustls::Error`], that of the handshake.
pub async fn connect(
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    mut tcp: TcpStream,
) -> io::Result<SecureStream> {
    let is_extractable = config.enable_secret_extraction;
    let session = Session::client(UnbufferedClientConnection::new(config, name).map_err(invalid)?);
    let (session, incoming) = finish(session, Vec::new(), &mut tcp).await?;
    SecureStream::new(tcp, Done { session, incoming, is_extractable })
}

/// A client that has said hello, and waits for a server to be chosen.
#[derive(Debug)]
pub struct Hello {
    /// The connection, to be refused.
    pub tcp: TcpStream,
    /// On the heap: it is large, and every future that hands the hello on has room for it.
    accepted: Box<Accepted>,
    bytes: Vec<u8>,
}

/// Reads a client's hello.
///
/// # Errors
/// As [`connect`]; the client has been told, if it is told of such errors.
pub async fn hello(mut tcp: TcpStream) -> io::Result<Hello> {
    let mut bytes = Vec::new();
    let mut acceptor = None;
    let mut given = 0;
    loop {
        read_more(&mut tcp, &mut bytes).await?;
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
                Ok(Some(accepted)) => return Ok(Hello { tcp, accepted: Box::new(accepted), bytes }),
                Ok(None) => {}
                Err((error, mut alert)) => {
                    let mut record = Vec::new();
                    alert.write_all(&mut record)?;
                    let _ = tcp.write_all(&record).await; // who is gone needs no alert
                    return Err(invalid(error));
                }
            }
        }
    }
}

impl Hello {
    /// What the client asks for.
    #[must_use]
    pub fn client_hello(&self) -> ClientHello<'_> {
        self.accepted.client_hello()
    }

    /// Goes on as the server that `config` tells of. The last of the handshake is sent with the first that is written.
    ///
    /// # Errors
    /// As [`connect`].
    pub async fn accept(mut self, config: Arc<ServerConfig>) -> io::Result<SecureStream> {
        let is_extractable = config.enable_secret_extraction;
        let session = Session::server(UnbufferedServerConnection::new(config).map_err(invalid)?);
        let (session, incoming) = finish(session, self.bytes, &mut self.tcp).await?;
        SecureStream::new(self.tcp, Done { session, incoming, is_extractable })
    }
}

/// Goes on to the end of the handshake. What is left to be sent then stays in the session, and what came behind the handshake
/// stays where it is: most diallers send their first words with the last of it, and what rustls has opened cannot be handed
/// over.
async fn finish(mut session: Session, mut incoming: Vec<u8>, tcp: &mut TcpStream) -> io::Result<(Session, Vec<u8>)> {
    loop {
        let end = if session.agreed().is_handshaking() { incoming.len() } else { 0 };
        let mut rest = &mut incoming[..end];
        let progress = session.advance(&mut rest);
        if progress.is_err() {
            session.fail(&mut rest);
        }
        let used = end - rest.len();
        incoming.drain(..used);
        match progress {
            Ok(Progress::Again) => {}
            Ok(Progress::Blocked) if !session.agreed().is_handshaking() => return Ok((session, incoming)),
            Ok(Progress::Blocked | Progress::Written(_)) => {
                send(&mut session, tcp).await?;
                read_more(tcp, &mut incoming).await?;
            }
            Ok(Progress::Closed) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error) => {
                let _ = send(&mut session, tcp).await; // who is gone needs no alert
                return Err(invalid(error));
            }
        }
    }
}

async fn send(session: &mut Session, tcp: &mut TcpStream) -> io::Result<()> {
    let outgoing = std::mem::take(&mut session.outgoing);
    tcp.write_all(&outgoing).await
}

async fn read_more(tcp: &mut TcpStream, incoming: &mut Vec<u8>) -> io::Result<()> {
    if incoming.len() > MAX_FLIGHT {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a handshake message without end"));
    }
    match read_onto::<CHUNK>(tcp, incoming).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

fn invalid(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
