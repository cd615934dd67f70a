//! The P2P port: dual-stack, the next free one when it is taken.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

use crate::system::sockets::reuse_after_restart;

/// Ports tried above the one asked for.
const NEXT_PORTS: u16 = 25;

/// Connections the kernel holds until they are accepted.
const BACKLOG: i32 = 1024;

/// The open sockets of the listening side.
#[derive(Debug)]
pub(crate) struct Listening {
    pub(crate) listeners: Vec<TcpListener>,
    /// The port of all of them.
    pub(crate) port: u16,
}

/// Binds every address of `addrs`, or the dual-stack wildcard, to `port` or the next free one.
///
/// # Errors
/// The error of the port asked for, when it is another than "in use", or when all that follow are
/// taken too.
pub(crate) fn bind(addrs: &[IpAddr], port: u16) -> io::Result<Listening> {
    let last = port.saturating_add(if port == 0 { 0 } else { NEXT_PORTS });
    let mut taken = None;
    for port in port..=last {
        match bind_all(addrs, port) {
            Ok(listening) => return Ok(listening),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => taken = taken.or(Some(error)),
            Err(error) => return Err(error),
        }
    }
    Err(taken.unwrap_or_else(|| io::ErrorKind::AddrInUse.into()))
}

fn bind_all(addrs: &[IpAddr], mut port: u16) -> io::Result<Listening> {
    let mut listeners = Vec::new();
    if addrs.is_empty() {
        let listener = listener(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)), false)
            .or_else(|error| if error.kind() == io::ErrorKind::AddrInUse { Err(error) } else { ipv4_only(port) })?;
        port = listener.local_addr()?.port();
        listeners.push(listener);
    }
    for addr in addrs {
        let listener = listener(SocketAddr::new(*addr, port), true)?;
        port = listener.local_addr()?.port();
        listeners.push(listener);
    }
    Ok(Listening { listeners, port })
}

/// For machines without IPv6.
fn ipv4_only(port: u16) -> io::Result<TcpListener> {
    listener(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)), false)
}

fn listener(addr: SocketAddr, only_v6: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(only_v6)?;
    }
    reuse_after_restart(&(&socket).into());
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_wildcard_is_reached_by_both_families() {
        let listening = bind(&[], 0).unwrap();
        for host in ["127.0.0.1", "::1"] {
            tokio::net::TcpStream::connect((host, listening.port)).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_taken_port_gives_the_next_free_one() {
        let taken = bind(&[], 0).unwrap();
        let next = bind(&[], taken.port).unwrap();
        assert!(next.port > taken.port && next.port <= taken.port + NEXT_PORTS);
    }

    #[tokio::test]
    async fn a_port_another_program_has_on_ipv4_alone_counts_as_taken() {
        let other = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
        let port = other.local_addr().unwrap().port();
        assert_ne!(bind(&[], port).unwrap().port, port);
    }
}
