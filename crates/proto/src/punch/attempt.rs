//! One attempt to get through, of either side.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::Role;
use super::plan::{MAX_UNASKED, Plan, Ports};
use super::probe::{PROBE_LEN, Probe};
use crate::call::{CallId, MAX_ADDRESSES};

/// Time after which an attempt is given up: by then a person has, too.
pub const GIVE_UP: Duration = Duration::from_secs(10);

/// Addresses at which one attempt may find the other side. More than one is there only if somebody
/// on the path repeats what it saw.
pub const MAX_OPENED: usize = 4;

/// Time between two probes of the dialler to one address: at first, and after [`SLOWER_AFTER`].
const DIALLER_INTERVAL: Duration = Duration::from_millis(100);
const DIALLER_SLOWER: Duration = Duration::from_millis(250);
const SLOWER_AFTER: Duration = Duration::from_secs(3);

/// Time from the first probe of the publisher to the second; it doubles each time.
const PUBLISHER_INTERVAL: Duration = Duration::from_millis(100);

/// Probes that a publisher answers in one attempt; each with one of the same length.
const MAX_ANSWERS: u32 = 64;

/// Time between two of many probes.
const DIALLER_GAP: Duration = Duration::from_micros(2500);
const PUBLISHER_GAP: Duration = Duration::from_millis(5);

/// How often a dialler sends from each of many sockets. Once is what a publisher may.
const DIALLER_PASSES: u32 = 2;

/// A probe to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transmit {
    /// From which socket: 0 is the one that everybody knows, others are opened for this attempt.
    pub socket: u16,
    /// To whom.
    pub to: SocketAddr,
    /// The datagram.
    pub datagram: [u8; PROBE_LEN],
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The other side was heard at `remote`, by that socket: it hears us there. Dial now; go on
    /// listening to events, for anybody who has seen a probe can repeat it from elsewhere.
    Open {
        /// The socket that heard it.
        socket: u16,
        /// Where the other side is.
        remote: SocketAddr,
    },
    /// The time is over and nobody was heard.
    GaveUp,
}

/// One attempt of one side.
///
/// Drain [`poll_transmit`](Self::poll_transmit) and [`poll_event`](Self::poll_event) after each
/// `handle_*`.
#[derive(Debug)]
pub struct Attempt {
    role: Role,
    said: [u8; PROBE_LEN],
    heard: Probe,
    targets: Vec<SocketAddr>,
    started: Instant,
    rounds: u32,
    next_round: Option<Instant>,
    many: Option<Many>,
    answers_left: u32,
    opened: Vec<(u16, SocketAddr)>,
    transmits: VecDeque<Transmit>,
    events: VecDeque<Event>,
    is_over: bool,
}

/// What is sent to find a way through a symmetric NAT.
#[derive(Debug)]
struct Many {
    to: SocketAddr,
    /// `None` sends from sockets 1, 2, … to the port of `to`.
    ports: Option<Ports>,
    sockets: u16,
    sent: u32,
    total: u32,
    next: Instant,
}

impl Attempt {
    /// Begins the attempt that follows the call `id`, with probes to `targets`, at most
    /// [`MAX_ADDRESSES`]. `seed` decides which ports are tried, and has to be random.
    #[must_use]
    pub fn new(now: Instant, role: Role, id: &CallId, targets: &[SocketAddr], plan: Plan, seed: u64) -> Self {
        let targets = targets[..targets.len().min(MAX_ADDRESSES)].to_vec();
        let many = targets.iter().find(|addr| addr.is_ipv4()).or(targets.first());
        let many = many.and_then(|to| Many::new(now, role, *to, plan, seed));
        let mut attempt = Self {
            role,
            said: Probe::of(id, role).encode(),
            heard: Probe::of(id, role.other()),
            targets,
            started: now,
            rounds: 0,
            next_round: (plan != Plan::Hopeless).then_some(now),
            many,
            answers_left: MAX_ANSWERS,
            opened: Vec::new(),
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            is_over: false,
        };
        attempt.handle_timeout(now);
        attempt
    }

    /// What the other side says in this attempt.
    #[must_use]
    pub const fn heard(&self) -> Probe {
        self.heard
    }

    /// Takes a datagram that came from `from` to one of the sockets. Returns whether it belongs to
    /// this attempt.
    pub fn handle_datagram(&mut self, socket: u16, from: SocketAddr, datagram: &[u8]) -> bool {
        if Probe::decode(datagram) != Some(self.heard) {
            return false;
        }
        if self.is_over {
            return true;
        }
        let way = (socket, from);
        let is_new = !self.opened.contains(&way);
        if is_new && self.opened.len() >= MAX_OPENED {
            return true;
        }
        if is_new {
            self.opened.push(way);
            self.events.push_back(Event::Open { socket, remote: from });
            self.many = None;
        }
        // A publisher answers each, because its answer may be lost; a dialler that answered more
        // than the first would have both go on for ever.
        if (is_new || self.role == Role::Publisher) && self.answers_left > 0 {
            self.answers_left -= 1;
            self.transmits.push_back(Transmit { socket, to: from, datagram: self.said });
        }
        true
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if now.saturating_duration_since(self.started) >= GIVE_UP {
            self.end();
            return;
        }
        if self.next_round.is_some_and(|at| at <= now) {
            self.send_round(now);
        }
        while let Some(transmit) = self.many.as_mut().and_then(|many| many.poll(now, self.role, self.said)) {
            self.transmits.push_back(transmit);
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) next; `None` when it is over.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let many = self.many.as_ref().filter(|many| many.sent < many.total).map(|many| many.next);
        let next = [self.next_round, many, Some(self.started + GIVE_UP)].into_iter().flatten().min();
        next.filter(|_| !self.is_over)
    }

    /// The next probe to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// What happened next.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    pub(super) fn has_event(&self) -> bool {
        !self.events.is_empty()
    }

    /// Whether its time is over.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.is_over
    }

    fn end(&mut self) {
        if !std::mem::replace(&mut self.is_over, true) && self.opened.is_empty() {
            self.events.push_back(Event::GaveUp);
        }
    }

    /// Sends to each address where the other side was not heard yet.
    fn send_round(&mut self, now: Instant) {
        let is_open = |to: &SocketAddr| self.opened.iter().any(|(_, remote)| remote == to);
        let silent = self.targets.iter().copied().filter(|to| !is_open(to));
        self.transmits.extend(silent.map(|to| Transmit { socket: 0, to, datagram: self.said }));
        self.rounds += 1;
        self.next_round = match self.role {
            Role::Dialler if now.saturating_duration_since(self.started) < SLOWER_AFTER => Some(now + DIALLER_INTERVAL),
            Role::Dialler => Some(now + DIALLER_SLOWER),
            Role::Publisher => {
                let has_more = (self.rounds as usize + 1) * self.targets.len() <= MAX_UNASKED;
                has_more.then(|| now + PUBLISHER_INTERVAL * 2_u32.pow(self.rounds - 1))
            }
        };
    }
}

impl Many {
    fn new(now: Instant, role: Role, to: SocketAddr, plan: Plan, seed: u64) -> Option<Self> {
        let passes = if role == Role::Dialler { DIALLER_PASSES } else { 1 };
        let (ports, sockets, total) = match plan {
            Plan::Few | Plan::Hopeless => return None,
            Plan::ManySockets(count) => (None, count, u32::from(count) * passes),
            Plan::ManyPorts(count) => (Some(Ports::new(seed)), 0, u32::from(count)),
        };
        Some(Self { to, ports, sockets, sent: 0, total, next: now })
    }

    fn poll(&mut self, now: Instant, role: Role, datagram: [u8; PROBE_LEN]) -> Option<Transmit> {
        if self.next > now || self.sent >= self.total {
            return None;
        }
        self.next += if role == Role::Dialler { DIALLER_GAP } else { PUBLISHER_GAP };
        let index = self.sent;
        self.sent += 1;
        Some(match self.ports.as_mut().and_then(Iterator::next) {
            Some(port) => Transmit { socket: 0, to: SocketAddr::new(self.to.ip(), port), datagram },
            None => {
                let socket = u16::try_from(index % u32::from(self.sockets)).expect("below a 16-bit number") + 1;
                Transmit { socket, to: self.to, datagram }
            }
        })
    }
}
