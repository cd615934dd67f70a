//! The only place that wires the parts together.

mod quic; // who follows its sockets, and lets others in there

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hardline_proto::KeyHash;
use hardline_proto::candidate::DialPolicy;
use hardline_proto::host::ServiceName;
use hardline_proto::hosts::HostList;
use hardline_proto::relay::RelayUrl;
use hardline_proto::visitors::{self, Invitation};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::{mpsc, watch};
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use crate::accept::{Acceptor, Visitors};
use crate::backend::BackendTimeouts;
#[cfg(feature = "quic")]
use crate::calls::Calls;
use crate::config::{ForwardConfig, LocalAddr, NodeConfig, P2pConfig, ServiceConfig};
use crate::dial::{Dialler, Early, Passes, Waiting};
use crate::discovery::{Resolver, SourceContext};
use crate::dns;
use crate::drivers::dht::proxy::client::ProxyError;
use crate::drivers::dht::shared::SharedDht;
use crate::drivers::lan::{FoundService, Lan, LanInterface, LanService};
use crate::gateway::{self, Forward, Gateway, GatewayBindError, LocalListener};
use crate::metrics::Metrics;
use crate::network::{GivenNetworks, InterfaceAddr, NetworkMonitor};
use crate::publish::{Announced, PublishContext, Publisher, system_clock};
use crate::reach::{self, Outside, Proofs, ProofsReceiver, Reach, ReachConfig};
use crate::relays::{Relays, RelaysContext};
use crate::services::{OwnAddresses, ServiceContext, ServiceError, Services, load_identity};
use crate::status::{Listening, Live};
use crate::store::{RememberedService, Store, StoreError, StoreNotice};
use crate::tls::identity::{IdentityError, IdentityNotice};
use crate::transport::quic::QuicSockets;
use crate::transport::relay::dial_back::DialBacks;
use crate::transport::relay::port::{P2pListener, Witness};
use crate::transport::relay::publisher::{self, RelayedCall, RelayedListener};
use crate::transport::relay::server::Relay;
use crate::transport::relay::tokens::{TokenError, TokenFile};
use crate::transport::relay::verify::ToVerify;
use crate::transport::tcp::listen;
use crate::tunnel::Drain;
use crate::visitors::Enrolled;
use crate::warm_up::warm_up;

pub use crate::access::Access;
pub use crate::dial::{AcceptError, Cause, ReachError};
pub use crate::session::TunnelStream;
pub use crate::status::{Published, Status};

/// A running node.
#[derive(Debug)]
pub struct Node {
    live: Live,
    /// How to begin to listen, until that has begun.
    begin: Mutex<Option<BeginListening>>,
    dialler: Arc<Dialler>,
    /// Where connections over UDP are made and accepted.
    quic: QuicSockets,
    drain: Drain,
    tasks: TaskTracker,
    grace: Duration,
    /// How addresses are told, where the system does not.
    given: Option<GivenNetworks>,
}

/// What the listening side is begun with.
#[derive(Debug)]
struct BeginListening {
    p2p: P2pConfig,
    relays: Vec<RelayUrl>,
    /// The relay that runs here, as the DHT hears of it.
    relay: Option<Announced>,
    plain: bool,
    store: Store,
    enrolled: Arc<Enrolled>,
}

/// Why a node cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The browser's port cannot be had.
    #[error(transparent)]
    Gateway(#[from] GatewayBindError),
    /// A port or a socket for a service of another computer cannot be had.
    #[error("cannot listen at {at}")]
    Forward {
        /// Where.
        at: LocalAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The port for DNS cannot be had.
    #[error("cannot answer DNS at port {port} of 127.0.0.1 and ::1")]
    Dns {
        /// The port asked for.
        port: u16,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A service cannot be served, or the port for other computers cannot be had.
    #[error(transparent)]
    Service(#[from] ServiceError),
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
    /// Whoever answers in the place of the program behind a service is believed, as set.
    AnyCertificate {
        /// Index in [`NodeConfig::services`].
        service: usize,
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
        let services = load_services(&config, &drain, &mut notices)?;
        let relay = start_relay(&config, &metrics, &drain, &tasks)?;
        let gateway_listeners = config.gateway_port.map(gateway::bind).transpose()?.unwrap_or_default();
        let (forwards, dns_sockets) = bind_for_programs(&config)?;
        let is_listening = relay.is_some() || !services.now().services.is_empty();
        let listening = if is_listening { Some(bind_p2p(&config.p2p, &mut notices)?) } else { None };
        let store = open_store(&config, &mut notices).await?;
        let enrolled = Enrolled::start(&store, &services, &drain.stop, &tasks).await?;
        let passes = Passes::load(store.clone(), Arc::clone(&enrolled)).await;
        let (network, given) = networks(&config, &drain, &tasks);
        let lan = start_lan(&config, &network, &metrics, &drain, &mut notices).await;
        let quic = QuicSockets::new(config.p2p.quic, tasks.clone());
        let dht = prepare_dht(&config, &store, &network, &quic, &drain)?;
        let sources = sources(&config, &services, &store, &lan, &dht, &quic);
        let policy = dial_policy(&gateway_listeners, &quic, &config);
        let resolver = Resolver::new(sources, network, policy, drain.stop.clone(), tasks.clone());
        let _ = undo.disarm();
        quic::follow(quic.clone(), &resolver.network, drain.stop.clone(), &tasks);
        let (relay, announced_relay) = relay.unzip();
        let dialler = Dialler::new(resolver, &config, passes, quic.clone(), drain.stop.clone());
        let node = Self {
            live: Live {
                gateway: gateway_listeners.iter().flat_map(|listener| listener.local_addr()).collect(),
                services,
                lan,
                dht,
                relay,
                connected: dialler.connected(),
                listening: Arc::default(),
                forwards: Arc::default(),
                dns: dns_sockets.iter().flat_map(UdpSocket::local_addr).collect(),
                metrics,
            },
            begin: Mutex::new(Some(BeginListening {
                p2p: config.p2p,
                relays: config.relays,
                relay: announced_relay,
                plain: config.dht.publish_plain,
                store,
                enrolled,
            })),
            dialler,
            quic,
            drain,
            tasks,
            grace: config.grace,
            given,
        };
        listening.map_or(Ok(()), |listening| node.begin_listening(|_| Ok(listening)))?;
        node.run_gateway(gateway_listeners, config.trusted, config.gateway_connections);
        node.run_for_programs(forwards, dns_sockets);
        node.run_in_background(config.ready);
        Ok((node, notices))
    }

    /// Adds a service while the node runs. The first one of a node without services opens the port
    /// for other computers.
    ///
    /// # Errors
    /// [`ServiceError`] names what is in the way; then nothing has changed.
    pub fn add_service(&self, config: ServiceConfig) -> Result<(KeyHash, Vec<IdentityNotice>), ServiceError> {
        let publishes = config.dht;
        let (service, notices) = self.live.services.load(config)?;
        self.begin_listening(|p2p| listen::bind(&p2p.bind, p2p.port))?;
        if let Some(dht) = self.live.dht.as_ref().filter(|_| publishes) {
            dht.take_part();
        }
        Ok((self.live.services.add(service)?, notices))
    }

    /// Lets `change` change a service while it is served: what it is, its title, who may use it,
    /// where it is shown. Its identity stays, and so do the tunnels that run.
    ///
    /// # Errors
    /// [`ServiceError::Unknown`], or what is in the way of the change, which is not made then.
    pub fn change_service(&self, key: &KeyHash, change: impl FnOnce(&mut ServiceConfig)) -> Result<(), ServiceError> {
        self.live.services.change(key, |config| {
            change(config);
            // Before the change is seen, for whoever publishes asks for the node at once.
            if let Some(dht) = self.live.dht.as_ref().filter(|_| config.dht) {
                dht.take_part();
            }
        })
    }

    /// Takes a service away: whoever asks for it is refused as for a name that was never there, and
    /// its tunnels are reset. The port for other computers stays open.
    ///
    /// # Errors
    /// [`ServiceError::Unknown`].
    pub fn remove_service(&self, key: &KeyHash) -> Result<(), ServiceError> {
        self.live.services.remove(key)
    }

    /// Begins what nobody waits for.
    fn run_in_background(&self, ready: Vec<ServiceName>) {
        self.watch_own_addresses();
        self.keep_ready(ready);
        self.warm_up();
        let (bound, services) = (self.live.bound(), self.live.services.now().services.len());
        info!(gateway = ?bound.gateway, p2p = ?bound.p2p, services, "started");
    }

    /// Does what is slow the first time before somebody waits for it.
    fn warm_up(&self) {
        let bound = self.live.bound();
        if bound.gateway.is_empty() && bound.p2p.is_empty() {
            return;
        }
        let resolver = Arc::clone(&self.dialler.resolver);
        self.tasks.spawn(async move {
            warm_up();
            resolver.warm_up().await;
        });
    }

    /// Lets others in at the sockets of `bind`, unless they are let in already: finds out where
    /// this host is reached, announces and publishes that, and accepts.
    fn begin_listening(
        &self,
        bind: impl FnOnce(&P2pConfig) -> io::Result<listen::Listening>,
    ) -> Result<(), ServiceError> {
        let mut begin = self.begin.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(BeginListening { p2p, .. }) = &*begin else { return Ok(()) };
        let bound = bind(p2p).map_err(|source| ServiceError::P2p { port: p2p.port, source })?;
        let Some(BeginListening { p2p, relays, relay, plain, store, enrolled }) = begin.take() else { return Ok(()) };
        let ip = p2p.bind.first().copied().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        self.dialler.resolver.listen_at(SocketAddr::new(ip, bound.port));
        self.announce(bound.port, relay.as_ref());
        let (proofs, received) = reach::proofs();
        let (to_verify, wanted) = watch::channel(HostList::default());
        let (witness, trial) = verification(&proofs, wanted);
        let addrs: Vec<_> = bound.listeners.iter().flat_map(|listener| listener.local_addr()).collect();
        let over_quic = self.quic.listen(&addrs);
        let quic = over_quic.addrs();
        let (calls, called) = mpsc::channel(publisher::MAX_CALLS);
        let takes_calls = p2p.punching && !quic.is_empty();
        let (relays, relayed) = self.start_relays(relays, plain, takes_calls.then_some(calls), trial);
        let ports = (bound.port, quic.first().map(SocketAddr::port));
        let reach = self.start_reach(p2p.clone(), ports, &relays, (received, to_verify));
        let publisher = self.run_publisher(relay, &reach, &relays, store, plain);
        let punch = reach.watch_punch();
        let acceptor = self.run_acceptor((bound, witness), relayed, (Arc::clone(&reach), enrolled), &p2p);
        let visitors = acceptor.visitors();
        self.follow_calls(takes_calls, called, punch, &visitors);
        quic::accept(over_quic, &acceptor, &self.tasks);
        let _ = self.live.listening.set(Listening { addrs, quic, reach, publisher, relays, visitors });
        Ok(())
    }

    /// Tells the LAN of the services and of the relay.
    fn announce(&self, port: u16, relay: Option<&Announced>) {
        let Some(lan) = self.live.lan.clone() else { return };
        let others = relay.map(|relay| announced_relay(relay.key, port)).into_iter().collect();
        let following = lan.follow(self.live.services.watch(), port, others);
        let stop = self.drain.stop.clone();
        self.tasks.spawn(async move { stop.run_until_cancelled(following).await });
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

    fn start_reach(
        &self,
        config: P2pConfig,
        (port, quic_port): (u16, Option<u16>),
        relays: &Relays,
        (proofs, to_verify): (ProofsReceiver, watch::Sender<HostList>),
    ) -> Arc<Reach> {
        let P2pConfig { public_addresses: by_hand, bind: bound, port_mapping, punching, .. } = config;
        let config = ReachConfig { by_hand, port, quic_port, punching, bound, port_mapping };
        // Without the DHT nobody tells what others see.
        let public = self.live.dht.as_ref().map_or_else(|| watch::channel(Vec::new()).1, |dht| dht.public_addresses());
        let sighted = self.live.dht.as_ref().map_or_else(|| watch::channel(Vec::new()).1, |dht| dht.sighted());
        let outside = Outside { public, sighted, relays: relays.hosts(), proofs, to_verify };
        Reach::start(config, &self.dialler.resolver.network, outside, self.drain.stop.clone(), &self.tasks)
    }

    /// Registers this host's services at `relays`. Returns where their clients come in, too.
    fn start_relays(
        &self,
        relays: Vec<RelayUrl>,
        plain: bool,
        calls: Option<mpsc::Sender<RelayedCall>>,
        to_verify: ToVerify,
    ) -> (Arc<Relays>, RelayedListener) {
        let (relayed, listener) = RelayedListener::new();
        let context = RelaysContext {
            services: self.live.services.watch(),
            plain,
            resolver: Arc::clone(&self.dialler.resolver),
            relayed,
            calls,
            to_verify,
            tasks: self.tasks.clone(),
            stop: self.drain.stop.clone(),
        };
        (Relays::start(relays, context), listener)
    }

    fn run_publisher(
        &self,
        relay: Option<Announced>,
        reach: &Reach,
        relays: &Relays,
        store: Store,
        plain: bool,
    ) -> Option<Arc<Publisher>> {
        let dht = self.live.dht.clone()?;
        let context = PublishContext {
            dht,
            hosts: reach.watch(),
            relays: relays.hosts(),
            quic: reach.watch_quic(),
            home: reach.watch_home(),
            unproven: reach.watch_unproven(),
            punch: reach.watch_punch(),
            store,
            plain,
            clock: system_clock,
        };
        let (table, always) = (self.live.services.watch(), relay.into_iter().collect());
        Some(Publisher::start(always, table, context, &self.drain.stop, &self.tasks))
    }

    fn run_acceptor(
        &self,
        (bound, witness): (listen::Listening, Witness),
        relayed: RelayedListener,
        (reach, enrolled): (Arc<Reach>, Arc<Enrolled>),
        config: &P2pConfig,
    ) -> Arc<Acceptor> {
        let (services, metrics) = (Arc::clone(&self.live.services), self.live.metrics.clone());
        let network = self.dialler.resolver.network.clone();
        let acceptor =
            Arc::new(Acceptor::new((services, enrolled), reach, network, config, metrics, self.drain.clone()));
        self.tasks.spawn(Arc::clone(&acceptor).report());
        for listener in bound.listeners {
            let listener = P2pListener { listener, relay: self.live.relay.clone(), witness: witness.clone() };
            self.tasks.spawn(Arc::clone(&acceptor).run(listener, self.tasks.clone()));
        }
        self.tasks.spawn(Arc::clone(&acceptor).run(relayed, self.tasks.clone()));
        acceptor
    }

    /// Answers those who call this node's services, in the DHT or through relays.
    #[cfg(feature = "quic")]
    fn follow_calls(
        &self,
        is_wanted: bool,
        relayed: mpsc::Receiver<RelayedCall>,
        punch: watch::Receiver<Vec<SocketAddr>>,
        visitors: &Visitors,
    ) {
        if !is_wanted {
            return;
        }
        let calls = Calls {
            table: self.live.services.watch(),
            dht: self.live.dht.clone(),
            quic: self.quic.clone(),
            punch,
            resolver: Arc::clone(&self.dialler.resolver),
            metrics: self.live.metrics.clone(),
            punched: visitors.punched(),
        };
        let stop = self.drain.stop.clone();
        self.tasks.spawn(async move { stop.run_until_cancelled(calls.run(relayed)).await });
    }

    #[cfg(not(feature = "quic"))]
    fn follow_calls(
        &self,
        _is_wanted: bool,
        _relayed: mpsc::Receiver<RelayedCall>,
        _punch: watch::Receiver<Vec<SocketAddr>>,
        _visitors: &Visitors,
    ) {
    }

    fn run_gateway(&self, listeners: Vec<TcpListener>, trusted: Vec<KeyHash>, connections: usize) {
        let Some(port) = self.live.gateway.first().map(SocketAddr::port) else { return };
        let first_page = gateway::FirstPage { own: Arc::clone(&self.live.services), port };
        let (dialler, live) = (Arc::clone(&self.dialler), self.live.clone());
        let gateway = Gateway::new(dialler, first_page, trusted, connections, live, self.drain.clone());
        let gateway = Arc::new(gateway);
        for listener in listeners {
            self.tasks.spawn(Arc::clone(&gateway).run(listener, self.tasks.clone()));
        }
    }

    /// Name of the relay that runs here.
    #[must_use]
    pub fn relay_key(&self) -> Option<KeyHash> {
        self.live.relay.as_ref().map(|relay| relay.key)
    }

    /// Tells which addresses this computer has from now on: what was connected from others ends,
    /// and what is searched for is searched for anew. Does nothing unless
    /// [`NodeConfig::networks`] says that addresses are told.
    pub fn set_networks(&self, addrs: Vec<InterfaceAddr>) {
        if let Some(given) = &self.given {
            given.set(addrs);
        }
    }

    /// Begins or ends a rest: sessions that carry nothing end at once, and none is kept, so that
    /// nothing is sent as long as nobody asks for anything.
    pub fn rest(&self, is_resting: bool) {
        self.dialler.pool().rest(is_resting);
    }

    /// What it is doing now.
    #[must_use]
    pub fn status(&self) -> Status {
        self.live.status()
    }

    /// Services heard on the LAN, live. Without LAN discovery the list stays empty.
    #[must_use]
    pub fn browse(&self) -> watch::Receiver<Vec<FoundService>> {
        self.live.lan.as_ref().map_or_else(|| watch::channel(Vec::new()).1, |lan| lan.browse())
    }

    /// The interfaces on which the LAN is listened to now, live. Where
    /// [`LanConfig::only_while_searching`](crate::config::LanConfig::only_while_searching) is set
    /// there are some only during searches. Without LAN discovery the list stays empty.
    #[must_use]
    pub fn lan_interfaces(&self) -> watch::Receiver<Vec<LanInterface>> {
        self.live.lan.as_ref().map_or_else(|| watch::channel(Vec::new()).1, |lan| lan.watch_interfaces())
    }

    /// Services remembered, the one used last first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn remembered(&self) -> Result<Vec<RememberedService>, StoreError> {
        match &self.dialler.resolver.context.store {
            Some(store) => store.services().await,
            None => Ok(Vec::new()),
        }
    }

    /// Opens a tunnel to a service: no HTTP, bytes as they are.
    ///
    /// # Errors
    /// [`ReachError`] says what was tried.
    pub async fn connect(&self, name: &ServiceName) -> Result<TunnelStream, ReachError> {
        let open = self.live.metrics.tunnel();
        let tunnel = self.dialler.reach(name, Waiting::Program, &mut Early::default()).await?;
        Ok(tunnel.counted(open))
    }

    /// Accepts an invitation to a private service: from then on this computer opens it, by a key
    /// that is kept in the store. `name` is what it would like to be called.
    ///
    /// # Errors
    /// [`AcceptError`]; asking again does no harm.
    pub async fn accept_invitation(
        &self,
        invitation: &Invitation,
        name: Option<String>,
    ) -> Result<visitors::Enrolled, AcceptError> {
        self.dialler.accept(invitation, name).await
    }

    /// Carries every connection to `local`, or every flow of datagrams, to one service, until the
    /// node stops. A program there sees a reset when the service is not reached or its tunnel
    /// breaks; with UDP it sees nothing. Returns where that is: a
    /// port of 0 is a free one.
    ///
    /// # Errors
    /// When nobody can listen there.
    pub fn forward(&self, local: &LocalAddr, name: &ServiceName) -> io::Result<LocalAddr> {
        let (listener, bound) = LocalListener::bind(local)?;
        self.run_forward(listener, ForwardConfig { name: name.clone(), local: bound.clone() });
        Ok(bound)
    }

    fn run_forward(&self, listener: LocalListener, config: ForwardConfig) {
        let (dialler, metrics) = (Arc::clone(&self.dialler), self.live.metrics.clone());
        let state = self.live.forwards.add(config);
        let forward = Arc::new(Forward { dialler, state, metrics, drain: self.drain.clone() });
        self.tasks.spawn(forward.run(listener, self.tasks.clone()));
    }

    /// The forwards, those of the configuration first, with the addresses they have.
    #[must_use]
    pub fn forwards(&self) -> Vec<ForwardConfig> {
        self.live.forwards.configs()
    }

    /// Begins to serve programs that are no browsers.
    fn run_for_programs(&self, forwards: Vec<(ForwardConfig, LocalListener)>, sockets: Vec<UdpSocket>) {
        forwards.into_iter().for_each(|(config, listener)| self.run_forward(listener, config));
        for socket in sockets {
            self.tasks.spawn(dns::run(socket, self.drain.stop.clone()));
        }
    }

    /// Where names below `localhost` are looked up, if that is turned on.
    #[must_use]
    pub fn dns(&self) -> &[SocketAddr] {
        &self.live.dns
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
            warn!(tunnels = self.live.metrics.open_tunnels(), "grace is over, closing tunnels");
            self.drain.kill.cancel();
            self.tasks.wait().await;
        }
        if let Some(lan) = &self.live.lan {
            lan.stopped().await;
        }
        if let Some(dht) = &self.live.dht {
            dht.stopped().await;
        }
        self.quic.said_goodbye().await;
        if let Some(store) = &self.dialler.resolver.context.store {
            store.close().await;
        }
        debug!("stopped");
    }
}

/// What tells `proofs` who comes in from outside, and what has relays try the `wanted` addresses.
fn verification(proofs: &Proofs, wanted: watch::Receiver<HostList>) -> (Witness, ToVerify) {
    let (dial_backs, of_peers, of_relays) = (Arc::<DialBacks>::default(), proofs.clone(), proofs.clone());
    let came = Arc::new(move |local: SocketAddr, from: SocketAddr| of_peers.peer(local, from.ip()));
    let tell = Arc::new(move |at, from| of_relays.dial_back(at, from));
    (Witness { dial_backs: Arc::clone(&dial_backs), came }, ToVerify { wanted, dial_backs, tell })
}

/// Forwards with the addresses they have, where those listen, and where names are looked up.
type ForPrograms = (Vec<(ForwardConfig, LocalListener)>, Vec<UdpSocket>);

/// Begins to listen for programs that are no browsers.
fn bind_for_programs(config: &NodeConfig) -> Result<ForPrograms, StartError> {
    let bind = |forward: &ForwardConfig| {
        let (listener, local) = LocalListener::bind(&forward.local)
            .map_err(|source| StartError::Forward { at: forward.local.clone(), source })?;
        Ok((ForwardConfig { local, ..forward.clone() }, listener))
    };
    let forwards = config.forwards.iter().map(bind).collect::<Result<_, StartError>>()?;
    let of_dns = |port| dns::bind(port).map_err(|source| StartError::Dns { port, source });
    let dns_sockets = config.dns_port.map(of_dns).transpose()?.unwrap_or_default();
    Ok((forwards, dns_sockets))
}

/// Opens the store, and says what a person should hear of that.
async fn open_store(config: &NodeConfig, notices: &mut Vec<Notice>) -> Result<Store, StoreError> {
    let (store, of_store) = Store::open(&config.data_dir, config.import_from.as_deref()).await?;
    notices.extend(of_store.into_iter().map(Notice::Store));
    Ok(store)
}

/// Loads every identity and prepares every backend.
fn load_services(config: &NodeConfig, drain: &Drain, notices: &mut Vec<Notice>) -> Result<Arc<Services>, ServiceError> {
    let backend = BackendTimeouts { connect: config.p2p.backend_timeout, answer: config.p2p.answer_timeout };
    let services = Services::new(ServiceContext { drain: drain.clone(), backend, own_records: config.own_records });
    for (index, config) in config.services.iter().enumerate() {
        let (service, of_identity) = services.load(config.clone())?;
        notices.extend(of_identity.into_iter().map(|notice| Notice::Identity { service: index, notice }));
        notices.extend(service.config.believes_anybody().then_some(Notice::AnyCertificate { service: index }));
        services.add(service)?;
    }
    Ok(Arc::new(services))
}

/// Who knows this computer's networks, and how they are told where it is not the system.
fn networks(config: &NodeConfig, drain: &Drain, tasks: &TaskTracker) -> (NetworkMonitor, Option<GivenNetworks>) {
    match config.networks.clone() {
        Some(addrs) => {
            let (monitor, given) = NetworkMonitor::given(addrs);
            (monitor, Some(given))
        }
        None => (NetworkMonitor::start(drain.stop.clone(), tasks), None),
    }
}

/// Which addresses this process does not dial: those of itself. The P2P port is known to the
/// resolver when it is listened at.
fn dial_policy(gateway: &[TcpListener], quic: &QuicSockets, config: &NodeConfig) -> DialPolicy {
    let gateway_addrs = gateway.iter().flat_map(|listener| listener.local_addr());
    let own_ports = gateway_addrs.map(|addr| addr.port()).collect();
    DialPolicy { own_ports, is_loopback_shared: config.is_loopback_shared, has_quic: quic.is_there() }
}

/// What addresses are drawn from.
fn sources(
    config: &NodeConfig,
    services: &Arc<Services>,
    store: &Store,
    lan: &Option<Arc<Lan>>,
    dht: &Option<Arc<SharedDht>>,
    quic: &QuicSockets,
) -> SourceContext {
    SourceContext {
        own: Arc::new(OwnAddresses::new(Arc::clone(services))),
        static_addresses: config.static_addresses.clone(),
        store: Some(store.clone()),
        lan: lan.clone(),
        dht: dht.clone(),
        punching: Some(quic.clone()).filter(|quic| config.p2p.punching && quic.is_there()),
        last_known_good: Arc::default(),
    }
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
    Ok(Some((relay, Announced { key: identity.key, certified: identity.certified, is_plain: true })))
}

/// What the LAN hears of a relay: who looks for it by its key hash finds it.
fn announced_relay(key: KeyHash, port: u16) -> LanService {
    LanService { key, port, title: "relay".to_owned(), freetext: None, unlisted: true }
}

fn bind_p2p(config: &P2pConfig, notices: &mut Vec<Notice>) -> Result<listen::Listening, ServiceError> {
    let listening =
        listen::bind(&config.bind, config.port).map_err(|source| ServiceError::P2p { port: config.port, source })?;
    if config.port != 0 && listening.port != config.port {
        notices.push(Notice::PortTaken { wanted: config.port, got: listening.port });
    }
    Ok(listening)
}

async fn start_lan(
    config: &NodeConfig,
    network: &NetworkMonitor,
    metrics: &Metrics,
    drain: &Drain,
    notices: &mut Vec<Notice>,
) -> Option<Arc<Lan>> {
    if !config.lan.enabled {
        return None;
    }
    match Lan::start_counted(config.lan.clone(), network, metrics.clone(), drain.stop.clone()).await {
        Ok(lan) => Some(lan),
        Err(error) => {
            notices.push(Notice::NoLan { reason: error.to_string() });
            None
        }
    }
}

/// Prepares the DHT node: a full citizen where it publishes, by the sockets of QUIC, and one that
/// only asks elsewhere.
fn prepare_dht(
    config: &NodeConfig,
    store: &Store,
    network: &NetworkMonitor,
    quic: &QuicSockets,
    drain: &Drain,
) -> Result<Option<Arc<SharedDht>>, StartError> {
    if !config.dht.enabled {
        return Ok(None);
    }
    let publishes = config.relay.is_some() || config.services.iter().any(|service| service.dht);
    let (store, network) = (Some(store.clone()), network.clone());
    let (dht, lender) = (SharedDht::new(&config.dht, publishes, store, network, drain.stop.clone())?, quic.clone());
    dht.borrow_from(move || lender.lent());
    Ok(Some(dht))
}
