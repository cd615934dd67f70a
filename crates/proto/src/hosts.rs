//! `host:port` lists, as `WANHosts` and the store carry them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// Most entries kept of one list. A publisher has an IPv4, a few IPv6 and a mesh address; the rest
/// is noise.
pub const MAX_HOSTS: usize = 16;

/// Longest DNS name, in bytes, and longest label of one (RFC 1035, section 2.3.4).
const MAX_NAME: usize = 253;
const MAX_LABEL: usize = 63;

/// Longest name of an interface, in bytes. Linux has 15; others have longer ones.
const MAX_ZONE: usize = 32;

/// A host, by number or by name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    /// An IP address; one of IPv4 is never written as IPv6 (`::ffff:192.0.2.1`).
    Ip(IpAddr),
    /// A DNS name, lower case, letters, digits, `-`, `_` and `.` only, at most 253 bytes, without
    /// trailing dot. Its last label is never a number: resolvers take such a name for an oddly
    /// written IPv4 address.
    Name(String),
    /// A link-local IPv6 address, and the interface that leads there: its name or its number on
    /// this computer. A person types it ([`HostPort::typed`]), or a packet came from there
    /// ([`HostPort::scoped`]); nobody may say one in words.
    LinkLocal(Ipv6Addr, String),
}

/// A host and a TCP port; written `host:port`, IPv6 in brackets.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostPort {
    /// Where.
    pub host: Host,
    /// TCP port, never 0.
    pub port: u16,
}

impl From<SocketAddr> for HostPort {
    /// Keeps address and port. The scope of a link-local IPv6 address is lost.
    fn from(addr: SocketAddr) -> Self {
        Self { host: Host::Ip(addr.ip().to_canonical()), port: addr.port() }
    }
}

/// Why a text is not a `host:port`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HostPortError {
    /// No port behind the last colon, or not 1 to 65535.
    #[error("{0:?} has no port between 1 and 65535 behind its last colon")]
    Port(String),
    /// The part in front is neither an address nor a name.
    #[error("{0:?} is neither an IP address nor a host name")]
    Host(String),
}

impl FromStr for HostPort {
    type Err = HostPortError;

    /// Reads `host:port`; an IPv6 address may lack its brackets, the last colon parts the port.
    /// Zone ids (`fe80::1%eth0`) are refused: they mean something on the computer that wrote them
    /// only. See [`typed`](Self::typed).
    fn from_str(text: &str) -> Result<Self, HostPortError> {
        let no_port = || HostPortError::Port(text.to_owned());
        let (host, port) = text.rsplit_once(':').ok_or_else(no_port)?;
        if !port.bytes().all(|b| b.is_ascii_digit()) {
            return Err(no_port()); // `u16::from_str` would take a sign
        }
        let port = port.parse().ok().filter(|&port| port != 0).ok_or_else(no_port)?;
        let host = parse_host(host).ok_or_else(|| HostPortError::Host(text.to_owned()))?;
        Ok(Self { host, port })
    }
}

impl HostPort {
    /// Keeps the interface of a link-local address: for what was heard on the link itself.
    #[must_use]
    pub fn scoped(addr: SocketAddr) -> Self {
        match addr {
            SocketAddr::V6(v6) if v6.scope_id() != 0 && v6.ip().is_unicast_link_local() => {
                Self { host: Host::LinkLocal(*v6.ip(), v6.scope_id().to_string()), port: v6.port() }
            }
            _ => addr.into(),
        }
    }

    /// Reads what a person at this computer typed: as [`FromStr`], and also a link-local address
    /// with its zone, `[fe80::1%eth0]:7008` (RFC 4007, section 11).
    ///
    /// # Errors
    /// As [`FromStr`].
    pub fn typed(text: &str) -> Result<Self, HostPortError> {
        text.parse().or_else(|error| link_local(text).ok_or(error))
    }
}

/// Reads `[ADDRESS%ZONE]:PORT`.
fn link_local(text: &str) -> Option<HostPort> {
    let (inner, port) = text.strip_prefix('[')?.rsplit_once("]:")?;
    let (addr, zone) = inner.split_once('%')?;
    let addr: Ipv6Addr = addr.parse().ok().filter(Ipv6Addr::is_unicast_link_local)?;
    let is_zone = |byte: u8| byte.is_ascii_alphanumeric() || b"._-~@".contains(&byte);
    if !(1..=MAX_ZONE).contains(&zone.len()) || !zone.bytes().all(is_zone) {
        return None;
    }
    // The port by the same rules as everywhere.
    let HostPort { port, .. } = format!("[::]:{port}").parse().ok()?;
    Some(HostPort { host: Host::LinkLocal(addr, zone.to_owned()), port })
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Ip(IpAddr::V6(addr)) => write!(f, "[{addr}]:{}", self.port),
            Host::Ip(IpAddr::V4(addr)) => write!(f, "{addr}:{}", self.port),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
            Host::LinkLocal(addr, zone) => write!(f, "[{addr}%{zone}]:{}", self.port),
        }
    }
}

/// Addresses of one service, best first, without repeats, at most [`MAX_HOSTS`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostList(Vec<HostPort>);

impl HostList {
    /// Reads a comma-separated list as peers send it: entries that cannot be read are left out, not
    /// an error, because one odd address must not hide the good ones.
    #[must_use]
    pub fn parse_lenient(text: &str) -> Self {
        text.split(',').filter_map(|entry| entry.trim().parse().ok()).collect()
    }

    /// The entries, best first.
    #[must_use]
    pub fn as_slice(&self) -> &[HostPort] {
        &self.0
    }
}

impl FromIterator<HostPort> for HostList {
    fn from_iter<I: IntoIterator<Item = HostPort>>(iter: I) -> Self {
        let mut list = Vec::new();
        for entry in iter {
            if list.len() == MAX_HOSTS {
                break;
            }
            if !list.contains(&entry) {
                list.push(entry);
            }
        }
        Self(list)
    }
}

impl fmt::Display for HostList {
    /// Comma-separated, as `WANHosts` wants it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, entry) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            write!(f, "{comma}{entry}")?;
        }
        Ok(())
    }
}

/// Reads an IP address or a DNS name.
fn parse_host(text: &str) -> Option<Host> {
    let bracketed = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if bracketed.is_some() || text.contains(':') {
        let addr: Ipv6Addr = bracketed.unwrap_or(text).parse().ok()?;
        return Some(Host::Ip(IpAddr::V6(addr).to_canonical()));
    }
    if let Ok(addr) = text.parse::<Ipv4Addr>() {
        return Some(Host::Ip(IpAddr::V4(addr)));
    }
    let name = text.strip_suffix('.').unwrap_or(text);
    is_dns_name(name).then(|| Host::Name(name.to_ascii_lowercase()))
}

/// Whether `name` is a DNS name that no resolver takes for an IPv4 address.
fn is_dns_name(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    name.len() <= MAX_NAME && name.split('.').all(is_label) && !is_number(last)
}

/// Whether `label` may stand in a DNS name: letters, digits, inner `-`, and `_`, which some home
/// routers use.
fn is_label(label: &str) -> bool {
    (1..=MAX_LABEL).contains(&label.len())
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// Whether `inet_aton` reads `label` as a number, decimal, octal or hexadecimal.
fn is_number(label: &str) -> bool {
    let hex = label.strip_prefix("0x").or_else(|| label.strip_prefix("0X"));
    match hex {
        Some(digits) => digits.bytes().all(|b| b.is_ascii_hexdigit()),
        None => label.bytes().all(|b| b.is_ascii_digit()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads `text` and compares what is written again.
    #[track_caller]
    fn check(text: &str, written: &str) {
        assert_eq!(text.parse::<HostPort>().map(|at| at.to_string()), Ok(written.to_owned()), "{text:?}");
    }

    #[test]
    fn addresses_and_names_are_read_and_written() {
        check("192.0.2.1:7008", "192.0.2.1:7008");
        check("192.0.2.1:00080", "192.0.2.1:80");
        check("[2001:db8::1]:7008", "[2001:db8::1]:7008");
        check("[200:1:2::3]:1", "[200:1:2::3]:1");
        check("[::ffff:192.0.2.1]:80", "192.0.2.1:80");
        check("Home.Example.ORG:7008", "home.example.org:7008");
        check("example.org.:65535", "example.org:65535");
        check("router:7008", "router:7008");
        check("my_box-2.fritz.box:7008", "my_box-2.fritz.box:7008");
        check("1and1.example:80", "1and1.example:80");
        check("xn--bcher-kva.example:80", "xn--bcher-kva.example:80");
    }

    #[test]
    fn the_last_colon_parts_the_port_of_an_ipv6_address_without_brackets() {
        check("2001:db8::1:7008", "[2001:db8::1]:7008");
        check("::1:80", "[::1]:80");
        check("2001:db8:::80", "[2001:db8::]:80");
        check("1:2:3:4:5:6:7:8:80", "[1:2:3:4:5:6:7:8]:80");
    }

    #[test]
    fn without_a_port_from_1_to_65535_it_is_refused() {
        for text in [
            "",
            "192.0.2.1",
            "example.org",
            ":",
            "a:",
            "a:0",
            "a:65536",
            "a:+80",
            "a:-1",
            "a: 80",
            "a:8O",
            "a:https",
            "a:1e3",
        ] {
            assert_eq!(text.parse::<HostPort>(), Err(HostPortError::Port(text.to_owned())), "{text:?}");
        }
    }

    #[test]
    fn what_is_neither_address_nor_name_is_refused() {
        let long_label = format!("{}.org:80", "a".repeat(64));
        let long_name = format!("{}org:80", "abcd.".repeat(51));
        for text in [
            ":80",
            ".:80",
            "..:80",
            "a..b:80",
            "-a.org:80",
            "a-.org:80",
            "a b:80",
            " a:80",
            "a/b:80",
            "user@host:80",
            "bücher.example:80",
            "a\0b:80",
            "[::1:80",
            "::1]:80",
            "[]:80",
            "[192.0.2.1]:80",
            "[fe80::1%eth0]:80",
            "fe80::1%eth0:80",
            "[[::1]]:80",
            "::1",
            "1:2:3:4:5:6:7:8",
            "256.1.1.1:80",
            "127.1:80",
            "2130706433:80",
            "0x7f.0.0.1:80",
            "0x7f000001:80",
            "a.0x:80",
            &long_label,
            &long_name,
        ] {
            assert_eq!(text.parse::<HostPort>(), Err(HostPortError::Host(text.to_owned())), "{text:?}");
        }
    }

    #[test]
    fn a_person_may_type_a_link_local_address_with_its_zone_and_nobody_else_say_one() {
        for text in ["[fe80::1%eth0]:7008", "[fe80::1:2%3]:1", "[febf::1%wlp2s0.5-x_y]:65535"] {
            let typed = HostPort::typed(text).unwrap();
            assert!(matches!(typed.host, Host::LinkLocal(..)));
            assert_eq!(typed.to_string(), text);
            assert!(text.parse::<HostPort>().is_err(), "{text}");
            assert_eq!(HostList::parse_lenient(&format!("{text},192.0.2.1:1")).to_string(), "192.0.2.1:1");
        }
        for text in [
            "[fe80::1%]:80",
            "[fe80::1%eth 0]:80",
            "[fe80::1%eth0%1]:80",
            "[fe80::1%a/b]:80",
            "[2001:db8::1%eth0]:80",
            "[fe80::1%eth0]:0",
            "[fe80::1%eth0]:+1",
            "[fe80::1%eth0]",
            "fe80::1%eth0:80",
            "[192.0.2.1%eth0]:80",
            &format!("[fe80::1%{}]:80", "x".repeat(33)),
        ] {
            assert!(HostPort::typed(text).is_err(), "{text}");
        }
        assert_eq!(HostPort::typed("a.org:1"), "a.org:1".parse());
        assert_eq!(HostPort::typed("a.org"), "a.org".parse());
    }

    #[test]
    fn a_list_keeps_what_can_be_read_in_its_order_and_once() {
        let list =
            HostList::parse_lenient(" 192.0.2.1:7008,,nonsense, [2001:db8::1]:7008 ,a:0,192.0.2.1:7008,b.org:1\n");
        assert_eq!(list.to_string(), "192.0.2.1:7008,[2001:db8::1]:7008,b.org:1");
        assert_eq!(HostList::parse_lenient(""), HostList::default());
    }

    #[test]
    fn a_list_is_cut_after_its_first_entries() {
        let text: Vec<_> = (1..=100).map(|port| format!("192.0.2.1:{port}")).collect();
        let list = HostList::parse_lenient(&text.join(","));
        assert_eq!(list.to_string(), text[..MAX_HOSTS].join(","));
    }

    #[test]
    fn an_ipv4_address_seen_through_a_dual_stack_socket_is_written_as_one() {
        let seen: SocketAddr = "[::ffff:192.0.2.1]:7008".parse().unwrap();
        assert_eq!(HostPort::from(seen).to_string(), "192.0.2.1:7008");
    }
}
