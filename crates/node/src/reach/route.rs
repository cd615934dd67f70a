//! Whether the router in front of this host may have to open a port.

use std::net::{IpAddr, Ipv4Addr};

use hardline_proto::network::{DefaultRoute, NetworkState};
use hardline_proto::portmap::is_public;

/// The default route; `None` when there is none, when this host has a public address towards it, so
/// that nothing is translated, or when the P2P side does not listen at that address.
pub(super) fn translated(network: &NetworkState, bound: &[IpAddr]) -> Option<DefaultRoute> {
    network.default_route.filter(|route| {
        let is_listening =
            bound.is_empty() || bound.contains(&route.local.into()) || bound.contains(&Ipv4Addr::UNSPECIFIED.into());
        is_listening && !is_public(route.local)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_router_counts_when_it_translates_the_address_that_is_listened_at() {
        let network = |local: &str| {
            let route = DefaultRoute { gateway: [192, 168, 1, 1].into(), local: local.parse().unwrap() };
            NetworkState { default_route: Some(route), ..NetworkState::default() }
        };
        let home = network("192.168.1.2");
        let is_translated = |network: &NetworkState, bound: &[&str]| {
            let bound: Vec<IpAddr> = bound.iter().map(|ip| ip.parse().unwrap()).collect();
            translated(network, &bound).is_some()
        };
        assert!(is_translated(&home, &[]) && is_translated(&home, &["0.0.0.0"]));
        assert!(is_translated(&home, &["::1", "192.168.1.2"]));
        assert!(!is_translated(&home, &["127.0.0.1"]), "nobody listens there");
        assert!(!is_translated(&network("203.0.113.5"), &[]), "nothing is translated");
        assert!(!is_translated(&NetworkState::default(), &[]));
    }
}
