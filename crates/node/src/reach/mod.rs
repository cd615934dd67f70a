//! This computer's addresses → what a listener tells its diallers (`WANHosts`), so that they find
//! it again from elsewhere.

mod outlook; // who reaches this host, in one judgement
mod own; // addresses of the interfaces, and what to tell of all
mod pinholes; // the router lets others in by IPv6
mod proofs; // what somebody outside has proven
mod route; // whether the router may have to open a port
mod router; // the task that keeps a port of it open
mod status; // for programs and in sentences

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use hardline_proto::hosts::{Host, HostList, HostPort};
use hardline_proto::portmap::{Inside, Transport};
use hardline_proto::sealed::Home;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;

use self::pinholes::Pinholes;
use self::proofs::{Proof, Proven};
use self::router::PortMapper;
use crate::network::{DefaultRoute, NetworkMonitor, NetworkState};

pub use self::outlook::Outlook;
pub use self::own::{Basis, OwnAddress};
pub use self::proofs::{AddressState, Proofs, ProofsReceiver, Prover, proofs};
pub use self::router::Protocol;
pub use self::status::{OpenPort, Probe, ReachStatus, RouterStatus, Sentence};

/// What [`Reach`] is told at its start.
#[derive(Debug, Clone, Default)]
pub struct ReachConfig {
    /// Addresses set by hand; they come first.
    pub by_hand: Vec<HostPort>,
    /// The P2P port that is listened at.
    pub port: u16,
    /// The UDP port where QUIC is spoken, if it is.
    pub quic_port: Option<u16>,
    /// Whether those who call are answered over UDP, if QUIC is spoken.
    pub punching: bool,
    /// Addresses the P2P side listens at; empty is all of them.
    pub bound: Vec<IpAddr>,
    /// Whether the router is asked to open the port.
    pub port_mapping: bool,
}

/// What others tell this host of the way here. A channel whose sender is gone never changes.
#[derive(Debug)]
pub struct Outside {
    /// Addresses of this host that DHT nodes agree on, at most one of each family.
    pub public: watch::Receiver<Vec<IpAddr>>,
    /// Where at least two of them see the socket of QUIC, port and all.
    pub sighted: watch::Receiver<Vec<SocketAddr>>,
    /// Relays that join clients with this host. They are advertised last.
    pub relays: watch::Receiver<HostList>,
    /// Who has come in from outside.
    pub proofs: ProofsReceiver,
    /// Hears the addresses of this host that a relay may try, whenever they should be tried anew.
    pub to_verify: watch::Sender<HostList>,
}

impl Default for Outside {
    /// Nobody tells anything.
    fn default() -> Self {
        let (public, relays) = (watch::channel(Vec::new()).1, watch::channel(HostList::default()).1);
        let sighted = watch::channel(Vec::new()).1;
        Self { public, sighted, relays, proofs: proofs().1, to_verify: watch::Sender::default() }
    }
}

/// Asks the router in front of this host what it can do, and opens nothing; `None` when there is
/// none.
pub async fn probe(network: &NetworkState, bound: &[IpAddr]) -> Option<Probe> {
    Some(router::probe(route::translated(network, bound)?).await)
}

/// How this host would be reached if it published now, without doing anything about it: the router
/// as `probed`, the public IPv4 address that others see.
#[must_use]
pub fn forecast(
    config: &ReachConfig,
    network: &NetworkState,
    probed: Option<Probe>,
    seen: Option<Ipv4Addr>,
) -> ReachStatus {
    let router = match probed {
        _ if !config.port_mapping => RouterStatus::Off,
        Some(probed) => probed.status(),
        None => RouterStatus::NoGateway,
    };
    status_of(config, network, router, seen, &Proven::default())
}

/// What is told and known now; nothing of relays.
fn status_of(
    config: &ReachConfig,
    network: &NetworkState,
    router: RouterStatus,
    seen: Option<Ipv4Addr>,
    proven: &Proven,
) -> ReachStatus {
    let mut found = own::addresses(network, &config.bound, config.port);
    if route::translated(network, &config.bound).is_some() {
        found.extend(own::behind_router(&router, seen, config.port));
    }
    let found = own::advertised(&config.by_hand, found);
    let advertised: HostList = found.iter().map(|(at, _)| at.clone()).collect();
    // Of what is told twice, the first reason counts; the list is bounded.
    let address = |at: &HostPort| {
        let basis = found.iter().find(|(other, _)| other == at).map_or(Basis::Set, |(_, basis)| *basis);
        OwnAddress { at: at.clone(), basis, state: proven.state(at) }
    };
    let addresses = advertised.as_slice().iter().map(address).collect();
    let is_callable = seen.is_some() && config.punching && config.quic_port.is_some();
    ReachStatus { port: config.port, advertised, addresses, is_relayed: false, is_callable, router, seen }
}

/// Handle of the task that keeps the addresses current. The task ends on the token it was started
/// with.
///
/// Preambles, publishing and status observe it, so that all tell the same. Runner-up: asking the
/// system whenever a tunnel opens.
#[derive(Debug)]
pub struct Reach {
    hosts: watch::Receiver<HostList>,
    quic: watch::Receiver<Vec<SocketAddr>>,
    home: watch::Receiver<Home>,
    punch: watch::Receiver<Vec<SocketAddr>>,
    unproven: watch::Receiver<HostList>,
    status: watch::Receiver<ReachStatus>,
}

impl Reach {
    /// Looks at the networks and starts the task that follows them; it belongs to `tasks` and ends
    /// on `shutdown`.
    #[must_use]
    pub fn start(
        config: ReachConfig,
        network: &NetworkMonitor,
        outside: Outside,
        shutdown: CancellationToken,
        tasks: &TaskTracker,
    ) -> Arc<Self> {
        let (hosts_sender, hosts) = watch::channel(HostList::default());
        let (quic_sender, quic) = watch::channel(Vec::new());
        let (home_sender, home) = watch::channel(Home::default());
        let (punch_sender, punch) = watch::channel(Vec::new());
        let (unproven_sender, unproven) = watch::channel(HostList::default());
        let (status_sender, status) = watch::channel(ReachStatus::default());
        let first = if config.port_mapping { RouterStatus::Searching } else { RouterStatus::Off };
        let (router_sender, router) = watch::channel(first);
        let (route, route_receiver) = watch::channel(None);
        let (udp_sender, udp) = watch::channel(RouterStatus::Off);
        let (udp_route, udp_route_receiver) = watch::channel(None);
        let tcp_inside = Inside { transport: Transport::Tcp, port: config.port };
        let udp_inside = config.quic_port.map(|port| Inside { transport: Transport::Udp, port });
        let is_mapping = config.port_mapping;
        let network = network.watch();
        let proven = Proven::default();
        let (by_ipv6, by_ipv6_receiver) = watch::channel(Vec::new());
        let mut monitor = ReachabilityMonitor {
            config,
            network,
            outside,
            router,
            route,
            udp,
            udp_route,
            proven,
            by_ipv6,
            hosts: hosts_sender,
            quic: quic_sender,
            home: home_sender,
            punch: punch_sender,
            unproven: unproven_sender,
            status: status_sender,
        };
        monitor.look();
        if is_mapping {
            let pinholes = Pinholes::new(udp_inside.into_iter().chain([tcp_inside]).collect());
            tasks.spawn(pinholes.run(by_ipv6_receiver, shutdown.clone()));
            let mapper = PortMapper::new(tcp_inside, router_sender);
            tasks.spawn(mapper.run(route_receiver, shutdown.clone()));
            if let Some(inside) = udp_inside {
                tasks.spawn(PortMapper::new(inside, udp_sender).run(udp_route_receiver, shutdown.clone()));
            }
        }
        tasks.spawn(monitor.run(shutdown));
        Arc::new(Self { hosts, quic, home, punch, unproven, status })
    }

    /// The addresses now, best first.
    #[must_use]
    pub fn hosts(&self) -> HostList {
        self.hosts.borrow().clone()
    }

    /// The addresses, live: marked as changed only when they differ from what they were.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<HostList> {
        self.hosts.clone()
    }

    /// Where QUIC is spoken, live, best first. Marked as changed before [`watch`](Self::watch) is.
    #[must_use]
    pub(crate) fn watch_quic(&self) -> watch::Receiver<Vec<SocketAddr>> {
        self.quic.clone()
    }

    /// Where this host is reached from its own network. Whenever that changes, [`Self::watch`] is
    /// marked as changed.
    #[must_use]
    pub fn watch_home(&self) -> watch::Receiver<Home> {
        self.home.clone()
    }

    /// Those of the addresses that a relay could not open, or that others see and nobody has come
    /// in by, live. Marked as changed before [`watch`](Self::watch) is.
    pub(crate) fn watch_unproven(&self) -> watch::Receiver<HostList> {
        self.unproven.clone()
    }

    /// Where probes of those who call are to be sent, live: a router may keep them out until a
    /// probe was sent from here. Marked as changed before [`watch`](Self::watch) is.
    #[must_use]
    pub(crate) fn watch_punch(&self) -> watch::Receiver<Vec<SocketAddr>> {
        self.punch.clone()
    }

    /// How this host is reachable from the internet.
    #[must_use]
    pub fn status(&self) -> ReachStatus {
        self.status.borrow().clone()
    }
}

/// Task that knows where this host is reached.
struct ReachabilityMonitor {
    config: ReachConfig,
    network: watch::Receiver<Arc<NetworkState>>,
    outside: Outside,
    router: watch::Receiver<RouterStatus>,
    /// To the port mapper.
    route: watch::Sender<Option<DefaultRoute>>,
    /// The same for the port of QUIC. It asks a router that has opened the other one, and no other.
    udp: watch::Receiver<RouterStatus>,
    udp_route: watch::Sender<Option<DefaultRoute>>,
    proven: Proven,
    /// Addresses that the router's firewall may keep others from.
    by_ipv6: watch::Sender<Vec<Ipv6Addr>>,
    hosts: watch::Sender<HostList>,
    quic: watch::Sender<Vec<SocketAddr>>,
    home: watch::Sender<Home>,
    punch: watch::Sender<Vec<SocketAddr>>,
    unproven: watch::Sender<HostList>,
    status: watch::Sender<ReachStatus>,
}

impl ReachabilityMonitor {
    async fn run(mut self, shutdown: CancellationToken) {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                Ok(()) = self.network.changed() => {}
                Ok(()) = self.outside.public.changed() => {}
                Ok(()) = self.outside.sighted.changed() => {}
                Ok(()) = self.outside.relays.changed() => {}
                Ok(()) = self.router.changed() => {}
                Ok(()) = self.udp.changed() => {}
                Some(proof) = self.outside.proofs.0.recv() => self.take_in(&proof),
            }
            self.look();
        }
    }

    fn look(&mut self) {
        let network = Arc::clone(&self.network.borrow());
        let route = route::translated(&network, &self.config.bound);
        self.route.send_if_modified(|known| std::mem::replace(known, route) != route);
        let (router, seen) = (self.router.borrow().clone(), self.seen());
        let udp_route = route.filter(|_| matches!(router, RouterStatus::Open(_) | RouterStatus::Away(_)));
        self.udp_route.send_if_modified(|known| std::mem::replace(known, udp_route) != udp_route);
        let mut status = status_of(&self.config, &network, router, seen, &self.proven);
        if self.forget_what_is_over(&status) {
            status = status_of(&self.config, &network, status.router, seen, &self.proven);
        }
        let quic = self.config.quic_port.map(|port| own::addresses(&network, &self.config.bound, port));
        let mut quic = own::useful(quic.unwrap_or_default());
        let punch = self.punched(route.is_some(), seen, &quic);
        quic.splice(0..0, self.mapped_udp(seen));
        let is_quic_changed = self.quic.send_if_modified(|known| std::mem::replace(known, quic.clone()) != quic);
        let by_ipv6 = own::by_ipv6(&status);
        self.by_ipv6.send_if_modified(|known| std::mem::replace(known, by_ipv6.clone()) != by_ipv6);
        let home = own::home(&self.config, &network, &status);
        let is_home_changed = self.home.send_if_modified(|known| std::mem::replace(known, home.clone()) != home);
        let is_punch_changed = self.punch.send_if_modified(|known| std::mem::replace(known, punch.clone()) != punch);
        let unproven = unproven(&status);
        let is_proof_news =
            self.unproven.send_if_modified(|known| std::mem::replace(known, unproven.clone()) != unproven);
        let relays = self.outside.relays.borrow().clone();
        status.is_relayed = !relays.as_slice().is_empty();
        let advertised: HostList = status.advertised.as_slice().iter().chain(relays.as_slice()).cloned().collect();
        self.status.send_if_modified(|known| {
            let is_news = *known != status;
            *known = status;
            is_news
        });
        self.hosts.send_if_modified(|known| {
            let is_changed = *known != advertised;
            if is_changed {
                debug!(hosts = %advertised, "own addresses changed");
                *known = advertised;
            }
            is_changed || is_quic_changed || is_home_changed || is_punch_changed || is_proof_news
        });
    }

    fn take_in(&mut self, proof: &Proof) {
        let status = self.status.borrow().clone();
        let told = status.advertised.as_slice().iter().filter_map(|at| match &at.host {
            Host::Ip(ip) => Some(ip.to_canonical()),
            Host::Name(_) | Host::LinkLocal(..) => None,
        });
        let seen = status.seen.map(IpAddr::V4);
        let own: Vec<IpAddr> = self.network.borrow().ips().chain(told).chain(seen).collect();
        debug!(?proof, "news of the way here");
        self.proven.take_in(proof, &status.addresses, &own);
    }

    /// Forgets what was proven of addresses that are told no more, and of ports that the router has
    /// closed. Returns whether that was anything. Has relays try what is new.
    fn forget_what_is_over(&mut self, status: &ReachStatus) -> bool {
        let is_open = matches!(status.router, RouterStatus::Open(_));
        let is_over = |address: &&OwnAddress| matches!(address.basis, Basis::Router | Basis::Mapped) && !is_open;
        let lasting = |at: &HostPort| status.addresses.iter().any(|address| address.at == *at && !is_over(&address));
        let has_forgotten = self.proven.keep(lasting);
        self.outside.to_verify.send_if_modified(|known| {
            let is_news = has_forgotten || *known != status.advertised;
            known.clone_from(&status.advertised);
            is_news
        });
        has_forgotten
    }

    /// Where others see the socket of QUIC: as nodes of the DHT tell, or, until they do, at the
    /// public address with the port that most routers keep.
    fn punched(&self, is_translated: bool, seen: Option<Ipv4Addr>, quic: &[SocketAddr]) -> Vec<SocketAddr> {
        let Some(port) = self.config.quic_port.filter(|_| self.config.punching) else { return Vec::new() };
        let told = self.outside.sighted.borrow().iter().copied().find(|at| seen.is_some_and(|seen| at.ip() == seen));
        let seen = seen.filter(|_| is_translated).map(|seen| told.unwrap_or(SocketAddr::from((seen, port))));
        seen.into_iter().chain(quic.iter().copied()).collect()
    }

    /// Where the router lets others in to the socket of QUIC.
    fn mapped_udp(&self, seen: Option<Ipv4Addr>) -> Option<SocketAddr> {
        let RouterStatus::Open(open) = *self.udp.borrow() else { return None };
        let told = open.external.map(SocketAddr::V4);
        told.or(seen.map(|seen| SocketAddr::from((seen, open.port))))
    }

    /// The public IPv4 address that others see.
    fn seen(&self) -> Option<Ipv4Addr> {
        self.outside.public.borrow().iter().find_map(|addr| match addr {
            IpAddr::V4(addr) => Some(*addr),
            IpAddr::V6(_) => None,
        })
    }
}

/// The addresses of which nobody knows that they lead here, and a relay may know that they do not.
fn unproven(status: &ReachStatus) -> HostList {
    let is_unproven = |address: &&OwnAddress| match address.state {
        AddressState::Closed => true,
        AddressState::Assumed => address.basis == Basis::Seen,
        AddressState::Verified { .. } => false,
    };
    status.addresses.iter().filter(is_unproven).map(|address| address.at.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn quic_is_told_at_addresses_of_this_computer_alone_and_its_change_is_news() {
        let shutdown = CancellationToken::new();
        let _stop = shutdown.clone().drop_guard();
        let host = crate::network::simulated::Addresses::default();
        host.set(&["198.51.100.7", "192.168.1.2", "2001:db8::1"]);
        let by_hand = vec!["203.0.113.5:7008".parse().unwrap()];
        let config = ReachConfig { by_hand, port: 7008, quic_port: Some(7010), ..ReachConfig::default() };
        let reach = Reach::start(config, &host.monitor(), Outside::default(), shutdown, &TaskTracker::new());
        let (mut hosts, quic) = (reach.watch(), reach.watch_quic());
        let told = || quic.borrow().iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        hosts.wait_for(|hosts| hosts.as_slice().len() == 3).await.unwrap();
        assert_eq!(told(), "198.51.100.7:7010,[2001:db8::1]:7010");
        host.set(&["2001:db8::2"]);
        hosts.changed().await.unwrap();
        assert_eq!(told(), "[2001:db8::2]:7010");
    }

    /// What is told to those who send probes, of a computer whose QUIC is at port 7008.
    async fn told_for_probes(public: &str, sighted: &str) -> String {
        let shutdown = CancellationToken::new();
        let _stop = shutdown.clone().drop_guard();
        let host = crate::network::simulated::Addresses::default();
        host.set(&["192.168.1.2"]);
        host.set_gateway([192, 168, 1, 1]);
        let outside = Outside {
            public: watch::channel(vec![public.parse().unwrap()]).1,
            sighted: watch::channel(vec![sighted.parse().unwrap()]).1,
            ..Outside::default()
        };
        let config = ReachConfig { port: 7008, quic_port: Some(7008), punching: true, ..ReachConfig::default() };
        let reach = Reach::start(config, &host.monitor(), outside, shutdown, &TaskTracker::new());
        reach.watch_punch().borrow().iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    }

    #[tokio::test]
    async fn probes_are_wanted_at_the_port_that_others_see() {
        assert_eq!(told_for_probes("203.0.113.5", "203.0.113.5:31000").await, "203.0.113.5:31000");
        // Of the address before a change nothing is known any more.
        assert_eq!(told_for_probes("203.0.113.5", "198.51.100.1:31000").await, "203.0.113.5:7008");
    }

    #[tokio::test]
    async fn only_addresses_that_are_listened_at_are_told() {
        let shutdown = CancellationToken::new();
        let _stop = shutdown.clone().drop_guard();
        let config = ReachConfig {
            by_hand: vec!["203.0.113.5:7008".parse().unwrap()],
            port: 7008,
            quic_port: None,
            punching: true,
            bound: vec!["127.0.0.1".parse().unwrap()],
            port_mapping: true,
        };
        let tasks = TaskTracker::new();
        let network = NetworkMonitor::start(shutdown.clone(), &tasks);
        let reach = Reach::start(config, &network, Outside::default(), shutdown, &tasks);
        assert_eq!(reach.hosts().to_string(), "203.0.113.5:7008");
        assert_eq!(serde_json::to_value(reach.status()).unwrap()["advertised"][0], "203.0.113.5:7008");
    }
}
