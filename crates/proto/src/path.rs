//! What a connection goes over, in words for people and keys for programs.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use serde::Serialize;
use serde::ser::{SerializeStruct as _, Serializer};

use crate::candidate::{TransportAddr, Way, is_private};
use crate::hosts::{Host, HostPort};
use crate::network::{InterfaceAddr, NetworkState};

/// What kind of path a connection takes, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PathKind {
    /// Within this computer.
    ThisComputer,
    /// Within the network that this computer is in.
    Lan,
    /// Over the internet, to an open port.
    Direct,
    /// Over the internet, through NATs that both sides have opened.
    Punched,
    /// Through somebody who joins two connections.
    Relay,
    /// Through other computers of a mesh: Yggdrasil.
    Mesh,
}

/// A path that a connection takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// Its kind.
    pub kind: PathKind,
    /// The relay's name or address, where there is one.
    pub via: Option<String>,
    /// Whether it is QUIC over UDP, and not TCP.
    pub is_udp: bool,
    /// A round trip between both ends, as measured last; `None` if it was not measured.
    pub round_trip: Option<Duration>,
}

impl Path {
    /// The path to `addr`, which was found as a `way` to go, seen from `network`. `remote` is the
    /// address that a name stands for, if it is known.
    #[must_use]
    pub fn new(addr: &TransportAddr, way: Way, remote: Option<IpAddr>, network: &NetworkState) -> Self {
        let HostPort { host, .. } = addr.host_port();
        let ip = match &host {
            Host::Ip(ip) => Some(*ip),
            Host::LinkLocal(ip, _) => Some(IpAddr::V6(*ip)),
            Host::Name(_) => remote,
        };
        let kind = match (way, ip.map(|ip| ip.to_canonical())) {
            (Way::Relayed, _) => PathKind::Relay,
            (Way::Punched, _) => PathKind::Punched,
            (Way::Straight, Some(ip)) => straight(ip, network),
            (Way::Straight, None) => PathKind::Direct,
        };
        let via = (kind == PathKind::Relay).then(|| match host {
            Host::Name(name) => name.to_string(),
            Host::Ip(ip) => ip.to_string(),
            Host::LinkLocal(ip, zone) => format!("{ip}%{zone}"),
        });
        Self { kind, via, is_udp: matches!(addr, TransportAddr::Quic(_)), round_trip: None }
    }
}

/// What lies between this computer and `ip`.
fn straight(ip: IpAddr, network: &NetworkState) -> PathKind {
    let is_here = |addr: &InterfaceAddr| shares_prefix(addr.ip, ip, addr.prefix_len);
    if ip.is_loopback() || network.ips().any(|own| own == ip) {
        PathKind::ThisComputer
    } else if is_mesh(ip) {
        PathKind::Mesh
    } else if is_private(ip) || is_link_local(ip) || network.up().any(is_here) {
        PathKind::Lan
    } else {
        PathKind::Direct
    }
}

/// Whether `ip` is one of Yggdrasil's, 200::/7.
pub(crate) fn is_mesh(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.segments()[0] & 0xfe00 == 0x0200)
}

fn is_link_local(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}

/// Whether both are in the same network, whose prefix has `len` bits.
fn shares_prefix(one: IpAddr, other: IpAddr, len: u8) -> bool {
    let len = u32::from(len);
    match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) if (1..=32).contains(&len) => {
            (one.to_bits() ^ other.to_bits()) >> (32 - len) == 0
        }
        (IpAddr::V6(one), IpAddr::V6(other)) if (1..=128).contains(&len) => {
            (one.to_bits() ^ other.to_bits()) >> (128 - len) == 0
        }
        _ => false,
    }
}

/// `relay vps.example, 48 ms`.
impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let over = if self.is_udp { " (UDP)" } else { "" };
        match (self.kind, &self.via) {
            (PathKind::ThisComputer, _) => write!(f, "this computer")?,
            (PathKind::Lan, _) => write!(f, "LAN{over}")?,
            (PathKind::Direct, _) => write!(f, "direct over the internet{over}")?,
            (PathKind::Punched, _) => write!(f, "punched{over}")?,
            (PathKind::Relay, Some(via)) => write!(f, "relay {via}")?,
            (PathKind::Relay, None) => write!(f, "relay")?,
            (PathKind::Mesh, _) => write!(f, "mesh (Yggdrasil)")?,
        }
        match self.round_trip.map(millis) {
            Some(ms) if ms < 10.0 => write!(f, ", {ms:.1} ms"),
            Some(ms) => write!(f, ", {ms:.0} ms"),
            None => Ok(()),
        }
    }
}

/// With the keys `kind`, `via`, `transport`, `rtt_ms` and, for people, `text`.
impl Serialize for Path {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Path", 5)?;
        object.serialize_field("kind", &self.kind)?;
        object.serialize_field("via", &self.via)?;
        object.serialize_field("transport", if self.is_udp { "quic" } else { "tcp" })?;
        object.serialize_field("rtt_ms", &self.round_trip.map(millis))?;
        object.serialize_field("text", &self.to_string())?;
        object.end()
    }
}

/// To a thousandth.
fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a computer that is 192.168.1.2 and 2001:db8:1::2, and in the mesh.
    fn network() -> NetworkState {
        let addr = |ip: &str, prefix_len| InterfaceAddr {
            ip: ip.parse().unwrap(),
            prefix_len,
            interface: "eth0".to_owned(),
            is_up: true,
            is_short_lived: false,
            may_multicast: true,
        };
        let addrs = vec![addr("192.168.1.2", 24), addr("2001:db8:1::2", 64), addr("200:1::2", 7)];
        NetworkState { addrs, ..NetworkState::default() }
    }

    fn path(addr: &str, way: Way) -> Path {
        Path::new(&TransportAddr::typed(addr).unwrap(), way, None, &network())
    }

    #[track_caller]
    fn check(addr: &str, way: Way, kind: PathKind, words: &str) {
        let path = path(addr, way);
        assert_eq!((path.kind, path.to_string().as_str()), (kind, words), "{addr}");
    }

    #[test]
    fn what_a_path_is_follows_from_the_address_and_how_it_was_found() {
        use PathKind::{Direct, Lan, Mesh, Punched, Relay, ThisComputer};
        for at in ["127.0.0.1:1", "[::1]:1", "192.168.1.2:1", "[2001:db8:1::2]:1", "[200:1::2]:1"] {
            check(at, Way::Straight, ThisComputer, "this computer");
        }
        for at in ["192.168.1.9:1", "10.0.0.1:1", "[2001:db8:1::9]:1", "[fe80::9%eth0]:1", "[fd00::1]:1"] {
            check(at, Way::Straight, Lan, "LAN");
        }
        for at in ["203.0.113.5:1", "[2001:db8:2::9]:1", "home.example.org:1"] {
            check(at, Way::Straight, Direct, "direct over the internet");
        }
        check("quic://203.0.113.5:1", Way::Straight, Direct, "direct over the internet (UDP)");
        check("quic://192.168.1.9:1", Way::Straight, Lan, "LAN (UDP)");
        check("quic://192.168.1.9:1", Way::Punched, Punched, "punched (UDP)");
        check("[2ff::1]:1", Way::Straight, Mesh, "mesh (Yggdrasil)");
        check("[3ff::1]:1", Way::Straight, Mesh, "mesh (Yggdrasil)");
        check("vps.example:443", Way::Relayed, Relay, "relay vps.example");
        check("192.168.1.9:443", Way::Relayed, Relay, "relay 192.168.1.9");
    }

    #[test]
    fn a_name_is_where_it_led_to() {
        let addr = TransportAddr::typed("nas.example:1").unwrap();
        let to = |ip: &str| Path::new(&addr, Way::Straight, Some(ip.parse().unwrap()), &network()).kind;
        assert_eq!((to("192.168.1.9"), to("::ffff:192.168.1.9")), (PathKind::Lan, PathKind::Lan));
        assert_eq!(to("203.0.113.5"), PathKind::Direct);
    }

    #[test]
    fn a_round_trip_is_told_as_exactly_as_it_is_of_use() {
        let text = |us| Path { round_trip: Some(Duration::from_micros(us)), ..path("192.168.1.9:1", Way::Straight) };
        for (us, words) in [(412, "LAN, 0.4 ms"), (9_940, "LAN, 9.9 ms"), (23_400, "LAN, 23 ms")] {
            assert_eq!(text(us).to_string(), words);
        }
    }

    #[test]
    fn the_keys_for_programs_stay() {
        let mut path = path("vps.example:443", Way::Relayed);
        path.round_trip = Some(Duration::from_micros(48_123));
        let json = serde_json::json!({
            "kind": "relay", "via": "vps.example", "transport": "tcp", "rtt_ms": 48.123,
            "text": "relay vps.example, 48 ms",
        });
        assert_eq!(serde_json::to_value(&path).unwrap(), json);
        let kinds = [
            (PathKind::ThisComputer, "this_computer"),
            (PathKind::Lan, "lan"),
            (PathKind::Direct, "direct"),
            (PathKind::Punched, "punched"),
            (PathKind::Relay, "relay"),
            (PathKind::Mesh, "mesh"),
        ];
        for (kind, word) in kinds {
            assert_eq!(serde_json::to_value(kind).unwrap(), word);
        }
        assert!(kinds.is_sorted_by_key(|(kind, _)| *kind), "the best first");
    }
}
