//! Legacy sessions: the protocol of the released Python program, all of it.
//!
//! One connection carries one tunnel, which begins with it. Each side says a line, and what follows
//! is payload as it is:
//!
//! - The dialler says its line and waits for the listener's before it sends payload: released
//!   listeners cannot part payload from the line in front of it.
//! - The listener says its line when the backend is there. Without a backend, or without the
//!   password, it hangs up. Released listeners do so too, and so the dialler can tell a backend
//!   that is down from a computer that is away.
//! - Each line is alone in its TLS record, and records are of at most [`RECORD`] bytes of
//!   plaintext.
//! - There is no `close_notify`, no half-close that a released peer would keep, no ALPN and no
//!   resumption: released peers neither need nor test it.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use hardline_proto::KeyHash;
use hardline_proto::liveness::PathState;
use hardline_proto::preamble::Preamble;
use hardline_proto::tunnel::frame::ResetReason;
use hardline_proto::tunnel::{Closed, Kind, Open};
use rustls::client::Resumption;
use rustls::{ClientConfig, ServerConfig};
use tokio::io::{AsyncBufRead, AsyncWrite, AsyncWriteExt};

use super::carrier::{Carrier, PIECES, Payload, Room};
use super::preamble::{PreambleFailure, read_preamble};
use super::{Begun, BoxFuture, DiallerSession, ListenerSession, NoSession, NoTunnel, Purpose, SessionEnd, Version};
use crate::tls::config::{ServerSettings, pinned_client, server};
use crate::transport::secure::{Layout, SecureStream};
use crate::transport::{Asking, ByteStream, Reset};

/// Its number.
pub(crate) const VERSION: Version = 1;

/// Plaintext bytes in one TLS record. The released peers read 4,096 at a time and do not see what
/// is left over until more arrives.
pub const RECORD: usize = 4096;

/// What `max_fragment_size` counts beside the plaintext: the record's header (RFC 8446, section
/// 5.1), in bytes.
const RECORD_HEADER: usize = 5;

/// Sixteen small records at a time.
const LAYOUT: Layout = Layout { front: 0, payload: RECORD, records: PIECES };

/// TLS 1.2 and 1.3, pinned to `key`, no ALPN, records of at most [`RECORD`] bytes of plaintext, no
/// client certificate, no resumption.
#[must_use]
pub fn client_tls(key: KeyHash) -> Arc<ClientConfig> {
    let mut config = pinned_client(key);
    config.resumption = Resumption::disabled();
    config.max_fragment_size = Some(RECORD + RECORD_HEADER);
    Arc::new(config)
}

/// TLS 1.2 and 1.3, records of at most [`RECORD`] bytes of plaintext and of rustls's making, no
/// resumption.
#[must_use]
pub fn server_tls<'a>(settings: impl Into<ServerSettings<'a>>) -> Arc<ServerConfig> {
    let mut config = server(settings.into(), rustls::ALL_VERSIONS);
    config.send_tls13_tickets = 0;
    config.max_fragment_size = Some(RECORD + RECORD_HEADER);
    Arc::new(config)
}

/// A legacy session, of either side.
#[derive(Debug)]
pub(crate) struct V1<W> {
    tls: SecureStream<W>,
    /// What the listener still has to do before the tunnel begins.
    owed: Option<Box<Owed>>,
}

#[derive(Debug)]
struct Owed {
    /// Our line.
    line: Vec<u8>,
    /// Whether the dialler's was not read.
    is_theirs_unread: bool,
}

/// As [`Connection::dial`](super::Connection::dial).
pub(super) async fn dial<W: ByteStream + fmt::Debug>(
    mut tls: SecureStream<W>,
    ours: &Preamble,
    purpose: Purpose,
) -> Result<Begun<dyn DiallerSession>, NoSession> {
    match purpose {
        Purpose::Tunnel(Kind::Stream) => {}
        Purpose::Tunnel(asked) => return Err(NoTunnel::of_another_kind(asked).into()),
        Purpose::Prewarm => return Err(NoSession::NeverIdle),
    }
    say(&mut tls, &ours.encode()).await?;
    let preamble = read_preamble(&mut tls).await?;
    Ok(Begun { session: Box::new(V1 { tls, owed: None }), preamble, sent: 0 })
}

/// As [`Connection::listen`](super::Connection::listen). Who does not know the password must not
/// touch the backend, so the dialler's line is read first if it `wants_password`.
pub(super) async fn listen<W: ByteStream + fmt::Debug>(
    mut tls: SecureStream<W>,
    ours: &Preamble,
    wants_password: bool,
) -> Result<Begun<dyn ListenerSession>, PreambleFailure> {
    let preamble = if wants_password { read_preamble(&mut tls).await? } else { Preamble::default() };
    let owed = Owed { line: ours.encode(), is_theirs_unread: !wants_password };
    Ok(Begun { session: Box::new(V1 { tls, owed: Some(Box::new(owed)) }), preamble, sent: 0 })
}

/// Says a line, alone in its TLS record.
async fn say<W: ByteStream>(tls: &mut SecureStream<W>, line: &[u8]) -> Result<(), PreambleFailure> {
    tls.write_all(line).await?;
    Ok(tls.flush().await?)
}

impl<W: ByteStream + fmt::Debug> DiallerSession for V1<W> {
    fn version(&self) -> Version {
        VERSION
    }
}

impl<W: ByteStream + fmt::Debug> ListenerSession for V1<W> {
    fn poll_next_tunnel(&mut self, _cx: &mut Context<'_>) -> Poll<Result<Open, SessionEnd>> {
        let is_asked = self.owed.is_some();
        Poll::Ready(if is_asked { Ok(Open::default()) } else { Err(SessionEnd::Closed(Closed::Unused)) })
    }

    fn grant(&mut self, _kind: Kind) -> BoxFuture<'_, Result<(), PreambleFailure>> {
        Box::pin(async {
            let Some(owed) = self.owed.take() else { return Err(PreambleFailure::Closed) };
            say(&mut self.tls, &owed.line).await?;
            if owed.is_theirs_unread {
                read_preamble(&mut self.tls).await?;
            }
            Ok(())
        })
    }
}

impl<W: ByteStream> Carrier for V1<W> {
    fn local_ip(&self) -> Option<IpAddr> {
        self.tls.local_ip()
    }

    fn path_state(&self) -> Option<PathState> {
        self.tls.path_state()
    }

    fn ask_peer(&self, asking: Asking) {
        self.tls.ask_peer(asking);
    }

    fn poll_payload(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        match ready!(self.tls.poll_fill(cx)) {
            Ok(()) => Poll::Ready(Ok(!self.tls.plain().is_empty())),
            // Released peers end without close_notify, always: here it tells nothing.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(false)),
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    fn payload(&self) -> Payload<'_> {
        Payload::new([self.tls.plain()])
    }

    fn consume(&mut self, amount: usize) {
        Pin::new(&mut self.tls).consume(amount);
    }

    fn room(&mut self) -> io::Result<Room<'_>> {
        Ok(Room::new(self.tls.room(LAYOUT)?))
    }

    fn forget_room(&mut self) {
        self.tls.forget_room();
    }

    fn commit(&mut self, length: usize) -> io::Result<()> {
        self.tls.commit(LAYOUT, length, |_| Ok([]))
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tls.poll_send(cx)
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_shutdown(cx)
    }
}

impl<W: ByteStream> Reset for V1<W> {
    fn reset_on_close(&mut self, reason: ResetReason) {
        self.tls.wire().reset_on_close(reason);
    }
}
