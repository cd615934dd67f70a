//! Service → local program or folder: connects for each tunnel.

pub mod folder; // a folder, shown by the built-in file server, over a stream inside this process

pub mod visit; // what a visitor would see of a program

mod http; // a stage in front of the program that understands HTTP
mod place; // where the program is
mod udp; // a program that speaks UDP

use std::io::{self, IoSlice, IoSliceMut};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hardline_proto::tunnel::Kind;
use hardline_proto::tunnel::frame::ResetReason;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::TcpStream;

use self::http::{HttpStage, Staged};
use self::place::Place;
use self::udp::UdpStream;
use crate::config::{HttpSettings, ServiceConfig};
use crate::system::unix_socket::UnixStream;
use crate::transport::{ByteStream, Reset};

/// How long a program may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BackendTimeouts {
    /// To accept a connection.
    pub(crate) connect: Duration,
    /// To answer a request, where HTTP is understood.
    pub(crate) answer: Duration,
}

/// Where the tunnels of one service end.
#[derive(Debug, Clone)]
pub(crate) enum Backend {
    /// Bytes go there as they come.
    Raw(Place),
    /// The service's settings ask for HTTP to be understood.
    Http(Arc<HttpStage>),
}

impl Backend {
    /// Prepares a backend. A program need not run yet; a folder must be there.
    pub(crate) fn new(config: &ServiceConfig, timeouts: BackendTimeouts) -> io::Result<Self> {
        let place = Place::new(&config.target, timeouts.connect)?;
        if place.kind() == Kind::Datagrams && config.http != HttpSettings::default() {
            let reason = "settings for HTTP are not for a target that begins with udp://";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
        }
        Ok(match HttpStage::new(config, place.clone(), timeouts)? {
            Some(stage) => Self::Http(Arc::new(stage)),
            None => Self::Raw(place),
        })
    }

    /// What its tunnels carry.
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Raw(place) => place.kind(),
            Self::Http(_) => Kind::Stream,
        }
    }

    /// Opens a connection, in time, for a visitor whose computer is at `visitor`.
    pub(crate) async fn connect(&self, visitor: IpAddr) -> io::Result<BackendStream> {
        match self {
            Self::Raw(place) => place.connect().await,
            Self::Http(stage) => Ok(BackendStream::Http(HttpStage::connect(stage, visitor).await?)),
        }
    }
}

/// A connection to a backend.
#[derive(Debug)]
pub(crate) enum BackendStream {
    Tcp(TcpStream),
    Unix(UnixStream),
    /// A part of this process: the file server, or who enrols visitors.
    Inside(DuplexStream),
    Udp(Box<UdpStream>),
    /// With HTTP understood in between.
    Http(Staged),
}

impl BackendStream {
    fn read_half(self: Pin<&mut Self>) -> Pin<&mut (dyn AsyncRead + Unpin)> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream),
            Self::Unix(stream) => Pin::new(stream),
            Self::Inside(stream) => Pin::new(stream),
            Self::Udp(stream) => Pin::new(&mut **stream),
            Self::Http(stream) => Pin::new(stream),
        }
    }

    fn write_half(self: Pin<&mut Self>) -> Pin<&mut (dyn AsyncWrite + Unpin)> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream),
            Self::Unix(stream) => Pin::new(stream),
            Self::Inside(stream) => Pin::new(stream),
            Self::Udp(stream) => Pin::new(&mut **stream),
            Self::Http(stream) => Pin::new(stream),
        }
    }
}

impl AsyncRead for BackendStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.read_half().poll_read(cx, buf)
    }
}

impl ByteStream for BackendStream {
    fn poll_read_slices(&mut self, cx: &mut Context<'_>, room: &mut [IoSliceMut<'_>]) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(stream) => stream.poll_read_slices(cx, room),
            Self::Unix(stream) => stream.poll_read_slices(cx, room),
            Self::Inside(stream) => stream.poll_read_slices(cx, room),
            Self::Udp(stream) => stream.poll_read_slices(cx, room),
            Self::Http(stream) => stream.poll_read_slices(cx, room),
        }
    }
}

impl AsyncWrite for BackendStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.write_half().poll_write(cx, bytes)
    }
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write_half().poll_write_vectored(cx, pieces)
    }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write_half().poll_flush(cx)
    }
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write_half().poll_shutdown(cx)
    }
}

impl Reset for BackendStream {
    fn reset_on_close(&mut self, reason: ResetReason) {
        match self {
            Self::Tcp(stream) => stream.reset_on_close(reason),
            Self::Unix(stream) => stream.reset_on_close(reason),
            Self::Inside(stream) => stream.reset_on_close(reason),
            Self::Udp(stream) => stream.reset_on_close(reason),
            Self::Http(stream) => stream.reset_on_close(reason),
        }
    }
}
