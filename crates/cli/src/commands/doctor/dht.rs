//! The DHT: what the hardline that runs here says of it, or whether anybody answers.

use std::net::IpAddr;
use std::time::Duration;

use hardline_node::drivers::dht::{Dht, DhtConfig, DhtStatus};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::settings::Settings;

use super::Finding;

/// Time for the first node to answer.
const ENTER_LIMIT: Duration = Duration::from_secs(8);

/// Time for enough nodes to agree where this computer is.
const VOTE_LIMIT: Duration = Duration::from_secs(2);

const REMEDY: &str = "see whether the network lets UDP through, or name another entrance with --dht-bootstrap; where UDP \
                      is not possible proxies are used (--dht-proxy)";

/// What is to be said, and where nodes see this computer, if they were asked.
pub(super) async fn findings(settings: &Settings, running: Option<&Value>) -> (Vec<Finding>, Vec<IpAddr>) {
    if !settings.node.dht.enabled {
        return (vec![Finding::fine("dht", "The DHT is turned off.")], Vec::new());
    }
    match running {
        Some(status) if status["dht"].is_object() => (of_running(status), Vec::new()),
        _ => {
            let (finding, seen) = try_it(settings).await;
            (vec![finding], seen)
        }
    }
}

/// What the running hardline says, service by service.
fn of_running(status: &Value) -> Vec<Finding> {
    let connected = match &status["dht"]["connected"] {
        Value::Bool(true) => Finding::fine("dht", "The running hardline takes part in the DHT."),
        _ => Finding::wrong("dht", "No node of the DHT answers the running hardline.", REMEDY),
    };
    let services = status["services"].as_array().map(Vec::as_slice).unwrap_or_default();
    let published = services.iter().filter(|service| service["dht"].is_object()).map(|service| {
        let title = service["title"].as_str().unwrap_or_default();
        let sentence = format!("{title}: {}", service["dht"]["sentence"].as_str().unwrap_or_default());
        match service["dht"]["state"].as_str() {
            Some("stored" | "by_proxy") => Finding::fine("dht_service", sentence),
            _ => Finding::note("dht_service", sentence, "`hardline status` follows it"),
        }
    });
    std::iter::once(connected).chain(published).collect()
}

/// Asks the network itself, without taking part in it.
async fn try_it(settings: &Settings) -> (Finding, Vec<IpAddr>) {
    let stop = CancellationToken::new();
    let _stop = stop.clone().drop_guard();
    let chosen = settings.node.dht.clone();
    let config = DhtConfig {
        port: 0,
        bind: chosen.bind,
        bootstrap: chosen.bootstrap.clone(),
        network: chosen.network,
        client: true,
        rates: chosen.rates,
    };
    let dht = match Dht::start(config, None, stop).await {
        Ok(dht) => dht,
        Err(err) => {
            let sentence = format!("There is no UDP socket for the DHT: {err}.");
            return (Finding::wrong("dht", sentence, REMEDY), Vec::new());
        }
    };
    if tokio::time::timeout(ENTER_LIMIT, dht.connected()).await.is_err() {
        let entrance = if chosen.bootstrap.is_empty() { "no entrance".into() } else { chosen.bootstrap.join(", ") };
        let sentence = format!("No node of the DHT answers by way of {entrance}.");
        return (Finding::note("dht", sentence, REMEDY), Vec::new());
    }
    let mut live = dht.watch();
    let _ = tokio::time::timeout(VOTE_LIMIT, live.wait_for(|status| !status.public.is_empty())).await;
    let status = dht.status();
    (Finding::fine("dht", format!("The DHT answers{}.", seen_as(&status))), status.public)
}

fn seen_as(status: &DhtStatus) -> String {
    let public: Vec<_> = status.public.iter().map(ToString::to_string).collect();
    if public.is_empty() { String::new() } else { format!("; its nodes see this computer as {}", public.join(" and ")) }
}
