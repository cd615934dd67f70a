//! One family's UDP socket.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tracing::debug;

use crate::tuning::Tunable;

/// Kernel buffer for each direction, in bytes: a value of the largest size arrives as a burst of 70
/// kB from each of eight nodes.
const BUFFER: usize = 1024 * 1024;

/// Opens a socket for each family there is: on the addresses of `bind`, or on all. All get the same
/// port where possible.
///
/// # Errors
/// The last error when no socket could be opened.
pub(super) fn open_all(port: u16, bind: &[IpAddr]) -> io::Result<Vec<UdpSocket>> {
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
