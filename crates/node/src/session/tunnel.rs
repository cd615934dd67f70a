//! The dialler's end of a tunnel.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

use super::{DiallerSession, RoundTrip};
use crate::metrics::{OpenTunnel, TunnelResult};

/// A tunnel to a verified peer, behind the preambles: payload, 1-for-1.
///
/// Shutting down the write side is a half-close: the peer's application sees the end of the stream
/// and can go on sending. Dropping it before both directions have ended breaks the tunnel off.
pub struct TunnelStream {
    /// Present until dropped.
    session: Option<Box<dyn DiallerSession>>,
    give_back: Option<GiveBack>,
    /// Of a tunnel whose bytes are read and written here, and not by the relay.
    open: Option<OpenTunnel>,
    /// Says that the service was found at another address.
    elsewhere: Option<Arc<Notify>>,
    /// Where its round trip is noted.
    round_trip: Option<Arc<RoundTrip>>,
}

/// What is done with a session whose tunnel has ended.
type GiveBack = Box<dyn FnOnce(Box<dyn DiallerSession>) + Send>;

impl fmt::Debug for TunnelStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TunnelStream").field(&self.session).finish()
    }
}

impl Drop for TunnelStream {
    fn drop(&mut self) {
        let Some(mut session) = self.session.take() else { return };
        if let Some(open) = &mut self.open
            && session.is_idle()
        {
            open.result = Some(TunnelResult::Clean);
        }
        match self.give_back.take() {
            Some(give_back) if session.is_idle() => give_back(session),
            _ => session.abandon(),
        }
    }
}

impl TunnelStream {
    /// `session` carries a tunnel, and nothing after it.
    pub(crate) fn last(session: Box<dyn DiallerSession>) -> Self {
        Self { session: Some(session), give_back: None, open: None, elsewhere: None, round_trip: None }
    }

    /// `session` carries a tunnel, and goes to `give_back` when that has ended cleanly.
    pub(crate) fn lent(
        session: Box<dyn DiallerSession>,
        give_back: impl FnOnce(Box<dyn DiallerSession>) + Send + 'static,
    ) -> Self {
        Self {
            session: Some(session),
            give_back: Some(Box::new(give_back)),
            open: None,
            elsewhere: None,
            round_trip: None,
        }
    }

    /// `elsewhere` says that the service was found at another address.
    pub(crate) fn told_by(self, elsewhere: Arc<Notify>) -> Self {
        let mut tunnel = self;
        tunnel.elsewhere = Some(elsewhere);
        tunnel
    }

    /// Its round trip is noted in `round_trip`.
    pub(crate) fn measured_in(self, round_trip: Option<Arc<RoundTrip>>) -> Self {
        let mut tunnel = self;
        tunnel.round_trip = round_trip;
        tunnel
    }

    /// Where its round trip is noted.
    pub(crate) fn round_trip(&self) -> Option<Arc<RoundTrip>> {
        self.round_trip.clone()
    }

    /// What says that the service was found at another address.
    pub(crate) fn elsewhere(&self) -> Option<Arc<Notify>> {
        self.elsewhere.clone()
    }

    /// Counts in `open` what is read and written.
    pub(crate) fn counted(self, open: OpenTunnel) -> Self {
        let mut tunnel = self;
        tunnel.open = Some(open);
        tunnel
    }

    /// Who carries. There is somebody until the stream is dropped.
    pub(crate) fn carrier(&mut self) -> io::Result<&mut (dyn DiallerSession + 'static)> {
        self.session.as_deref_mut().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// The address of this computer that the peer knows.
    pub(crate) fn local_ip(&self) -> Option<IpAddr> {
        self.session.as_deref()?.local_ip()
    }
}

impl AsyncRead for TunnelStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(self.carrier()?.poll_copy_out(cx, buf))?;
        if let Some(open) = &mut self.open {
            open.to_dialler += (buf.filled().len() - before) as u64;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for TunnelStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(self.carrier()?.poll_copy_in(cx, bytes))?;
        if let Some(open) = &mut self.open {
            open.to_service += written as u64;
        }
        Poll::Ready(Ok(written))
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.carrier()?.poll_send(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.carrier()?.poll_end(cx)
    }
}
