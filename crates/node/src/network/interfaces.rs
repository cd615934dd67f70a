//! Which addresses this host has: the only list of interfaces.

use std::io;
use std::net::IpAddr;

use hardline_proto::network::InterfaceAddr;
use if_addrs::IfAddr;

/// Every address of every interface, those that are down too.
///
/// # Errors
/// When the system does not tell.
pub fn interface_addrs() -> io::Result<Vec<InterfaceAddr>> {
    let short_lived = short_lived();
    let read = |found: if_addrs::Interface| InterfaceAddr {
        ip: found.ip(),
        prefix_len: match &found.addr {
            IfAddr::V4(addr) => addr.prefixlen,
            IfAddr::V6(addr) => addr.prefixlen,
        },
        is_up: found.is_oper_up(),
        is_short_lived: short_lived.contains(&found.ip()),
        interface: found.name,
    };
    Ok(if_addrs::get_if_addrs()?.into_iter().map(read).collect())
}

/// The number of the interface called `name`, if it is there.
pub(crate) fn interface_index(name: &str) -> Option<u32> {
    if_addrs::get_if_addrs().ok()?.into_iter().find(|found| found.name == name)?.index
}

/// Privacy addresses (RFC 8981) and deprecated ones: not worth remembering for others. Known on
/// Linux, where `/proc` tells; empty elsewhere.
fn short_lived() -> Vec<IpAddr> {
    #[cfg(target_os = "linux")]
    let addrs = std::fs::read_to_string("/proc/net/if_inet6").map(|table| linux::read(&table)).unwrap_or_default();
    #[cfg(not(target_os = "linux"))]
    let addrs = Vec::new();
    addrs
}

#[cfg(target_os = "linux")]
mod linux {
    use std::net::{IpAddr, Ipv6Addr};

    /// `IFA_F_TEMPORARY` of the kernel's `if_addr.h`.
    const TEMPORARY: u8 = 0x01;

    /// `IFA_F_DEPRECATED` of the same.
    const DEPRECATED: u8 = 0x20;

    /// Reads the table: address, interface number, prefix length, scope, flags (hexadecimal), name.
    pub(super) fn read(table: &str) -> Vec<IpAddr> {
        table.lines().filter_map(short_lived).collect()
    }

    fn short_lived(line: &str) -> Option<IpAddr> {
        let mut fields = line.split_whitespace();
        let addr = u128::from_str_radix(fields.next()?, 16).ok()?;
        let flags = u8::from_str_radix(fields.nth(3)?, 16).ok()?;
        (flags & (TEMPORARY | DEPRECATED) != 0).then_some(IpAddr::V6(Ipv6Addr::from(addr)))
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn temporary_and_deprecated_addresses_are_told_apart() {
            let table = "20010db8000000000000000000000001 02 40 00 80     eth0\n\
                         20010db8000000000000000000000002 02 40 00 01     eth0\n\
                         20010db8000000000000000000000003 02 40 00 a0     eth0\n\
                         nonsense\n";
            let found: Vec<_> = read(table).iter().map(ToString::to_string).collect();
            assert_eq!(found, ["2001:db8::2", "2001:db8::3"]);
        }
    }
}
