//! `hardline browse`: services of the local network, as they come and go.

use std::collections::BTreeMap;
use std::time::Duration;

use hardline_node::drivers::lan::{FoundService, Lan};
use hardline_node::network::NetworkMonitor;
use hardline_node::proto::KeyHash;
use hardline_node::proto::lan::Freetext;
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::args::BrowseArgs;
use crate::failure::{Exit, Failure};
use crate::links;
use crate::output::{Output, printable};
use crate::settings::Loaded;
use crate::system::signals::Signals;

/// Seconds that `--once` waits: searches are repeated, and a sleeping Wi-Fi client needs a second
/// for a multicast.
const ONCE: u16 = 2;

pub(super) async fn run(loaded: Loaded, args: BrowseArgs, output: Output) -> Result<(), Failure> {
    let config = loaded.settings.node_config()?;
    if !config.lan.enabled {
        return Err(Failure::new(Exit::Configuration, "discovery on the local network is turned off")
            .remedy("set lan.enabled to true"));
    }
    let mut signals = Signals::catch().map_err(|err| Failure::of(Exit::Failed, "cannot catch signals", &err))?;
    let shutdown = CancellationToken::new();
    let _stop = shutdown.clone().drop_guard();
    let network = NetworkMonitor::start(shutdown.clone(), &TaskTracker::new());
    let lan = Lan::start(config.lan, &network, shutdown).await.map_err(|err| {
        Failure::of(Exit::Failed, "discovery on the local network does not work", &err).remedy("see `hardline doctor`")
    })?;
    let mut live = lan.browse();
    output.event(&json!({"event": "ready"}))?;
    let wait = args.wait.or(args.once.then_some(ONCE));
    let end = wait.map(|seconds| Instant::now() + Duration::from_secs(seconds.into()));
    let mut list = List { port: loaded.settings.gateway_port, shown: BTreeMap::new(), output };
    loop {
        list.update(&live.borrow_and_update().clone())?;
        tokio::select! {
            changed = live.changed() => if changed.is_err() { break },
            () = until(end) => break,
            () = signals.next() => break,
        }
    }
    if list.shown.is_empty() {
        output.remark("Nothing is announced on the local network.");
    }
    output.event(&json!({"event": "done"}))
}

/// What has been shown so far.
struct List {
    port: u16,
    shown: BTreeMap<KeyHash, FoundService>,
    output: Output,
}

impl List {
    /// Shows what is different from before.
    fn update(&mut self, now: &[FoundService]) -> Result<(), Failure> {
        let gone: Vec<KeyHash> =
            self.shown.keys().filter(|key| !now.iter().any(|service| service.key == **key)).copied().collect();
        for service in gone.iter().filter_map(|key| self.shown.remove(key)).collect::<Vec<_>>() {
            self.show("lost", "-", &service)?;
        }
        for service in now {
            match self.shown.insert(service.key, service.clone()) {
                None => self.show("found", "+", service)?,
                Some(before) if before != *service => self.show("changed", "~", service)?,
                Some(_) => {}
            }
        }
        Ok(())
    }

    fn show(&self, event: &str, sign: &str, service: &FoundService) -> Result<(), Failure> {
        let addresses: Vec<String> = service.addrs.iter().map(ToString::to_string).collect();
        let link = links::link(service.key, service.password.as_ref().map(Freetext::as_str), self.port);
        self.output.event(&object(event, service, &link, &addresses))?;
        let title = printable(&service.title);
        let title = if title.is_empty() { service.key.short() } else { title };
        self.output.line(format_args!("{sign} {title}  {link}  {}", addresses.join(" ")))
    }
}

fn object(event: &str, service: &FoundService, link: &str, addresses: &[String]) -> Value {
    json!({
        "event": event,
        "key": service.key.to_string(),
        "title": service.title,
        "link": link,
        "addresses": addresses,
    })
}

async fn until(end: Option<Instant>) {
    match end {
        Some(end) => tokio::time::sleep_until(end).await,
        None => std::future::pending().await,
    }
}
