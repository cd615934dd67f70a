//! Sessions: what two computers say to each other over a verified connection, and how tunnels begin
//! and end there.
//!
//! A dialler opens tunnels, a listener waits for them. Which protocol is spoken is agreed on in the
//! handshake, and no business of anybody outside this folder: `v1` is that of the released Python
//! program, `v2` our own, `quic` the same over connections that have streams. A session carries one
//! tunnel at a time and is its `Carrier` meanwhile; over a connection with streams there are as
//! many sessions as tunnels, each with a stream of its own.

mod carrier; // what a tunnel is to who carries bytes
mod pool; // sessions that wait for their next tunnel
mod preamble; // what each side says first
#[cfg(feature = "quic")]
mod quic; // a stream for each tunnel, many at once
mod round_trip; // as measured last
mod route; // where a session leads, and over what
#[cfg(test)]
mod tests; // our TLS settings with each other, in memory
mod tunnel; // the dialler's end of a tunnel
pub mod v1; // legacy: the Python program's protocol
pub mod v2; // frames, reuse, honest ends

pub(crate) use carrier::{Carrier, PIECES};
#[cfg(test)]
pub(crate) use carrier::{Payload, Room};
pub(crate) use pool::{Idle, Pool};
pub(crate) use preamble::PreambleFailure;
pub(crate) use round_trip::RoundTrip;
pub(crate) use route::Route;
pub use tunnel::TunnelStream;

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hardline_proto::KeyHash;
use hardline_proto::preamble::Preamble;
use hardline_proto::tunnel::frame::ResetReason;
use hardline_proto::tunnel::{Closed, Kind, Open, Reason, Refusal, SessionError};
use rustls::server::ClientHello;
use rustls::{ClientConfig, ServerConfig};

use crate::tls::config::ServerSettings;
use crate::tls::visitor::AskedFor;
use crate::transport::secure::SecureStream;
use crate::transport::{ByteStream, ServiceTls};

/// The number of a session's protocol, as the store keeps it.
pub(crate) type Version = u16;

/// A future on the heap, for traits that are used as objects.
pub(crate) type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The dialler's end of a session, behind both preambles. What has a default is that of one whose
/// only tunnel begins with it.
pub(crate) trait DiallerSession: Carrier + fmt::Debug {
    /// Which protocol it speaks.
    fn version(&self) -> Version;

    /// Whether it can ever carry another tunnel.
    fn is_reusable(&self) -> bool {
        false
    }

    /// Whether it carries nothing, and can carry a tunnel now.
    fn is_idle(&self) -> bool {
        false
    }

    /// Lets go of what its last tunnel held, if that has ended.
    fn rest(&mut self) {}

    /// Whether an idle session is still of use: nothing has come, neither its end nor bytes that do
    /// not belong.
    fn is_quiet(&mut self) -> bool {
        false
    }

    /// Asks for a tunnel of this kind, with as much of `early`, the first payload, as may go with
    /// the question. Returns how much that was.
    ///
    /// # Errors
    /// [`SessionEnd`], also of a session that can carry no other tunnel.
    fn ask<'a>(&'a mut self, _kind: Kind, _early: &'a [u8]) -> BoxFuture<'a, Result<usize, SessionEnd>> {
        Box::pin(std::future::ready(Err(SessionEnd::Closed(Closed::Unused))))
    }

    /// Waits for the answer to [`ask`](Self::ask). Cancel safe.
    ///
    /// # Errors
    /// [`NoTunnel`]; the session may be idle behind a refusal.
    fn answered(&mut self) -> BoxFuture<'_, Result<(), NoTunnel>> {
        Box::pin(std::future::ready(Err(SessionEnd::Closed(Closed::Unused).into())))
    }

    /// Drops the tunnel that was asked for without another word: what was said and has not arrived
    /// is not to arrive later.
    fn cut(&mut self) {
        self.abandon();
    }

    /// Notes that the tunnel's user is gone before it has ended. Without a word for it, the
    /// connection is closed as at every end.
    fn abandon(&mut self) {}

    /// Another session over the same connection, idle, for a tunnel at the same time. `None` for
    /// one whose connection carries one tunnel at a time.
    fn another(&self) -> Option<Box<dyn DiallerSession>> {
        None
    }

    /// What sessions over one connection have in common, and no others.
    fn connection(&self) -> Option<usize> {
        None
    }

    /// Whether other sessions over its connection carry tunnels.
    fn is_in_use(&self) -> bool {
        false
    }
}

/// The listener's end of a session. What has a default is that of one whose only tunnel begins with
/// it.
pub(crate) trait ListenerSession: Carrier + fmt::Debug {
    /// Whether the dialler asks for a tunnel by connecting: then the connection is shaking hands
    /// until it has got one.
    fn asks_at_once(&self) -> bool {
        true
    }

    /// Waits until a tunnel is asked for. To be [granted](Self::grant) or [refused](Self::refuse).
    fn poll_next_tunnel(&mut self, cx: &mut Context<'_>) -> Poll<Result<Open, SessionEnd>>;

    /// Takes the tunnel that was asked for out of the session: a session of its own, so that others
    /// are asked for meanwhile. `None` for one that carries one tunnel at a time.
    fn detach(&mut self) -> Option<Box<dyn ListenerSession>> {
        None
    }

    /// Tells the dialler that the tunnel is there, and carries what was asked for.
    fn grant(&mut self, kind: Kind) -> BoxFuture<'_, Result<(), PreambleFailure>>;

    /// Tells the dialler that it is not, and throws away what was sent before the dialler knew.
    /// Without a word for it, the connection is closed.
    fn refuse(&mut self, _refusal: Refusal) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Whether it carries nothing, and can carry a tunnel now.
    fn is_idle(&self) -> bool {
        false
    }

    /// Ends an idle session in a way that tells the dialler that nothing was lost; another is just
    /// closed.
    fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// Why a session can do nothing more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionEnd {
    /// The connection ended or broke.
    #[error("connection ended")]
    Closed(Closed),
    /// The peer broke off a tunnel.
    #[error("broken off: {0}")]
    Reset(ResetReason),
    /// The peer broke the protocol.
    #[error(transparent)]
    Protocol(#[from] SessionError),
}

impl From<SessionEnd> for io::Error {
    fn from(end: SessionEnd) -> Self {
        Self::new(io::ErrorKind::ConnectionReset, end)
    }
}

/// Why a question brought no tunnel.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoTunnel {
    /// The listener says no.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// The session has ended.
    #[error(transparent)]
    End(#[from] SessionEnd),
}

impl NoTunnel {
    /// What it means that another kind of tunnel than `asked` for was granted: the listener does
    /// not know what was asked.
    fn of_another_kind(asked: Kind) -> Self {
        let reason = if asked == Kind::Datagrams { Reason::NoUdp } else { Reason::Udp };
        Self::Refused(Refusal { reason, unknown: Vec::new() })
    }
}

/// Why a connection brought no session.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoSession {
    /// The preambles were not exchanged.
    #[error(transparent)]
    Preamble(#[from] PreambleFailure),
    /// The first tunnel is not there.
    #[error(transparent)]
    Tunnel(#[from] NoTunnel),
    /// The peer's sessions are never idle, and no tunnel is wanted yet.
    #[error("keeps no idle sessions")]
    NeverIdle,
}

/// What a session is begun for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A tunnel of this kind.
    Tunnel(Kind),
    /// To be idle until a tunnel is wanted. The backend is not touched.
    Prewarm,
}

/// A session, with what the peer has said of itself.
pub(crate) struct Begun<S: ?Sized> {
    pub(crate) session: Box<S>,
    pub(crate) preamble: Preamble,
    /// How much of the first payload went with the question for the first tunnel.
    pub(crate) sent: usize,
}

/// A verified connection, as a transport makes them: what sessions are spoken over.
pub(crate) trait Connection: Send + Sized + 'static {
    /// The hash of the certificate that the peer has proven, if it was asked for one.
    fn proven_peer(&self) -> Option<KeyHash>;

    /// Begins a session as the dialler, and opens its first tunnel if that is the `purpose`, with
    /// as much of `early`, the first payload, as may go with the question: none towards a peer of
    /// version 1. Dropping the future resets what was sent.
    fn dial(
        self,
        ours: &Preamble,
        purpose: Purpose,
        early: &[u8],
    ) -> impl Future<Output = Result<Begun<dyn DiallerSession>, NoSession>> + Send;

    /// Begins a session as the listener. Without `wants_password` the dialler's preamble may be
    /// left for later.
    fn listen(
        self,
        ours: Preamble,
        wants_password: bool,
    ) -> impl Future<Output = Result<Begun<dyn ListenerSession>, PreambleFailure>> + Send;
}

impl<W: ByteStream + fmt::Debug> Connection for SecureStream<W> {
    fn proven_peer(&self) -> Option<KeyHash> {
        self.proven_key()
    }

    async fn dial(
        self,
        ours: &Preamble,
        purpose: Purpose,
        early: &[u8],
    ) -> Result<Begun<dyn DiallerSession>, NoSession> {
        match self.is_alpn_agreed() {
            true => v2::dial(self, ours, purpose, early).await,
            false => v1::dial(self, ours, purpose).await,
        }
    }

    async fn listen(self, ours: Preamble, wants_password: bool) -> Result<Begun<dyn ListenerSession>, PreambleFailure> {
        if self.is_alpn_agreed() {
            v2::listen(self, &ours).await
        } else {
            // Released peers are told what they have ever been told.
            v1::listen(self, &Preamble { is_relayed: false, ..ours }, wants_password).await
        }
    }
}

/// Whether a listener of this version answers to the name of the day. Who was not reached yet is
/// what others say.
pub(crate) fn knows_pseudonyms(version: Version) -> bool {
    version >= v2::VERSION
}

/// TLS settings for diallers of `key`, which speak every version.
pub(crate) fn client_tls(key: KeyHash, own_records: bool) -> Arc<ClientConfig> {
    v2::client_tls(key, own_records)
}

/// TLS settings of a service, for diallers of each version.
#[derive(Debug, Clone)]
pub(crate) struct ServerTls {
    v1: Arc<ServerConfig>,
    v2: Arc<ServerConfig>,
}

impl ServerTls {
    pub(crate) fn new(settings: ServerSettings<'_>) -> Self {
        Self { v1: v1::server_tls(settings), v2: v2::server_tls(settings) }
    }

    /// Those for a dialler that says `hello`. Who does not know version 2 is served as ever, down
    /// to the TLS settings.
    pub(crate) fn choose(&self, hello: &ClientHello<'_>) -> ServiceTls {
        Arc::clone(if v2::is_offered(hello) { &self.v2 } else { &self.v1 }).into()
    }

    /// Those of a private service, which asks for `visitor`'s certificate, or for any of who is
    /// invited. `None` for who does not know version 2.
    pub(crate) fn choose_private(&self, hello: &ClientHello<'_>, visitor: Option<KeyHash>) -> Option<ServiceTls> {
        v2::is_offered(hello).then(|| {
            let asked_for = Arc::new(AskedFor { visitor });
            ServiceTls { config: v2::private_server_tls(&self.v2, Arc::clone(&asked_for)), asked_for: Some(asked_for) }
        })
    }
}
