//! Service → local program or folder: connects for each tunnel.

pub mod folder; // a folder, shown by the built-in file server, over a stream inside this process

use std::io::{self, IoSlice, IoSliceMut};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hardline_proto::tunnel::frame::ResetReason;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::TcpStream;

use self::folder::FolderServer;
use crate::config::Target;
use crate::transport::{ByteStream, Reset, tcp};

/// Where the tunnels of one service end, and how long connecting there may take.
#[derive(Debug, Clone)]
pub(crate) struct Backend {
    place: Place,
    timeout: Duration,
}

#[derive(Debug, Clone)]
enum Place {
    /// A program's TCP port.
    Tcp(hardline_proto::hosts::HostPort),
    /// A program's Unix socket.
    #[cfg(unix)]
    Unix(std::path::PathBuf),
    /// The built-in file server.
    Folder(FolderServer),
}

impl Backend {
    /// Prepares a backend that is reached within `timeout`. A program need not run yet; a folder
    /// must be there.
    pub(crate) fn new(target: &Target, timeout: Duration) -> io::Result<Self> {
        let place = match target {
            Target::Tcp(at) => Place::Tcp(at.clone()),
            #[cfg(unix)]
            Target::Unix(path) => Place::Unix(path.clone()),
            #[cfg(not(unix))]
            Target::Unix(_) => {
                return Err(io::Error::new(io::ErrorKind::Unsupported, "this system has no Unix sockets"));
            }
            Target::Folder(root) => Place::Folder(FolderServer::new(root.clone())?),
        };
        Ok(Self { place, timeout })
    }

    /// Opens a connection within the backend's time.
    pub(crate) async fn connect(&self) -> io::Result<BackendStream> {
        match &self.place {
            Place::Tcp(at) => Ok(BackendStream::Tcp(tcp::connect(at, self.timeout).await?)),
            #[cfg(unix)]
            Place::Unix(path) => {
                let connecting = tokio::net::UnixStream::connect(path);
                let connected = tokio::time::timeout(self.timeout, connecting).await;
                Ok(BackendStream::Unix(connected.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??))
            }
            Place::Folder(server) => Ok(BackendStream::Folder(server.connect())),
        }
    }
}

/// A connection to a backend.
#[derive(Debug)]
pub(crate) enum BackendStream {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(tokio::net::UnixStream),
    Folder(DuplexStream),
}

impl BackendStream {
    fn read_half(self: Pin<&mut Self>) -> Pin<&mut (dyn AsyncRead + Unpin)> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream),
            #[cfg(unix)]
            Self::Unix(stream) => Pin::new(stream),
            Self::Folder(stream) => Pin::new(stream),
        }
    }

    fn write_half(self: Pin<&mut Self>) -> Pin<&mut (dyn AsyncWrite + Unpin)> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream),
            #[cfg(unix)]
            Self::Unix(stream) => Pin::new(stream),
            Self::Folder(stream) => Pin::new(stream),
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
            #[cfg(unix)]
            Self::Unix(stream) => stream.poll_read_slices(cx, room),
            Self::Folder(stream) => stream.poll_read_slices(cx, room),
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
            #[cfg(unix)]
            Self::Unix(stream) => stream.reset_on_close(reason),
            Self::Folder(stream) => stream.reset_on_close(reason),
        }
    }
}
