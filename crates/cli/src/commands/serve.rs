//! Runs a node until it is told to stop: what `hardline` and `hardline share` have in common.

use std::io;

use hardline_node::config::{ForwardConfig, NodeConfig};
use hardline_node::gateway::GatewayBindError;
use hardline_node::node::{Node, Notice, Published, StartError, Status};
use hardline_node::proto::hosts::HostPort;
use hardline_node::proto::relay::RelayUrl;
use hardline_node::store::StoreNotice;
use hardline_node::tls::identity::IdentityNotice;
use serde_json::{Value, json};

use super::relay;
use crate::descriptors;
use crate::failure::{Exit, Failure};
use crate::gateway::{self, Occupant};
use crate::links;
use crate::output::Output;
use crate::system::memory;
use crate::system::signals::Signals;
use crate::system::supervisor;

/// A node that runs.
pub(super) struct Running {
    node: Node,
    signals: Signals,
    /// What it is doing.
    pub(super) status: Status,
    /// Port of the gateway that serves the browsers of this computer: the node's own, or that of
    /// another hardline.
    pub(super) gateway_port: u16,
    /// Whether another hardline serves the browsers.
    pub(super) has_other_gateway: bool,
    notices: Vec<String>,
    /// What publishers use to register at the relay that runs here.
    pub(super) relay: Option<RelayUrl>,
}

/// What to do when another hardline has the gateway's port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OtherGateway {
    /// Let it serve the browsers, and only publish.
    Use,
    /// Give up.
    Refuse,
}

/// Starts a node; signals are caught from here on.
///
/// # Errors
/// What is in the way, with the remedy.
pub(super) async fn start(mut config: NodeConfig, other: OtherGateway) -> Result<Running, Failure> {
    let (data_dir, by_hand) = (config.data_dir.clone(), config.p2p.public_addresses.clone());
    let signals = Signals::catch().map_err(|err| Failure::of(Exit::Failed, "cannot catch signals", &err))?;
    descriptors::allow_as_many_as_possible(&mut config);
    memory::give_back_in_the_background();
    let usual_port = config.gateway_port.unwrap_or(hardline_node::config::DEFAULT_GATEWAY_PORT);
    let mut has_other_gateway = false;
    let (node, notices) = match Node::start(config.clone()).await {
        Err(StartError::Gateway(error)) if error.source.kind() == io::ErrorKind::AddrInUse => {
            let occupant = gateway::occupant(error.addr.port()).await;
            if occupant != Occupant::Gateway || other == OtherGateway::Refuse {
                return Err(gateway_taken(&error, &occupant));
            }
            has_other_gateway = true;
            config.gateway_port = None;
            Node::start(config).await?
        }
        started => started?,
    };
    let status = node.status();
    let gateway_port = status.bound.gateway.first().map_or(usual_port, std::net::SocketAddr::port);
    let notices = notices.iter().map(|notice| sentence(notice, &status)).collect();
    let relay = match node.relay_key() {
        Some(key) => relay::address(&data_dir, key, by_hand.first().or_else(|| advertised(&status)))?,
        None => None,
    };
    Ok(Running { node, signals, status, gateway_port, has_other_gateway, notices, relay })
}

/// Where others reach this computer, as far as it is known so early.
fn advertised(status: &Status) -> Option<&HostPort> {
    status.reach.as_ref()?.advertised.as_slice().first()
}

impl Running {
    /// Says that everything is ready: an event for programs, a message for systemd, remarks for
    /// people. What else people should read follows by the caller.
    pub(super) fn announce(&self, output: Output) {
        // A daemon goes on when nobody reads what it says.
        let _ = output.event(&self.ready());
        for notice in &self.notices {
            output.remark(format_args!("note: {notice}"));
        }
        supervisor::ready();
    }

    /// What people should hear.
    pub(super) fn notices(&self) -> &[String] {
        &self.notices
    }

    /// The node.
    pub(super) fn node(&self) -> &Node {
        &self.node
    }

    /// Waits for a signal, then stops: running tunnels get their grace, and a second signal ends
    /// it.
    pub(super) async fn until_stopped(mut self, output: Output) {
        self.signals.next().await;
        let _ = output.event(&json!({"event": "stopping"}));
        supervisor::stopping();
        self.stop().await;
        let _ = output.event(&json!({"event": "stopped"}));
    }

    /// Forwards of the configuration.
    pub(super) fn forwards(&self) -> Vec<ForwardConfig> {
        self.node.forwards()
    }

    /// Requests to stop.
    pub(super) fn signals(&mut self) -> &mut Signals {
        &mut self.signals
    }

    /// Stops; running tunnels get their grace, and a signal ends it.
    pub(super) async fn stop(mut self) {
        tokio::select! {
            () = self.node.shutdown() => {}
            () = self.signals.next() => tracing::info!("stopped at once"),
        }
    }

    /// The link of a service on this computer.
    pub(super) fn link(&self, service: &Published) -> String {
        links::link(service.key, service.access.password(), self.gateway_port)
    }

    fn ready(&self) -> Value {
        let text = |addrs: &[std::net::SocketAddr]| addrs.iter().map(ToString::to_string).collect::<Vec<_>>();
        let services: Vec<Value> = self
            .status
            .services
            .iter()
            .map(|service| {
                json!({
                    "key": service.key.to_string(),
                    "title": service.title,
                    "target": service.target,
                    "link": self.link(service),
                    "link_elsewhere": links::link_elsewhere(service.key, service.access.password()),
                })
            })
            .collect();
        json!({
            "event": "ready",
            "version": env!("CARGO_PKG_VERSION"),
            "gateway": text(&self.status.bound.gateway),
            "p2p": text(&self.status.bound.p2p),
            "services": services,
            "forwards": self.forwards().iter().map(super::forward::event).collect::<Vec<_>>(),
            "dns": text(self.node.dns()),
            "relay": self.relay.as_ref().map(ToString::to_string),
            "notices": self.notices,
        })
    }
}

fn gateway_taken(error: &GatewayBindError, occupant: &Occupant) -> Failure {
    let port = error.addr.port();
    let failure = Failure::new(Exit::InUse, format_args!("port {port}, where browsers connect, is used by {occupant}"));
    match occupant {
        Occupant::Gateway => failure.remedy("use that one, stop it, or choose another port with --gateway-port"),
        _ => {
            failure.remedy("stop that program, or choose another port with --gateway-port; links then carry that port")
        }
    }
}

/// A notice as a person should hear it.
fn sentence(notice: &Notice, status: &Status) -> String {
    match notice {
        Notice::Store(notice) => store_sentence(notice),
        Notice::Identity { service, notice } => {
            let target = status.services.get(*service).map_or("a service", |service| service.target.as_str());
            identity_sentence(notice, target)
        }
        Notice::AnyCertificate { service } => {
            let target = status.services.get(*service).map_or("a service", |service| service.target.as_str());
            format!(
                "any certificate of {target} is accepted, as set: whoever can answer in its place reads and changes what passes"
            )
        }
        Notice::PortTaken { wanted, got } => {
            format!(
                "port {wanted} is taken, so other computers connect at port {got}; the local network is told by itself"
            )
        }
        Notice::NoLan { reason } => {
            format!("discovery on the local network does not work ({reason}); see `hardline doctor`")
        }
        other => format!("{other:?}"),
    }
}

fn store_sentence(notice: &StoreNotice) -> String {
    match notice {
        StoreNotice::MovedAside { to, reason } => format!(
            "what was remembered could not be read ({reason}); it was moved to {} and a new memory begun",
            to.display()
        ),
        StoreNotice::Imported { services, skipped: 0 } => {
            format!("took over {services} services of the Python program")
        }
        StoreNotice::Imported { services, skipped } => {
            format!(
                "took over {services} services of the Python program; {skipped} of its entries could not be understood"
            )
        }
        StoreNotice::NotImported { from, reason } => {
            format!("the Python program's addresses in {} could not be read ({reason})", from.display())
        }
        StoreNotice::NotRemembering { reason } => format!("nothing new is remembered: {reason}"),
        other => format!("{other:?}"),
    }
}

fn identity_sentence(notice: &IdentityNotice, target: &str) -> String {
    match notice {
        IdentityNotice::Created => format!("a new identity was made for {target}"),
        IdentityNotice::KeyReadableByOthers { path } => {
            format!("other users of this computer can read the private key {}; run chmod 600 on it", path.display())
        }
        IdentityNotice::HashNotWritten { path, reason } => format!("{} was not written: {reason}", path.display()),
        other => format!("{other:?}"),
    }
}
