//! The UDP sockets of one node: its own, one for each family, or those of QUIC.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tracing::debug;

use crate::transport::udp::{Datagram, LentSocket};
use crate::tuning::Tunable;

/// Kernel buffer for each direction, in bytes: a value of the largest size arrives as a burst of 70
/// kB from each of eight nodes.
const BUFFER: usize = 1024 * 1024;

/// Datagrams that others' sockets hand over and that wait to be looked at: a burst as above.
const MAX_WAITING: usize = 512;

/// All sockets of one node.
pub(super) struct Sockets {
    /// Used before those that are lent.
    own: Vec<UdpSocket>,
    lent: Vec<Lent>,
    /// Where they are bound.
    pub(super) bound: Vec<SocketAddr>,
}

/// One that is lent, and where it is bound.
type Lent = (Arc<dyn LentSocket>, Vec<SocketAddr>);

impl Sockets {
    /// Opens sockets of its own: on the addresses of `bind`, or on all.
    ///
    /// # Errors
    /// The last error when no socket could be opened.
    pub(super) fn open(port: u16, bind: &[IpAddr]) -> io::Result<Self> {
        let own = open_all(port, bind)?;
        let bound = bound_at(&own)?;
        Ok(Self { own, lent: Vec::new(), bound })
    }

    /// Uses others' sockets. What comes by them is received from the channel.
    ///
    /// # Errors
    /// That of the system.
    pub(super) fn borrow(sockets: Vec<Arc<dyn LentSocket>>) -> io::Result<(Self, mpsc::Receiver<Datagram>)> {
        let (sender, received) = mpsc::channel(MAX_WAITING);
        let with_bound = |socket: Arc<dyn LentSocket>| socket.bound().map(|bound| (socket, bound));
        let lent = sockets.into_iter().map(with_bound).collect::<io::Result<Vec<Lent>>>()?;
        lent.iter().for_each(|(socket, _)| socket.deliver(sender.clone()));
        let mut all = Self { own: Vec::new(), lent, bound: Vec::new() };
        all.return_to_lent();
        Ok((all, received))
    }

    /// Opens sockets of its own, at any port, and uses them instead of those that are lent.
    ///
    /// # Errors
    /// The last error when no socket could be opened.
    pub(super) fn leave_lent(&mut self) -> io::Result<()> {
        let own = open_all(0, &[])?;
        self.bound = bound_at(&own)?;
        self.own = own;
        Ok(())
    }

    /// Closes its own and uses those that are lent.
    pub(super) fn return_to_lent(&mut self) {
        self.own.clear();
        self.bound = self.lent.iter().flat_map(|(_, bound)| bound.iter().copied()).collect();
    }

    /// Whether others' sockets can be used.
    pub(super) const fn has_lent(&self) -> bool {
        !self.lent.is_empty()
    }

    /// Whether others' sockets are used.
    pub(super) const fn is_borrowed(&self) -> bool {
        self.has_lent() && self.own.is_empty()
    }

    /// Datagrams for the node that others' sockets could not hand over.
    pub(super) fn lost(&self) -> u64 {
        self.lent.iter().map(|(socket, _)| socket.lost()).sum()
    }

    /// Sends from a socket of the family of `to`. Waits only while the system's buffer is full.
    pub(super) async fn send(&self, to: SocketAddr, payload: &[u8]) -> io::Result<()> {
        let is_of_family = |at: &SocketAddr| at.is_ipv4() == to.is_ipv4();
        if let Some(own) = self.own.iter().find(|socket| socket.local_addr().is_ok_and(|at| is_of_family(&at))) {
            return own.send_to(payload, to).await.map(drop);
        }
        match self.lent.iter().find(|(_, bound)| bound.iter().any(is_of_family)) {
            Some((socket, _)) => socket.send(to, payload).await,
            None => Err(io::ErrorKind::AddrNotAvailable.into()),
        }
    }

    /// Waits until one of its own can be read, not before `after`; gives its index. Cancel safe.
    pub(super) async fn readable(&self, after: Instant) -> usize {
        if Instant::now() < after {
            sleep_until(after).await;
        }
        match &self.own[..] {
            [one] => {
                // An error shows again when the socket is read.
                let _ = one.readable().await;
                0
            }
            [one, other, ..] => tokio::select! {
                _ = one.readable() => 0,
                _ = other.readable() => 1,
            },
            [] => std::future::pending().await,
        }
    }

    /// Reads from one of its own what is there.
    pub(super) fn try_receive(&self, index: usize, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let socket = self.own.get(index).ok_or(io::ErrorKind::WouldBlock)?;
        socket.try_recv_from(buffer)
    }
}

fn bound_at(sockets: &[UdpSocket]) -> io::Result<Vec<SocketAddr>> {
    sockets.iter().map(UdpSocket::local_addr).collect()
}

/// Opens a socket for each family there is: on the addresses of `bind`, or on all. All get the same
/// port where possible.
///
/// # Errors
/// The last error when no socket could be opened.
fn open_all(port: u16, bind: &[IpAddr]) -> io::Result<Vec<UdpSocket>> {
    let everywhere = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
    let mut sockets: Vec<UdpSocket> = Vec::new();
    let mut last_error = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for ip in if bind.is_empty() { &everywhere[..] } else { bind } {
        let port = sockets.first().and_then(|socket| socket.local_addr().ok()).map_or(port, |addr| addr.port());
        match open((*ip, port).into()).or_else(|_| open((*ip, 0).into())) {
            Ok(socket) => sockets.push(socket),
            Err(error) => {
                debug!(%ip, %error, "no DHT socket");
                last_error = error;
            }
        }
    }
    if sockets.is_empty() { Err(last_error) } else { Ok(sockets) }
}

/// One, for a test of its options.
#[cfg(test)]
pub(crate) fn opens_sockets() -> io::Result<()> {
    open((Ipv4Addr::LOCALHOST, 0).into()).map(drop)
}

fn open(addr: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // The kernel may give less; then large values need more attempts.
    Tunable::ReceiveBuffer.try_set(|| socket.set_recv_buffer_size(BUFFER));
    Tunable::SendBuffer.try_set(|| socket.set_send_buffer_size(BUFFER));
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    UdpSocket::from_std(socket.into())
}
