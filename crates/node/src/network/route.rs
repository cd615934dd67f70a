//! The route to the internet: the router in front of this host, and this host's address towards it.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};

use hardline_proto::network::DefaultRoute;

use crate::system::routes;

pub(crate) use crate::system::routes::{RouterV6, default_router_v6};

/// Any port: nothing is sent to it.
const PORT: u16 = 9;

/// The default route; `None` when there is none, or none through a router.
pub(super) fn default_route() -> Option<DefaultRoute> {
    let gateway = routes::default_gateway()?;
    // Connecting a datagram socket sends nothing: the system chooses an address.
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((gateway, PORT)).ok()?;
    let IpAddr::V4(local) = socket.local_addr().ok()?.ip() else { return None };
    Some(DefaultRoute { gateway, local })
}
