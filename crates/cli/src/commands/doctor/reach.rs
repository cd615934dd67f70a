//! The way here from outside: what the hardline that runs here says of it, or how it would be. Both
//! are judged by the node, in `reach`, so that `status` says the same.

use std::net::{IpAddr, Ipv4Addr};

use hardline_node::network::NetworkMonitor;
use hardline_node::reach::{self, ReachConfig};
use serde_json::Value;

use crate::settings::Settings;

use super::Finding;

/// The router, and who outside reaches this computer. The DHT's nodes see it at `seen`.
pub(super) async fn findings(
    settings: &Settings,
    networks: &NetworkMonitor,
    running: Option<&Value>,
    seen: &[IpAddr],
) -> Vec<Finding> {
    let (told, publishes) = match running.filter(|status| status["reach"].is_object()) {
        Some(status) => (status["reach"].clone(), is_published(status)),
        None => (forecast(settings, networks, seen).await, shall_be_published(settings)),
    };
    let router = said(&told["router"]).map(|(sentence, remedy)| match remedy {
        Some(remedy) => Finding::note("router", sentence, remedy),
        None => Finding::fine("router", sentence),
    });
    router.into_iter().chain(outlook(&told["outlook"], publishes)).collect()
}

/// Wrong is only what keeps others from a service that is to be reached.
fn outlook(told: &Value, publishes: bool) -> Option<Finding> {
    let (sentence, remedy) = said(told)?;
    Some(match (remedy, told["state"].as_str()) {
        (Some(remedy), Some("nobody")) if publishes => Finding::wrong("reach", sentence, remedy),
        (Some(remedy), _) => Finding::note("reach", sentence, remedy),
        (None, _) => Finding::fine("reach", sentence),
    })
}

fn said(told: &Value) -> Option<(&str, Option<&str>)> {
    Some((told["sentence"].as_str()?, told["remedy"].as_str()))
}

/// Whether the hardline that runs here publishes beyond its LAN.
fn is_published(status: &Value) -> bool {
    let services = status["services"].as_array().map(Vec::as_slice).unwrap_or_default();
    status["relay"].is_object() || services.iter().any(|service| service["dht"].is_object())
}

/// Whether one with these settings would, and without a relay.
fn shall_be_published(settings: &Settings) -> bool {
    let node = &settings.node;
    let is_public = node.dht.enabled && node.services.iter().any(|service| service.dht);
    (is_public || node.relay.is_some()) && node.relays.is_empty()
}

async fn forecast(settings: &Settings, networks: &NetworkMonitor, seen: &[IpAddr]) -> Value {
    let p2p = settings.node.p2p.clone();
    let network = networks.now();
    let probed = if p2p.port_mapping { reach::probe(&network, &p2p.bind).await } else { None };
    let config = ReachConfig {
        by_hand: p2p.public_addresses,
        port: p2p.port,
        // Which port it gets is seen when it is opened.
        quic_port: (p2p.quic && settings.node.dht.enabled).then_some(p2p.port),
        punching: p2p.punching,
        bound: p2p.bind,
        port_mapping: p2p.port_mapping,
    };
    reach::forecast(&config, &network, probed, seen.iter().find_map(v4)).to_json()
}

fn v4(ip: &IpAddr) -> Option<Ipv4Addr> {
    match ip {
        IpAddr::V4(ip) => Some(*ip),
        IpAddr::V6(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::commands::doctor::State;

    #[test]
    fn that_nobody_comes_is_wrong_for_who_publishes_alone() {
        let nobody = json!({"state": "nobody", "sentence": "Nobody.", "remedy": "do it"});
        assert_eq!(outlook(&nobody, true).unwrap().state, State::Wrong);
        assert_eq!(outlook(&nobody, false).unwrap().state, State::Note);
        let assumed = json!({"state": "assumed", "sentence": "Not verified.", "remedy": "try it"});
        assert_eq!(outlook(&assumed, true).unwrap().state, State::Note);
        let verified = json!({"state": "verified", "sentence": "You are.", "remedy": null});
        assert_eq!(outlook(&verified, true).unwrap().state, State::Fine);
        assert!(outlook(&Value::Null, true).is_none());
    }

    #[test]
    fn a_service_that_is_kept_on_the_lan_needs_nobody_outside() {
        assert!(!is_published(&json!({"relay": null, "services": [{"dht": null}]})));
        assert!(is_published(&json!({"relay": null, "services": [{"dht": {"state": "starting"}}]})));
        assert!(is_published(&json!({"relay": {"publishers": 0}, "services": []})));
        assert!(!is_published(&json!({})));
    }
}
