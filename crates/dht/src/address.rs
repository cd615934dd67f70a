//! Which addresses are believed, and which belong together.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Address family of a socket, a table or a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both, in order.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// The family of `addr`.
    #[must_use]
    pub const fn of(addr: &SocketAddr) -> Self {
        match addr {
            SocketAddr::V4(_) => Self::V4,
            SocketAddr::V6(_) => Self::V6,
        }
    }
}

/// Part of the address space that one household or one rented server fills: an IPv4 address or an
/// IPv6 /64. Rates and quotas are counted per prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Prefix(u128);

impl Prefix {
    pub(crate) fn of(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(v4) => Self(u128::from(v4.to_bits())),
            IpAddr::V6(v6) => Self(v6.to_bits() >> 64 << 64 | 1 << 63),
        }
    }
}

/// Turns an IPv4 address in IPv6 clothes, as dual-stack sockets hand out, into a plain one; drops
/// scope and flow.
pub(crate) fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}

/// Whether nobody can be at `addr`. Loopback and private addresses are fine: whole networks live
/// there.
pub(crate) fn is_martian(addr: &SocketAddr) -> bool {
    if addr.port() == 0 {
        return true;
    }
    match addr.ip() {
        IpAddr::V4(ip) => ip.octets()[0] == 0 || ip.octets()[0] >= 224,
        // Link-local addresses are of no use to third parties: their scope is not transmitted.
        IpAddr::V6(ip) => {
            ip.is_unspecified() || ip.is_multicast() || ip.is_unicast_link_local() || ip.to_ipv4_mapped().is_some()
        }
    }
}

/// The address under which we can reach a node that `namer` named: a loopback address means "on my
/// machine".
pub(crate) fn as_named_by(namer: SocketAddr, named: SocketAddr) -> SocketAddr {
    if named.ip().is_loopback() && Family::of(&named) == Family::of(&namer) {
        SocketAddr::new(namer.ip(), named.port())
    } else {
        named
    }
}

/// Whether `ip` is of this machine or of a private network.
pub(crate) fn is_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private() || v4.is_link_local() || is_shared(v4),
        IpAddr::V6(v6) => v6.is_loopback() || is_unique_local(v6) || v6.is_unicast_link_local(),
    }
}

/// 100.64.0.0/10, behind carriers' NATs (RFC 6598).
fn is_shared(v4: Ipv4Addr) -> bool {
    v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64
}

/// fc00::/7 (RFC 4193).
fn is_unique_local(v6: Ipv6Addr) -> bool {
    v6.octets()[0] & 0xfe == 0xfc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(addr: &str, martian: bool) {
        assert_eq!(is_martian(&addr.parse().unwrap()), martian, "{addr}");
    }

    #[test]
    fn addresses_nobody_can_have_are_martian() {
        check("127.0.0.1:1", false);
        check("192.168.1.1:1", false);
        check("[::1]:1", false);
        check("[2001:db8::1]:1", false);
        check("127.0.0.1:0", true);
        check("0.1.2.3:1", true);
        check("224.0.0.1:1", true);
        check("255.255.255.255:1", true);
        check("[::]:1", true);
        check("[ff02::1]:1", true);
        check("[fe80::1]:1", true);
        check("[::ffff:1.2.3.4]:1", true);
    }

    #[test]
    fn a_loopback_address_named_by_another_machine_means_that_machine() {
        let namer = "203.0.113.5:4222".parse().unwrap();
        assert_eq!(as_named_by(namer, "127.0.0.1:99".parse().unwrap()), "203.0.113.5:99".parse().unwrap());
        assert_eq!(as_named_by(namer, "[::1]:99".parse().unwrap()), "[::1]:99".parse().unwrap());
        assert_eq!(as_named_by(namer, "198.51.100.1:99".parse().unwrap()), "198.51.100.1:99".parse().unwrap());
    }

    #[test]
    fn a_slash_64_is_one_prefix_and_an_ipv4_address_is_one() {
        let prefix = |ip: &str| Prefix::of(ip.parse().unwrap());
        assert_eq!(prefix("2001:db8::1"), prefix("2001:db8::ffff"));
        assert_ne!(prefix("2001:db8::1"), prefix("2001:db8:0:1::1"));
        assert_ne!(prefix("10.0.0.1"), prefix("10.0.0.2"));
        assert_ne!(prefix("::1"), prefix("0.0.0.0"));
    }
}
