//! The task that keeps a port of the router open: [`Plan`] decides, NAT-PMP, PCP and UPnP do.
//!
//! UPnP is spoken by `igd-next`; NAT-PMP and PCP are datagrams of our own
//! (`hardline_proto::portmap`). So a router that restarts is noticed within seconds by a datagram
//! to it alone, the next port is ours to choose, and timers are tested in simulated time.
//! Runners-up: `portmapper`, which looks again only at half of a two-hour lease; `crab_nat`.

mod announcements; // what the router says unasked
mod datagram; // NAT-PMP and PCP
mod upnp;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use hardline_proto::portmap::{CHECK_DATAGRAM, CHECK_SOAP, Inside, Outcome, Outside, PORT_TRIES, Plan, Step};
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use self::announcements::Announcements;
use self::datagram::Server;
pub(super) use self::datagram::exchange;
use self::upnp::Igd;
use super::status::{OpenPort, Probe, RouterStatus};
use crate::network::DefaultRoute;

/// Longest time that a stop waits for the router to take the port back.
const RELEASE: Duration = Duration::from_secs(3);

/// How a router was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Port Control Protocol, RFC 6887.
    Pcp,
    /// NAT Port Mapping Protocol, RFC 6886.
    NatPmp,
    /// UPnP Internet Gateway Device.
    Upnp,
}

impl std::fmt::Display for Protocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Pcp => "PCP",
            Self::NatPmp => "NAT-PMP",
            Self::Upnp => "UPnP",
        })
    }
}

/// Time that a search may have taken when the router announces itself, without being begun anew:
/// one that was off answers nothing that it was asked before.
const SEARCH_ANEW: Duration = Duration::from_secs(1);

/// A port that the router has opened.
#[derive(Debug, Clone, Copy)]
struct Opened {
    port: u16,
    /// The router's outside, if it tells; where that is no public one, others may see another.
    address: Option<Ipv4Addr>,
    /// Zero is for ever.
    lifetime: Duration,
}

/// Why no port is open; the later in this list, the more it tells.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Failure {
    /// Nobody answers.
    Silent,
    /// The router says no.
    Refused(String),
    /// The router has no public address itself; the one it has, if it tells.
    NotPublic(Option<Ipv4Addr>),
}

impl Failure {
    /// The router with this address outside opens no port, for this reason. One without a public
    /// address has reason enough.
    fn refused(address: Option<Ipv4Addr>, reason: String) -> Self {
        match Outside::of(address) {
            Outside::Public(_) => Self::Refused(reason),
            Outside::Carrier(_) | Outside::Unknown => Self::NotPublic(address),
        }
    }

    fn all_taken(wanted: u16) -> Self {
        Self::Refused(format!("port {wanted} and the {} after it are taken", PORT_TRIES - 1))
    }
}

/// The router, by whichever protocol it answered.
#[derive(Debug)]
enum Session {
    Server(Server),
    Igd(Box<Igd>),
}

/// Task that keeps a port of the router open.
pub(super) struct PortMapper {
    /// The port where others come in.
    inside: Inside,
    /// The outside port had last, to be asked for first.
    wanted: u16,
    status: watch::Sender<RouterStatus>,
    open: Option<(Session, OpenPort)>,
    plan: Plan,
    /// The router has announced itself since it was asked last.
    is_announced: bool,
}

impl PortMapper {
    pub(super) fn new(inside: Inside, status: watch::Sender<RouterStatus>) -> Self {
        let plan = Plan::new(Instant::now().into_std());
        Self { inside, wanted: inside.port, status, open: None, plan, is_announced: false }
    }

    /// Keeps the port open at whichever router `route` names, until `shutdown`; then gives it back.
    pub(super) async fn run(mut self, mut route: watch::Receiver<Option<DefaultRoute>>, shutdown: CancellationToken) {
        loop {
            let now = *route.borrow_and_update();
            tokio::select! {
                () = shutdown.cancelled() => break,
                changed = route.changed() => if changed.is_err() { break },
                () = self.keep(now) => {}
            }
            if shutdown.is_cancelled() {
                break;
            }
            // The old router is out of reach, or this computer has another address to it: nothing
            // can be given back.
            debug!(route = ?*route.borrow(), "another router");
            self.open = None;
            self.tell(RouterStatus::Searching);
            self.wanted = self.inside.port;
            self.plan.network_changed(Instant::now().into_std());
        }
        self.release().await;
    }

    /// Follows the plan for one router. Ends only when dropped.
    async fn keep(&mut self, route: Option<DefaultRoute>) {
        let Some(route) = route else {
            self.tell(RouterStatus::NoGateway);
            return std::future::pending().await;
        };
        let announcements = Announcements::listen(route);
        loop {
            let due = self.plan.poll_timeout().map(Instant::from_std);
            tokio::select! {
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
                () = announcements.next() => {
                    self.is_announced = true;
                    self.plan.announced(Instant::now().into_std());
                }
            }
            let Some(step) = self.plan.step(Instant::now().into_std()) else { continue };
            let outcome = match step {
                Step::Search => self.search_unless_announced(route, &announcements).await,
                Step::Check if self.is_young() || self.is_address_new() => self.renew(route).await,
                Step::Check => self.check().await,
                Step::Renew => self.renew(route).await,
            };
            self.is_announced = false;
            self.plan.handle(Instant::now().into_std(), outcome);
        }
    }

    /// Searches; a router that announces itself meanwhile is searched for anew.
    async fn search_unless_announced(&mut self, route: DefaultRoute, announcements: &Announcements) -> Outcome {
        let began = Instant::now();
        let announced = async {
            sleep_until(began + SEARCH_ANEW).await;
            announcements.next().await;
        };
        tokio::select! {
            outcome = self.search(route) => outcome,
            () = announced => Outcome::Lost,
        }
    }

    /// Whether the router may have another address, of which it tells by a mapping alone.
    fn is_address_new(&self) -> bool {
        let is_pcp = |(session, _): &(Session, OpenPort)| matches!(session, Session::Server(server) if server.protocol() == Protocol::Pcp);
        self.is_announced && self.open.as_ref().is_some_and(is_pcp)
    }

    async fn search(&mut self, route: DefaultRoute) -> Outcome {
        match open(route, self.inside, self.wanted).await {
            Ok((session, opened)) => self.opened(route, session, opened),
            Err(failure) => self.failed(route, failure),
        }
    }

    fn is_young(&self) -> bool {
        matches!(&self.open, Some((Session::Server(server), _)) if server.is_young())
    }

    async fn check(&mut self) -> Outcome {
        let is_unchanged = match &mut self.open {
            None => false,
            Some((Session::Server(server), _)) => server.is_unchanged().await,
            Some((Session::Igd(igd), open)) => igd.is_unchanged(self.inside, open.port).await,
        };
        if is_unchanged { Outcome::Unchanged } else { Outcome::Lost }
    }

    async fn renew(&mut self, route: DefaultRoute) -> Outcome {
        // Stays where it is meanwhile: a stop gives back what is being renewed, too.
        let renewed = match &mut self.open {
            None => return Outcome::Lost,
            Some((Session::Server(server), open)) => server.map(self.inside, open.port).await,
            Some((Session::Igd(igd), open)) => igd.map(self.inside, open.port).await,
        };
        match (renewed, self.open.take()) {
            (Ok(opened), Some((session, _))) => self.opened(route, session, opened),
            _ => Outcome::Lost,
        }
    }

    fn opened(&mut self, route: DefaultRoute, session: Session, opened: Opened) -> Outcome {
        let (protocol, check) = match &session {
            Session::Server(server) => (server.protocol(), CHECK_DATAGRAM),
            Session::Igd(_) => (Protocol::Upnp, CHECK_SOAP),
        };
        let external = match Outside::of(opened.address) {
            Outside::Public(address) => Some(SocketAddrV4::new(address, opened.port)),
            Outside::Unknown | Outside::Carrier(_) => None,
        };
        let open = OpenPort { protocol, gateway: route.gateway, port: opened.port, address: opened.address, external };
        self.wanted = opened.port;
        self.open = Some((session, open));
        if self.tell(RouterStatus::Open(open)) {
            info!(?protocol, transport = ?self.inside.transport, port = opened.port, "router opened a port");
            debug!(?external, address = ?opened.address, "address outside");
        }
        Outcome::Open { lifetime: opened.lifetime, check }
    }

    fn failed(&mut self, route: DefaultRoute, failure: Failure) -> Outcome {
        let gateway = route.gateway;
        self.open = None;
        let (status, outcome) = match failure {
            Failure::Silent => (self.silent(gateway), Outcome::Silent),
            Failure::Refused(reason) => (RouterStatus::Refused { gateway, reason }, Outcome::Refused),
            Failure::NotPublic(address) => (RouterStatus::NotPublic { gateway, address }, Outcome::Refused),
        };
        let is_news = self.tell(status.clone());
        match status {
            RouterStatus::NotPublic { .. } if is_news => warn!("carrier NAT: the router has no public address"),
            RouterStatus::Refused { reason, .. } if is_news => warn!(reason, "router does not open a port"),
            _ => {}
        }
        outcome
    }

    /// A router that had opened the port is most likely restarting, and will open it again.
    fn silent(&self, gateway: Ipv4Addr) -> RouterStatus {
        match &*self.status.borrow() {
            RouterStatus::Open(open) | RouterStatus::Away(open) => RouterStatus::Away(*open),
            _ => RouterStatus::Silent { gateway },
        }
    }

    /// Whether `status` is news.
    fn tell(&self, status: RouterStatus) -> bool {
        self.status.send_if_modified(|known| {
            let is_news = *known != status;
            *known = status;
            is_news
        })
    }

    async fn release(self) {
        let Some((session, open)) = self.open else { return };
        let releasing = async {
            match session {
                Session::Server(server) => server.unmap(self.inside).await,
                Session::Igd(igd) => igd.unmap(self.inside.transport, open.port).await,
            }
        };
        if timeout(RELEASE, releasing).await.is_err() {
            debug!("the router did not take the port back in time");
        }
    }
}

/// Asks what the router can do, and opens nothing.
pub(super) async fn probe(route: DefaultRoute) -> Probe {
    let (pcp, natpmp, igd) = tokio::join!(Server::knock_pcp(route), Server::knock_natpmp(route), Igd::find(route));
    let by_natpmp = natpmp.as_ref().ok().and_then(Server::outside);
    let address = by_natpmp.or_else(|| igd.as_ref().ok()?.outside());
    let answers = [(pcp.err(), Protocol::Pcp), (natpmp.err(), Protocol::NatPmp), (igd.err(), Protocol::Upnp)];
    let answered = answers.into_iter().filter(|(failure, _)| failure != &Some(Failure::Silent));
    Probe { gateway: route.gateway, protocols: answered.map(|(_, protocol)| protocol).collect(), address }
}

/// Asks by every protocol at the same time, and takes the cheapest that opens the port.
async fn open(route: DefaultRoute, inside: Inside, wanted: u16) -> Result<(Session, Opened), Failure> {
    let search = Igd::find(route);
    let knock = async { tokio::join!(Server::knock_pcp(route), Server::knock_natpmp(route)) };
    tokio::pin!(search, knock);
    let (found, (pcp, natpmp)) = tokio::select! {
        found = &mut search => (Some(found), knock.await),
        knocked = &mut knock => (None, knocked),
    };
    let mut failure = Failure::Silent;
    for server in [pcp, natpmp] {
        match map_at(server, inside, wanted).await {
            Ok(opened) => return Ok(opened),
            Err(other) => failure = failure.max(other),
        }
    }
    let by_upnp = async {
        let mut igd = match found {
            Some(found) => found,
            None => search.await,
        }?;
        let opened = igd.map(inside, wanted).await?;
        Ok((Session::Igd(Box::new(igd)), opened))
    };
    by_upnp.await.map_err(|other| failure.max(other))
}

async fn map_at(server: Result<Server, Failure>, inside: Inside, wanted: u16) -> Result<(Session, Opened), Failure> {
    let mut server = server?;
    let opened = server.map(inside, wanted).await?;
    Ok((Session::Server(server), opened))
}
