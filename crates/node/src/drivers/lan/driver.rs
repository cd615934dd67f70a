//! The task: sockets and timers around the state machine.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hardline_proto::KeyHash;
use hardline_proto::lan::{Cookie, Discovery, Dropped, Event, Found, OwnService, Settings, Title};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use tracing::{debug, trace, warn};

use super::interfaces::{NamedInterface, usable};
use super::link::{self, Groups, Link, QUEUE, Received};
use super::waiters::Waiters;
use super::{FoundService, LanInterface, LanService};
use crate::clock::today;
use crate::config::LanConfig;
use crate::log_throttle::LogThrottle;
use crate::metrics::{Metric, Metrics};
use crate::network::NetworkState;

/// Time after which an address that could not be taken into use is tried again: the system tells of
/// it before it can be used, or it has gone meanwhile.
const TAKE_UP_AGAIN: Duration = Duration::from_millis(1500);

/// Where groups are joined only during searches: time after which the end of one is noticed.
const LOOK_FOR_THE_END: Duration = Duration::from_secs(2);

/// What the handle asks for.
#[derive(Debug)]
pub(super) enum Command {
    SetServices(Vec<LanService>),
    Search { key: KeyHash, sender: mpsc::Sender<SocketAddr> },
    Browse,
}

pub(super) struct Driver {
    discovery: Discovery,
    network: watch::Receiver<Arc<NetworkState>>,
    wanted: Vec<Ipv4Addr>,
    only_while_searching: bool,
    /// When to try again what could not be taken into use.
    take_up_again: Option<Instant>,
    links: Vec<Link>,
    waiters: Waiters,
    is_browsing: bool,
    found: watch::Sender<Vec<FoundService>>,
    interfaces: watch::Sender<Vec<LanInterface>>,
    metrics: Metrics,
    over_rate: LogThrottle,
    groups: Groups,
    received: (mpsc::Sender<Received>, mpsc::Receiver<Received>),
    tasks: TaskTracker,
    _group_readers: Vec<AbortOnDropHandle<()>>,
}

impl Driver {
    /// Opens the group's socket and takes all interfaces into use.
    pub(super) fn new(
        config: &LanConfig,
        network: watch::Receiver<Arc<NetworkState>>,
        found: watch::Sender<Vec<FoundService>>,
        interfaces: watch::Sender<Vec<LanInterface>>,
        metrics: Metrics,
        tasks: TaskTracker,
    ) -> io::Result<Self> {
        let groups = Groups::open(config.port)?;
        let received = mpsc::channel(QUEUE);
        let read = |socket: &Arc<_>| tasks.spawn(link::read(Arc::clone(socket), received.0.clone()));
        let readers = groups.sockets().map(read).map(AbortOnDropHandle::new).collect();
        let settings =
            Settings { port: groups.v4.local_addr()?.port(), plain_search: config.plain_search, rates: config.rates };
        let mut driver = Self {
            discovery: Discovery::new(settings, Cookie::from_random(rand::random()), today()),
            network,
            wanted: config.bind.clone(),
            only_while_searching: config.only_while_searching,
            take_up_again: None,
            links: Vec::new(),
            waiters: Waiters::default(),
            is_browsing: false,
            found,
            interfaces,
            metrics,
            over_rate: LogThrottle::default(),
            groups,
            received,
            tasks,
            _group_readers: readers,
        };
        driver.follow_network();
        driver.flush();
        Ok(driver)
    }

    /// Runs until `shutdown`, or until the handle is gone; then neighbours hear that the services
    /// are.
    pub(super) async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command>, shutdown: CancellationToken) {
        let mut batch = Vec::new();
        loop {
            let deadline = self.next_deadline();
            tokio::select! {
                () = shutdown.cancelled() => break,
                command = commands.recv() => match command {
                    Some(command) => self.obey(command),
                    None => break,
                },
                _count = self.received.1.recv_many(&mut batch, QUEUE) => self.receive(&mut batch),
                Ok(()) = self.network.changed() => self.follow_network(),
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => self.handle_timeout(),
            }
            self.flush();
        }
        self.obey(Command::SetServices(Vec::new()));
        self.flush();
    }

    fn next_deadline(&self) -> Option<Instant> {
        let retry = self.links.iter().filter_map(Link::retry_at).min();
        let leave = (self.only_while_searching && self.is_in_use()).then(|| Instant::now() + LOOK_FOR_THE_END);
        let own = self.discovery.poll_timeout().map(Instant::from_std);
        own.into_iter().chain(retry).chain(self.take_up_again).chain(leave).min()
    }

    fn obey(&mut self, command: Command) {
        let now = self.now();
        match command {
            Command::SetServices(services) => {
                self.discovery.set_services(now, services.into_iter().map(own_service).collect());
            }
            Command::Search { key, sender } => self.search(now, key, sender),
            Command::Browse => {
                self.is_browsing = true;
                self.join_or_leave();
                self.discovery.start_browsing(now);
            }
        }
    }

    fn search(&mut self, now: std::time::Instant, key: KeyHash, sender: mpsc::Sender<SocketAddr>) {
        self.stop_unwanted();
        match self.discovery.start_search(now, key) {
            Ok(known) => {
                for addr in known {
                    let _ = sender.try_send(addr); // room for as many as are ever known
                }
                self.waiters.add(key, sender);
                self.join_or_leave();
            }
            Err(error) => debug!(%error, key = %key.short(), "not searched for on the LAN"),
        }
    }

    fn receive(&mut self, batch: &mut Vec<Received>) {
        let now = self.now();
        for (from, bytes) in batch.drain(..) {
            if let Err(error) = self.discovery.handle_datagram(now, from, &bytes) {
                trace!(%error, %from, "datagram ignored");
            }
        }
        self.count_dropped();
    }

    fn count_dropped(&mut self) {
        let Dropped { datagrams, answers } = self.discovery.take_dropped();
        if datagrams + answers == 0 {
            return;
        }
        self.metrics.add(Metric::LanDroppedDatagrams, datagrams);
        self.metrics.add(Metric::LanDroppedAnswers, answers);
        if let Some(times) = self.over_rate.count_many(datagrams + answers) {
            warn!(times, "neighbours on the LAN ask or tell more than is listened to");
        }
    }

    fn handle_timeout(&mut self) {
        self.stop_unwanted();
        if self.take_up_again.is_some_and(|at| at <= Instant::now()) {
            self.follow_network();
        }
        let now = self.now();
        for link in &mut self.links {
            if link.take_retry(now.into()) {
                self.discovery.interface_up(now, link.at.interface);
            }
        }
        self.discovery.handle_timeout(now);
    }

    /// Ends the searches and the browsing that nobody waits for any more.
    fn stop_unwanted(&mut self) {
        for key in self.waiters.prune() {
            self.discovery.stop_search(key);
        }
        // The handle keeps one receiver for itself.
        if self.is_browsing && self.found.receiver_count() <= 1 {
            self.is_browsing = false;
            self.discovery.stop_browsing();
        }
        self.join_or_leave();
    }

    /// After searches or browsing have begun or ended, where that is all that interfaces are used
    /// for.
    fn join_or_leave(&mut self) {
        if self.only_while_searching {
            self.follow_network();
        }
    }

    /// Whether interfaces are used now.
    fn is_in_use(&self) -> bool {
        !self.only_while_searching || self.is_browsing || !self.waiters.is_empty()
    }

    /// Takes new interfaces into use, and lets go of those that are gone or not needed.
    fn follow_network(&mut self) {
        let mut current = usable(&self.network.borrow_and_update(), &self.wanted);
        if !self.is_in_use() {
            current.clear();
        }
        self.take_up_again = None;
        let now = self.now();
        for gone in self.links.extract_if(.., |link| !current.contains(&link.at)) {
            debug!(interface = gone.at.name, addr = %gone.at.interface.addr.ip, "interface gone");
            self.discovery.interface_down(gone.at.interface.addr);
        }
        for interface in current {
            if !self.links.iter().any(|link| link.at == interface) {
                self.take_up(now, interface);
            }
        }
    }

    fn take_up(&mut self, now: std::time::Instant, at: NamedInterface) {
        let addr = at.interface.addr.ip;
        match Link::open(at, &self.groups, &self.received.0, &self.tasks) {
            Ok(link) if self.discovery.interface_up(now, link.at.interface) => {
                debug!(interface = link.at.name, %addr, error = link.error(), "interface up");
                self.links.push(link);
            }
            Ok(_) => debug!(%addr, "too many interfaces"),
            Err(error) => {
                debug!(%error, %addr, "interface not usable");
                self.take_up_again = Some(Instant::now() + TAKE_UP_AGAIN);
            }
        }
    }

    /// Sends what is to be sent, and tells what is to be told.
    fn flush(&mut self) {
        while let Some(transmit) = self.discovery.poll_transmit() {
            if let Some(link) = self.links.iter_mut().find(|link| link.at.interface.addr == transmit.interface) {
                link.send(transmit.to, &transmit.payload);
            }
        }
        let events: Vec<_> = std::iter::from_fn(|| self.discovery.poll_event()).collect();
        if events.contains(&Event::ListChanged) {
            self.found.send_replace(self.discovery.found().into_iter().map(found_service).collect());
        }
        // After the list, which tells more of what they hear.
        for event in events {
            if let Event::Found { key, addr } = event {
                self.waiters.tell(key, addr);
            }
        }
        let states: Vec<_> = self.links.iter().map(state).collect();
        self.interfaces.send_if_modified(|known| {
            let is_changed = *known != states;
            *known = states;
            is_changed
        });
    }

    /// The time, with the state machine told of the day.
    fn now(&mut self) -> std::time::Instant {
        self.discovery.set_day(today());
        Instant::now().into_std()
    }
}

fn own_service(service: LanService) -> OwnService {
    let LanService { key, port, title, freetext, unlisted } = service;
    OwnService { key, freetext, port, title: Title::clean(&title), unlisted }
}

fn found_service(found: Found) -> FoundService {
    let (addrs, titles): (Vec<_>, Vec<_>) =
        found.addrs.iter().map(|(addr, title)| (*addr, title.as_str().to_owned())).unzip();
    let title = titles.first().cloned().unwrap_or_default();
    FoundService { key: found.key, password: found.freetext, title, addrs, titles, v2: found.v2 }
}

fn state(link: &Link) -> LanInterface {
    LanInterface { addr: link.at.interface.addr.ip, name: Some(link.at.name.clone()), error: link.error().cloned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::simulated::Addresses;

    #[tokio::test(start_paused = true)]
    async fn an_address_that_cannot_be_used_yet_is_tried_again_until_it_is_gone() {
        let host = Addresses::default();
        // Of a network for documentation: this computer has it not.
        host.set(&["192.0.2.77"]);
        let network = host.monitor();
        let config = LanConfig { port: 0, ..LanConfig::default() };
        let (found, interfaces, metrics) = (watch::Sender::default(), watch::Sender::default(), Metrics::default());
        let mut driver = Driver::new(&config, network.watch(), found, interfaces, metrics, TaskTracker::new()).unwrap();
        for _ in 0..3 {
            assert_eq!(driver.next_deadline(), Some(Instant::now() + TAKE_UP_AGAIN));
            sleep_until(Instant::now() + TAKE_UP_AGAIN).await;
            driver.handle_timeout();
        }
        host.set(&[]);
        driver.network.wait_for(|network| network.addrs.is_empty()).await.unwrap();
        driver.follow_network();
        assert_eq!(driver.next_deadline(), None);
    }

    #[tokio::test]
    async fn a_phone_is_member_of_a_group_only_while_somebody_searches_or_browses() {
        let host = Addresses::default();
        host.set(&["127.0.0.1"]);
        let network = host.monitor();
        let config = LanConfig { port: 0, only_while_searching: true, ..LanConfig::default() };
        let (found, interfaces, metrics) = (watch::Sender::default(), watch::Sender::default(), Metrics::default());
        let _handle = found.subscribe();
        let mut driver = Driver::new(&config, network.watch(), found, interfaces, metrics, TaskTracker::new()).unwrap();
        let joined = |driver: &Driver| driver.links.len();
        assert_eq!((joined(&driver), driver.next_deadline()), (0, None));
        let (sender, search) = mpsc::channel(1);
        driver.obey(Command::Search { key: KeyHash::of_certificate(b"a certificate"), sender });
        assert_eq!(joined(&driver), 1);
        assert!(driver.discovery.poll_transmit().is_some(), "it is asked for at once");
        drop(search);
        assert!(driver.next_deadline().unwrap() <= Instant::now() + LOOK_FOR_THE_END);
        driver.handle_timeout();
        assert_eq!(joined(&driver), 0);
        let page = driver.found.subscribe();
        driver.obey(Command::Browse);
        assert_eq!(joined(&driver), 1);
        drop(page);
        driver.handle_timeout();
        assert_eq!((joined(&driver), driver.next_deadline()), (0, None));
    }
}
