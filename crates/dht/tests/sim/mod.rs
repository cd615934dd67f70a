//! Thousands of nodes in one process, with a network that loses, delays and lies. One seed, one
//! history.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "each user needs another part of this test world")]

pub mod measure; // lookups and what nodes send, in numbers

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use hardline_dht::message::{Body, Message, NODE4_LEN, Reply};
use hardline_dht::{Config, Counters, Event, Family, InfoHash, Node, OpId, Summary, Time, Value};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};

/// Time for which a NAT lets answers in after something was sent out.
const NAT_BINDING: Duration = Duration::from_secs(60);

/// Longest time that a datagram and its answer are under way; 85 ms is the mean.
pub const LONGEST_ROUND_TRIP: Duration = Duration::from_millis(160);

/// What the network is like.
#[derive(Debug, Clone, Copy)]
pub struct Weather {
    /// Share of datagrams lost.
    pub loss: f64,
    /// Share of nodes behind a NAT: nobody reaches them whom they have not called.
    pub nat: f64,
    /// Share of nodes that answer garbage, or name nodes that do not exist.
    pub liars: f64,
    /// Share of nodes replaced in an hour.
    pub churn_per_hour: f64,
}

impl Weather {
    pub const FAIR: Self = Self { loss: 0.0, nat: 0.0, liars: 0.0, churn_per_hour: 0.0 };
    /// As bad as it is expected to get: all of it at once.
    pub const ROUGH: Self = Self { loss: 0.05, nat: 0.2, liars: 0.05, churn_per_hour: 0.5 };
}

/// Index of a host; hosts that left keep theirs.
pub type HostId = usize;

struct Host {
    /// Absent after it left.
    node: Option<Node>,
    addr: SocketAddr,
    /// Where it has called lately, when it is behind a NAT.
    nat: Option<HashMap<SocketAddr, Time>>,
    is_liar: bool,
    /// Whether it stores for nobody.
    is_client: bool,
    /// The timer set for it; others in the queue are outdated.
    timer: Time,
}

enum Happening {
    Timer(HostId),
    Datagram { from: SocketAddr, to: HostId, payload: Vec<u8> },
    Replace,
}

/// The world.
pub struct Sim {
    now: Time,
    weather: Weather,
    rng: StdRng,
    hosts: Vec<Host>,
    by_addr: HashMap<SocketAddr, HostId>,
    queue: BinaryHeap<Reverse<(Time, u64)>>,
    happenings: HashMap<u64, Happening>,
    next: u64,
    alive: Vec<HostId>,
    /// What applications have heard, by operation.
    pub found: HashMap<(HostId, OpId), Vec<Value>>,
    pub done: HashMap<(HostId, OpId), (Summary, usize)>,
    pub heard: HashMap<(HostId, OpId), Vec<Value>>,
    /// When the first of them was heard.
    pub heard_at: HashMap<(HostId, OpId), Time>,
    /// When each of them was heard first, by its own number.
    pub each_heard_at: HashMap<(HostId, OpId, u64), Time>,
    pub expired: HashMap<(HostId, OpId), Vec<Value>>,
    /// Whether every node is checked after each of its steps.
    pub check_invariants: bool,
    /// Datagrams delivered.
    pub delivered: u64,
    /// Hosts that stay whatever churn there is: those whose operations are watched.
    pub watched: Vec<HostId>,
}

impl Sim {
    pub fn new(seed: u64, weather: Weather) -> Self {
        let mut sim = Self {
            now: Time::from_secs(1),
            weather,
            rng: StdRng::seed_from_u64(seed),
            hosts: Vec::new(),
            by_addr: HashMap::new(),
            queue: BinaryHeap::new(),
            happenings: HashMap::new(),
            next: 0,
            alive: Vec::new(),
            found: HashMap::new(),
            done: HashMap::new(),
            heard: HashMap::new(),
            heard_at: HashMap::new(),
            each_heard_at: HashMap::new(),
            expired: HashMap::new(),
            check_invariants: true,
            delivered: 0,
            watched: Vec::new(),
        };
        if weather.churn_per_hour > 0.0 {
            sim.schedule(sim.now, Happening::Replace);
        }
        sim
    }

    /// A network of `count` nodes that have joined one after the other and settled.
    pub fn network(count: usize, seed: u64, weather: Weather) -> Self {
        Self::new(seed, Weather { churn_per_hour: 0.0, ..weather }).grown(count, weather)
    }

    /// The same without the check of every node after each of its steps, which takes most of the
    /// time.
    pub fn unchecked_network(count: usize, seed: u64, weather: Weather) -> Self {
        let sim = Self::new(seed, Weather { churn_per_hour: 0.0, ..weather });
        Self { check_invariants: false, ..sim }.grown(count, weather)
    }

    fn grown(mut self, count: usize, weather: Weather) -> Self {
        for _ in 0..count {
            self.join(Config::default());
            // Faster than a real network grows, slowly enough that the first ones can answer.
            self.run_for(Duration::from_millis(20));
        }
        self.run_for(Duration::from_secs(120));
        if weather.churn_per_hour > 0.0 {
            self.weather = weather;
            self.schedule(self.now, Happening::Replace);
        }
        self
    }

    pub fn now(&self) -> Time {
        self.now
    }

    /// Adds a node that knows a random other one.
    pub fn join(&mut self, config: Config) -> HostId {
        let id = self.hosts.len();
        let is_first = self.alive.is_empty();
        let (is_liar, is_behind_nat) =
            (self.rng.random_bool(self.weather.liars), self.rng.random_bool(self.weather.nat));
        // Those that everyone starts from are honest and reachable, as well-known hosts are.
        let known = self.well_known();
        // An address for each: rates and quotas are counted per address.
        let addr = SocketAddr::from((Ipv4Addr::from_bits(0x0b00_0000 + id as u32), 4222));
        let config = Config { families: vec![Family::V4], unix_time_at_zero: Some(1_700_000_000), ..config };
        let (is_client, seed) = (config.client, self.rng.random());
        let mut node = Node::new(self.now, config, StdRng::from_seed(seed));
        node.bootstrap(self.now, &known);
        let nat = (!is_first && is_behind_nat).then(HashMap::new);
        let is_liar = !is_first && is_liar;
        self.hosts.push(Host { node: Some(node), addr, nat, is_liar, is_client, timer: Time::ZERO });
        self.by_addr.insert(addr, id);
        self.alive.push(id);
        self.settle(id);
        id
    }

    /// Removes a node without a word.
    pub fn leave(&mut self, id: HostId) {
        self.hosts[id].node = None;
        self.alive.retain(|other| *other != id);
    }

    /// Gives a host another address, of a router that has forgotten everything: what is sent to the
    /// one before is lost.
    pub fn move_host(&mut self, id: HostId) {
        let addr = SocketAddr::from((Ipv4Addr::from_bits(0x0c00_0000 + id as u32), 4222));
        let before = std::mem::replace(&mut self.hosts[id].addr, addr);
        self.by_addr.remove(&before);
        self.by_addr.insert(addr, id);
        self.hosts[id].nat = Some(HashMap::new());
    }

    /// Replaces the bytes of a host by the noise of a storm: sends `payload` from `from` to it.
    pub fn inject(&mut self, from: SocketAddr, to: HostId, payload: &[u8]) {
        let now = self.now;
        if let Some(node) = &mut self.hosts[to].node {
            node.handle_datagram(now, from, payload);
        }
        self.settle(to);
    }

    /// Some node that is alive. It may be behind a NAT, and it may be one that lies to others.
    pub fn anyone(&mut self) -> HostId {
        *self.alive.choose(&mut self.rng).unwrap()
    }

    pub fn alive(&self) -> &[HostId] {
        &self.alive
    }

    pub fn node(&self, id: HostId) -> &Node {
        self.hosts[id].node.as_ref().unwrap()
    }

    pub fn addr(&self, id: HostId) -> SocketAddr {
        self.hosts[id].addr
    }

    pub fn get(&mut self, host: HostId, hash: InfoHash) -> OpId {
        self.with(host, |node, now| node.get(now, hash).unwrap())
    }

    pub fn put(&mut self, host: HostId, hash: InfoHash, value: Value, permanent: bool) -> OpId {
        self.with(host, |node, now| node.put(now, hash, value, permanent).unwrap())
    }

    pub fn listen(&mut self, host: HostId, hash: InfoHash) -> OpId {
        self.with(host, |node, now| node.listen(now, hash).unwrap())
    }

    pub fn check_address(&mut self, host: HostId) {
        self.with(host, |node, now| node.check_address(now));
    }

    pub fn cancel(&mut self, host: HostId, op: OpId) {
        self.with(host, |node, _| node.cancel(op));
    }

    /// Runs until the operation is done and gives its summary and the number of acknowledgements.
    pub fn finish(&mut self, host: HostId, op: OpId) -> (Summary, usize) {
        while !self.done.contains_key(&(host, op)) {
            self.step();
        }
        self.done[&(host, op)]
    }

    /// Runs until the operation has heard something, or for `limit`; gives the time it took.
    pub fn hear(&mut self, host: HostId, op: OpId, limit: Duration) -> Option<Duration> {
        let begun = self.now;
        while !self.heard_at.contains_key(&(host, op)) && self.now < begun + limit {
            self.step();
        }
        self.heard_at.get(&(host, op)).map(|at| at.since(begun))
    }

    pub fn run_for(&mut self, span: Duration) {
        let end = self.now + span;
        while self.queue.peek().is_some_and(|Reverse((at, _))| *at <= end) {
            self.step();
        }
        self.now = end;
    }

    /// What each living node has counted.
    pub fn counters(&self) -> BTreeMap<HostId, Counters> {
        self.alive.iter().map(|id| (*id, self.node(*id).counters())).collect()
    }

    /// How many of the eight nodes nearest to `key` that can be reached store something there.
    pub fn storing_among_nearest(&self, key: &InfoHash) -> usize {
        let fit = |id: &&HostId| self.hosts[**id].nat.is_none() && !self.hosts[**id].is_client;
        let mut nodes: Vec<&Node> = self.alive.iter().filter(fit).map(|id| self.node(*id)).collect();
        nodes.sort_by(|a, b| key.cmp_distance(&a.id(), &b.id()));
        nodes.iter().take(8).filter(|node| node.stores(key)).count()
    }

    fn with<T>(&mut self, host: HostId, act: impl FnOnce(&mut Node, Time) -> T) -> T {
        let now = self.now;
        let result = act(self.hosts[host].node.as_mut().unwrap(), now);
        self.settle(host);
        result
    }

    fn well_known(&self) -> Vec<SocketAddr> {
        let fit = |id: &&HostId| !self.hosts[**id].is_liar && self.hosts[**id].nat.is_none();
        self.alive.iter().filter(fit).take(3).map(|id| self.hosts[*id].addr).collect()
    }

    fn schedule(&mut self, at: Time, happening: Happening) {
        self.next += 1;
        self.queue.push(Reverse((at, self.next)));
        self.happenings.insert(self.next, happening);
    }

    fn step(&mut self) {
        let Reverse((at, number)) = self.queue.pop().expect("nodes always have a timer");
        self.now = self.now.max(at);
        match self.happenings.remove(&number).unwrap() {
            Happening::Timer(id) => {
                let host = &mut self.hosts[id];
                // An earlier timer may have been set since, which then did the work and set the
                // next.
                if host.timer == at
                    && let Some(node) = &mut host.node
                {
                    node.handle_timeout(at);
                    assert!(node.poll_timeout() > at, "host {id}: handling the timeout left one at {at:?}");
                    self.settle(id);
                }
            }
            Happening::Datagram { from, to, payload } => self.deliver(from, to, &payload),
            Happening::Replace => self.replace_one(),
        }
    }

    fn deliver(&mut self, from: SocketAddr, to: HostId, payload: &[u8]) {
        let (now, host) = (self.now, &mut self.hosts[to]);
        let lets_in = match &host.nat {
            Some(called) => called.get(&from).is_some_and(|at| now.since(*at) < NAT_BINDING),
            None => true,
        };
        if let Some(node) = host.node.as_mut().filter(|_| lets_in) {
            self.delivered += 1;
            node.handle_datagram(now, from, payload);
            self.settle(to);
        }
    }

    /// Takes what a node wants to send and to tell, sets its timer, and checks it.
    fn settle(&mut self, id: HostId) {
        let now = self.now;
        let Some(mut node) = self.hosts[id].node.take() else { return };
        while let Some(transmit) = node.poll_transmit() {
            self.send(id, transmit.to, transmit.payload);
        }
        while let Some(event) = node.poll_event() {
            self.note(id, event);
        }
        if self.check_invariants
            && let Err(broken) = node.check_invariants(now)
        {
            panic!("host {id} at {now:?}: {broken}");
        }
        let timer = node.poll_timeout();
        self.hosts[id].node = Some(node);
        if self.hosts[id].timer <= now || timer < self.hosts[id].timer {
            self.hosts[id].timer = timer;
            self.schedule(timer, Happening::Timer(id));
        }
    }

    fn send(&mut self, from: HostId, to: SocketAddr, payload: Vec<u8>) {
        let now = self.now;
        if let Some(called) = &mut self.hosts[from].nat {
            called.insert(to, now);
        }
        let Some(to) = self.by_addr.get(&to).copied() else { return };
        if self.weather.loss > 0.0 && self.rng.random_bool(self.weather.loss) {
            return;
        }
        let payload = if self.hosts[from].is_liar { self.falsify(payload) } else { payload };
        let latency = Duration::from_micros(self.rng.random_range(5_000..LONGEST_ROUND_TRIP.as_micros() as u64 / 2));
        let from = self.hosts[from].addr;
        self.schedule(now + latency, Happening::Datagram { from, to, payload });
    }

    /// What a liar sends instead: noise, or a reply that names nodes which do not exist and knows
    /// no value.
    fn falsify(&mut self, payload: Vec<u8>) -> Vec<u8> {
        let Ok(message) = Message::decode(&payload) else { return payload };
        let Body::Reply(reply) = &message.body else { return payload };
        if reply.token.is_empty() {
            return payload;
        }
        if self.rng.random_bool(0.3) {
            return (0..payload.len()).map(|_| self.rng.random()).collect();
        }
        // As near as what it really knows, hence likely to be asked.
        let mut invented = reply.nodes4.to_vec();
        for record in invented.chunks_exact_mut(NODE4_LEN) {
            self.rng.fill(&mut record[4..InfoHash::LEN]);
            self.rng.fill(&mut record[InfoHash::LEN + 1..]);
        }
        let lie = Reply { nodes4: invented.into(), values: Vec::new(), fields: None, ..reply.clone() };
        let mut datagram = Vec::new();
        Message { body: Body::Reply(lie), ..message }.encode(&mut datagram);
        datagram
    }

    fn note(&mut self, host: HostId, event: Event) {
        match event {
            Event::Found { op, value } => self.found.entry((host, op)).or_default().push(value),
            Event::GetDone { op, summary } => drop(self.done.insert((host, op), (summary, 0))),
            Event::PutDone { op, acknowledged, summary } => {
                self.done.insert((host, op), (summary, acknowledged));
            }
            Event::Heard { op, value } => {
                self.each_heard_at.entry((host, op, value.id())).or_insert(self.now);
                self.heard.entry((host, op)).or_default().push(value);
                self.heard_at.entry((host, op)).or_insert(self.now);
            }
            Event::Expired { op, value } => self.expired.entry((host, op)).or_default().push(value),
            _ => {}
        }
    }

    /// One node leaves and a new one comes. The three that everyone starts from stay.
    fn replace_one(&mut self) {
        if self.weather.churn_per_hour <= 0.0 {
            return;
        }
        let per_second = self.alive.len() as f64 * self.weather.churn_per_hour / 3600.0;
        self.schedule(self.now + Duration::from_secs_f64(1.0 / per_second), Happening::Replace);
        if self.alive.len() > 8 {
            let at = self.rng.random_range(3..self.alive.len());
            let leaver = self.alive[at];
            if !self.watched.contains(&leaver) {
                self.leave(leaver);
                self.join(Config::default());
            }
        }
    }
}
