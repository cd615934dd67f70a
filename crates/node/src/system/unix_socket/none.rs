//! Where the system has none, or none that the runtime knows: nothing of this kind can be made, so
//! nothing need be done with it.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A connection that cannot be.
#[derive(Debug)]
pub(crate) enum UnixStream {}

/// A listener that cannot be.
#[derive(Debug)]
pub(crate) enum UnixSocket {}

impl UnixSocket {
    pub(crate) fn bind(_path: &Path) -> io::Result<Self> {
        require().and(Err(io::ErrorKind::Unsupported.into()))
    }

    pub(crate) async fn accept(&self) -> io::Result<UnixStream> {
        match *self {}
    }
}

/// Fails.
pub(crate) async fn connect(_path: &Path) -> io::Result<UnixStream> {
    require().and(Err(io::ErrorKind::Unsupported.into()))
}

/// Fails: the system has no such sockets.
pub(crate) fn require() -> io::Result<()> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "this system has no Unix sockets"))
}

impl AsyncRead for UnixStream {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match *self {}
    }
}

impl AsyncWrite for UnixStream {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        match *self {}
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match *self {}
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match *self {}
    }
}
