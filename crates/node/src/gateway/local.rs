//! Where programs of this computer connect to a forwarded service.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::{TcpListener, UdpSocket};

use crate::config::LocalAddr;
use crate::system::unix_socket::{UnixSocket, UnixStream};
use crate::transport::Listener;

/// A port or a socket that is listened at.
#[derive(Debug)]
pub(crate) enum LocalListener {
    Tcp(TcpListener),
    Udp(UdpSocket),
    Unix(Socket),
}

impl LocalListener {
    /// Begins to listen. Returns where that is, too: a port of 0 is a free one.
    pub(crate) fn bind(at: &LocalAddr) -> io::Result<(Self, LocalAddr)> {
        match at {
            LocalAddr::Tcp(addr) => {
                let listener = std::net::TcpListener::bind(addr)?;
                listener.set_nonblocking(true)?;
                let bound = listener.local_addr()?;
                Ok((Self::Tcp(TcpListener::from_std(listener)?), LocalAddr::Tcp(bound)))
            }
            LocalAddr::Udp(addr) => {
                let socket = std::net::UdpSocket::bind(addr)?;
                socket.set_nonblocking(true)?;
                let bound = socket.local_addr()?;
                Ok((Self::Udp(UdpSocket::from_std(socket)?), LocalAddr::Udp(bound)))
            }
            LocalAddr::Unix(path) => Ok((Self::Unix(Socket(UnixSocket::bind(path)?)), at.clone())),
        }
    }
}

/// A Unix socket that programs connect to.
#[derive(Debug)]
pub(crate) struct Socket(UnixSocket);

impl Listener for Socket {
    type Incoming = UnixStream;

    async fn accept(&self) -> io::Result<(UnixStream, SocketAddr)> {
        // Programs at a socket have no address.
        Ok((self.0.accept().await?, SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))))
    }
}
