//! The dialler's end of a tunnel, of either version.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use hardline_proto::tunnel::frame::ResetReason;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::carrier::{Payload, Room};
use super::{Carrier, LinkStream, PlainStream};
use crate::transport::Reset;

/// A tunnel to a verified peer, behind the preambles: payload, 1-for-1.
///
/// Shutting down the write side is a half-close: the peer's application sees the end of the stream and can go on sending.
/// Dropping it before both directions have ended breaks the tunnel off.
#[derive(Debug)]
pub struct TunnelStream(Inner);

#[derive(Debug)]
enum Inner {
    Plain(PlainStream),
    Link(Lent),
}

/// What is done with a link whose tunnel has ended.
pub(crate) type GiveBack = Box<dyn FnOnce(LinkStream) + Send>;

/// A link in use; given back when dropped, if it can carry another tunnel.
struct Lent {
    /// Present until dropped.
    link: Option<(LinkStream, GiveBack)>,
}

impl std::fmt::Debug for Lent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Lent").field(&self.link.as_ref().map(|(link, _)| link)).finish()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some((mut link, give_back)) = self.link.take() {
            if link.is_parked() {
                give_back(link);
            } else {
                link.reset_on_close(ResetReason::APPLICATION);
            }
        }
    }
}

impl TunnelStream {
    pub(crate) fn plain(stream: PlainStream) -> Self {
        Self(Inner::Plain(stream))
    }

    /// `link` carries a tunnel, and goes to `give_back` when that has ended cleanly.
    pub(crate) fn lent(link: LinkStream, give_back: GiveBack) -> Self {
        Self(Inner::Link(Lent { link: Some((link, give_back)) }))
    }

    /// Who carries. There is somebody until the stream is dropped.
    fn carrier(&self) -> io::Result<&dyn Carrier> {
        match &self.0 {
            Inner::Plain(stream) => Ok(stream),
            Inner::Link(lent) => match &lent.link {
                Some((link, _)) => Ok(link),
                None => Err(io::ErrorKind::NotConnected.into()),
            },
        }
    }

    fn carrier_mut(&mut self) -> io::Result<&mut dyn Carrier> {
        match &mut self.0 {
            Inner::Plain(stream) => Ok(stream),
            Inner::Link(lent) => match &mut lent.link {
                Some((link, _)) => Ok(link),
                None => Err(io::ErrorKind::NotConnected.into()),
            },
        }
    }
}

impl Carrier for TunnelStream {
    fn own_ip(&self) -> Option<IpAddr> {
        self.carrier().ok()?.own_ip()
    }
    fn poll_payload(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        self.carrier_mut()?.poll_payload(cx)
    }
    fn payload(&self) -> Payload<'_> {
        self.carrier().map_or_else(|_| Payload::new([]), Carrier::payload)
    }
    fn consume(&mut self, amount: usize) {
        if let Ok(carrier) = self.carrier_mut() {
            carrier.consume(amount);
        }
    }
    fn room(&mut self) -> io::Result<Room<'_>> {
        self.carrier_mut()?.room()
    }
    fn forget_room(&mut self) {
        if let Ok(carrier) = self.carrier_mut() {
            carrier.forget_room();
        }
    }
    fn commit(&mut self, length: usize) -> io::Result<()> {
        self.carrier_mut()?.commit(length)
    }
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.carrier_mut()?.poll_send(cx)
    }
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.carrier_mut()?.poll_end(cx)
    }
}

impl AsyncRead for TunnelStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.poll_copy_out(cx, buf)
    }
}

impl AsyncWrite for TunnelStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_copy_in(cx, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_send(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_end(cx)
    }
}

impl Reset for TunnelStream {
    fn reset_on_close(&mut self, reason: ResetReason) {
        if let Ok(carrier) = self.carrier_mut() {
            carrier.reset_on_close(reason);
        }
    }
}
