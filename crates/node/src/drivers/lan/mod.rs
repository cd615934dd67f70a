//! UDP multicast on every interface ⇄ [`hardline_proto::lan`].

mod driver; // the task: sockets and timers around the state machine
mod interfaces; // which addresses are used
mod link; // one interface's socket
mod waiters; // who is told of what was found

#[cfg(test)]
pub(crate) use link::opens_sockets;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use hardline_proto::KeyHash;
use hardline_proto::lan::{Freetext, MAX_ADDRS_PER_SERVICE};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::driver::{Command, Driver};
use crate::config::LanConfig;
use crate::metrics::Metrics;
use crate::network::NetworkMonitor;
use crate::services::{Service, Table};

/// A service of this computer, as the LAN hears of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LanService {
    /// Its name.
    pub key: KeyHash,
    /// Its P2P port.
    pub port: u16,
    /// Its title.
    pub title: String,
    /// Text that belongs in front of the key hash in its address. Released clients recognise the
    /// answer by it, so whoever asks for the service by name is told; announcements and answers to
    /// browsing leave it out.
    pub freetext: Option<Freetext>,
    /// Whether it answers searches for itself only.
    pub unlisted: bool,
}

/// A service heard on the LAN. Unauthenticated: a hint for dialling and a line in a list, no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundService {
    /// The key hash it claims.
    pub key: KeyHash,
    /// Text that belongs in front of the key hash in its address, where it told that. Released
    /// peers always do.
    pub password: Option<Freetext>,
    /// The title it claims: at most 256 bytes, no control characters. Not markup. Of several who
    /// claim the same key hash the first names it.
    pub title: String,
    /// Addresses it was heard from, in the order first heard.
    pub addrs: Vec<SocketAddr>,
    /// What each of `addrs` calls it, in the same order.
    pub titles: Vec<String>,
    /// Of `addrs`, those that say they know version 2 of the tunnel.
    pub v2: Vec<SocketAddr>,
}

impl LanService {
    fn of(service: &Service, port: u16) -> Self {
        Self {
            key: service.key(),
            port,
            title: if service.config.private { String::new() } else { service.config.title.clone() },
            freetext: service.told_text().and_then(Freetext::new),
            unlisted: service.config.unlisted || service.config.private,
        }
    }
}

impl FoundService {
    /// The title told by `addr` itself.
    #[must_use]
    pub fn title_at(&self, addr: SocketAddr) -> Option<&str> {
        self.addrs.iter().zip(&self.titles).find(|(known, _)| **known == addr).map(|(_, title)| title.as_str())
    }
}

/// State of one interface address, for `doctor` and `status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LanInterface {
    /// The interface's own address.
    pub addr: IpAddr,
    /// Its name where the system tells.
    pub name: Option<String>,
    /// Why multicast does not work there, if it does not.
    pub error: Option<String>,
}

/// Handle of the running driver, which ends when the handle is dropped or on the token it was
/// started with.
#[derive(Debug)]
pub struct Lan {
    commands: mpsc::UnboundedSender<Command>,
    found: watch::Receiver<Vec<FoundService>>,
    interfaces: watch::Receiver<Vec<LanInterface>>,
    tasks: TaskTracker,
}

impl Lan {
    /// Opens the sockets and starts the driver's task, which follows `network` and ends on
    /// `shutdown`. An interface that cannot multicast is noted, not an error. On return every
    /// interface of the moment is in use.
    ///
    /// # Errors
    /// When the group's UDP port cannot be had, because another program holds it for itself alone.
    pub async fn start(
        config: LanConfig,
        network: &NetworkMonitor,
        shutdown: CancellationToken,
    ) -> io::Result<Arc<Self>> {
        Self::start_counted(config, network, Metrics::default(), shutdown).await
    }

    /// The same, with what is dropped at a rate counted in `metrics`.
    pub(crate) async fn start_counted(
        config: LanConfig,
        network: &NetworkMonitor,
        metrics: Metrics,
        shutdown: CancellationToken,
    ) -> io::Result<Arc<Self>> {
        let (commands, received) = mpsc::unbounded_channel();
        let (found_sender, found) = watch::channel(Vec::new());
        let (interfaces_sender, interfaces) = watch::channel(Vec::new());
        let tasks = TaskTracker::new();
        let network = network.watch();
        let driver = Driver::new(&config, network, found_sender, interfaces_sender, metrics, tasks.clone())?;
        tasks.spawn(driver.run(received, shutdown));
        tasks.close();
        Ok(Arc::new(Self { commands, found, interfaces, tasks }))
    }

    /// Replaces the services this computer answers for and announces.
    pub fn set_services(&self, services: Vec<LanService>) {
        self.command(Command::SetServices(services));
    }

    /// Announces the services of `table`, which listen at `port`, and `others`; follows the table
    /// until the future is dropped. The first set is announced before this returns.
    pub(crate) fn follow(
        self: Arc<Self>,
        mut table: watch::Receiver<Arc<Table>>,
        port: u16,
        others: Vec<LanService>,
    ) -> impl Future<Output = ()> + Send {
        let announced = move |table: &Table| {
            let services = table.services.iter().map(|service| LanService::of(service, port));
            services.chain(others.iter().cloned()).collect()
        };
        self.set_services(announced(&table.borrow_and_update()));
        async move {
            while table.changed().await.is_ok() {
                let services = announced(&table.borrow_and_update());
                self.set_services(services);
            }
        }
    }

    /// Searches for `key`: addresses arrive as they are heard, those heard of already at once. The
    /// search is repeated with back-off until the receiver is dropped. The receiver is closed at
    /// once when there are too many searches, or when the driver has ended.
    #[must_use]
    pub fn search(&self, key: KeyHash) -> mpsc::Receiver<SocketAddr> {
        let (sender, receiver) = mpsc::channel(MAX_ADDRS_PER_SERVICE);
        self.command(Command::Search { key, sender });
        receiver
    }

    /// Asks every service to answer, and shows who has been heard in the last 90 s. Asks again now
    /// and then for as long as somebody holds the receiver.
    #[must_use]
    pub fn browse(&self) -> watch::Receiver<Vec<FoundService>> {
        let receiver = self.found.clone();
        self.command(Command::Browse);
        receiver
    }

    /// What has been heard so far, without asking.
    #[must_use]
    pub fn heard(&self) -> Vec<FoundService> {
        self.found.borrow().clone()
    }

    /// Whether `addr` says that it serves `key` by version 2 of the tunnel.
    #[must_use]
    pub fn speaks_v2(&self, key: KeyHash, addr: SocketAddr) -> bool {
        self.found.borrow().iter().any(|service| service.key == key && service.v2.contains(&addr))
    }

    /// The interfaces in use.
    #[must_use]
    pub fn interfaces(&self) -> Vec<LanInterface> {
        self.interfaces.borrow().clone()
    }

    /// The interfaces in use, live.
    #[must_use]
    pub fn watch_interfaces(&self) -> watch::Receiver<Vec<LanInterface>> {
        self.interfaces.clone()
    }

    /// Waits until every task has ended and every socket is closed. Cancel safe.
    pub async fn stopped(&self) {
        self.tasks.wait().await;
    }

    fn command(&self, command: Command) {
        // Fails when the driver has ended: what the command carries is dropped, and whoever waits
        // for it sees that.
        let _ = self.commands.send(command);
    }
}
