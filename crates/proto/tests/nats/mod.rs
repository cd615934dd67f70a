//! Two homes, each behind a row of NATs, in simulated time.

#![allow(unreachable_pub, reason = "a part of one test")]

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use hardline_proto::call::CallId;
use hardline_proto::punch::{Attempt, Event, Mapping, MappingObserver, Role, Transmit, plan};

/// What a router does; each lets in only who was sent to before, by address and port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nat {
    /// One port outside for each inside, by chance.
    EndpointIndependent,
    /// The same port outside as inside, if it is free.
    PortKeeping,
    /// Another port for each destination.
    Symmetric,
}

/// A router that maps.
struct Router {
    kind: Nat,
    outside: Ipv4Addr,
    /// Inside, and destination where it counts → port outside.
    mappings: BTreeMap<(SocketAddr, Option<SocketAddr>), u16>,
    inside_of: BTreeMap<u16, SocketAddr>,
    /// Port outside, and who may send there.
    permitted: BTreeSet<(u16, SocketAddr)>,
}

impl Router {
    /// A packet that leaves: its new source.
    fn outward(&mut self, rng: &mut Rng, source: SocketAddr, destination: SocketAddr) -> SocketAddr {
        let key = (source, (self.kind == Nat::Symmetric).then_some(destination));
        let port = match self.mappings.get(&key) {
            Some(port) => *port,
            None => self.map(rng, key),
        };
        self.permitted.insert((port, destination));
        (self.outside, port).into()
    }

    fn map(&mut self, rng: &mut Rng, key: (SocketAddr, Option<SocketAddr>)) -> u16 {
        let mut port = key.0.port();
        while self.kind != Nat::PortKeeping && port == key.0.port() || self.inside_of.contains_key(&port) {
            port = 1024 + (rng.next() % 64_512) as u16;
        }
        self.mappings.insert(key, port);
        self.inside_of.insert(port, key.0);
        port
    }

    /// A packet that comes: where it goes inside.
    fn inward(&self, source: SocketAddr, port: u16) -> Option<SocketAddr> {
        self.permitted.contains(&(port, source)).then(|| self.inside_of.get(&port).copied()).flatten()
    }
}

/// A computer and the routers before it, the nearest first.
struct Home {
    ip: Ipv4Addr,
    routers: Vec<Router>,
    attempt: Option<Attempt>,
    sent: usize,
}

const FIRST_PORT: u16 = 7008;

impl Home {
    fn new(number: u8, nats: &[Nat]) -> Self {
        let ip = |inner| {
            if inner == nats.len() {
                Ipv4Addr::new(203, 0, number, 1)
            } else {
                Ipv4Addr::new(10, number, inner as u8, 1)
            }
        };
        let router = |(i, kind): (usize, &Nat)| Router {
            kind: *kind,
            outside: ip(i + 1),
            mappings: BTreeMap::new(),
            inside_of: BTreeMap::new(),
            permitted: BTreeSet::new(),
        };
        Self { ip: ip(0), routers: nats.iter().enumerate().map(router).collect(), attempt: None, sent: 0 }
    }

    fn public_ip(&self) -> Ipv4Addr {
        self.routers.last().map_or(self.ip, |router| router.outside)
    }

    /// What others see of a packet from that socket.
    fn outward(&mut self, rng: &mut Rng, socket: u16, destination: SocketAddr) -> SocketAddr {
        let mut source = SocketAddr::from((self.ip, FIRST_PORT + socket));
        for router in &mut self.routers {
            source = router.outward(rng, source, destination);
        }
        source
    }

    /// The socket that gets a packet, if the routers let it in.
    fn inward(&self, source: SocketAddr, port: u16) -> Option<u16> {
        let mut port = port;
        for router in self.routers.iter().rev() {
            port = router.inward(source, port)?.port();
        }
        port.checked_sub(FIRST_PORT)
    }

    /// Asks three hosts what they see, as the DHT does: what is known of the router, and the
    /// address.
    fn observe(&mut self, rng: &mut Rng) -> (Mapping, SocketAddr) {
        let mut observer = MappingObserver::default();
        for host in 1..=3 {
            let host = SocketAddr::from(([198, 51, 100, host], 4222));
            observer.saw(host.ip(), self.outward(rng, 0, host));
        }
        (observer.mapping(), observer.latest().unwrap())
    }
}

/// What three hosts make of such a row of routers.
pub fn mapping_of(nats: &[Nat]) -> Mapping {
    Home::new(1, nats).observe(&mut Rng(1)).0
}

/// What came of an attempt.
pub struct Outcome {
    /// When the dialler could dial, from the call on.
    pub opened: Option<Duration>,
    /// Datagrams sent.
    pub from_publisher: usize,
    pub from_dialler: usize,
}

/// A packet between the homes; the first to arrive comes first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Packet {
    arrives: Instant,
    number: u64,
    /// To which home, and port.
    to: (usize, u16),
    from: SocketAddr,
    datagram: Vec<u8>,
}

/// Both homes, and what is on the way.
pub struct World {
    rng: Rng,
    homes: [Home; 2],
    loss: f64,
    latency: Duration,
    now: Instant,
    on_the_way: BinaryHeap<Reverse<Packet>>,
    number: u64,
}

const PUBLISHER: usize = 0;
const DIALLER: usize = 1;

impl World {
    pub fn new(seed: u64, publisher: &[Nat], dialler: &[Nat], loss: f64, latency: Duration) -> Self {
        let homes = [Home::new(1, publisher), Home::new(2, dialler)];
        let rng = Rng(Rng(seed).next()); // far from that of the next seed
        Self { rng, homes, loss, latency, now: Instant::now(), on_the_way: BinaryHeap::new(), number: 0 }
    }

    /// The dialler calls now; the call arrives after `delivery`.
    pub fn attempt(mut self, delivery: Duration) -> Outcome {
        let start = self.now;
        let [publisher, dialler] = [PUBLISHER, DIALLER].map(|home| self.homes[home].observe(&mut self.rng));
        let id = CallId::from_bytes([7; 16]);
        let begin = |world: &mut Self, home: usize, role, plan, target| {
            let seed = world.rng.next();
            world.homes[home].attempt = Some(Attempt::new(world.now, role, &id, &[target], plan, seed));
        };
        begin(&mut self, DIALLER, Role::Dialler, plan(Role::Dialler, dialler.0, publisher.0), publisher.1);
        let mut arrives = Some(start + delivery);
        let mut opened = None;
        while opened.is_none() {
            opened = self.drain().map(|at| at - start);
            let Some(next) = self.next().into_iter().chain(arrives).min() else { break };
            if self.homes[DIALLER].attempt.as_ref().is_some_and(Attempt::is_over) {
                break;
            }
            self.now = self.now.max(next);
            if arrives.is_some_and(|at| at <= self.now) {
                arrives = None;
                begin(&mut self, PUBLISHER, Role::Publisher, plan(Role::Publisher, publisher.0, dialler.0), dialler.1);
            }
            self.step();
        }
        Outcome { opened, from_publisher: self.homes[PUBLISHER].sent, from_dialler: self.homes[DIALLER].sent }
    }

    fn next(&self) -> Option<Instant> {
        let packet = self.on_the_way.peek().map(|Reverse(packet)| packet.arrives);
        let timers = self.homes.iter().filter_map(|home| home.attempt.as_ref()?.poll_timeout());
        timers.chain(packet).min()
    }

    /// Lets arrive what is due, and timers pass.
    fn step(&mut self) {
        while self.on_the_way.peek().is_some_and(|Reverse(packet)| packet.arrives <= self.now) {
            let Some(Reverse(Packet { to: (to, port), from, datagram, .. })) = self.on_the_way.pop() else { break };
            let socket = self.homes[to].inward(from, port);
            if let (Some(socket), Some(attempt)) = (socket, &mut self.homes[to].attempt) {
                assert!(attempt.handle_datagram(socket, from, &datagram));
            }
        }
        for home in &mut self.homes {
            if let Some(attempt) = &mut home.attempt {
                attempt.handle_timeout(self.now);
            }
        }
    }

    /// Sends what is to be sent. Returns now if the dialler may dial.
    fn drain(&mut self) -> Option<Instant> {
        for from in [PUBLISHER, DIALLER] {
            while let Some(transmit) = self.homes[from].attempt.as_mut().and_then(Attempt::poll_transmit) {
                self.send(from, &transmit);
            }
        }
        let event = self.homes[DIALLER].attempt.as_mut().and_then(Attempt::poll_event);
        matches!(event, Some(Event::Open { .. })).then_some(self.now)
    }

    fn send(&mut self, from: usize, transmit: &Transmit) {
        self.homes[from].sent += 1;
        // Half of what is lost is lost before the first router.
        if self.rng.chance(self.loss / 2.0) {
            return;
        }
        let source = self.homes[from].outward(&mut self.rng, transmit.socket, transmit.to);
        let to = 1 - from;
        if self.rng.chance(self.loss / 2.0) || transmit.to.ip() != IpAddr::V4(self.homes[to].public_ip()) {
            return;
        }
        self.number += 1;
        let packet = Packet {
            arrives: self.now + self.latency,
            number: self.number,
            to: (to, transmit.to.port()),
            from: source,
            datagram: transmit.datagram.to_vec(),
        };
        self.on_the_way.push(Reverse(packet));
    }
}

/// SplitMix64.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn chance(&mut self, probability: f64) -> bool {
        (self.next() >> 11) as f64 / ((1_u64 << 53) as f64) < probability
    }
}
