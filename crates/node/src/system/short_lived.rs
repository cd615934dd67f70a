//! Which addresses of this host do not last.

use std::net::IpAddr;

/// Privacy addresses (RFC 8981) and deprecated ones: not worth remembering for others. Known on
/// Linux, where `/proc` tells; empty elsewhere.
pub(crate) fn short_lived() -> Vec<IpAddr> {
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
