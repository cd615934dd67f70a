//! The tests' transport: streams of bytes within this process, under the same handshake as TCP's.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use hardline_proto::tunnel::frame::ResetReason;
use rustls::server::ClientHello;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};
use tokio::sync::{Mutex, mpsc};

use super::dial::over_streams;
use super::secure::SecureStream;
use super::{
    ByteStream, ConnectError, Connected, Incoming, Listener, Reset, ServiceTls, Target, Transport, Unserved, handshake,
};

/// Bytes on their way in one direction.
const PIPE: usize = 64 * 1024;

/// Peers that wait to be accepted.
const BACKLOG: usize = 16;

/// Everybody's address.
const NOWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// The transport.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory;

/// Where a [`MemoryListener`] is.
pub(crate) type MemoryAddr = mpsc::Sender<MemoryStream>;

/// Where peers come in.
#[derive(Debug)]
pub(crate) struct MemoryListener(Mutex<mpsc::Receiver<MemoryStream>>);

impl MemoryListener {
    pub(crate) fn bind() -> (Self, MemoryAddr) {
        let (sender, receiver) = mpsc::channel(BACKLOG);
        (Self(Mutex::new(receiver)), sender)
    }
}

impl Transport for Memory {
    type Address = MemoryAddr;
    type Connection = SecureStream<MemoryStream>;

    async fn connect(&self, at: &MemoryAddr, target: &Target) -> Result<Connected<Self::Connection>, ConnectError> {
        let open = || async move {
            let (near, far) = MemoryStream::pair();
            at.send(far).await.map_err(|_| io::ErrorKind::ConnectionRefused)?;
            Ok((near, NOWHERE))
        };
        over_streams(target, open).await
    }
}

impl Listener for MemoryListener {
    type Incoming = MemoryStream;

    async fn accept(&self) -> io::Result<(MemoryStream, SocketAddr)> {
        let stream = self.0.lock().await.recv().await.ok_or(io::ErrorKind::NotConnected)?;
        Ok((stream, NOWHERE))
    }
}

impl Incoming for MemoryStream {
    type Connection = SecureStream<Self>;

    async fn answer<T: Send + 'static>(
        self,
        choose: impl FnOnce(&ClientHello<'_>) -> Result<(ServiceTls, T), Unserved> + Send + 'static,
    ) -> Result<(Self::Connection, T), Unserved> {
        handshake::answer(self, |_| (), choose).await
    }
}

/// One end of a pipe that can be broken.
#[derive(Debug)]
pub(crate) struct MemoryStream {
    pipe: DuplexStream,
    is_broken: Arc<AtomicBool>,
}

impl MemoryStream {
    pub(crate) fn pair() -> (Self, Self) {
        let (near, far) = duplex(PIPE);
        let is_broken = Arc::new(AtomicBool::new(false));
        (Self { pipe: near, is_broken: Arc::clone(&is_broken) }, Self { pipe: far, is_broken })
    }
}

impl Reset for MemoryStream {
    fn reset_on_close(&mut self, _reason: ResetReason) {
        self.is_broken.store(true, Ordering::SeqCst);
    }
}

impl ByteStream for MemoryStream {}

impl AsyncRead for MemoryStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.pipe).poll_read(cx, buf))?;
        let has_ended = buf.filled().len() == before && buf.remaining() > 0;
        Poll::Ready(if has_ended && self.is_broken.load(Ordering::SeqCst) {
            Err(io::ErrorKind::ConnectionReset.into())
        } else {
            Ok(())
        })
    }
}

impl AsyncWrite for MemoryStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.pipe).poll_write(cx, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_shutdown(cx)
    }
}
