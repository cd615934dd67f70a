//! Services of other computers at an address of this one.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use hardline_proto::host::ServiceName;

/// A service of another computer, as a port or a socket of this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForwardConfig {
    /// Which service.
    pub name: ServiceName,
    /// Where programs of this computer find it.
    pub local: LocalAddr,
}

/// Where programs of this computer connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LocalAddr {
    /// A TCP port; 0 takes a free one.
    Tcp(SocketAddr),
    /// A UDP port, for a service that speaks UDP; 0 takes a free one.
    Udp(SocketAddr),
    /// A Unix socket, for this user alone.
    Unix(PathBuf),
}

impl LocalAddr {
    /// How it is written.
    pub const FORM: &str =
        "a port, ADDR:PORT, one of these with udp: in front, or a path with a slash or unix: in front";

    /// The port, with its address.
    #[must_use]
    pub fn port(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(addr) | Self::Udp(addr) => Some(*addr),
            Self::Unix(_) => None,
        }
    }
}

impl fmt::Display for LocalAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(addr) => addr.fmt(f),
            Self::Udp(addr) => write!(f, "udp:{addr}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl FromStr for LocalAddr {
    type Err = &'static str;

    /// Reads `[ADDR:]PORT`, without an address 127.0.0.1, the same with `udp:` in front, or the
    /// path of a Unix socket.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.starts_with("udp:") && text.contains('/') {
            return Err(Self::FORM);
        }
        let path = text.strip_prefix("unix:").or(text.contains('/').then_some(text));
        if let Some(path) = path {
            return if path.is_empty() { Err(Self::FORM) } else { Ok(Self::Unix(path.into())) };
        }
        match text.strip_prefix("udp:") {
            Some(text) => port(text).map(Self::Udp),
            None => port(text).map(Self::Tcp),
        }
        .ok_or(Self::FORM)
    }
}

fn port(text: &str) -> Option<SocketAddr> {
    let text = text.strip_prefix("localhost:").unwrap_or(text);
    match text.parse::<u16>() {
        Ok(port) => Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)),
        Err(_) => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        assert_eq!(text.parse().ok().map(|at: LocalAddr| at.to_string()).as_deref(), expected, "{text}");
    }

    #[test]
    fn a_port_alone_is_on_the_loopback() {
        check("2222", Some("127.0.0.1:2222"));
        check("0", Some("127.0.0.1:0"));
        check("localhost:2222", Some("127.0.0.1:2222"));
        check("[::1]:2222", Some("[::1]:2222"));
        check("0.0.0.0:2222", Some("0.0.0.0:2222"));
        for text in ["", "70000", "example.org:22", "::1"] {
            check(text, None);
        }
    }

    #[test]
    fn a_udp_port_is_written_with_its_protocol() {
        check("udp:5353", Some("udp:127.0.0.1:5353"));
        check("udp:localhost:5353", Some("udp:127.0.0.1:5353"));
        check("udp:[::1]:0", Some("udp:[::1]:0"));
        for text in ["udp:", "udp:example.org:53", "udp:/run/app.sock", "5353/udp"] {
            assert!(!matches!(text.parse(), Ok(LocalAddr::Udp(_) | LocalAddr::Tcp(_))), "{text}");
        }
    }

    #[test]
    fn what_has_a_slash_is_a_socket() {
        check("/run/app.sock", Some("unix:/run/app.sock"));
        check("./app.sock", Some("unix:./app.sock"));
        check("unix:app.sock", Some("unix:app.sock"));
        check("unix:", None);
    }
}
