//! A socket for QUIC that asks nothing special of the system.
//!
//! quinn's own wants options that some systems refuse: marks of congestion (`IP_RECVECN`, since
//! Windows 10 version 2004; Wine has none), the address that a datagram came to. Without them QUIC
//! is a little slower, not impossible.

use std::fmt;
use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, Runtime as _, TokioRuntime, UdpPoller};
use tokio::io::ReadBuf;
use tokio::net::UdpSocket;
use tracing::{debug, trace};

/// The socket as quinn reads it: with everything the system offers, else plainly.
///
/// # Errors
/// If not even that is possible.
pub(super) fn wrap(socket: std::net::UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
    let plain = socket.try_clone()?;
    TokioRuntime.wrap_udp_socket(socket).or_else(|error| {
        debug!(%error, "an option that QUIC likes is not to be had here");
        Ok(PlainSocket::new(plain)? as _)
    })
}

#[derive(Debug)]
pub(super) struct PlainSocket(UdpSocket);

impl PlainSocket {
    /// # Errors
    /// That of the system, if the runtime cannot wait for it.
    pub(super) fn new(socket: std::net::UdpSocket) -> io::Result<Arc<Self>> {
        socket.set_nonblocking(true)?;
        Ok(Arc::new(Self(UdpSocket::from_std(socket)?)))
    }
}

impl AsyncUdpSocket for PlainSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Room { socket: self, waiting: None })
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        match self.0.try_send_to(transmit.contents, transmit.destination) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(error),
            // Whatever is lost is sent again, and who is not reached does not answer.
            Err(error) => {
                trace!(%error, to = %transmit.destination, "a datagram was not sent");
                Ok(())
            }
            Ok(_) => Ok(()),
        }
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let ([buffer, ..], [meta, ..]) = (buffers, metas) else { return Poll::Ready(Ok(0)) };
        loop {
            let mut received = ReadBuf::new(buffer);
            match ready!(self.0.poll_recv_from(cx, &mut received)) {
                Ok(addr) => {
                    let len = received.filled().len();
                    *meta = RecvMeta { addr, len, stride: len, ecn: None, dst_ip: None };
                    return Poll::Ready(Ok(1));
                }
                // Windows tells here of datagrams that were too long, and of ours that nobody
                // took: both by word of strangers.
                Err(error) => trace!(%error, "a datagram was not received"),
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// Waits for room in the system's buffer. Each task of quinn has its own.
struct Room {
    socket: Arc<PlainSocket>,
    waiting: Option<Pin<Box<dyn Future<Output = io::Result<()>> + Send + Sync>>>,
}

impl UdpPoller for Room {
    fn poll_writable(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let socket = Arc::clone(&self.socket);
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(async move { socket.0.writable().await }));
        let room = ready!(waiting.as_mut().poll(cx));
        self.waiting = None;
        Poll::Ready(room)
    }
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Room")
    }
}
