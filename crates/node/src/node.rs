//! The only place that wires the parts together.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hardline_proto::KeyHash;
use hardline_proto::candidate::DialPolicy;
use hardline_proto::host::ServiceName;
use hardline_proto::hosts::HostList;
use hardline_proto::lan::Freetext;
use hardline_proto::relay::RelayUrl;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use crate::accept::{Acceptor, Service};
use crate::backend::Backend;
use crate::config::{Bound, IdentityConfig, NodeConfig, P2pConfig, ServiceConfig};
use crate::dial::{Dialler, Waiting};
use crate::drivers::dht::proxy::client::ProxyError;
use crate::drivers::dht::shared::SharedDht;
use crate::drivers::lan::{FoundService, Lan, LanService};
use crate::gateway::{self, Forward, Gateway, GatewayBindError};
use crate::metrics::Metrics;
use crate::network::NetworkMonitor;
use crate::publish::{Announced, Means, Publisher, system_clock};
use crate::reach::{Outside, Reach, ReachConfig};
use crate::relays::{Relays, RelaysContext};
use crate::resolve::{Resolver, Sources};
use crate::session::ServerTls;
use crate::status::Live;
use crate::store::{RememberedService, Store, StoreError, StoreNotice};
use crate::tls::config::ServerSettings;
use crate::tls::identity::{Identity, IdentityError, IdentityNotice};
use crate::transport::relay::publisher::RelayedListener;
use crate::transport::relay::server::{Relay, RelayListener};
use crate::transport::relay::tokens::{TokenError, TokenFile};
use crate::transport::tcp::listen::{self, Listening};
use crate::tunnel::Drain;
use crate::warm_up::warm_up;

pub use crate::dial::{Cause, ReachError};
pub use crate::session::TunnelStream;
pub use crate::status::{Published, Status};

/// A running node.
#[derive(Debug)]
pub struct Node {
    bound: Bound,
    services: Vec<Published>,
    lan: Option<Arc<Lan>>,
    dht: Option<Arc<SharedDht>>,
    reach: Option<Arc<Reach>>,
    publisher: Option<Arc<Publisher>>,
    acceptor: Option<Arc<Acceptor>>,
    relay: Option<Arc<Relay>>,
    relays: Option<Arc<Relays>>,
    dialler: Arc<Dialler>,
    metrics: Metrics,
    drain: Drain,
    tasks: TaskTracker,
    grace: Duration,
}

/// Why a node cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The browser's port cannot be had.
    #[error(transparent)]
    Gateway(#[from] GatewayBindError),
    /// The port for other daemons cannot be had.
    #[error("cannot listen for other computers at port {port}")]
    P2p {
        /// The port asked for.
        port: u16,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A service's identity cannot be used.
    #[error("the identity of service {target}")]
    Identity {
        /// The service, for people.
        target: String,
        /// Why.
        #[source]
        source: IdentityError,
    },
    /// A service's backend cannot be used, whatever runs there: a folder that is none, say.
    #[error("service {target}")]
    Backend {
        /// The service, for people.
        target: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Two services have one identity, so nothing tells them apart.
    #[error("services {first} and {second} have the same identity {key}")]
    SameIdentity {
        /// The identity.
        key: KeyHash,
        /// One service.
        first: String,
        /// The other.
        second: String,
    },
    /// A proxy of the DHT has no usable address.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    /// The relay's identity cannot be used.
    #[error("the identity of the relay")]
    RelayIdentity(#[source] IdentityError),
    /// The relay's tokens cannot be used.
    #[error(transparent)]
    RelayTokens(#[from] TokenError),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a person should hear about a start that worked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// Of the store.
    Store(StoreNotice),
    /// Of an identity.
    Identity {
        /// Index in [`NodeConfig::services`].
        service: usize,
        /// What.
        notice: IdentityNotice,
    },
    /// The P2P port was taken.
    PortTaken {
        /// The port asked for.
        wanted: u16,
        /// The port used.
        got: u16,
    },
    /// LAN discovery does not work.
    NoLan {
        /// Why.
        reason: String,
    },
}

impl Node {
    /// Starts everything `config` asks for; on return all sockets are bound and all services are
    /// announced.
    ///
    /// # Errors
    /// [`StartError`] names what is in the way. Nothing is left running.
    pub async fn start(config: NodeConfig) -> Result<(Self, Vec<Notice>), StartError> {
        let mut notices = Vec::new();
        let drain = Drain::new(config.tunnel_idle);
        // Whatever fails below drops this guard, which ends what has been started.
        let undo = drain.stop.clone().drop_guard();
        let (tasks, metrics) = (TaskTracker::new(), Metrics::default());
        let loaded = load_services(&config, &mut notices)?;
        let relay = start_relay(&config, &metrics, &drain, &tasks)?;
        let gateway_listeners = config.gateway_port.map(gateway::bind).transpose()?.unwrap_or_default();
        let is_listening = relay.is_some() || !loaded.services.is_empty();
        let listening = if is_listening { Some(bind_p2p(&config.p2p, &mut notices)?) } else { None };
        let (store, store_notices) = Store::open(&config.data_dir, config.import_from.as_deref()).await?;
        notices.extend(store_notices.into_iter().map(Notice::Store));
        let network = NetworkMonitor::start(drain.stop.clone(), &tasks);
        let lan = start_lan(&config, &network, &drain, &mut notices).await;
        let p2p_port = listening.as_ref().map_or(0, |listening| listening.port);
        if let Some(lan) = &lan {
            let mut announced = announced(&config.services, &loaded.published, p2p_port);
            announced.extend(relay.as_ref().map(|(relay, _)| announced_relay(relay.key, p2p_port)));
            lan.set_services(announced);
        }
        let dht = prepare_dht(&config, &store, &network, &drain)?;
        let sources = Sources {
            own: own_addresses(&loaded.published, &config.p2p, p2p_port),
            given: config.given.clone(),
            store: Some(store.clone()),
            lan: lan.clone(),
            dht: dht.clone(),
        };
        let policy = dial_policy(&gateway_listeners, p2p_port, &config);
        let resolver = Resolver::new(sources, network, policy, drain.stop.clone(), tasks.clone());
        let _ = undo.disarm();
        let mut node = Self {
            bound: Bound::default(),
            services: loaded.published.clone(),
            lan,
            dht,
            reach: None,
            publisher: None,
            acceptor: None,
            relay: None,
            relays: None,
            dialler: Arc::new(Dialler::new(resolver, config.idle_limits, config.own_records, drain.stop.clone())),
            metrics,
            drain,
            tasks,
            grace: config.grace,
        };
        if let Some(listening) = listening {
            node.listen(listening, loaded, relay, store, &config);
        }
        node.run_gateway(gateway_listeners, config.gateway_connections);
        node.watch_own_addresses();
        node.keep_ready(config.ready);
        node.warm_up();
        info!(gateway = ?node.bound.gateway, p2p = ?node.bound.p2p, services = node.services.len(), "started");
        Ok((node, notices))
    }

    /// Does what is slow the first time before somebody waits for it.
    fn warm_up(&self) {
        if self.bound.gateway.is_empty() && self.bound.p2p.is_empty() {
            return;
        }
        let resolver = Arc::clone(&self.dialler.resolver);
        self.tasks.spawn(async move {
            warm_up();
            resolver.recall().await;
        });
    }

    /// Lets others in: finds out where this computer is reached, publishes that, and accepts.
    fn listen(
        &mut self,
        listening: Listening,
        loaded: Loaded,
        relay: Option<(Arc<Relay>, Announced)>,
        store: Store,
        config: &NodeConfig,
    ) {
        let Loaded { services, mut for_dht, .. } = loaded;
        if let Some((relay, announced)) = relay {
            self.relay = Some(relay);
            for_dht.push(announced);
        }
        let relayed = self.start_relays(config.relays.clone(), config.dht.publish_plain);
        let reach = self.start_reach(config.p2p.clone(), listening.port);
        self.run_publisher(for_dht, &reach, store, config.dht.publish_plain);
        self.run_acceptor(listening, relayed, services, reach, &config.p2p);
    }

    /// Closes tunnels whose local address is gone.
    fn watch_own_addresses(&self) {
        let (drain, resolver) = (self.drain.clone(), Arc::clone(&self.dialler.resolver));
        self.tasks.spawn(async move { drain.local_addrs.run(&resolver.network, &drain.stop).await });
    }

    fn keep_ready(&self, services: Vec<ServiceName>) {
        for name in services {
            let dialler = Arc::clone(&self.dialler);
            self.tasks.spawn(async move { dialler.keep_ready(&name).await });
        }
    }

    fn start_reach(&mut self, config: P2pConfig, port: u16) -> Arc<Reach> {
        let P2pConfig { public_addresses: by_hand, bind: bound, port_mapping, .. } = config;
        let config = ReachConfig { by_hand, port, bound, port_mapping };
        // Without the DHT nobody tells what others see.
        let public = self.dht.as_ref().map_or_else(|| watch::channel(Vec::new()).1, |dht| dht.public_addresses());
        let relays = self.relay_hosts();
        let outside = Outside { public, relays };
        let reach = Reach::start(config, &self.dialler.resolver.network, outside, self.drain.stop.clone(), &self.tasks);
        self.reach = Some(Arc::clone(&reach));
        reach
    }

    /// Registers this computer's services at `relays`. Returns where their clients come in.
    fn start_relays(&mut self, relays: Vec<RelayUrl>, plain: bool) -> RelayedListener {
        let (relayed, listener) = RelayedListener::new();
        let context = RelaysContext {
            services: self.services.iter().map(|service| service.key).collect(),
            plain,
            resolver: Arc::clone(&self.dialler.resolver),
            relayed,
            tasks: self.tasks.clone(),
            stop: self.drain.stop.clone(),
        };
        self.relays = Some(Relays::start(relays, context));
        listener
    }

    /// Relays at which this computer is registered now.
    fn relay_hosts(&self) -> watch::Receiver<HostList> {
        self.relays.as_ref().map_or_else(|| watch::channel(HostList::default()).1, |relays| relays.hosts())
    }

    fn run_publisher(&mut self, services: Vec<Announced>, reach: &Reach, store: Store, plain: bool) {
        let Some(dht) = self.dht.clone() else { return };
        let relays = self.relay_hosts();
        let means = Means { dht, hosts: reach.watch(), relays, store, plain, clock: system_clock };
        self.publisher = Some(Arc::new(Publisher::start(services, &means, &self.drain.stop, &self.tasks)));
    }

    fn run_acceptor(
        &mut self,
        listening: Listening,
        relayed: RelayedListener,
        services: HashMap<KeyHash, Service>,
        reach: Arc<Reach>,
        config: &P2pConfig,
    ) {
        let acceptor = Arc::new(Acceptor::new(services, reach, config, self.metrics.clone(), self.drain.clone()));
        self.tasks.spawn(Arc::clone(&acceptor).report());
        for listener in listening.listeners {
            self.bound.p2p.extend(listener.local_addr());
            let (acceptor, tasks) = (Arc::clone(&acceptor), self.tasks.clone());
            match &self.relay {
                Some(relay) => {
                    let relay = Arc::clone(relay);
                    self.tasks.spawn(acceptor.run(RelayListener { listener, relay }, tasks))
                }
                None => self.tasks.spawn(acceptor.run(listener, tasks)),
            };
        }
        self.tasks.spawn(Arc::clone(&acceptor).run(relayed, self.tasks.clone()));
        self.acceptor = Some(acceptor);
    }

    fn run_gateway(&mut self, listeners: Vec<TcpListener>, connections: usize) {
        self.bound.gateway = listeners.iter().flat_map(|listener| listener.local_addr()).collect();
        let Some(port) = self.bound.gateway.first().map(SocketAddr::port) else { return };
        let first_page = gateway::FirstPage { own: self.services.clone(), port };
        let (dialler, live) = (Arc::clone(&self.dialler), self.live());
        let gateway = Arc::new(Gateway::new(dialler, first_page, connections, live, self.drain.clone()));
        for listener in listeners {
            self.tasks.spawn(Arc::clone(&gateway).run(listener, self.tasks.clone()));
        }
    }

    fn live(&self) -> Live {
        Live {
            bound: self.bound.clone(),
            services: self.services.clone(),
            lan: self.lan.clone(),
            dht: self.dht.clone(),
            reach: self.reach.clone(),
            publisher: self.publisher.clone(),
            acceptor: self.acceptor.clone(),
            relay: self.relay.clone(),
            relays: self.relays.clone(),
            metrics: self.metrics.clone(),
        }
    }

    /// Name of the relay that runs here.
    #[must_use]
    pub fn relay_key(&self) -> Option<KeyHash> {
        self.relay.as_ref().map(|relay| relay.key)
    }

    /// What it is doing now.
    #[must_use]
    pub fn status(&self) -> Status {
        self.live().status()
    }

    /// Services heard on the LAN, live. Without LAN discovery the list stays empty.
    #[must_use]
    pub fn browse(&self) -> watch::Receiver<Vec<FoundService>> {
        self.lan.as_ref().map_or_else(|| watch::channel(Vec::new()).1, |lan| lan.browse())
    }

    /// Services remembered, the one used last first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn remembered(&self) -> Result<Vec<RememberedService>, StoreError> {
        match &self.dialler.resolver.store {
            Some(store) => store.services().await,
            None => Ok(Vec::new()),
        }
    }

    /// Opens a tunnel to a service: no HTTP, bytes as they are.
    ///
    /// # Errors
    /// [`ReachError`] says what was tried.
    pub async fn connect(&self, name: &ServiceName) -> Result<TunnelStream, ReachError> {
        let open = self.metrics.tunnel();
        let tunnel = self.dialler.reach(name, Waiting::Program, &mut Vec::new()).await?;
        Ok(tunnel.counted(open))
    }

    /// Carries every connection to `listener` to one service, until the node stops. A program there
    /// sees a reset when the service is not reached or its tunnel breaks.
    pub fn forward(&self, listener: TcpListener, name: ServiceName) {
        let (dialler, metrics) = (Arc::clone(&self.dialler), self.metrics.clone());
        let forward = Arc::new(Forward { dialler, name, metrics, drain: self.drain.clone() });
        self.tasks.spawn(forward.run(listener, self.tasks.clone()));
    }

    /// Returns when this host has lost the address that `tunnel` uses, so that nothing comes or
    /// goes any more.
    pub fn left(&self, tunnel: &TunnelStream) -> impl Future<Output = ()> + Send + use<> {
        let lost = self.drain.local_addrs.lost(tunnel.local_ip());
        async move { lost.cancelled().await }
    }

    /// Stops: no new tunnels; running ones get [`NodeConfig::grace`], those that owe no answer end
    /// at once; then everything is closed and joined.
    ///
    /// Cancel safe: dropping the future abandons the grace and ends what still runs without waiting
    /// for it.
    pub async fn shutdown(self) {
        let _kill = self.drain.kill.clone().drop_guard();
        self.drain.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(self.grace, self.tasks.wait()).await.is_err() {
            warn!(tunnels = self.metrics.open_tunnels(), "grace is over, closing tunnels");
            self.drain.kill.cancel();
            self.tasks.wait().await;
        }
        if let Some(lan) = &self.lan {
            lan.stopped().await;
        }
        if let Some(dht) = &self.dht {
            dht.stopped().await;
        }
        if let Some(store) = &self.dialler.resolver.store {
            store.close().await;
        }
        debug!("stopped");
    }
}

/// Services, ready to be served and published.
#[derive(Default)]
struct Loaded {
    services: HashMap<KeyHash, Service>,
    published: Vec<Published>,
    for_dht: Vec<Announced>,
}

/// Loads every identity and prepares every backend.
fn load_services(node: &NodeConfig, notices: &mut Vec<Notice>) -> Result<Loaded, StartError> {
    let mut loaded = Loaded::default();
    for (index, config) in node.services.iter().enumerate() {
        let target = config.target.to_string();
        let (identity, identity_notices) = load_identity(&config.identity)
            .map_err(|source| StartError::Identity { target: target.clone(), source })?;
        notices.extend(identity_notices.into_iter().map(|notice| Notice::Identity { service: index, notice }));
        if let Some(other) = loaded.published.iter().find(|other| other.key == identity.key) {
            return Err(StartError::SameIdentity { key: identity.key, first: other.target.clone(), second: target });
        }
        let backend = Backend::new(&config.target, node.p2p.backend_timeout)
            .map_err(|source| StartError::Backend { target: target.clone(), source })?;
        let password = config.password.clone().or_else(|| identity.password.clone());
        loaded.services.insert(
            identity.key,
            Service {
                key: identity.key,
                tls: ServerTls::new(ServerSettings { identity: &identity, own_records: node.own_records }),
                backend,
                password: password.clone(),
            },
        );
        loaded.published.push(Published { key: identity.key, title: config.title.clone(), password, target });
        if config.dht {
            loaded.for_dht.push(Announced { key: identity.key, certified: identity.certified });
        }
    }
    Ok(loaded)
}

fn load_identity(config: &IdentityConfig) -> Result<(Identity, Vec<IdentityNotice>), IdentityError> {
    match config {
        IdentityConfig::File(path) => Identity::load_or_create(path),
        IdentityConfig::Ephemeral => Ok((Identity::ephemeral()?, Vec::new())),
    }
}

/// Which addresses this process does not dial: those of itself.
fn dial_policy(gateway: &[TcpListener], p2p_port: u16, config: &NodeConfig) -> DialPolicy {
    let gateway_addrs = gateway.iter().flat_map(|listener| listener.local_addr());
    let own_ports = gateway_addrs.map(|addr| addr.port()).chain([p2p_port]).collect();
    DialPolicy { own_ports, is_loopback_shared: config.is_loopback_shared }
}

/// The relay that `config` asks for, and what the DHT is to hear of it.
fn start_relay(
    config: &NodeConfig,
    metrics: &Metrics,
    drain: &Drain,
    tasks: &TaskTracker,
) -> Result<Option<(Arc<Relay>, Announced)>, StartError> {
    let Some(relay) = &config.relay else { return Ok(None) };
    let (identity, _) = load_identity(&relay.identity).map_err(StartError::RelayIdentity)?;
    let tokens = TokenFile::new(&config.data_dir);
    tokens.first()?;
    let relay = Relay::new(&identity, relay.clone(), tokens, metrics.clone(), tasks.clone(), drain.stop.clone())?;
    Ok(Some((relay, Announced { key: identity.key, certified: identity.certified })))
}

/// What the LAN hears of a relay: who looks for it by its key hash finds it.
fn announced_relay(key: KeyHash, port: u16) -> LanService {
    LanService { key, port, title: "relay".to_owned(), password: None, unlisted: true }
}

fn bind_p2p(config: &P2pConfig, notices: &mut Vec<Notice>) -> Result<Listening, StartError> {
    let listening =
        listen::bind(&config.bind, config.port).map_err(|source| StartError::P2p { port: config.port, source })?;
    if config.port != 0 && listening.port != config.port {
        notices.push(Notice::PortTaken { wanted: config.port, got: listening.port });
    }
    Ok(listening)
}

async fn start_lan(
    config: &NodeConfig,
    network: &NetworkMonitor,
    drain: &Drain,
    notices: &mut Vec<Notice>,
) -> Option<Arc<Lan>> {
    if !config.lan.enabled {
        return None;
    }
    match Lan::start(config.lan.clone(), network, drain.stop.clone()).await {
        Ok(lan) => Some(lan),
        Err(error) => {
            notices.push(Notice::NoLan { reason: error.to_string() });
            None
        }
    }
}

/// Prepares the DHT node: a full citizen where it publishes, one that only asks elsewhere.
fn prepare_dht(
    config: &NodeConfig,
    store: &Store,
    network: &NetworkMonitor,
    drain: &Drain,
) -> Result<Option<Arc<SharedDht>>, StartError> {
    if !config.dht.enabled {
        return Ok(None);
    }
    let publishes = config.relay.is_some() || config.services.iter().any(|service| service.dht);
    let (store, network) = (Some(store.clone()), network.clone());
    Ok(Some(SharedDht::new(&config.dht, publishes, store, network, drain.stop.clone())?))
}

/// What the LAN hears of the services.
fn announced(configs: &[ServiceConfig], published: &[Published], port: u16) -> Vec<LanService> {
    let announce = |(config, published): (&ServiceConfig, &Published)| LanService {
        key: published.key,
        port,
        title: published.title.clone(),
        // Released clients look for `freetext-hash` in an answer, and so every neighbour can ask
        // for it. The text of a `.hash` file was meant so; a password that a person set is told to
        // nobody.
        password: published.password.as_deref().filter(|_| config.password.is_none()).and_then(Freetext::new),
        unlisted: config.unlisted,
    };
    configs.iter().zip(published).map(announce).collect()
}

/// Where this process reaches its own services without asking anybody.
fn own_addresses(published: &[Published], config: &P2pConfig, port: u16) -> HashMap<KeyHash, SocketAddr> {
    let ip = config.bind.first().copied().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    published.iter().map(|service| (service.key, SocketAddr::new(ip, port))).collect()
}
