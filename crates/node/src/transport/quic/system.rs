//! The system's UDP socket, as quinn uses it.
//!
//! - Where the system takes datagrams in batches, it is not read once more to hear that it is
//!   empty, as quinn's own is: a system call, made while the packet waits to be opened.
//! - Where the system refuses what quinn asks of it, QUIC runs without: marks of congestion
//!   (`IP_RECVECN`, since Windows 10 version 2004; Wine has none), the address that a datagram came
//!   to. It is a little slower then, not impossible.

use std::fmt;
use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use quinn::udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSocketState};
use quinn::{AsyncUdpSocket, UdpPoller};
use tokio::io::{Interest, ReadBuf};
use tokio::net::UdpSocket;
use tracing::{debug, trace};

#[derive(Debug)]
pub(super) struct SystemSocket {
    io: UdpSocket,
    /// What the system can do with it; `None` if it can only send and receive.
    offers: Option<UdpSocketState>,
}

impl SystemSocket {
    /// With everything that the system offers.
    ///
    /// # Errors
    /// That of the system, if the runtime cannot wait for it.
    pub(super) fn new(socket: std::net::UdpSocket) -> io::Result<Self> {
        let offers = UdpSocketState::new((&socket).into());
        let offers = offers.inspect_err(|error| debug!(%error, "an option that QUIC likes is not to be had here")).ok();
        Ok(Self { offers, ..Self::plain(socket)? })
    }

    /// With nothing but sending and receiving.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub(super) fn plain(socket: std::net::UdpSocket) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self { io: UdpSocket::from_std(socket)?, offers: None })
    }

    /// Reads a batch, or says that there is none.
    fn read_batch(
        &self,
        offers: &UdpSocketState,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> io::Result<usize> {
        let mut last = None;
        let received = self.io.try_io(Interest::READABLE, || {
            let count = offers.recv((&self.io).into(), buffers, metas)?;
            if count < buffers.len().min(BATCH_SIZE) {
                // The socket was empty. Said in this way, the runtime waits for more before it
                // reads again; it has heard of what has come meanwhile.
                last = Some(count);
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Ok(count)
        });
        last.map_or(received, Ok)
    }
}

impl AsyncUdpSocket for SystemSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Room { socket: self, waiting: None })
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        if let Some(offers) = &self.offers {
            return self.io.try_io(Interest::WRITABLE, || offers.send((&self.io).into(), transmit));
        }
        match self.io.try_send_to(transmit.contents, transmit.destination) {
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
        let Some(offers) = &self.offers else { return poll_one(&self.io, cx, buffers, metas) };
        loop {
            ready!(self.io.poll_recv_ready(cx))?;
            match self.read_batch(offers, buffers, metas) {
                Ok(count) => return Poll::Ready(Ok(count)),
                // By word of strangers too: what nobody took.
                Err(error) => trace!(%error, "no datagram was received"),
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.offers.as_ref().map_or(1, UdpSocketState::max_gso_segments)
    }

    fn max_receive_segments(&self) -> usize {
        self.offers.as_ref().map_or(1, UdpSocketState::gro_segments)
    }

    fn may_fragment(&self) -> bool {
        self.offers.as_ref().is_none_or(UdpSocketState::may_fragment)
    }
}

/// Receives one datagram.
fn poll_one(
    io: &UdpSocket,
    cx: &mut Context<'_>,
    buffers: &mut [IoSliceMut<'_>],
    metas: &mut [RecvMeta],
) -> Poll<io::Result<usize>> {
    let ([buffer, ..], [meta, ..]) = (buffers, metas) else { return Poll::Ready(Ok(0)) };
    loop {
        let mut received = ReadBuf::new(buffer);
        match ready!(io.poll_recv_from(cx, &mut received)) {
            Ok(addr) => {
                let len = received.filled().len();
                *meta = RecvMeta { addr, len, stride: len, ecn: None, dst_ip: None };
                return Poll::Ready(Ok(1));
            }
            // Windows tells here of datagrams that were too long, and of ours that nobody took:
            // both by word of strangers.
            Err(error) => trace!(%error, "a datagram was not received"),
        }
    }
}

/// Waits for room in the system's buffer. Each task of quinn has its own: the socket itself
/// remembers one alone.
struct Room {
    socket: Arc<SystemSocket>,
    waiting: Option<Pin<Box<dyn Future<Output = io::Result<()>> + Send + Sync>>>,
}

impl UdpPoller for Room {
    fn poll_writable(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let socket = Arc::clone(&self.socket);
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(async move { socket.io.writable().await }));
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

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    /// Bytes of one read of the socket.
    async fn read(socket: &SystemSocket) -> usize {
        let mut memory = vec![[0; 2048]; BATCH_SIZE];
        let mut buffers: Vec<_> = memory.iter_mut().map(|one| IoSliceMut::new(one)).collect();
        let mut metas = [RecvMeta::default(); BATCH_SIZE];
        let count = poll_fn(|cx| socket.poll_recv(cx, &mut buffers, &mut metas)).await.unwrap();
        metas.iter().take(count).map(|meta| meta.len).sum()
    }

    /// Around the size of a batch, while the socket is read, and when it is empty.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn all_that_comes_is_read_whenever_it_comes() {
        let socket = std::net::UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        socket.set_nonblocking(true).unwrap();
        let to = socket.local_addr().unwrap();
        let socket = SystemSocket::new(socket).unwrap();
        let from = UdpSocket::bind(("127.0.0.1", 0)).await.unwrap();
        for burst in (1..=3 * BATCH_SIZE).chain([1, 2, BATCH_SIZE, BATCH_SIZE + 1].repeat(50)) {
            let sending = async {
                for _ in 0..burst {
                    from.send_to(b"abc", to).await.unwrap();
                }
            };
            let reading = async {
                let mut left = 3 * burst;
                while left > 0 {
                    left -= read(&socket).await;
                }
            };
            let both = async { tokio::join!(sending, reading) };
            timeout(Duration::from_secs(10), both).await.expect("a datagram that has come is not read");
        }
    }
}
