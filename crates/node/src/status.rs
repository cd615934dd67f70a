//! What a node is doing → sentences for people, an object for programs.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use hardline_proto::KeyHash;
use hardline_proto::punch::Mapping;
use serde_json::{Value, json};
use tokio::runtime::Handle;

use crate::accept::{Visitor, Visitors};
use crate::access::Access;
use crate::config::Bound;
use crate::dial::{Connected, Peer};
use crate::drivers::dht::DhtStatus;
use crate::drivers::dht::shared::SharedDht;
use crate::drivers::lan::{Lan, LanInterface};
use crate::forwards::{ForwardStatus, Forwards};
use crate::metrics::Metrics;
use crate::publish::{PublishStatus, Publisher};
use crate::reach::{Reach, ReachStatus};
use crate::relays::{RelayedThrough, Relays};
use crate::services::{Service, Services};
use crate::transport::relay::server::{Relay, RelayStatus};

/// Connected services, and visitors, that are told of in a sentence each.
const MAX_PEERS_SAID: usize = 16;

/// One published service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Its name.
    pub key: KeyHash,
    /// Its title.
    pub title: String,
    /// Who may use it.
    pub access: Access,
    /// What it is, for people: `localhost:8080`, `unix:/run/x.sock`, `/home/me/pictures`.
    pub target: String,
    /// Whether whoever answers in the place of its program is believed, as set.
    pub believes_anybody: bool,
    /// Whether only visitors come in who were invited.
    pub is_private: bool,
}

/// What a node is doing.
#[derive(Debug, Clone)]
pub struct Status {
    /// Its sockets.
    pub bound: Bound,
    /// Its services, in the order of the configuration.
    pub services: Vec<Published>,
    /// Interfaces of LAN discovery.
    pub lan: Vec<LanInterface>,
    /// The DHT node; `None` while it does not run.
    pub dht: Option<DhtStatus>,
    /// What came of publishing services in the DHT; those that are kept out of it are missing.
    pub published: Vec<PublishStatus>,
    /// How this computer is reached from outside; `None` when it has no services.
    pub reach: Option<ReachStatus>,
    /// The relay that runs here.
    pub relay: Option<RelayStatus>,
    /// Relays through which this computer is reached, in the order of the configuration.
    pub relays: Vec<RelayedThrough>,
    /// Services of other computers that are connected, and over what.
    pub peers: Vec<Peer>,
    /// Computers that are connected to services of this node, and over what: each of their
    /// sessions.
    pub visitors: Vec<Visitor>,
    /// Ports and sockets of this computer that lead to services of others.
    pub forwards: Vec<ForwardStatus>,
    /// Where names below `localhost` are looked up.
    pub dns: Vec<SocketAddr>,
    /// Every counter by its name; see [`metrics`](crate::metrics).
    pub metrics: Value,
    /// Tunnels open now, as listener and as dialler.
    pub tunnels: u64,
    /// Tasks that live in the runtime of whoever asks; `None` outside one.
    pub tasks: Option<usize>,
}

/// The parts that are asked how they are.
#[derive(Debug, Clone)]
pub(crate) struct Live {
    /// Addresses for browsers.
    pub(crate) gateway: Vec<SocketAddr>,
    pub(crate) services: Arc<Services>,
    pub(crate) lan: Option<Arc<Lan>>,
    pub(crate) dht: Option<Arc<SharedDht>>,
    pub(crate) relay: Option<Arc<Relay>>,
    pub(crate) connected: Connected,
    /// Begins at the start, or with the first service.
    pub(crate) listening: Arc<OnceLock<Listening>>,
    pub(crate) forwards: Arc<Forwards>,
    /// Where names below `localhost` are looked up.
    pub(crate) dns: Vec<SocketAddr>,
    pub(crate) metrics: Metrics,
}

/// The parts of the listening side.
#[derive(Debug)]
pub(crate) struct Listening {
    /// Addresses for other daemons.
    pub(crate) addrs: Vec<SocketAddr>,
    /// The same over UDP, for QUIC.
    pub(crate) quic: Vec<SocketAddr>,
    pub(crate) reach: Arc<Reach>,
    pub(crate) publisher: Option<Arc<Publisher>>,
    pub(crate) relays: Arc<Relays>,
    pub(crate) visitors: Arc<Visitors>,
}

impl Live {
    pub(crate) fn bound(&self) -> Bound {
        let p2p = self.listening.get().map(|listening| listening.addrs.clone()).unwrap_or_default();
        let quic = self.listening.get().map(|listening| listening.quic.clone()).unwrap_or_default();
        Bound { gateway: self.gateway.clone(), p2p, quic }
    }

    pub(crate) fn status(&self) -> Status {
        let listening = self.listening.get();
        let publisher = listening.and_then(|listening| listening.publisher.as_ref());
        Status {
            bound: self.bound(),
            services: self.services.now().services.iter().map(|service| Published::of(service)).collect(),
            lan: self.lan.as_ref().map(|lan| lan.interfaces()).unwrap_or_default(),
            dht: self.dht.as_ref().and_then(|dht| dht.status()),
            published: publisher.map(|publisher| publisher.status()).unwrap_or_default(),
            reach: listening.map(|listening| listening.reach.status()),
            relay: self.relay.as_ref().map(|relay| relay.status()),
            relays: listening.map(|listening| listening.relays.status()).unwrap_or_default(),
            peers: self.connected.peers(),
            visitors: listening.map(|listening| listening.visitors.now()).unwrap_or_default(),
            forwards: self.forwards.status(),
            dns: self.dns.clone(),
            metrics: self.metrics.to_json(),
            tunnels: self.metrics.open_tunnels(),
            tasks: Handle::try_current().ok().map(|runtime| runtime.metrics().num_alive_tasks()),
        }
    }
}

impl Published {
    fn of(service: &Service) -> Self {
        let (title, target) = (service.config.title.clone(), service.config.target.to_string());
        let (access, believes_anybody) = (service.access.clone(), service.config.believes_anybody());
        let is_private = service.config.private;
        Self { key: service.key(), title, access, target, believes_anybody, is_private }
    }
}

impl Status {
    /// What a person wants to know, a sentence each; no password in it.
    #[must_use]
    pub fn sentences(&self) -> Vec<String> {
        let mut sentences = Vec::new();
        let reach = self.reach.iter().flat_map(ReachStatus::sentences);
        sentences.extend(reach.map(|sentence| sentence.to_string()));
        sentences.extend(self.relays.iter().map(RelayedThrough::sentence));
        sentences.extend(self.relay.as_ref().map(RelayStatus::sentence));
        sentences.extend(self.dht.as_ref().map(dht_sentence));
        sentences.extend(self.services.iter().map(|service| self.service_sentence(service)));
        sentences.extend(self.forwards.iter().map(|forward| self.forward_sentence(forward)));
        if !self.dns.is_empty() {
            let at: Vec<_> = self.dns.iter().map(ToString::to_string).collect();
            sentences.push(format!("Names below localhost are looked up at {} (DNS).", at.join(" and ")));
        }
        sentences.extend(self.peers.iter().map(Peer::sentence).take(MAX_PEERS_SAID));
        if let Some(more) = self.peers.len().checked_sub(MAX_PEERS_SAID).filter(|more| *more > 0) {
            sentences.push(format!("Connected to {more} more."));
        }
        sentences.extend(self.visitors.iter().map(Visitor::sentence).take(MAX_PEERS_SAID));
        if let Some(more) = self.visitors.len().checked_sub(MAX_PEERS_SAID).filter(|more| *more > 0) {
            sentences.push(format!("And {more} more."));
        }
        sentences.push(match self.tunnels {
            0 => "No tunnel is open.".to_owned(),
            1 => "1 tunnel is open.".to_owned(),
            many => format!("{many} tunnels are open."),
        });
        sentences
    }

    /// The same for programs; no password in it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let texts = |addrs: &[SocketAddr]| addrs.iter().map(ToString::to_string).collect::<Vec<_>>();
        let service = |service: &Published| {
            let dht = self.published.iter().find(|published| published.key == service.key);
            let dht = dht.map(|dht| {
                let mut state = json!(dht.state);
                state["sentence"] = json!(dht.state.to_string());
                state
            });
            json!({
                "key": service.key.to_string(),
                "title": service.title,
                "target": service.target,
                "any_certificate": service.believes_anybody,
                "private": service.is_private,
                "dht": dht,
            })
        };
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "gateway": texts(&self.bound.gateway),
            "p2p": texts(&self.bound.p2p),
            "services": self.services.iter().map(service).collect::<Vec<_>>(),
            "reach": self.reach.as_ref().map(ReachStatus::to_json),
            "dht": self.dht.as_ref().map(dht_json),
            "relay": self.relay,
            "relays": self.relays,
            "peers": self.peers,
            "visitors": self.visitors,
            "forwards": self.forwards.iter().map(|it| self.forward_json(it)).collect::<Vec<_>>(),
            "dns": texts(&self.dns),
            "metrics": self.metrics,
            "tunnels": self.tunnels,
            "tasks": self.tasks,
            "sentences": self.sentences(),
        })
    }

    /// A forward, with the path over which its service is connected now.
    fn forward_sentence(&self, forward: &ForwardStatus) -> String {
        let mut sentence = forward.sentence();
        if let Some(peer) = self.peer_of(forward) {
            let _ = write!(sentence, " It is connected: {}.", peer.path);
        }
        sentence
    }

    fn forward_json(&self, forward: &ForwardStatus) -> Value {
        let mut object = json!(forward);
        object["path"] = json!(self.peer_of(forward).map(|peer| &peer.path));
        object
    }

    fn peer_of(&self, forward: &ForwardStatus) -> Option<&Peer> {
        self.peers.iter().find(|peer| peer.key == forward.key)
    }

    fn service_sentence(&self, service: &Published) -> String {
        let mut sentence = format!("{} ({}): ", service.title, service.target);
        let _ = match self.published.iter().find(|published| published.key == service.key) {
            Some(published) => write!(sentence, "{}", published.state),
            None => write!(sentence, "Kept out of the DHT, as set."),
        };
        if service.is_private {
            sentence.push_str(" Only visitors who were invited come in.");
        }
        if service.believes_anybody {
            sentence.push_str(" Any certificate of its program is accepted, as set.");
        }
        sentence
    }
}

fn dht_sentence(status: &DhtStatus) -> String {
    let good = status.table_v4.good + status.table_v6.good;
    let mut sentence = match (status.is_connected(), good) {
        (false, _) => "No node of the DHT answers.".to_owned(),
        (true, 1) => "1 node of the DHT is known.".to_owned(),
        (true, good) => format!("{good} nodes of the DHT are known."),
    };
    if !status.public.is_empty() {
        let public: Vec<_> = status.public.iter().map(ToString::to_string).collect();
        let _ = write!(sentence, " They see this computer as {}.", public.join(" and "));
    }
    sentence
}

fn dht_json(status: &DhtStatus) -> Value {
    json!({
        "id": status.id.to_string(),
        "connected": status.is_connected(),
        "nodes_ipv4": status.table_v4.good,
        "nodes_ipv6": status.table_v6.good,
        "public": status.public,
        "bound": status.bound,
        "shares_quic": status.is_at_quic,
        "seen_at": status.agreed,
        "nat": match status.mapping_v4 {
            Mapping::Unknown => "unknown",
            Mapping::OneForAll => "one_port_for_all",
            Mapping::Symmetric => "symmetric",
        },
        "stored_for_others": status.stored_values,
        "dropped": {
            "over_rate": status.counters.dropped_rate,
            "not_kept_up": status.lost,
            "malformed": status.counters.dropped_malformed,
            "foreign": status.counters.dropped_foreign,
            "blacklisted": status.counters.dropped_blacklisted,
            "unsolicited": status.counters.dropped_unsolicited,
        },
        "bytes_in": status.counters.bytes_in,
        "bytes_out": status.counters.bytes_out,
    })
}
