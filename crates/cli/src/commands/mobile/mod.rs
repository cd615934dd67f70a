//! `hardline --mobile`: the gateway as the child of an app on a phone, where the system tells
//! programs little and gives them less. The app tells of networks and name servers on stdin; when
//! that ends, so does the program.

mod lines; // bounded lines of stdin
mod protocol; // lines ⇄ events

use std::collections::BTreeSet;
use std::time::Duration;

use hardline_node::config::NodeConfig;
use hardline_node::network::InterfaceAddr;
use hardline_node::transport;
use serde_json::Value;
use tokio::io::BufReader;

use self::lines::{Line, Lines};
use self::protocol::Event;
use super::serve::{self, OtherGateway, Running};
use crate::failure::Failure;
use crate::output::{Output, write};
use crate::settings::Loaded;

/// Time for running tunnels to end: the phone's system does not wait for long.
const GRACE: Duration = Duration::from_secs(2);

pub(super) async fn run(loaded: Loaded, output: Output) -> Result<(), Failure> {
    let mut config = loaded.settings.node_config()?;
    on_a_phone(&mut config);
    let running = serve::start(config, OtherGateway::Refuse).await;
    let mut running = running.inspect_err(|failure| drop(say(&protocol::error(&failure.message()))))?;
    for notice in running.notices() {
        output.remark(format_args!("note: {notice}"));
    }
    // When nobody reads, the app is gone.
    if say(&protocol::ready(running.gateway_port)).is_ok() {
        serve_app(&mut running).await;
    }
    running.stop().await;
    Ok(())
}

/// Leaves out what a phone is not for: services, and a node of the DHT, which is never at rest.
fn on_a_phone(config: &mut NodeConfig) {
    config.services.clear();
    config.relays.clear();
    config.relay = None;
    config.ready.clear();
    config.dht.node = false;
    config.lan.only_while_searching = true;
    config.networks = Some(Vec::new());
    config.grace = GRACE;
}

/// Does what the app says, until it says no more.
async fn serve_app(running: &mut Running) {
    let mut lines = Lines::new(BufReader::new(tokio::io::stdin()), protocol::MAX_LINE);
    let mut app = App::default();
    let mut lan = running.node().lan_interfaces();
    loop {
        let line = tokio::select! {
            line = lines.next() => line,
            () = running.signals().next() => return,
            Ok(()) = lan.changed() => {
                let is_searching = !lan.borrow_and_update().is_empty();
                if app.tell_search(is_searching).is_err() {
                    return;
                }
                continue;
            }
        };
        let event = match line {
            Line::End => return,
            Line::TooLong => Err(format!("a line is longer than {} bytes", protocol::MAX_LINE)),
            Line::Whole(line) if line.trim_ascii().is_empty() => continue,
            Line::Whole(line) => Event::read(&line),
        };
        let answered = match event {
            Ok(Event::Stop) => return,
            Ok(event) => app.handle(running, event),
            Err(message) => say(&protocol::error(&message)),
        };
        if answered.is_err() {
            return;
        }
    }
}

/// What the app has told.
#[derive(Debug, Default)]
struct App {
    networks: Vec<InterfaceAddr>,
    is_dozing: bool,
    is_searching: bool,
}

impl App {
    fn handle(&mut self, running: &Running, event: Event) -> Result<(), Failure> {
        match event {
            Event::Networks(networks) => {
                self.networks = networks;
                self.tell_networks(running);
            }
            Event::Resolvers(servers) => transport::use_servers(&servers),
            Event::Doze(is_dozing) => {
                self.is_dozing = is_dozing;
                running.node().rest(is_dozing);
                self.tell_networks(running);
            }
            Event::Status => {
                let status = running.node().status();
                let services: BTreeSet<_> = status.peers.iter().map(|peer| peer.key).collect();
                return say(&protocol::status(services.len(), status.tunnels));
            }
            Event::Stop => {}
        }
        Ok(())
    }

    /// Says when a search on the local networks begins, which takes the app's lock for multicast,
    /// and when it is over.
    fn tell_search(&mut self, is_searching: bool) -> Result<(), Failure> {
        if self.is_searching == is_searching {
            return Ok(());
        }
        self.is_searching = is_searching;
        say(&protocol::searching(is_searching))
    }

    /// Member of a multicast group is nobody who dozes: the router asks members who they are.
    fn tell_networks(&self, running: &Running) {
        let mut networks = self.networks.clone();
        networks.iter_mut().for_each(|addr| addr.may_multicast &= !self.is_dozing);
        running.node().set_networks(networks);
    }
}

fn say(object: &Value) -> Result<(), Failure> {
    write(&format!("{object}\n"))
}
