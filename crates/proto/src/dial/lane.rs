//! Which ways are tried before which others.

use std::net::IpAddr;
use std::time::Duration;

use crate::candidate::{Candidate, Tier, Way};
use crate::hosts::Host;
use crate::path::is_mesh;

/// A kind of way, the first to be tried first. Each paces its attempts by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lane {
    /// To the computer itself; and whatever is known here or on the LAN, which worked before or
    /// is named by somebody near.
    Direct,
    /// Through NATs that both sides open. The service is called first.
    Punched,
    /// Through a relay that the service uses.
    Relay,
    /// Through a mesh.
    Mesh,
}

impl Lane {
    /// The one in which a candidate is tried.
    #[must_use]
    pub fn of(candidate: &Candidate) -> Self {
        let host = candidate.addr.host_port().host;
        match candidate.way {
            _ if candidate.source.tier < Tier::Wan => Self::Direct,
            Way::Punched => Self::Punched,
            Way::Relayed => Self::Relay,
            Way::Straight if matches!(host, Host::Ip(IpAddr::V6(ip)) if is_mesh(ip.into())) => Self::Mesh,
            Way::Straight => Self::Direct,
        }
    }

    /// How long attempts in [`Direct`](Self::Direct) go ahead of those in this one. Between two
    /// others it is the difference.
    ///
    /// Most direct ways answer within 200 ms if they do at all, so most services that have one
    /// are not called. A relay costs whoever runs it; the mesh goes by the ways of others.
    #[must_use]
    pub const fn head_start(self) -> Duration {
        match self {
            Self::Direct => Duration::ZERO,
            Self::Punched => Duration::from_millis(200),
            Self::Relay => Duration::from_millis(300),
            Self::Mesh => Duration::from_millis(400),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::candidate::{SourceInfo, TransportAddr, Trust};

    #[test]
    fn who_names_a_way_and_what_it_is_decide_when_it_is_tried() {
        let lane = |tier, addr: &str, way| {
            let source = SourceInfo { tier, trust: Trust::Service, name: "source", label: "source" };
            Lane::of(&Candidate { addr: addr.parse::<TransportAddr>().unwrap(), source, version: None, way })
        };
        assert_eq!(lane(Tier::Wan, "203.0.113.5:1", Way::Straight), Lane::Direct);
        assert_eq!(lane(Tier::Wan, "quic://203.0.113.5:1", Way::Straight), Lane::Direct);
        assert_eq!(lane(Tier::Wan, "home.example.org:1", Way::Straight), Lane::Direct);
        assert_eq!(lane(Tier::Wan, "quic://203.0.113.5:1", Way::Punched), Lane::Punched);
        assert_eq!(lane(Tier::Wan, "203.0.113.5:1", Way::Relayed), Lane::Relay);
        assert_eq!(lane(Tier::Wan, "[200:1::2]:1", Way::Straight), Lane::Mesh);
        // What worked last is tried at once, whatever it is.
        for (addr, way) in [("203.0.113.5:1", Way::Relayed), ("[200:1::2]:1", Way::Straight)] {
            assert_eq!(lane(Tier::Lan, addr, way), Lane::Direct);
            assert_eq!(lane(Tier::Local, addr, way), Lane::Direct);
        }
        let lanes = [Lane::Direct, Lane::Punched, Lane::Relay, Lane::Mesh];
        assert!(lanes.is_sorted() && lanes.is_sorted_by_key(|lane| lane.head_start()));
    }
}
