//! What the router says unasked: that it has begun anew, or has another address outside.

use std::future::pending;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};

use hardline_proto::portmap::{ANNOUNCE_GROUP, ANNOUNCE_PORT, is_announcement};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tracing::debug;

use crate::network::DefaultRoute;

/// Longer than any announcement, in bytes.
const MAX_DATAGRAM: usize = 128;

/// Hears the router of one network. Where that is not possible the router is only asked now and
/// then, as one that announces nothing.
#[derive(Debug)]
pub(super) struct Announcements {
    socket: Option<UdpSocket>,
    gateway: Ipv4Addr,
}

impl Announcements {
    /// Listens in the network of `route`.
    pub(super) fn listen(route: DefaultRoute) -> Self {
        let socket = open(route.local).inspect_err(|error| debug!(%error, "the router is not heard")).ok();
        Self { socket, gateway: route.gateway }
    }

    /// Waits for the next announcement. Cancel safe.
    pub(super) async fn next(&self) {
        let Some(socket) = &self.socket else { return pending().await };
        let mut datagram = [0; MAX_DATAGRAM];
        loop {
            match socket.recv_from(&mut datagram).await {
                Ok((length, from)) if from.ip() == IpAddr::V4(self.gateway) && is_announcement(&datagram[..length]) => {
                    debug!(gateway = %self.gateway, "the router announces itself");
                    return;
                }
                Ok(_not_the_router) => {}
                Err(error) => {
                    debug!(%error, "the router is not heard any more");
                    return pending().await;
                }
            }
        }
    }
}

/// The port is shared with other programs of this computer.
fn open(local: Ipv4Addr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    crate::system::sockets::share_port(&(&socket).into());
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, ANNOUNCE_PORT).into())?;
    socket.join_multicast_v4(&ANNOUNCE_GROUP, &local)?;
    UdpSocket::from_std(socket.into())
}
