//! One candidate → TCP, TLS with the pin, preambles, and in version 2 the tunnel asked for.

use std::net::SocketAddr;
use std::sync::Arc;

use hardline_proto::KeyHash;
use hardline_proto::hosts::HostPort;
use hardline_proto::preamble::Preamble;
use hardline_proto::tunnel::Session;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::limits::{CONNECT_TIMEOUT, DIAL_HANDSHAKE_TIMEOUT};
use crate::resolve::Outcome;
use crate::session::{LinkEnd, LinkStream, NoTunnel, PlainStream, PreambleFailure, exchange_as_dialler};
use crate::tls;
use crate::transport::secure::SecureStream;
use crate::transport::{handshake, tcp};

/// What every attempt of one race does.
pub(super) struct Job {
    pub(super) key: KeyHash,
    /// Pinned to the key hash.
    pub(super) tls: Arc<ClientConfig>,
    pub(super) server_name: ServerName<'static>,
    /// What a listener of version 2 is called today; others do not know it.
    pub(super) hidden_name: Option<ServerName<'static>>,
    /// Whether the listener speaks version 2, if it was reached before.
    pub(super) speaks_v2: Option<bool>,
    pub(super) preamble: Preamble,
}

/// What an attempt is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A tunnel.
    Tunnel,
    /// A link to be parked. The backend is not touched.
    Spare,
}

/// A verified listener; its backend is there, if a tunnel was wanted.
#[derive(Debug)]
pub(super) struct Reached {
    pub(super) carrier: Carrier,
    /// The listener's line.
    pub(super) preamble: Preamble,
    pub(super) addr: SocketAddr,
}

/// What carries the tunnel.
#[derive(Debug)]
pub(super) enum Carrier {
    /// Version 1.
    Plain(PlainStream),
    /// Version 2.
    Link(LinkStream),
}

impl Job {
    /// Dials one address and opens a tunnel there, or greets, within [`CONNECT_TIMEOUT`] and [`DIAL_HANDSHAKE_TIMEOUT`].
    /// `is_said_v2` is whether who told of the address says that version 2 is spoken there.
    pub(super) async fn dial(&self, at: &HostPort, is_said_v2: bool, purpose: Purpose) -> Result<Reached, Outcome> {
        let tcp = self.connect(at).await?;
        let addr = tcp.peer_addr().map_err(unreachable)?;
        let opening = async {
            let tls = self.secure(at, tcp, is_said_v2).await?;
            let (preamble, carrier) = match (tls.is_v2(), purpose) {
                (true, Purpose::Tunnel) => self.open_link(tls).await?,
                (true, Purpose::Spare) => self.greet(tls).await?,
                (false, Purpose::Tunnel) => self.open_plain(tls).await?,
                (false, Purpose::Spare) => return Err(Outcome::Protocol { reason: "parks no links".to_owned() }),
            };
            Ok(Reached { carrier, preamble, addr })
        };
        in_time(opening).await
    }

    async fn connect(&self, at: &HostPort) -> Result<TcpStream, Outcome> {
        let tcp = tcp::connect(at, CONNECT_TIMEOUT).await.map_err(unreachable)?;
        tcp::notice_if_gone(&tcp).map_err(unreachable)?;
        Ok(tcp)
    }

    /// The handshake, under the hidden name where version 2 is spoken. A listener that does not know it, because its clock
    /// is off or somebody was wrong about the version, may refuse it, hang up, or answer with another service's
    /// certificate; then it is asked for by the plain name.
    async fn secure(&self, at: &HostPort, tcp: TcpStream, is_said_v2: bool) -> Result<SecureStream, Outcome> {
        let is_v2 = self.speaks_v2.unwrap_or(is_said_v2);
        let Some(hidden_name) = self.hidden_name.as_ref().filter(|_| is_v2) else {
            return self.handshake(&self.server_name, tcp).await;
        };
        match self.handshake(hidden_name, tcp).await {
            Ok(tls) => Ok(tls),
            Err(_) => self.handshake(&self.server_name, self.connect(at).await?).await,
        }
    }

    async fn handshake(&self, name: &ServerName<'static>, tcp: TcpStream) -> Result<SecureStream, Outcome> {
        match handshake::connect(Arc::clone(&self.tls), name.clone(), tcp).await {
            Ok(tls) => self.pinned(tls),
            Err(error) => Err(match tls::pin::wrong_key(&error) {
                Some(wrong) => Outcome::WrongKey { got: wrong.got },
                None => Outcome::Handshake { reason: error.to_string() },
            }),
        }
    }

    fn pinned(&self, tls: SecureStream) -> Result<SecureStream, Outcome> {
        // A resumed session brings the certificate of its first handshake along, and verifies nothing anew.
        match tls.proven_key() {
            Some(key) if key == self.key => Ok(tls),
            Some(got) => Err(Outcome::WrongKey { got }),
            None => Err(Outcome::Handshake { reason: "no certificate".to_owned() }),
        }
    }

    async fn open_plain(&self, tls: SecureStream) -> Result<(Preamble, Carrier), Outcome> {
        let mut stream = PlainStream::new(tls);
        let preamble = exchange_as_dialler(&mut stream, &self.preamble).await.map_err(preamble_failure)?;
        Ok((preamble, Carrier::Plain(stream)))
    }

    async fn greet(&self, tls: SecureStream) -> Result<(Preamble, Carrier), Outcome> {
        let mut link = LinkStream::new(tls, Session::dialler());
        link.greet(&self.preamble).map_err(|error| preamble_failure(error.into()))?;
        let preamble = link.greeted().await.map_err(preamble_failure)?;
        Ok((preamble, Carrier::Link(link)))
    }

    /// Asks in one write with our line, so that this costs no round trip more than in version 1. No payload is sent: other
    /// attempts of the race may ask too.
    async fn open_link(&self, tls: SecureStream) -> Result<(Preamble, Carrier), Outcome> {
        let mut link = LinkStream::new(tls, Session::dialler());
        link.ask(&self.preamble.encode(), &[]).await.map_err(link_end)?;
        let preamble = link.greeted().await.map_err(preamble_failure)?;
        match link.answered().await {
            Ok(()) => Ok((preamble, Carrier::Link(link))),
            Err(NoTunnel::Refused(refusal)) => Err(Outcome::Refused { refusal }),
            Err(NoTunnel::End(end)) => Err(link_end(end)),
        }
    }
}

async fn in_time<T>(attempt: impl Future<Output = Result<T, Outcome>> + Send) -> Result<T, Outcome> {
    // On the heap: the handshake's state is large, and the race holds several attempts.
    timeout(DIAL_HANDSHAKE_TIMEOUT, Box::pin(attempt)).await.unwrap_or_else(|_| {
        Err(Outcome::Handshake { reason: format!("silent for {} s", DIAL_HANDSHAKE_TIMEOUT.as_secs()) })
    })
}

fn unreachable(error: std::io::Error) -> Outcome {
    Outcome::Unreachable { reason: error.to_string() }
}

fn preamble_failure(failure: PreambleFailure) -> Outcome {
    match failure {
        PreambleFailure::Closed => Outcome::Closed,
        other => Outcome::Protocol { reason: other.to_string() },
    }
}

fn link_end(end: LinkEnd) -> Outcome {
    match end {
        LinkEnd::Closed(_) | LinkEnd::Reset(_) => Outcome::Closed,
        LinkEnd::Protocol(error) => Outcome::Protocol { reason: error.to_string() },
    }
}
