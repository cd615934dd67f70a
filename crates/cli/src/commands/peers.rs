//! `hardline peers`: services that were reached before, and over what they are connected now.

use std::time::{Duration, SystemTime};

use hardline_node::store::{Origin, Remembered, RememberedService, Store};
use serde_json::{Value, json};

use crate::args::{PeersArgs, PeersCommand};
use crate::failure::{Exit, Failure};
use crate::gateway;
use crate::links;
use crate::output::{Output, printable};
use crate::settings::Loaded;

pub(super) async fn run(loaded: Loaded, args: PeersArgs, output: Output) -> Result<(), Failure> {
    let config = loaded.settings.node_config()?;
    let (store, _) = Store::open(&config.data_dir, config.import_from.as_deref()).await?;
    let port = loaded.settings.gateway_port;
    let outcome = match args.command {
        None => list(&store, &connected(port).await, port, output).await,
        Some(PeersCommand::Forget { link }) => forget(&store, &link, output).await,
    };
    store.close().await;
    outcome
}

/// What the hardline of this computer is connected to, if one runs.
async fn connected(port: u16) -> Vec<Value> {
    let status = gateway::status(port).await.unwrap_or_default();
    status["peers"].as_array().cloned().unwrap_or_default()
}

async fn list(store: &Store, connected: &[Value], port: u16, output: Output) -> Result<(), Failure> {
    let mut services = store.services().await?;
    // One that is reached at no address that is good for the next time is not remembered.
    for key in connected.iter().filter_map(|peer| peer["key"].as_str()?.parse().ok()) {
        if !services.iter().any(|service| service.key == key) {
            services.push(RememberedService { key, title: None, addresses: Vec::new() });
        }
    }
    if services.is_empty() {
        output.remark("No service has been reached yet.");
    }
    for service in services {
        let link = links::link(service.key, None, port);
        let key = service.key.to_string();
        let paths: Vec<&Value> =
            connected.iter().filter(|peer| peer["key"] == *key).map(|peer| &peer["path"]).collect();
        output.event(&object(&service, &link, &paths))?;
        let title = printable(service.title.as_deref().unwrap_or_default());
        output.line(format_args!("{link}  {title}"))?;
        for text in paths.iter().filter_map(|path| path["text"].as_str()) {
            output.line(format_args!("  connected: {}", printable(text)))?;
        }
        for address in &service.addresses {
            output.line(format_args!("  {}  {}", address.at, history(address, SystemTime::now())))?;
        }
    }
    Ok(())
}

async fn forget(store: &Store, link: &str, output: Output) -> Result<(), Failure> {
    let key = links::read(link)?.key;
    if !store.forget(key).await? {
        return Err(Failure::new(Exit::NotReached, format_args!("{key} is not remembered"))
            .remedy("`hardline peers` lists what is"));
    }
    output.event(&json!({"event": "forgotten", "key": key.to_string()}))?;
    output.line(format_args!("Forgot {key}."))
}

fn object(service: &RememberedService, link: &str, paths: &[&Value]) -> Value {
    let addresses: Vec<Value> = service
        .addresses
        .iter()
        .map(|address| {
            json!({
                "address": address.at.to_string(),
                "origin": address.origin,
                "told_at": seconds(address.told_at),
                "worked_at": address.worked_at.map(seconds),
            })
        })
        .collect();
    json!({
        "event": "peer",
        "key": service.key.to_string(),
        "title": service.title,
        "link": link,
        "addresses": addresses,
        "paths": paths,
    })
}

/// Seconds since the Unix epoch.
pub(super) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Where an address comes from, when it was last told to us, and when it last worked.
fn history(address: &Remembered, now: SystemTime) -> String {
    let told = ago(address.told_at, now);
    let origin = match address.origin {
        Origin::Advertised => format!("told by the service {told}"),
        Origin::Lan => format!("heard on the local network {told}"),
        Origin::Static => format!("given by hand {told}"),
        Origin::Dht => format!("found in the DHT {told}"),
        Origin::Imported => format!("taken over from the Python program {told}"),
    };
    match address.worked_at {
        Some(when) => format!("{origin}, worked {}", ago(when, now)),
        None => format!("{origin}, not tried with success yet"),
    }
}

/// A time in the past in its largest unit: `3 hours ago`.
pub(super) fn ago(when: SystemTime, now: SystemTime) -> String {
    let past = now.duration_since(when).unwrap_or(Duration::ZERO).as_secs();
    let units = [(86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second")];
    match units.into_iter().find(|(length, _)| past >= *length) {
        Some((length, unit)) => match past / length {
            1 => format!("1 {unit} ago"),
            count => format!("{count} {unit}s ago"),
        },
        None => "just now".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_tells_where_it_comes_from_when_it_was_told_and_when_it_worked() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let mut address = Remembered {
            at: "203.0.113.5:7008".parse().unwrap(),
            origin: Origin::Advertised,
            told_at: now - Duration::from_secs(7_300),
            worked_at: None,
        };
        assert_eq!(history(&address, now), "told by the service 2 hours ago, not tried with success yet");
        address.worked_at = Some(now - Duration::from_secs(90));
        for (origin, words) in [
            (Origin::Lan, "heard on the local network 2 hours ago, worked 1 minute ago"),
            (Origin::Dht, "found in the DHT 2 hours ago, worked 1 minute ago"),
            (Origin::Static, "given by hand 2 hours ago, worked 1 minute ago"),
        ] {
            assert_eq!(history(&Remembered { origin, ..address.clone() }, now), words);
        }
    }

    #[test]
    fn times_are_told_in_their_largest_unit() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let check = |past: u64, expected: &str| assert_eq!(ago(now - Duration::from_secs(past), now), expected);
        check(0, "just now");
        check(1, "1 second ago");
        check(59, "59 seconds ago");
        check(60, "1 minute ago");
        check(7_300, "2 hours ago");
        check(86_400, "1 day ago");
        assert_eq!(ago(now + Duration::from_secs(5), now), "just now");
    }
}
