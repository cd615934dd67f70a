//! Iterative lookup: finds the nodes nearest to a target, and asks, stores or listens there.

use std::time::Duration;

use rand::{Rng, RngExt};

use crate::hash::InfoHash;
use crate::limits::{
    ANNOUNCE_MARGIN, LISTEN_NODES, LISTEN_RENEWAL, MAX_INLINE_VALUES, MAX_SEARCH_NODES, MAX_TOKEN_ERRORS,
    MAX_UNANSWERED, REPLICATION, SEARCH_PARALLELISM, SEARCH_REFRESH, SLOW_AFTER, TOKEN_FRESH,
};
use crate::message::NodeAddr;
use crate::time::Time;
use crate::value::Value;

/// Number of a search.
pub(crate) type SearchId = u64;

/// What a search is for.
#[derive(Debug)]
pub(crate) enum Goal {
    /// Getting to know the nodes near the target.
    Explore,
    /// Finding the values there.
    Get,
    /// Storing a value there, once or for as long as the search lives.
    Announce { value: Value, permanent: bool },
    /// Hearing of changes there.
    Listen,
}

/// A request that the search wants sent.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) node: NodeAddr,
    pub(crate) token: Vec<u8>,
    pub(crate) what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    Find,
    Get,
    Put,
    /// Asks whether the value is still there.
    Probe,
    Refresh,
    Listen {
        socket: u32,
    },
}

/// A search in one address family.
#[derive(Debug)]
pub(crate) struct Search {
    pub(crate) target: InfoHash,
    pub(crate) goal: Goal,
    /// The nearest first.
    nodes: Vec<SearchNode>,
    /// Whether the nearest nodes were all known once; from then on nodes are used as they become
    /// known.
    synced: bool,
    /// Announcements made before that, or nodes listened on.
    early: usize,
    /// When to look again, answers aside.
    pub(crate) due: Option<Time>,
    /// Where the node has it in its queue.
    pub(crate) queued: Option<Time>,
    pub(crate) requests: u32,
    pub(crate) answers: u32,
}

#[derive(Debug)]
struct SearchNode {
    node: NodeAddr,
    /// Steps from a node we knew.
    depth: u32,
    /// Attempts made of the `find` or `get` in flight; 0 when there is none.
    attempts: usize,
    /// When the first of them was made.
    asked: Time,
    token: Vec<u8>,
    token_at: Option<Time>,
    token_errors: u8,
    announced: Announced,
    listening: Option<Listening>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Announced {
    No,
    Asking,
    /// The next step of an announcement that is under way.
    Next(What),
    /// Acknowledged; to be repeated at this time.
    Until(Time),
}

#[derive(Debug, Clone, Copy)]
struct Listening {
    socket: u32,
    asking: bool,
    due: Time,
    /// Whether all began, or began anew, at once.
    in_step: bool,
}

/// How far a search is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Answers are awaited.
    Searching,
    /// All there is to do now is done.
    Done,
    /// There is nobody to ask.
    Starved,
}

impl Search {
    pub(crate) fn new(target: InfoHash, goal: Goal) -> Self {
        let nodes = Vec::new();
        Self { target, goal, nodes, synced: false, early: 0, due: None, queued: None, requests: 0, answers: 0 }
    }

    /// Adds a node that was known (`namer` is `None`) or named by another. Returns whether it is
    /// new.
    pub(crate) fn add(&mut self, node: NodeAddr, namer: Option<&InfoHash>) -> bool {
        let at = match self.nodes.binary_search_by(|other| self.target.cmp_distance(&other.node.id, &node.id)) {
            Ok(_) => return false,
            Err(at) => at,
        };
        let depth = namer.and_then(|namer| self.nodes.iter().find(|other| other.node.id == *namer));
        let depth = depth.map_or(0, |namer| namer.depth + 1);
        self.nodes.insert(at, SearchNode::new(node, depth));
        if self.nodes.len() > MAX_SEARCH_NODES {
            let farthest_unasked = self.nodes.iter().rposition(|node| node.attempts == 0 && node.token_at.is_none());
            self.nodes.remove(farthest_unasked.unwrap_or(self.nodes.len() - 1));
        }
        true
    }

    /// Nodes of this search.
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Decides what to send now. To be called after every change, and when `due` has come.
    pub(crate) fn step(&mut self, now: Time, rng: &mut impl Rng, asks: &mut Vec<Ask>) -> Progress {
        let before = asks.len();
        let lookup = self.look_up(now, asks);
        self.synced |= lookup.ready;
        match &self.goal {
            Goal::Announce { value, permanent } => {
                let large = value.packed().len() >= MAX_INLINE_VALUES;
                let (permanent, lifetime) = (*permanent, value.kind().lifetime());
                if self.synced {
                    self.announce(now, permanent, large, lifetime, asks);
                } else if !large {
                    self.announce_early(now, asks);
                }
            }
            Goal::Listen if self.synced => self.listen(now, rng, asks),
            Goal::Listen => self.listen_early(now, rng, asks),
            Goal::Explore | Goal::Get => {}
        }
        self.requests += (asks.len() - before) as u32;
        self.due = self.next_due(now, lookup.ready);
        if self.nodes.is_empty() {
            Progress::Starved
        } else if lookup.complete && !self.is_announcing(now) {
            Progress::Done
        } else {
            Progress::Searching
        }
    }

    /// Notes that the `find` or `get` to `id` was sent once more without an answer so far.
    pub(crate) fn retried(&mut self, id: &InfoHash, attempts: usize) {
        if let Some(node) = self.node_mut(id) {
            node.attempts = attempts;
        }
    }

    /// Notes the answer to a `find` or `get`, whose token is not empty.
    pub(crate) fn answered(&mut self, now: Time, id: &InfoHash, token: &[u8]) {
        self.answers += 1;
        if let Some(node) = self.node_mut(id) {
            node.attempts = 0;
            node.token = token.to_vec();
            node.token_at = Some(now);
        }
    }

    /// Notes that `id` acknowledged a put or a refresh.
    pub(crate) fn announced(&mut self, now: Time, id: &InfoHash, rng: &mut impl Rng) {
        self.answers += 1;
        let Goal::Announce { value, .. } = &self.goal else { return };
        let lifetime = value.kind().lifetime();
        // Earlier by chance, so that the values of a publisher are not all announced in the same
        // second.
        let early = rng.random_range(Duration::ZERO..=lifetime / 20);
        let until = now + lifetime.saturating_sub(ANNOUNCE_MARGIN + early);
        if let Some(node) = self.node_mut(id) {
            node.announced = Announced::Until(until);
            node.token_errors = 0;
        }
    }

    /// Notes what a probe found.
    pub(crate) fn probed(&mut self, id: &InfoHash, is_stored: bool) {
        self.answers += 1;
        if let Some(node) = self.node_mut(id) {
            node.announced = Announced::Next(if is_stored { What::Refresh } else { What::Put });
        }
    }

    /// Notes that `id` has lost the value it was to refresh.
    pub(crate) fn lost(&mut self, id: &InfoHash) {
        if let Some(node) = self.node_mut(id) {
            node.announced = Announced::Next(What::Put);
        }
    }

    /// Notes that `id` confirmed that it will tell us, perhaps with a new token.
    pub(crate) fn listened(&mut self, now: Time, id: &InfoHash, token: &[u8], rng: &mut impl Rng) {
        self.answers += 1;
        // One after the other: then the first of them that sees us elsewhere than before does so
        // soon, if we have moved.
        let spread = if self.node_mut(id).and_then(|node| node.listening).is_some_and(|listening| listening.in_step) {
            LISTEN_RENEWAL / 10..=LISTEN_RENEWAL
        } else {
            LISTEN_RENEWAL..=LISTEN_RENEWAL * 5 / 4
        };
        let due = now + rng.random_range(spread);
        if let Some(node) = self.node_mut(id) {
            node.token_errors = 0;
            if !token.is_empty() {
                node.token = token.to_vec();
            }
            if let Some(listening) = &mut node.listening {
                (listening.asking, listening.in_step) = (false, false);
                listening.due = due;
            }
        }
    }

    /// Has everybody who tells us told anew where we are.
    pub(crate) fn listen_anew(&mut self, now: Time) {
        for node in &mut self.nodes {
            if let Some(listening) = &mut node.listening {
                listening.due = listening.due.min(now);
                listening.in_step = true;
            }
        }
    }

    /// Notes that `id` refused our token: another is needed.
    pub(crate) fn token_refused(&mut self, now: Time, id: &InfoHash) {
        let Some(node) = self.node_mut(id) else { return };
        node.token_at = None;
        node.token_errors += 1;
        if node.announced == Announced::Asking {
            node.announced = Announced::No;
        }
        if let Some(listening) = &mut node.listening {
            listening.asking = false;
            listening.due = now;
        }
        if node.token_errors > MAX_TOKEN_ERRORS {
            self.failed(id);
        }
    }

    /// Drops a node that did not answer, or not as it should.
    pub(crate) fn failed(&mut self, id: &InfoHash) {
        self.nodes.retain(|node| node.node.id != *id);
    }

    /// Whether the node at `from` may push under `socket`.
    pub(crate) fn listens_on(&self, from: &std::net::SocketAddr, socket: u32) -> bool {
        let is_door = |listening: &Listening| listening.socket == socket;
        self.nodes.iter().any(|node| node.node.addr == *from && node.listening.as_ref().is_some_and(is_door))
    }

    /// Numbers under which nodes push to this search.
    pub(crate) fn sockets(&self) -> impl Iterator<Item = u32> {
        self.nodes.iter().filter_map(|node| node.listening.map(|listening| listening.socket))
    }

    /// Nodes that acknowledged the value and should still have it.
    pub(crate) fn holders(&self, now: Time) -> usize {
        let holds = |node: &&SearchNode| match node.announced {
            Announced::Until(until) => until + ANNOUNCE_MARGIN > now,
            Announced::Asking | Announced::Next(_) | Announced::No => false,
        };
        self.nodes.iter().filter(holds).count()
    }

    /// Those of them that are among the nearest that answered.
    pub(crate) fn copies(&self) -> usize {
        let nearest = self.nodes.iter().filter(|node| node.token_at.is_some()).take(REPLICATION);
        nearest.filter(|node| matches!(node.announced, Announced::Until(_))).count()
    }

    /// The longest way to one of the nearest nodes that answered.
    pub(crate) fn hops(&self) -> u32 {
        let nearest = self.nodes.iter().filter(|node| node.token_at.is_some()).take(REPLICATION);
        nearest.map(|node| node.depth).max().unwrap_or(0)
    }

    /// Asks the nearest nodes that need asking. Nodes that let one attempt pass do not hold up the
    /// others.
    fn look_up(&mut self, now: Time, asks: &mut Vec<Ask>) -> Lookup {
        let max_age = if self.is_lasting() { SEARCH_REFRESH } else { TOKEN_FRESH };
        let what = if matches!(self.goal, Goal::Get) { What::Get } else { What::Find };
        let mut unanswered = self.nodes.iter().filter(|node| node.attempts == 1).count();
        let mut in_flight = self.nodes.iter().filter(|node| node.slow_from().is_some_and(|at| now < at)).count();
        let (mut settled, mut waiting, mut late) = (0, false, false);
        for node in &mut self.nodes {
            if settled == REPLICATION {
                break;
            }
            if node.attempts > 1 {
                late |= node.attempts == 2;
                continue;
            }
            if node.attempts == 0 && node.token_at.is_some_and(|at| now.since(at) < max_age) {
                settled += 1;
                continue;
            }
            waiting = true;
            if node.attempts == 0 && in_flight < SEARCH_PARALLELISM && unanswered < MAX_UNANSWERED {
                (node.attempts, node.asked) = (1, now);
                (in_flight, unanswered) = (in_flight + 1, unanswered + 1);
                asks.push(Ask { node: node.node, token: Vec::new(), what });
            }
        }
        // In a small network the late node may be the one that has the value: it gets a second
        // chance.
        let late = settled == 0 || late && settled < REPLICATION;
        Lookup { ready: !waiting && settled > 0, complete: !waiting && !late }
    }

    /// Announces while the search goes on, to nodes that are among the nearest as far as is known:
    /// otherwise those that cannot be reached would hold up those that can, for seconds. Nearer
    /// ones that turn up later get the value as well.
    fn announce_early(&mut self, now: Time, asks: &mut Vec<Ask>) {
        for node in self.nodes.iter_mut().filter(|node| node.attempts < 2).take(REPLICATION) {
            if self.early < REPLICATION && node.announced == Announced::No && node.is_usable(now) {
                self.early += 1;
                node.announced = Announced::Asking;
                asks.push(Ask { node: node.node, token: node.token.clone(), what: What::Put });
            }
        }
    }

    fn announce(&mut self, now: Time, permanent: bool, large: bool, lifetime: Duration, asks: &mut Vec<Ask>) {
        // A value that dies before its refresh is answered has to be sent whole; so do small ones,
        // whose refresh would cost as much.
        let again = if large && lifetime > 2 * ANNOUNCE_MARGIN { What::Probe } else { What::Put };
        for node in usable(&mut self.nodes, now).take(REPLICATION) {
            let what = match node.announced {
                Announced::No => What::Put,
                Announced::Next(what) => what,
                Announced::Until(until) if permanent && until <= now => again,
                Announced::Asking | Announced::Until(_) => continue,
            };
            node.announced = Announced::Asking;
            asks.push(Ask { node: node.node, token: node.token.clone(), what });
        }
    }

    fn listen(&mut self, now: Time, rng: &mut impl Rng, asks: &mut Vec<Ask>) {
        for node in usable(&mut self.nodes, now).take(LISTEN_NODES) {
            let in_step = node.listening.is_none_or(|listening| listening.in_step);
            let socket = node.listening.map_or_else(|| rng.random_range(1..=u32::MAX), |listening| listening.socket);
            if node.listening.is_some_and(|listening| listening.asking || listening.due > now) {
                continue;
            }
            node.listening = Some(Listening { socket, asking: true, due: now, in_step });
            asks.push(Ask { node: node.node, token: node.token.clone(), what: What::Listen { socket } });
        }
    }

    /// Listens while the search goes on, as [`announce_early`](Self::announce_early) announces.
    fn listen_early(&mut self, now: Time, rng: &mut impl Rng, asks: &mut Vec<Ask>) {
        for node in self.nodes.iter_mut().filter(|node| node.attempts < 2).take(LISTEN_NODES) {
            if self.early < LISTEN_NODES && node.listening.is_none() && node.is_usable(now) {
                self.early += 1;
                let socket = rng.random_range(1..=u32::MAX);
                node.listening = Some(Listening { socket, asking: true, due: now, in_step: true });
                asks.push(Ask { node: node.node, token: node.token.clone(), what: What::Listen { socket } });
            }
        }
    }

    /// Whether one of the nearest nodes has not acknowledged yet.
    fn is_announcing(&self, now: Time) -> bool {
        matches!(self.goal, Goal::Announce { .. })
            && self
                .nodes
                .iter()
                .filter(|node| node.is_usable(now))
                .take(REPLICATION)
                .any(|node| !matches!(node.announced, Announced::Until(_)))
    }

    fn is_lasting(&self) -> bool {
        matches!(self.goal, Goal::Listen | Goal::Announce { permanent: true, .. })
    }

    fn next_due(&self, now: Time, ready: bool) -> Option<Time> {
        let slow = self.nodes.iter().filter_map(SearchNode::slow_from).filter(|at| *at > now);
        if !self.is_lasting() {
            return slow.min();
        }
        let nearest = || self.nodes.iter().filter(|node| node.is_usable(now));
        let refresh = nearest().take(REPLICATION).filter_map(|node| Some(node.token_at? + SEARCH_REFRESH));
        let announce = nearest().take(REPLICATION).filter_map(|node| match node.announced {
            Announced::Until(until) => Some(until),
            _ => None,
        });
        let listen = nearest()
            .take(LISTEN_NODES)
            .filter_map(|node| node.listening.filter(|listening| !listening.asking).map(|listening| listening.due));
        // While answers are awaited, they or their failure are the next step; a time in the past
        // would spin.
        let times = refresh.filter(|_| ready).chain(announce).chain(listen);
        times.filter(|at| *at > now).chain(slow).min()
    }
}

/// What [`Search::look_up`] found.
struct Lookup {
    /// The nearest nodes that answer promptly are known.
    ready: bool,
    /// So are those that are late, as far as they matter.
    complete: bool,
}

impl SearchNode {
    fn new(node: NodeAddr, depth: u32) -> Self {
        Self {
            node,
            depth,
            attempts: 0,
            asked: Time::ZERO,
            token: Vec::new(),
            token_at: None,
            token_errors: 0,
            announced: Announced::No,
            listening: None,
        }
    }

    /// From when on others are asked beside it, while it has let no attempt pass.
    fn slow_from(&self) -> Option<Time> {
        (self.attempts == 1).then(|| self.asked + SLOW_AFTER)
    }

    /// Whether it has given a token that is still good.
    fn is_usable(&self, now: Time) -> bool {
        self.attempts < 2 && self.token_at.is_some_and(|at| now.since(at) < TOKEN_FRESH)
    }
}

impl Search {
    fn node_mut(&mut self, id: &InfoHash) -> Option<&mut SearchNode> {
        self.nodes.iter_mut().find(|node| node.node.id == *id)
    }

    /// What must hold after every step.
    pub(crate) fn check(&self) -> Result<(), String> {
        let sorted = self.nodes.windows(2).all(|pair| match pair {
            [a, b] => self.target.cmp_distance(&a.node.id, &b.node.id).is_lt(),
            _ => true,
        });
        let bounded = self.nodes.len() <= MAX_SEARCH_NODES;
        if sorted && bounded {
            Ok(())
        } else {
            Err(format!("search with {} nodes, sorted: {sorted}", self.nodes.len()))
        }
    }
}

fn usable(nodes: &mut [SearchNode], now: Time) -> impl Iterator<Item = &mut SearchNode> {
    nodes.iter_mut().filter(move |node| node.is_usable(now))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::{SeedableRng, rngs::StdRng};

    use super::*;
    use crate::value::ValueType;

    /// A put whose target is zero, so that a node's id is its distance.
    struct Put {
        search: Search,
        rng: StdRng,
        now: Time,
        asked: BTreeSet<u8>,
        announced: Vec<u8>,
    }

    impl Put {
        fn of(bytes: usize) -> Self {
            let value = Value::new(1, ValueType::USER_DATA, &vec![0; bytes], "").unwrap();
            let search = Search::new(InfoHash::ZERO, Goal::Announce { value, permanent: false });
            let (asked, announced) = (BTreeSet::new(), Vec::new());
            Self { search, rng: StdRng::seed_from_u64(1), now: Time::from_secs(1), asked, announced }
        }

        fn knows(&mut self, distances: impl IntoIterator<Item = u8>) {
            for distance in distances {
                self.search.add(node(distance), None);
            }
        }

        fn step(&mut self) {
            let mut asks = Vec::new();
            self.search.step(self.now, &mut self.rng, &mut asks);
            for ask in asks {
                match ask.what {
                    What::Find => assert!(self.asked.insert(ask.node.id.0[0])),
                    What::Put => self.announced.push(ask.node.id.0[0]),
                    other => panic!("{other:?}"),
                }
            }
            self.search.check().unwrap();
        }

        /// A node answers and names others.
        fn answers(&mut self, distance: u8, named: impl IntoIterator<Item = u8>) {
            self.search.answered(self.now, &id(distance), b"token");
            self.knows(named);
            self.step();
        }
    }

    fn id(distance: u8) -> InfoHash {
        let mut bytes = [0; InfoHash::LEN];
        bytes[0] = distance;
        InfoHash(bytes)
    }

    fn node(distance: u8) -> NodeAddr {
        NodeAddr { id: id(distance), addr: ([192, 0, 2, distance], 4222).into() }
    }

    #[test]
    fn a_value_is_announced_to_who_answers_while_nearer_ones_are_silent() {
        let mut put = Put::of(10);
        put.knows(1..=14);
        put.step();
        assert_eq!(put.asked, BTreeSet::from([1, 2, 3, 4]));
        put.answers(4, []);
        assert_eq!(put.announced, [4]);
        put.answers(2, []);
        assert_eq!(put.announced, [4, 2]);
    }

    #[test]
    fn nearer_ones_that_turn_up_later_get_it_too_and_no_more_than_twice_the_copies() {
        let mut put = Put::of(10);
        put.knows(100..=107);
        put.step();
        // Each names its neighbour before: one hop after the other, each nearer than all so far.
        for distance in (60..=107).rev() {
            put.answers(distance, [distance - 1]);
            put.now += SLOW_AFTER;
            put.step();
        }
        assert_eq!(put.announced.len(), REPLICATION, "{:?}", put.announced);
        put.search.failed(&id(59));
        put.step();
        assert_eq!(put.announced.len(), 2 * REPLICATION, "{:?}", put.announced);
        assert!((60..68).all(|distance| put.announced.contains(&distance)), "{:?}", put.announced);
    }

    #[test]
    fn a_value_that_goes_in_fragments_waits_for_the_nearest_nodes() {
        let mut put = Put::of(MAX_INLINE_VALUES);
        put.knows(1..=3);
        put.step();
        put.answers(1, []);
        put.answers(2, []);
        assert_eq!(put.announced, []);
        put.answers(3, []);
        assert_eq!(put.announced, [1, 2, 3]);
    }

    #[test]
    fn who_answers_is_listened_on_while_nearer_ones_are_silent() {
        let mut search = Search::new(InfoHash::ZERO, Goal::Listen);
        let (mut rng, now) = (StdRng::seed_from_u64(1), Time::from_secs(1));
        for distance in 1..=14 {
            search.add(node(distance), None);
        }
        let mut listened = Vec::new();
        for distance in [0, 4, 3, 14, 13] {
            search.answered(now, &id(distance), b"token");
            let mut asks = Vec::new();
            search.step(now, &mut rng, &mut asks);
            let listens = asks.iter().filter(|ask| matches!(ask.what, What::Listen { .. }));
            listened.extend(listens.map(|ask| ask.node.id.0[0]));
        }
        assert_eq!(listened, [4, 3], "those that may be among the nearest");
    }

    #[test]
    fn others_are_asked_beside_slow_ones_up_to_a_limit() {
        let mut put = Put::of(10);
        put.knows(1..=60);
        put.step();
        for waves in 2..10 {
            let due = put.search.due.unwrap_or(put.now + SLOW_AFTER);
            assert!(due >= put.now + SLOW_AFTER);
            put.now = due;
            put.step();
            assert_eq!(put.asked.len(), (waves * SEARCH_PARALLELISM).min(MAX_UNANSWERED));
        }
    }
}
