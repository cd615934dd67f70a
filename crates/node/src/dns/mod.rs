//! A DNS server for names below `localhost`, on this computer and for it alone.

mod answer; // a question → its answer

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;
use tracing::debug;

/// Longest question, in bytes: a name takes 255, and clients add little to it. What is longer is
/// cut, and so cannot be read.
const MAX_QUESTION: usize = 1232;

/// Binds `port` of both loopback addresses, 0 takes a free one. A computer without IPv6 has one.
pub(crate) fn bind(port: u16) -> io::Result<Vec<UdpSocket>> {
    let v4 = bind_one(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    let port = v4.local_addr()?.port();
    match bind_one(SocketAddr::from((Ipv6Addr::LOCALHOST, port))) {
        Ok(v6) => Ok(vec![v4, v6]),
        Err(error) if matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported) => {
            Ok(vec![v4])
        }
        Err(error) => Err(error),
    }
}

fn bind_one(at: SocketAddr) -> io::Result<UdpSocket> {
    let socket = std::net::UdpSocket::bind(at)?;
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket)
}

/// Answers until the node stops, one question after the other.
pub(crate) async fn run(socket: UdpSocket, stop: CancellationToken) {
    let mut bytes = vec![0; MAX_QUESTION];
    while let Some(received) = stop.run_until_cancelled(socket.recv_from(&mut bytes)).await {
        // A failure tells of an earlier answer whose client was gone.
        let Ok((length, from)) = received else { continue };
        if let Some(answer) = answer::answer(&bytes[..length])
            && let Err(error) = socket.send_to(&answer, from).await
        {
            debug!(%from, %error, "answer not sent");
        }
    }
}
