//! UDP sockets and a timer ⇄ [`hardline_dht`].

pub mod proxy; // the same network over HTTP: asking others' nodes, and being asked
pub mod shared; // one node for all parts, started when it is needed

mod bootstrap; // names of bootstrap hosts → addresses
mod detour; // when a node leaves the socket of QUIC for its own, and comes back
mod driver; // the task: sockets and timers around the state machine
mod signature; // RSA, which the pure crate does not know
mod socket; // one family's socket

#[cfg(test)]
pub(crate) use socket::opens_sockets;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hardline_dht::{Counters, Event, InfoHash, Rates, Summary, TableStatus, Value};
use hardline_proto::punch::Mapping;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::driver::{Command, Driver, Ticket};
use crate::config::{DEFAULT_DHT_PORT, PUBLIC_BOOTSTRAP};
use crate::store::Store;
use crate::transport::udp::LentSocket;

/// Events of one operation that may wait for their reader. A `get` reports some thousands of values
/// at most.
const MAX_WAITING_EVENTS: usize = 8192;

/// How this computer takes part in the DHT.
#[derive(Debug, Clone)]
pub struct DhtConfig {
    /// UDP port; 0 takes a free one. When it is taken by another program a free one is used.
    pub port: u16,
    /// Addresses to use instead of every one: at most one of each family.
    pub bind: Vec<IpAddr>,
    /// Where to enter the network, `host:port`. Names are resolved, and again while they cannot be.
    pub bootstrap: Vec<String>,
    /// The network's number; 0 is the public one.
    pub network: u32,
    /// Only ask, and neither store nor answer for others: for computers on batteries or metered
    /// lines.
    pub client: bool,
    /// What strangers may cost in a second.
    pub rates: Rates,
}

impl Default for DhtConfig {
    fn default() -> Self {
        Self {
            port: DEFAULT_DHT_PORT,
            bind: Vec::new(),
            bootstrap: vec![PUBLIC_BOOTSTRAP.to_owned()],
            network: 0,
            client: false,
            rates: Rates::default(),
        }
    }
}

/// What the node is doing.
#[derive(Debug, Clone, Default)]
pub struct DhtStatus {
    /// Our id.
    pub id: InfoHash,
    /// Addresses of our sockets.
    pub bound: Vec<SocketAddr>,
    /// Whether they are those of QUIC.
    pub is_at_quic: bool,
    /// Datagrams for us that came by them and were lost: we did not keep up, or they were too long.
    pub lost: u64,
    /// Whether good nodes are known, IPv4.
    pub connected_v4: bool,
    /// Whether good nodes are known, IPv6.
    pub connected_v6: bool,
    /// Nodes known, IPv4.
    pub table_v4: TableStatus,
    /// Nodes known, IPv6.
    pub table_v6: TableStatus,
    /// Our public addresses, as others agree.
    pub public: Vec<IpAddr>,
    /// Which nodes see us at which address and port, IPv4. Only nodes that take part are told.
    pub seen_v4: Vec<(SocketAddr, SocketAddr)>,
    /// The same, IPv6.
    pub seen_v6: Vec<(SocketAddr, SocketAddr)>,
    /// Where at least two of them see us, at most one address of each family.
    pub agreed: Vec<SocketAddr>,
    /// How a router maps our socket, judged from that, IPv4.
    pub mapping_v4: Mapping,
    /// The same, IPv6.
    pub mapping_v6: Mapping,
    /// Operations under way.
    pub operations: usize,
    /// Values stored for others.
    pub stored_values: usize,
    /// Their bytes, bookkeeping included.
    pub stored_bytes: usize,
    /// What has been counted since the start.
    pub counters: Counters,
}

impl DhtStatus {
    /// Whether good nodes of any family are known.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.connected_v4 || self.connected_v6
    }
}

/// Handle of the running driver, which ends when the handle is dropped or on the token it was
/// started with.
#[derive(Debug)]
pub struct Dht {
    commands: mpsc::UnboundedSender<Command>,
    status: watch::Receiver<DhtStatus>,
    next_ticket: AtomicU64,
    tasks: TaskTracker,
}

impl Dht {
    /// Opens the sockets and starts the driver's task, which ends on `shutdown`. Good nodes are
    /// read from `store` and kept there, so that the next start needs no bootstrap host. A family
    /// that this computer does not have is left out.
    ///
    /// # Errors
    /// When no UDP socket can be had at all.
    pub async fn start(config: DhtConfig, store: Option<Store>, shutdown: CancellationToken) -> io::Result<Arc<Self>> {
        Self::start_at(Vec::new(), config, store, shutdown).await
    }

    /// The same by `lent` sockets, if there are any.
    async fn start_at(
        lent: Vec<Arc<dyn LentSocket>>,
        config: DhtConfig,
        store: Option<Store>,
        shutdown: CancellationToken,
    ) -> io::Result<Arc<Self>> {
        let (commands, received) = mpsc::unbounded_channel();
        let (status_sender, status) = watch::channel(DhtStatus::default());
        let tasks = TaskTracker::new();
        let driver = Driver::new(&config, lent, store, status_sender, &tasks).await?;
        tasks.spawn(driver.run(received, shutdown));
        tasks.close();
        Ok(Arc::new(Self { commands, status, next_ticket: AtomicU64::new(1), tasks }))
    }

    /// Looks for the values at `hash`. Dropping the operation ends it.
    #[must_use]
    pub fn get(&self, hash: InfoHash) -> Operation {
        self.begin(|ticket, sender| Command::Get { ticket, hash, sender })
    }

    /// Stores `value` at `hash`: once, or, when `permanent`, until the operation is dropped. What
    /// is stored stays there until its lifetime is over.
    #[must_use]
    pub fn put(&self, hash: InfoHash, value: Value, permanent: bool) -> Operation {
        self.begin(|ticket, sender| Command::Put { ticket, hash, value, permanent, sender })
    }

    /// Listens for changes at `hash` until the operation is dropped.
    #[must_use]
    pub fn listen(&self, hash: InfoHash) -> Operation {
        self.begin(|ticket, sender| Command::Listen { ticket, hash, sender })
    }

    /// Asks whether a node answers at `addr`; tells its id and the round trip. `None` when nobody
    /// does. Cancel safe.
    pub async fn ping(&self, addr: SocketAddr) -> Option<(InfoHash, Duration)> {
        let mut operation = self.begin(|ticket, sender| Command::Ping { ticket, addr, sender });
        match operation.next().await {
            Some(Event::Pong { id, round_trip, .. }) => Some((id, round_trip)),
            _ => None,
        }
    }

    /// Collects the values at `hash` until the lookup is over or `limit` has gone by. Cancel safe.
    pub async fn get_all(&self, hash: InfoHash, limit: Duration) -> (Vec<Value>, Option<Summary>) {
        let mut operation = self.get(hash);
        let mut values = Vec::new();
        let collect = async {
            while let Some(event) = operation.next().await {
                match event {
                    Event::Found { value, .. } => values.push(value),
                    Event::GetDone { summary, .. } => return Some(summary),
                    _ => {}
                }
            }
            None
        };
        let summary = tokio::time::timeout(limit, collect).await.unwrap_or(None);
        (values, summary)
    }

    /// Adds addresses by which the network may be entered.
    pub fn bootstrap(&self, addrs: Vec<SocketAddr>) {
        self.command(Command::Bootstrap(addrs));
    }

    /// Tells the node that addresses of this computer have changed.
    pub fn network_changed(&self) {
        self.command(Command::NetworkChanged);
    }

    /// Asks a node where it sees this computer, which may have moved.
    pub fn check_address(&self) {
        self.command(Command::CheckAddress);
    }

    /// What it is doing; refreshed once a second while something happens.
    #[must_use]
    pub fn status(&self) -> DhtStatus {
        self.status.borrow().clone()
    }

    /// The status, live.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<DhtStatus> {
        self.status.clone()
    }

    /// Waits until good nodes are known. Cancel safe.
    pub async fn connected(&self) {
        // Fails when the driver has ended; then nobody will ever be known, and the caller's own
        // limit has to do.
        if self.status.clone().wait_for(DhtStatus::is_connected).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Waits until every task has ended and every socket is closed. Cancel safe.
    pub async fn stopped(&self) {
        self.tasks.wait().await;
    }

    fn begin(&self, make: impl FnOnce(Ticket, mpsc::Sender<Event>) -> Command) -> Operation {
        let ticket = self.next_ticket.fetch_add(1, Ordering::Relaxed);
        let (sender, events) = mpsc::channel(MAX_WAITING_EVENTS);
        self.command(make(ticket, sender));
        Operation { events, ticket, commands: self.commands.clone() }
    }

    fn command(&self, command: Command) {
        // Fails when the driver has ended: what the command carries is dropped, and whoever waits
        // for it sees that.
        let _ = self.commands.send(command);
    }
}

/// Something the node was asked to do. Dropping it ends it.
#[derive(Debug)]
pub struct Operation {
    events: mpsc::Receiver<Event>,
    ticket: Ticket,
    commands: mpsc::UnboundedSender<Command>,
}

impl Operation {
    /// The next event; `None` when the operation is over, or could not be begun because there are
    /// too many. Cancel safe.
    pub async fn next(&mut self) -> Option<Event> {
        self.events.recv().await
    }

    /// The same, for who waits for several operations at once.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.events.poll_recv(cx)
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        let _ = self.commands.send(Command::Cancel(self.ticket));
    }
}
