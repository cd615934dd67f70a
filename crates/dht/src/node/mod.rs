//! The node: everything put together.

mod answer;
mod maintain;
mod operate;
mod receive;
mod replies;
mod send;

pub use self::operate::OperationError;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rand::rngs::StdRng;

use crate::address::Family;
use crate::external_addr::ExternalAddrConsensus;
use crate::fragment::Reassembly;
use crate::hash::InfoHash;
use crate::limiter::{Blacklist, Limiter, Rates};
use crate::limits::{MAX_EXPORTED_NODES, MAX_PENDING_REQUESTS, MAX_STORED_BYTES};
use crate::message::NodeAddr;
use crate::operation::{Event, OpId, Operation};
use crate::request::Requests;
use crate::search::{Search, SearchId};
use crate::sightings::Sightings;
use crate::storage::{Listeners, Storage, VerifySignature};
use crate::table::Table;
use crate::time::Time;
use crate::token::Tokens;

/// What a node is told at its start.
#[derive(Debug, Clone)]
pub struct Config {
    /// Its id; a random one when absent.
    pub id: Option<InfoHash>,
    /// Network to take part in; 0 is the public one.
    pub network: u32,
    /// Whether it only asks, and neither stores nor answers for others.
    pub client: bool,
    /// Families it has sockets for.
    pub families: Vec<Family>,
    /// Whether [`Node::bootstrap`] will be told addresses. Until it is, operations wait for them
    /// instead of ending because nobody is known.
    pub bootstrap_follows: bool,
    /// Bytes to store for others, bookkeeping included.
    pub max_stored_bytes: usize,
    /// Checks signatures. Without it no signed value is stored for others.
    pub verify: Option<VerifySignature>,
    /// Unix time in seconds at [`Time::ZERO`], by which creation times of values are judged.
    /// Without it they are ignored.
    pub unix_time_at_zero: Option<u64>,
    /// What strangers may cost in a second.
    pub rates: Rates,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            id: None,
            network: 0,
            client: false,
            families: Family::ALL.to_vec(),
            bootstrap_follows: false,
            max_stored_bytes: MAX_STORED_BYTES,
            verify: None,
            unix_time_at_zero: None,
            rates: Rates::default(),
        }
    }
}

/// A datagram to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// Where to; its family tells the socket.
    pub to: SocketAddr,
    /// The bytes.
    pub payload: Vec<u8>,
}

/// What has been counted since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Counters {
    /// Datagrams received, dropped ones included.
    pub datagrams_in: u64,
    /// Their bytes.
    pub bytes_in: u64,
    /// Datagrams sent.
    pub datagrams_out: u64,
    /// Their bytes.
    pub bytes_out: u64,
    /// Requests answered or acted on.
    pub requests_in: u64,
    /// Requests sent, retries aside.
    pub requests_out: u64,
    /// Requests that were never answered.
    pub requests_failed: u64,
    /// Dropped: not a message.
    pub dropped_malformed: u64,
    /// Dropped: another network, our own id, an impossible address.
    pub dropped_foreign: u64,
    /// Dropped: over a rate.
    pub dropped_rate: u64,
    /// Dropped: blacklisted.
    pub dropped_blacklisted: u64,
    /// Dropped: replies or fragments nobody waits for, or from another address than was asked.
    pub dropped_unsolicited: u64,
    /// Puts and listens with a token that is not ours.
    pub wrong_tokens: u64,
}

/// How many nodes of a family are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TableStatus {
    /// Nodes that have answered and are not silent for long.
    pub good: usize,
    /// The others in the table.
    pub dubious: usize,
    /// Buckets.
    pub depth: usize,
    /// Nodes that the network has, by estimate.
    pub network_size: u64,
}

/// An OpenDHT node without sockets and clock.
///
/// Feed it with [`handle_datagram`](Self::handle_datagram) and
/// [`handle_timeout`](Self::handle_timeout); after each call to it, send what
/// [`poll_transmit`](Self::poll_transmit) gives, take what [`poll_event`](Self::poll_event) gives,
/// and call `handle_timeout` no later than [`poll_timeout`](Self::poll_timeout) says. The same
/// calls with the same generator give the same outcome.
#[derive(Debug)]
pub struct Node {
    id: InfoHash,
    config: Config,
    rng: StdRng,
    transmits: VecDeque<Transmit>,
    events: VecDeque<Event>,
    counters: Counters,

    tables: [Link; 2],
    requests: Requests,
    /// Addresses being asked whether anybody is there.
    verifying: BTreeSet<SocketAddr>,
    /// Pushes to listeners in flight.
    pushing: usize,
    /// Nodes that failed of late.
    failed: BTreeMap<InfoHash, Time>,
    reassembly: Reassembly,

    operations: BTreeMap<OpId, Operation>,
    next_op: u64,
    searches: BTreeMap<SearchId, (OpIdOrNone, Family, Search)>,
    search_due: BTreeSet<(Time, SearchId)>,
    next_search: SearchId,
    /// Numbers under which storing nodes push to us.
    sockets: BTreeMap<u32, SearchId>,

    tokens: Tokens,
    storage: Storage,
    listeners: Listeners,

    datagram_limiter: Limiter,
    request_limiter: Limiter,
    signature_limiter: Limiter,
    fragment_limiter: Limiter,
    blacklist: Blacklist,

    bootstrap: Vec<SocketAddr>,
    next_maintenance: Time,
    next_neighbourhood: Time,
    joined: Option<Time>,
}

/// The operation a search belongs to; none for the node's own.
pub(crate) type OpIdOrNone = Option<OpId>;

/// What is particular to a family.
#[derive(Debug)]
struct Link {
    enabled: bool,
    table: Table,
    external_addr: ExternalAddrConsensus,
    sightings: Sightings,
    /// Until when another doubt about our address changes nothing.
    believed_until: Time,
    connected: bool,
    /// When bootstrap hosts are asked again, while not connected.
    next_bootstrap: Option<Time>,
    bootstrap_wait: Duration,
}

impl Node {
    /// Makes a node. `rng` is the only source of randomness; tokens are as unforgeable as its seed
    /// is secret.
    #[must_use]
    pub fn new(now: Time, config: Config, mut rng: StdRng) -> Self {
        let id = config.id.unwrap_or_else(|| InfoHash::random(&mut rng));
        let rates = config.rates;
        Self {
            id,
            tables: Family::ALL.map(|family| Link::new(id, config.families.contains(&family))),
            tokens: Tokens::new(now, &mut rng),
            storage: Storage::new(config.max_stored_bytes, config.verify),
            listeners: Listeners::default(),
            datagram_limiter: Limiter::new(rates.datagrams_per_prefix, rates.datagrams),
            request_limiter: Limiter::new(rates.requests_per_prefix, rates.requests),
            signature_limiter: Limiter::new(rates.signatures_per_prefix, rates.signatures),
            fragment_limiter: Limiter::new(rates.fragment_bytes_per_prefix, u32::MAX),
            blacklist: Blacklist::default(),
            config,
            rng,
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            counters: Counters::default(),
            requests: Requests::default(),
            verifying: BTreeSet::new(),
            pushing: 0,
            failed: BTreeMap::new(),
            reassembly: Reassembly::default(),
            operations: BTreeMap::new(),
            next_op: 1,
            searches: BTreeMap::new(),
            search_due: BTreeSet::new(),
            next_search: 1,
            sockets: BTreeMap::new(),
            bootstrap: Vec::new(),
            next_maintenance: now + Duration::from_secs(3),
            next_neighbourhood: now + Duration::from_secs(60),
            joined: None,
        }
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> InfoHash {
        self.id
    }

    /// The next datagram to be sent. Drain it after every other call.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// The next thing the application should know. Drain it after every other call.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) next, if nothing else happens.
    #[must_use]
    pub fn poll_timeout(&self) -> Time {
        let bootstrap = self.tables.iter().filter_map(|link| link.next_bootstrap);
        let operations = self.operations.values().filter_map(Operation::next_timeout);
        let others = [
            self.requests.next_timeout(),
            self.search_due.first().map(|(due, _)| *due),
            self.reassembly.next_timeout(),
            self.storage.next_timeout(),
            self.listeners.next_timeout(),
            Some(self.tokens.next_timeout()),
        ];
        others.into_iter().flatten().chain(bootstrap).chain(operations).fold(self.next_maintenance, Time::min)
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Time) {
        self.handle_overdue_requests(now);
        self.handle_late_reassemblies(now);
        self.tokens.handle_timeout(now, &mut self.rng);
        self.expire_stored(now);
        self.listeners.handle_timeout(now);
        self.expire_operations(now);
        self.step_due_searches(now);
        self.bootstrap_if_due(now);
        self.maintain_if_due(now);
    }

    /// What has been counted.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// How many nodes are known.
    #[must_use]
    pub fn table_status(&self, now: Time, family: Family) -> TableStatus {
        let table = &self.link(family).table;
        let good = table.good(now).count();
        TableStatus {
            good,
            dubious: table.entries().count() - good,
            depth: table.depth(),
            network_size: table.network_size(now),
        }
    }

    /// Values stored for others and their bytes, bookkeeping included.
    #[must_use]
    pub fn stored(&self) -> (usize, usize) {
        self.storage.size()
    }

    /// Whether anything is stored at `key`.
    #[must_use]
    pub fn stores(&self, key: &InfoHash) -> bool {
        self.storage.has_key(key)
    }

    /// Our public address in a family, once enough others agree about it.
    #[must_use]
    pub fn public_address(&self, family: Family) -> Option<IpAddr> {
        self.link(family).external_addr.winner()
    }

    /// Which nodes see us at which address and port. Nobody names a client: then there are none.
    #[must_use]
    pub fn sightings(&self, now: Time, family: Family) -> Vec<(SocketAddr, SocketAddr)> {
        self.link(family).sightings.fresh(now).collect()
    }

    /// Whether good nodes of the family are known.
    #[must_use]
    pub fn is_connected(&self, family: Family) -> bool {
        self.link(family).connected
    }

    /// Good nodes to start from next time, those nearest to us first.
    #[must_use]
    pub fn export_nodes(&self, now: Time) -> Vec<NodeAddr> {
        let nearest = |link: &Link| link.table.closest(&self.id, MAX_EXPORTED_NODES, |entry| entry.is_good(now));
        self.tables.iter().flat_map(nearest).collect()
    }

    /// What must hold after every step; for simulations and fuzzers, which call it after each.
    ///
    /// # Errors
    /// Says what is wrong.
    pub fn check_invariants(&self, now: Time) -> Result<(), String> {
        self.tables.iter().try_for_each(|link| link.table.check())?;
        self.requests.check()?;
        self.storage.check()?;
        self.searches.values().try_for_each(|(_, _, search)| search.check())?;
        if self.poll_timeout() < now {
            return Err(format!("timer at {:?} is before {now:?}", self.poll_timeout()));
        }
        let bounds = [
            ("requests", self.requests.len(), MAX_PENDING_REQUESTS),
            ("verifications", self.verifying.len(), crate::limits::MAX_VERIFICATIONS),
            ("pushes", self.pushing, crate::limits::MAX_PENDING_PUSHES),
            ("failed nodes", self.failed.len(), crate::limits::MAX_FAILED_NODES),
            ("reassemblies", self.reassembly.len(), crate::limits::MAX_REASSEMBLIES),
            ("reassembly bytes", self.reassembly.announced_bytes(), crate::limits::MAX_REASSEMBLY_BYTES),
            ("early fragments", self.reassembly.early(), crate::limits::MAX_EARLY_FRAGMENTS),
            ("listeners", self.listeners.len(), crate::limits::MAX_LISTENERS),
            ("rated prefixes", self.request_limiter.len(), crate::limits::MAX_RATED_PREFIXES),
            ("rated datagram prefixes", self.datagram_limiter.len(), crate::limits::MAX_RATED_PREFIXES),
            ("rated signature prefixes", self.signature_limiter.len(), crate::limits::MAX_RATED_PREFIXES),
            ("blacklist", self.blacklist.len(), crate::limits::MAX_BLACKLIST),
            ("operations", self.operations.len(), crate::limits::MAX_OPERATIONS),
            ("searches", self.searches.len(), 2 * crate::limits::MAX_OPERATIONS + 2),
            ("due searches", self.search_due.len(), self.searches.len()),
            ("sockets", self.sockets.len(), self.searches.len() * crate::limits::MAX_SEARCH_NODES),
        ];
        match bounds.iter().find(|(_, len, limit)| len > limit) {
            Some((what, len, limit)) => Err(format!("{len} {what}, at most {limit} allowed")),
            None => Ok(()),
        }
    }

    fn link(&self, family: Family) -> &Link {
        match family {
            Family::V4 => &self.tables[0],
            Family::V6 => &self.tables[1],
        }
    }

    fn link_mut(&mut self, family: Family) -> &mut Link {
        match family {
            Family::V4 => &mut self.tables[0],
            Family::V6 => &mut self.tables[1],
        }
    }
}

impl Link {
    fn new(id: InfoHash, enabled: bool) -> Self {
        Self {
            enabled,
            table: Table::new(id),
            external_addr: ExternalAddrConsensus::default(),
            sightings: Sightings::default(),
            believed_until: Time::ZERO,
            connected: false,
            next_bootstrap: None,
            bootstrap_wait: crate::limits::BOOTSTRAP_RETRY_MIN,
        }
    }
}
