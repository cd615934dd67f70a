//! Who is where on a network that is directly connected.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use super::{GROUP, GROUP_V6};

/// An address on a directly connected network: of IPv4, or a link-local one of IPv6 with the number
/// of the interface that leads there. (Every link may have the same link-local addresses.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LanAddr {
    /// The address.
    pub ip: IpAddr,
    /// The interface's number on this computer; 0 with IPv4.
    pub scope: u32,
}

impl LanAddr {
    /// An address of IPv4.
    #[must_use]
    pub const fn v4(ip: Ipv4Addr) -> Self {
        Self { ip: IpAddr::V4(ip), scope: 0 }
    }

    /// A link-local address of IPv6, at the interface number `scope`.
    #[must_use]
    pub const fn v6(ip: Ipv6Addr, scope: u32) -> Self {
        Self { ip: IpAddr::V6(ip), scope }
    }

    /// With a port.
    #[must_use]
    pub const fn at(self, port: u16) -> SocketAddr {
        match self.ip {
            IpAddr::V4(_) => SocketAddr::new(self.ip, port),
            IpAddr::V6(ip) => SocketAddr::V6(SocketAddrV6::new(ip, port, 0, self.scope)),
        }
    }

    /// The multicast group as it is reached from here.
    #[must_use]
    pub const fn group(self, port: u16) -> SocketAddr {
        match self.ip {
            IpAddr::V4(_) => Self::v4(GROUP).at(port),
            IpAddr::V6(_) => Self::v6(GROUP_V6, self.scope).at(port),
        }
    }
}

impl From<SocketAddr> for LanAddr {
    fn from(addr: SocketAddr) -> Self {
        match addr {
            SocketAddr::V4(addr) => Self::v4(*addr.ip()),
            SocketAddr::V6(addr) => Self::v6(*addr.ip(), addr.scope_id()),
        }
    }
}

/// An address of this computer, with its network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interface {
    /// The address; it also names the interface.
    pub addr: LanAddr,
    /// Length of the network's prefix, in bits.
    pub prefix_len: u8,
}

impl Interface {
    /// Whether `addr` belongs to the interface's network.
    #[must_use]
    pub fn contains(&self, addr: LanAddr) -> bool {
        // Without a prefix nothing can be told of the neighbours.
        let prefix_len = |most| if self.prefix_len == 0 { most } else { u32::from(self.prefix_len).min(most) };
        let shared = match (self.addr.ip, addr.ip) {
            (IpAddr::V4(own), IpAddr::V4(ip)) => {
                (own.to_bits() ^ ip.to_bits()).leading_zeros() >= prefix_len(Ipv4Addr::BITS)
            }
            (IpAddr::V6(own), IpAddr::V6(ip)) => {
                ip.is_unicast_link_local()
                    && (own.to_bits() ^ ip.to_bits()).leading_zeros() >= prefix_len(Ipv6Addr::BITS)
            }
            _ => false,
        };
        shared && self.addr.scope == addr.scope
    }
}
