//! 127.0.0.1 and ::1, both or none.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::{TcpListener, TcpSocket};

use crate::system::sockets::reuse_after_restart;

/// Free ports tried when any will do: one that is free on 127.0.0.1 may be taken on ::1.
const FREE_PORT_TRIES: usize = 16;

/// Connections the kernel holds until they are accepted. A page's burst beyond it would wait a
/// second for the retry.
const BACKLOG: u32 = 1024;

/// Why the gateway cannot listen.
#[derive(Debug, thiserror::Error)]
#[error("the gateway cannot listen at {addr}")]
pub struct GatewayBindError {
    /// The half that failed. Both are needed: browsers try either first, and another user of this
    /// computer could take the half that is left.
    pub addr: SocketAddr,
    /// Why.
    #[source]
    pub source: io::Error,
}

/// Binds both loopback addresses to `port`; 0 takes a free one. A machine without IPv6 has one half
/// only.
///
/// # Errors
/// [`GatewayBindError`] when either half cannot be had.
pub(crate) fn bind(port: u16) -> Result<Vec<TcpListener>, GatewayBindError> {
    let mut tries = if port == 0 { FREE_PORT_TRIES } else { 1 };
    loop {
        tries -= 1;
        match bind_both(port) {
            Err(error) if tries > 0 && error.source.kind() == io::ErrorKind::AddrInUse => {}
            result => return result,
        }
    }
}

fn bind_both(port: u16) -> Result<Vec<TcpListener>, GatewayBindError> {
    let v4 = bind_one(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    if !has_ipv6() {
        return Ok(vec![v4]);
    }
    let port = v4.local_addr().map_or(port, |addr| addr.port());
    let v6 = bind_one(SocketAddr::from((Ipv6Addr::LOCALHOST, port)))?;
    Ok(vec![v4, v6])
}

fn bind_one(addr: SocketAddr) -> Result<TcpListener, GatewayBindError> {
    listen(addr).map_err(|source| GatewayBindError { addr, source })
}

fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    reuse_after_restart(&(&socket).into());
    socket.bind(addr)?;
    socket.listen(BACKLOG)
}

/// Whether this machine has ::1 at all.
fn has_ipv6() -> bool {
    match listen(SocketAddr::from((Ipv6Addr::LOCALHOST, 0))) {
        Ok(_) => true,
        Err(error) => !matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn both_halves_have_the_same_port() {
        let listeners = bind(0).unwrap();
        let addrs: Vec<_> = listeners.iter().map(|listener| listener.local_addr().unwrap()).collect();
        assert_eq!(addrs[0].ip(), Ipv4Addr::LOCALHOST);
        assert_eq!(addrs[1].ip(), Ipv6Addr::LOCALHOST);
        assert_eq!(addrs[0].port(), addrs[1].port());
    }

    #[tokio::test]
    async fn a_half_that_another_program_has_keeps_the_gateway_from_starting() {
        let other = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).await.unwrap();
        let taken = other.local_addr().unwrap();
        let error = bind(taken.port()).unwrap_err();
        assert_eq!(error.addr, taken);
        assert_eq!(error.source.kind(), io::ErrorKind::AddrInUse);
    }
}
