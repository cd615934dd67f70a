//! The task: sockets and timers around the state machine.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hardline_dht::{Config, Event, Family, InfoHash, Node, OpId, Time, Value};
use hardline_proto::punch::MappingObserver;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use tracing::{debug, info, trace, warn};

use super::detour::{Detour, Turn};
use super::socket::Sockets;
use super::{DhtConfig, DhtStatus, bootstrap, signature};
use crate::log_throttle::LogThrottle;
use crate::store::Store;
use crate::transport::udp::{Datagram, LentSocket};

/// Number by which a handle knows its operation.
pub(super) type Ticket = u64;

/// Largest datagram: all that UDP can carry.
const MAX_DATAGRAM: usize = 65_536;

/// Datagrams taken from a socket before the timers are looked at again.
const BATCH: usize = 64;

/// Pause when nothing but failures came of a batch, so that a socket that keeps failing does not
/// keep the processor busy.
const RECEIVE_PAUSE: Duration = Duration::from_millis(100);

/// Time between refreshes of the status.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);

/// Time between writes of good nodes to the store.
const SAVE_INTERVAL: Duration = Duration::from_secs(10 * 60);

/// Time after connecting at which good nodes are first written: a node that lives for a minute only
/// should profit.
const FIRST_SAVE: Duration = Duration::from_secs(15);

/// What handles ask for.
#[derive(Debug)]
pub(super) enum Command {
    Get { ticket: Ticket, hash: InfoHash, sender: mpsc::Sender<Event> },
    Put { ticket: Ticket, hash: InfoHash, value: Value, permanent: bool, sender: mpsc::Sender<Event> },
    Listen { ticket: Ticket, hash: InfoHash, sender: mpsc::Sender<Event> },
    Ping { ticket: Ticket, addr: SocketAddr, sender: mpsc::Sender<Event> },
    Cancel(Ticket),
    Bootstrap(Vec<SocketAddr>),
    NetworkChanged,
    CheckAddress,
}

pub(super) struct Driver {
    node: Node,
    started: Instant,
    sockets: Sockets,
    detour: Detour,
    /// What comes by sockets that are lent; closed without them.
    received: mpsc::Receiver<Datagram>,
    tickets: HashMap<Ticket, OpId>,
    operations: HashMap<OpId, (Ticket, mpsc::Sender<Event>)>,
    status: watch::Sender<DhtStatus>,
    status_due: Instant,
    /// Datagrams dropped at a rate of which was told.
    dropped: u64,
    over_rate: LogThrottle,
    /// When the sockets are read again.
    receive_after: Instant,
    store: Option<Store>,
    save_due: Option<Instant>,
    bootstrap: mpsc::Receiver<Vec<SocketAddr>>,
    tasks: TaskTracker,
    _resolver: AbortOnDropHandle<()>,
}

impl Driver {
    /// Begins to enter the network, by `lent` sockets or by those that it opens.
    pub(super) async fn new(
        config: &DhtConfig,
        lent: Vec<Arc<dyn LentSocket>>,
        store: Option<Store>,
        status: watch::Sender<DhtStatus>,
        tasks: &TaskTracker,
    ) -> io::Result<Self> {
        let (sockets, received) = match lent.is_empty() {
            true => (Sockets::open(config.port, &config.bind)?, mpsc::channel(1).1),
            false => Sockets::borrow(lent)?,
        };
        let unix_time = SystemTime::now().duration_since(UNIX_EPOCH).ok();
        let node_config = Config {
            network: config.network,
            client: config.client,
            families: sockets.bound.iter().map(Family::of).collect(),
            bootstrap_follows: !config.bootstrap.is_empty(),
            verify: Some(signature::is_valid),
            unix_time_at_zero: unix_time.map(|since| since.as_secs()),
            rates: config.rates,
            ..Config::default()
        };
        let mut node = Node::new(Time::ZERO, node_config, StdRng::from_seed(rand::random()));
        node.bootstrap(Time::ZERO, &known_nodes(store.as_ref()).await);
        let (found, bootstrap) = mpsc::channel(1);
        let resolver = tasks.spawn(bootstrap::resolve(config.bootstrap.clone(), found));
        let now = Instant::now();
        let driver = Self {
            node,
            started: now,
            sockets,
            detour: Detour::default(),
            received,
            tickets: HashMap::new(),
            operations: HashMap::new(),
            status,
            status_due: now,
            dropped: 0,
            over_rate: LogThrottle::default(),
            receive_after: now,
            store,
            save_due: None,
            bootstrap,
            tasks: tasks.clone(),
            _resolver: AbortOnDropHandle::new(resolver),
        };
        driver.publish_status();
        Ok(driver)
    }

    /// Runs until `shutdown`, or until the handle is gone.
    pub(super) async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command>, shutdown: CancellationToken) {
        let mut buffer = vec![0; MAX_DATAGRAM];
        // A socket without room must not hold up the stop.
        while shutdown.run_until_cancelled(self.flush()).await.is_some() {
            let deadline = self.deadline();
            tokio::select! {
                () = shutdown.cancelled() => break,
                command = commands.recv() => match command {
                    Some(command) => self.obey(command),
                    None => break,
                },
                Some(addrs) = self.bootstrap.recv() => {
                    let now = self.now();
                    self.node.bootstrap(now, &addrs);
                }
                Some(datagram) = self.received.recv() => self.take(datagram),
                readable = self.sockets.readable(self.receive_after) => self.receive(readable, &mut buffer),
                () = sleep_until(deadline) => self.handle_timeout(),
            }
        }
        self.save_nodes().await;
    }

    fn now(&self) -> Time {
        Time::from_micros(u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    fn deadline(&self) -> Instant {
        let node = self.started + Duration::from_micros(self.node.poll_timeout().as_micros());
        [Some(self.status_due), self.save_due].into_iter().flatten().fold(node, Instant::min)
    }

    fn handle_timeout(&mut self) {
        let (now, instant) = (self.now(), Instant::now());
        self.node.handle_timeout(now);
        if instant >= self.status_due {
            self.choose_sockets(instant);
            self.publish_status();
            self.tell_dropped();
            self.status_due = instant + STATUS_INTERVAL;
        }
        if self.save_due.is_some_and(|due| instant >= due) {
            self.save_due = Some(instant + SAVE_INTERVAL);
            let (store, nodes) = (self.store.clone(), self.good_nodes());
            // Not awaited here: a slow disk must not hold up the network.
            self.tasks.spawn(async move { write_nodes(store, nodes).await });
        }
    }

    /// Leaves lent sockets by which no answer comes, and returns to them.
    fn choose_sockets(&mut self, now: Instant) {
        if !self.sockets.has_lent() {
            return;
        }
        let is_connected = Family::ALL.into_iter().any(|family| self.node.is_connected(family));
        if let Some(turn) = self.detour.look(now, is_connected) {
            self.turn(turn);
        }
    }

    fn turn(&mut self, turn: Turn) {
        match turn {
            Turn::Leave => match self.sockets.leave_lent() {
                Ok(()) => {
                    info!(bound = ?self.sockets.bound, "DHT node at a port of its own: no answer comes to that of QUIC");
                    let now = self.now();
                    self.node.network_changed(now);
                }
                Err(error) => debug!(%error, "no other port for the DHT node"),
            },
            Turn::Return => {
                self.sockets.return_to_lent();
                debug!(bound = ?self.sockets.bound, "DHT node at the port of QUIC again");
            }
        }
    }

    fn tell_dropped(&mut self) {
        let all = self.node.counters().dropped_rate;
        let more = all - std::mem::replace(&mut self.dropped, all);
        if more > 0
            && let Some(times) = self.over_rate.count_many(more)
        {
            warn!(times, "others of the DHT ask or tell more than is listened to");
        }
    }

    /// Takes what came by a lent socket, and what waits behind it.
    fn take(&mut self, first: Datagram) {
        let now = self.now();
        self.node.handle_datagram(now, first.0, &first.1);
        for _ in 1..BATCH {
            let Ok((from, datagram)) = self.received.try_recv() else { return };
            let now = self.now();
            self.node.handle_datagram(now, from, &datagram);
        }
    }

    fn receive(&mut self, index: usize, buffer: &mut [u8]) {
        let mut failures = 0;
        for _ in 0..BATCH {
            match self.sockets.try_receive(index, buffer) {
                Ok((len, from)) => {
                    let now = self.now();
                    self.node.handle_datagram(now, from, buffer.get(..len).unwrap_or_default());
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // Some systems report a refusal of an earlier datagram here.
                Err(error) => {
                    failures += 1;
                    trace!(%error, "receiving failed");
                }
            }
        }
        if failures == BATCH {
            self.receive_after = Instant::now() + RECEIVE_PAUSE;
        }
    }

    fn obey(&mut self, command: Command) {
        let now = self.now();
        match command {
            Command::Get { ticket, hash, sender } => {
                let begun = self.node.get(now, hash);
                self.register(ticket, begun, sender);
            }
            Command::Put { ticket, hash, value, permanent, sender } => {
                let begun = self.node.put(now, hash, value, permanent);
                self.register(ticket, begun, sender);
            }
            Command::Listen { ticket, hash, sender } => {
                let begun = self.node.listen(now, hash);
                self.register(ticket, begun, sender);
            }
            Command::Ping { ticket, addr, sender } => {
                let begun = self.node.ping(now, addr);
                self.register(ticket, begun, sender);
            }
            Command::Cancel(ticket) => {
                if let Some(op) = self.tickets.remove(&ticket) {
                    self.operations.remove(&op);
                    self.node.cancel(op);
                }
            }
            Command::Bootstrap(addrs) => self.node.bootstrap(now, &addrs),
            Command::NetworkChanged => {
                if let Some(turn) = self.detour.network_changed() {
                    self.turn(turn);
                }
                self.node.network_changed(now);
            }
            Command::CheckAddress => self.node.check_address(now),
        }
    }

    /// Remembers who is to hear of an operation. One that was not begun ends by dropping its
    /// sender.
    fn register(
        &mut self,
        ticket: Ticket,
        begun: Result<OpId, hardline_dht::OperationError>,
        sender: mpsc::Sender<Event>,
    ) {
        match begun {
            Ok(op) => {
                self.tickets.insert(ticket, op);
                self.operations.insert(op, (ticket, sender));
            }
            Err(error) => debug!(%error, "operation refused"),
        }
    }

    /// Sends what is to be sent and tells what is to be told.
    async fn flush(&mut self) {
        while let Some(transmit) = self.node.poll_transmit() {
            // A failure is a lost datagram, which the protocol repeats.
            if let Err(error) = self.sockets.send(transmit.to, &transmit.payload).await {
                trace!(to = %transmit.to, %error, "sending failed");
            }
        }
        while let Some(event) = self.node.poll_event() {
            self.tell(event);
        }
    }

    fn tell(&mut self, event: Event) {
        let (op, is_last) = match &event {
            Event::Connected(family) => {
                info!(?family, "connected to the DHT");
                self.save_due = Some(Instant::now() + FIRST_SAVE);
                return self.publish_status();
            }
            Event::Disconnected(family) => {
                info!(?family, "no DHT node answers any more");
                return self.publish_status();
            }
            Event::PublicAddress(_) => return self.publish_status(),
            Event::Found { op, .. } | Event::Heard { op, .. } | Event::Expired { op, .. } => (*op, false),
            Event::PutDone { op, .. } => (*op, !self.node.is_running(*op)),
            Event::GetDone { op, .. } | Event::Pong { op, .. } | Event::PingFailed { op } => (*op, true),
            _ => return,
        };
        if let Some((_, sender)) = self.operations.get(&op) {
            // Full when its reader sleeps; values are then lost to it, and to it alone.
            let _ = sender.try_send(event);
        }
        if is_last && let Some((ticket, _)) = self.operations.remove(&op) {
            self.tickets.remove(&ticket);
        }
    }

    fn publish_status(&self) {
        let now = self.now();
        let (stored_values, stored_bytes) = self.node.stored();
        let public = Family::ALL.into_iter().filter_map(|family| self.node.public_address(family));
        let [seen_v4, seen_v6] = Family::ALL.map(|family| self.node.sightings(now, family));
        let (v4, v6) = (observed(&seen_v4), observed(&seen_v6));
        self.status.send_replace(DhtStatus {
            agreed: v4.addresses().into_iter().take(1).chain(v6.addresses().into_iter().take(1)).collect(),
            mapping_v4: v4.mapping(),
            mapping_v6: v6.mapping(),
            seen_v4,
            seen_v6,
            id: self.node.id(),
            bound: self.sockets.bound.clone(),
            is_at_quic: self.sockets.is_borrowed(),
            lost: self.sockets.lost(),
            connected_v4: self.node.is_connected(Family::V4),
            connected_v6: self.node.is_connected(Family::V6),
            table_v4: self.node.table_status(now, Family::V4),
            table_v6: self.node.table_status(now, Family::V6),
            public: public.collect(),
            operations: self.operations.len(),
            stored_values,
            stored_bytes,
            counters: self.node.counters(),
        });
    }

    fn good_nodes(&self) -> Vec<SocketAddr> {
        self.node.export_nodes(self.now()).into_iter().map(|node| node.addr).collect()
    }

    async fn save_nodes(&self) {
        write_nodes(self.store.clone(), self.good_nodes()).await;
    }
}

/// Who sees us where.
fn observed(seen: &[(SocketAddr, SocketAddr)]) -> MappingObserver {
    let mut observer = MappingObserver::default();
    seen.iter().for_each(|(voter, addr)| observer.saw(voter.ip(), *addr));
    observer
}

async fn known_nodes(store: Option<&Store>) -> Vec<SocketAddr> {
    let Some(store) = store else { return Vec::new() };
    store.dht_nodes().await.unwrap_or_else(|error| {
        debug!(%error, "DHT nodes not read");
        Vec::new()
    })
}

/// An empty list is not written: yesterday's nodes are better than none.
async fn write_nodes(store: Option<Store>, nodes: Vec<SocketAddr>) {
    if let Some(store) = store.filter(|_| !nodes.is_empty())
        && let Err(error) = store.set_dht_nodes(nodes).await
    {
        debug!(%error, "DHT nodes not kept");
    }
}
