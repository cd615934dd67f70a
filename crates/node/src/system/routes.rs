//! The routers in front of this host.
//!
//! On Linux `/proc/net/route` names them, one small file; elsewhere `netdev` does. Runner-up:
//! `netdev` everywhere, which lists every interface by netlink for it.

use std::net::{Ipv4Addr, Ipv6Addr};

/// The router to the IPv6 internet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RouterV6 {
    /// Its address in this network, mostly a link-local one.
    pub(crate) address: Ipv6Addr,
    /// The interface's number, for a link-local address.
    pub(crate) scope: u32,
}

/// The router to the IPv6 internet, if there is one. Asked anew each time.
#[cfg(target_os = "linux")]
pub(crate) fn default_router_v6() -> Option<RouterV6> {
    let (address, interface) = linux::read_v6(&std::fs::read_to_string("/proc/net/ipv6_route").ok()?)?;
    let interfaces = if_addrs::get_if_addrs().ok()?;
    let scope = interfaces.iter().find(|it| it.name == interface)?.index?;
    Some(RouterV6 { address, scope })
}

/// The router to the IPv6 internet, if there is one. Asked anew each time.
#[cfg(not(target_os = "linux"))]
pub(crate) fn default_router_v6() -> Option<RouterV6> {
    let interface = netdev::get_default_interface().ok()?;
    let address = interface.gateway?.ipv6.first().copied()?;
    Some(RouterV6 { address, scope: interface.index })
}

/// The router to the IPv4 internet.
#[cfg(target_os = "linux")]
pub(crate) fn default_gateway() -> Option<Ipv4Addr> {
    linux::read(&std::fs::read_to_string("/proc/net/route").ok()?)
}

/// The router to the IPv4 internet.
#[cfg(not(target_os = "linux"))]
pub(crate) fn default_gateway() -> Option<Ipv4Addr> {
    netdev::get_default_gateway().ok()?.ipv4.first().copied()
}

#[cfg(target_os = "linux")]
mod linux {
    use std::net::{Ipv4Addr, Ipv6Addr};

    /// `RTF_UP` and `RTF_GATEWAY` of the kernel's `route.h`.
    const UP_BY_GATEWAY: u16 = 0x0003;

    /// Reads the table: interface, destination, gateway, flags, two counts, metric, mask (numbers
    /// in hexadecimal, addresses in the machine's byte order).
    pub(super) fn read(table: &str) -> Option<Ipv4Addr> {
        let routes = table.lines().filter_map(default_route);
        routes.min_by_key(|(metric, _)| *metric).map(|(_, gateway)| gateway)
    }

    /// Reads the table of IPv6: destination and its prefix length, source and its prefix length,
    /// next hop, metric, two counts, flags, interface (all but the last in hexadecimal). Returns
    /// the router, and the interface that it is at.
    pub(super) fn read_v6(table: &str) -> Option<(Ipv6Addr, String)> {
        let routes = table.lines().filter_map(default_route_v6);
        routes.min_by_key(|(metric, ..)| *metric).map(|(_, router, interface)| (router, interface.to_owned()))
    }

    fn default_route_v6(line: &str) -> Option<(u32, Ipv6Addr, &str)> {
        const ANYWHERE: &str = "00000000000000000000000000000000";
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [ANYWHERE, "00", ANYWHERE, "00", router, metric, _, _, flags, interface] = fields[..] else { return None };
        let flags = u32::from_str_radix(flags, 16).ok()?;
        let router = Ipv6Addr::from(u128::from_str_radix(router, 16).ok()?);
        let is_usable = flags & u32::from(UP_BY_GATEWAY) == u32::from(UP_BY_GATEWAY) && !router.is_unspecified();
        is_usable.then_some((u32::from_str_radix(metric, 16).ok()?, router, interface))
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
        fn the_router_to_the_ipv6_internet_is_that_of_the_lowest_metric() {
            let none = "00000000000000000000000000000000";
            let router = "fe800000000000000000000000000001";
            let table = format!(
                "{none} 00 {none} 00 fe800000000000000000000000000002 00000258 00000001 00000000 00450003 wlan0\n\
                 {none} 00 {none} 00 {router} 00000064 00000001 00000000 00450003    eth0\n\
                 20010db8000000000000000000000000 20 {none} 00 {router} 00000001 00000001 00000000 00450003 eth0\n\
                 {none} 00 {none} 00 {none} ffffffff 00000001 00000000 00200200       lo\n"
            );
            assert_eq!(read_v6(&table), Some(("fe80::1".parse().unwrap(), "eth0".to_owned())));
            assert_eq!(read_v6("nonsense\n"), None);
        }

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
