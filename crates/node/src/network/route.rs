//! The route to the internet: the router in front of this host, and this host's address towards it.
//!
//! On Linux `/proc/net/route` names the router, one small file; elsewhere `netdev` does. Runner-up:
//! `netdev` everywhere, which lists every interface by netlink for it.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};

use hardline_proto::network::DefaultRoute;

/// Any port: nothing is sent to it.
const PORT: u16 = 9;

/// The default route; `None` when there is none, or none through a router.
pub(super) fn default_route() -> Option<DefaultRoute> {
    let gateway = default_gateway()?;
    // Connecting a datagram socket sends nothing: the system chooses an address.
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((gateway, PORT)).ok()?;
    let IpAddr::V4(local) = socket.local_addr().ok()?.ip() else { return None };
    Some(DefaultRoute { gateway, local })
}

#[cfg(target_os = "linux")]
fn default_gateway() -> Option<Ipv4Addr> {
    linux::read(&std::fs::read_to_string("/proc/net/route").ok()?)
}

#[cfg(not(target_os = "linux"))]
fn default_gateway() -> Option<Ipv4Addr> {
    netdev::get_default_gateway().ok()?.ipv4.first().copied()
}

#[cfg(target_os = "linux")]
mod linux {
    use std::net::Ipv4Addr;

    /// `RTF_UP` and `RTF_GATEWAY` of the kernel's `route.h`.
    const UP_BY_GATEWAY: u16 = 0x0003;

    /// Reads the table: interface, destination, gateway, flags, two counts, metric, mask (numbers
    /// in hexadecimal, addresses in the machine's byte order).
    pub(super) fn read(table: &str) -> Option<Ipv4Addr> {
        let routes = table.lines().filter_map(default_route);
        routes.min_by_key(|(metric, _)| *metric).map(|(_, gateway)| gateway)
    }

    fn default_route(line: &str) -> Option<(u32, Ipv4Addr)> {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, "00000000", gateway, flags, _, _, metric, "00000000", ..] = fields[..] else { return None };
        let flags = u16::from_str_radix(flags, 16).ok()?;
        let gateway = Ipv4Addr::from(u32::from_str_radix(gateway, 16).ok()?.to_ne_bytes());
        (flags & UP_BY_GATEWAY == UP_BY_GATEWAY).then_some((metric.parse().ok()?, gateway))
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        #[cfg(target_endian = "little")]
        fn the_default_route_of_the_lowest_metric_is_taken() {
            let table = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n\
                         wlan0 00000000 0101A8C0 0003 0 0 600 00000000 0 0 0\n\
                         eth0 00000000 0102A8C0 0003 0 0 100 00000000 0 0 0\n\
                         ppp0 00000000 00000000 0001 0 0 0 00000000 0 0 0\n\
                         eth0 0002A8C0 00000000 0001 0 0 100 00FFFFFF 0 0 0\n";
            assert_eq!(read(table), Some(Ipv4Addr::new(192, 168, 2, 1)));
            assert_eq!(read("nonsense\n"), None);
        }
    }
}
