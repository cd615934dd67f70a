//! Operations of the application and the searches that carry them out.

use std::net::SocketAddr;
use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;

use super::Node;
use super::send::Outgoing;
use crate::address::{Family, as_named_by, canonical, is_martian};
use crate::fragment;
use crate::hash::InfoHash;
use crate::limits::{
    BOOTSTRAP_RETRY_MIN, LISTEN_VERSION, MAX_OPERATIONS, MAX_PENDING_REQUESTS, OPERATION_TIMEOUT, SEARCH_START_NODES,
};
use crate::message::{NodeAddr, Query, Reply, Request};
use crate::operation::{Event, Heard, Kind, OpId, Operation, Summary};
use crate::request::Purpose;
use crate::search::SearchId;
use crate::search::{Ask, Goal, Progress, Search, What};
use crate::time::Time;
use crate::value::Value;

/// Time after which a search that could not send tries again.
const RETRY_UNSENT: Duration = Duration::from_secs(1);

/// Why an operation was not begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OperationError {
    /// The limit of operations under way is reached.
    #[error("{MAX_OPERATIONS} operations are under way")]
    TooMany,
    /// The address cannot belong to anybody, or there is no socket for its family.
    #[error("{0} cannot be reached")]
    Unreachable(SocketAddr),
}

impl Node {
    /// Looks for the values at `hash`: [`Event::Found`] for each, then [`Event::GetDone`].
    ///
    /// # Errors
    /// [`OperationError::TooMany`].
    pub fn get(&mut self, now: Time, hash: InfoHash) -> Result<OpId, OperationError> {
        self.begin(now, hash, Kind::Get { seen: Default::default() }, Some(now + OPERATION_TIMEOUT), || Goal::Get)
    }

    /// Stores `value` at `hash`, once, or with `permanent` until [`cancel`](Self::cancel):
    /// [`Event::PutDone`] when it has been announced for the first time.
    ///
    /// # Errors
    /// [`OperationError::TooMany`].
    pub fn put(&mut self, now: Time, hash: InfoHash, value: Value, permanent: bool) -> Result<OpId, OperationError> {
        let kind = Kind::Put { permanent, announced: false, acknowledged: 0 };
        let deadline = (!permanent).then_some(now + OPERATION_TIMEOUT);
        let op = self.begin(now, hash, kind, deadline, || Goal::Announce { value: value.clone(), permanent })?;
        if !self.config.client {
            self.store(now, hash, &value, Duration::ZERO, None);
        }
        Ok(op)
    }

    /// Listens for changes at `hash` until [`cancel`](Self::cancel): [`Event::Heard`] and
    /// [`Event::Expired`].
    ///
    /// # Errors
    /// [`OperationError::TooMany`].
    pub fn listen(&mut self, now: Time, hash: InfoHash) -> Result<OpId, OperationError> {
        self.begin(now, hash, Kind::Listen { heard: Heard::default() }, None, || Goal::Listen)
    }

    /// Asks whether a node answers at `addr`: [`Event::Pong`] or [`Event::PingFailed`].
    ///
    /// # Errors
    /// [`OperationError`].
    pub fn ping(&mut self, now: Time, addr: SocketAddr) -> Result<OpId, OperationError> {
        let addr = canonical(addr);
        if is_martian(&addr) {
            return Err(OperationError::Unreachable(addr));
        }
        let op = OpId(self.next_op);
        if self.operations.len() >= MAX_OPERATIONS {
            return Err(OperationError::TooMany);
        }
        if !self.request(now, addr, None, Purpose::Ping(op), 3, Request::Ping) {
            return Err(OperationError::Unreachable(addr));
        }
        self.next_op += 1;
        let kind = Kind::Ping;
        let summary = Summary::default();
        let operation = Operation { started: now, deadline: None, searches: Vec::new(), summary, kind };
        self.operations.insert(op, operation);
        Ok(op)
    }

    /// Ends an operation without further events. A value put stays with others until its lifetime
    /// is over: the network has no way to take it back.
    pub fn cancel(&mut self, op: OpId) {
        if let Some(operation) = self.operations.remove(&op) {
            operation.searches.into_iter().for_each(|search| self.drop_search(search));
        }
    }

    /// Whether an operation goes on.
    #[must_use]
    pub fn is_running(&self, op: OpId) -> bool {
        self.operations.contains_key(&op)
    }

    /// Nodes that have acknowledged the value of a put and should still hold it.
    #[must_use]
    pub fn holders(&self, now: Time, op: OpId) -> usize {
        self.searches_of(op).map(|search| search.holders(now)).sum()
    }

    /// Those of the nearest nodes that have acknowledged it.
    fn copies(&self, op: OpId) -> usize {
        self.searches_of(op).map(Search::copies).sum()
    }

    fn searches_of(&self, op: OpId) -> impl Iterator<Item = &Search> {
        let searches = self.operations.get(&op).into_iter().flat_map(|operation| &operation.searches);
        searches.filter_map(|search| self.searches.get(search)).map(|(_, _, search)| search)
    }

    /// Starts a search of our own for nodes near `target`.
    pub(super) fn explore(&mut self, now: Time, family: Family, target: InfoHash) {
        // At most one per family, which `Node::check_invariants` counts on.
        let running = self.searches.values().any(|(op, of, _)| op.is_none() && *of == family);
        if !running {
            self.start_search(now, None, family, Search::new(target, Goal::Explore));
        }
    }

    /// Changes a search and lets it decide what to do next. Does nothing when it is over.
    pub(super) fn with_search(&mut self, now: Time, id: SearchId, change: impl FnOnce(&mut Search, &mut StdRng)) {
        if let Some((_, _, search)) = self.searches.get_mut(&id) {
            change(search, &mut self.rng);
            self.step_search(now, id);
        }
    }

    /// Steps the searches that wait for nodes, after some have become known.
    pub(super) fn feed_searches(&mut self, now: Time, family: Family) {
        let hungry: Vec<SearchId> = self
            .searches
            .iter()
            .filter(|(_, (_, of, search))| *of == family && search.len() == 0)
            .map(|(id, _)| *id)
            .collect();
        hungry.into_iter().for_each(|id| self.step_search(now, id));
    }

    pub(super) fn step_due_searches(&mut self, now: Time) {
        while let Some((_, id)) = self.search_due.first().filter(|(due, _)| *due <= now).copied() {
            self.step_search(now, id);
        }
    }

    /// Ends operations whose time is over, and forgets values that nobody confirms.
    pub(super) fn expire_operations(&mut self, now: Time) {
        let due: Vec<OpId> = self
            .operations
            .iter()
            .filter(|(_, operation)| operation.next_timeout().is_some_and(|at| at <= now))
            .map(|(op, _)| *op)
            .collect();
        for op in due {
            let Some(operation) = self.operations.get_mut(&op) else { continue };
            if let Kind::Listen { heard } = &mut operation.kind {
                let gone = heard.handle_timeout(now);
                self.events.extend(gone.into_iter().map(|value| Event::Expired { op, value }));
            }
            if operation.deadline.is_some_and(|deadline| deadline <= now) {
                operation.summary.timed_out = true;
                for search in operation.searches.clone() {
                    self.search_done(now, search);
                }
            }
        }
    }

    /// A node has acknowledged our value.
    pub(super) fn put_acknowledged(&mut self, now: Time, search: SearchId, value: u64, id: &InfoHash) {
        let Some((op, _, announcing)) = self.searches.get(&search) else { return };
        let target = announcing.target;
        let operation = op.and_then(|op| self.operations.get(&op));
        if operation.is_some_and(|operation| matches!(operation.kind, Kind::Put { permanent: true, .. })) {
            self.storage.extend(now, target, value);
        }
        self.with_search(now, search, |search, rng| search.announced(now, id, rng));
    }

    /// The nodes a reply names, as far as they may be asked.
    pub(super) fn named_nodes(&mut self, now: Time, namer: SocketAddr, reply: &Reply<'_>) -> Vec<NodeAddr> {
        let named = reply.nodes().map(|node| NodeAddr { addr: as_named_by(namer, node.addr), ..node });
        let mut usable = Vec::new();
        for node in named.take(2 * crate::limits::REPLICATION) {
            if node.id == self.id {
                self.link_mut(Family::of(&namer)).sightings.add(now, namer, node.addr);
            } else if !node.id.is_zero()
                && !is_martian(&node.addr)
                && self.link(Family::of(&node.addr)).enabled
                && !self.has_failed(now, &node.id)
                && !self.blacklist.contains(now, &node.addr)
            {
                usable.push(node);
            }
        }
        usable
    }

    fn begin(
        &mut self,
        now: Time,
        target: InfoHash,
        kind: Kind,
        deadline: Option<Time>,
        goal: impl Fn() -> Goal,
    ) -> Result<OpId, OperationError> {
        if self.operations.len() >= MAX_OPERATIONS {
            return Err(OperationError::TooMany);
        }
        let op = OpId(self.next_op);
        self.next_op += 1;
        let operation = Operation { started: now, deadline, searches: Vec::new(), summary: Summary::default(), kind };
        self.operations.insert(op, operation);
        for family in Family::ALL {
            if self.link(family).enabled {
                self.start_search(now, Some(op), family, Search::new(target, goal()));
            }
        }
        Ok(op)
    }

    fn start_search(&mut self, now: Time, op: Option<OpId>, family: Family, search: Search) {
        let id = self.next_search;
        self.next_search += 1;
        self.searches.insert(id, (op, family, search));
        if let Some(operation) = op.and_then(|op| self.operations.get_mut(&op)) {
            operation.searches.push(id);
        }
        // Not at once: an operation without anybody to ask must not be over before its number is
        // known.
        self.set_due(id, Some(now + Duration::from_micros(1)));
    }

    /// Sends what the search wants sent, and sees whether it is done.
    fn step_search(&mut self, now: Time, id: SearchId) {
        let Some((_, family, search)) = self.searches.get(&id) else { return };
        let (family, target, hungry) = (*family, search.target, search.len() == 0);
        if self.requests.len() + crate::limits::REPLICATION * 2 > MAX_PENDING_REQUESTS {
            return self.set_due(id, Some(now + RETRY_UNSENT));
        }
        if hungry {
            self.seed(now, id, family, &target);
        }
        let Some((_, _, search)) = self.searches.get_mut(&id) else { return };
        let mut asks = Vec::new();
        let progress = search.step(now, &mut self.rng, &mut asks);
        let mut due = search.due;
        for ask in asks {
            if !self.ask(now, id, ask) {
                due = Some(now + RETRY_UNSENT);
            }
        }
        match progress {
            Progress::Searching => self.set_due(id, due),
            Progress::Starved if self.may_find_nodes(family) => {
                let wait = self.rng.random_range(BOOTSTRAP_RETRY_MIN / 10..=BOOTSTRAP_RETRY_MIN / 5);
                self.set_due(id, Some(now + wait));
            }
            Progress::Starved | Progress::Done => {
                self.set_due(id, due);
                self.search_done(now, id);
            }
        }
    }

    /// Gives a search nodes to start from: good ones, else any that have not failed.
    fn seed(&mut self, now: Time, id: SearchId, family: Family, target: &InfoHash) {
        let table = &self.link(family).table;
        let mut nodes = table.closest(target, SEARCH_START_NODES, |entry| entry.is_good(now));
        if nodes.len() < crate::limits::REPLICATION {
            nodes.extend(table.closest(target, SEARCH_START_NODES, |entry| !entry.expired && !entry.is_good(now)));
        }
        if let Some((_, _, search)) = self.searches.get_mut(&id) {
            for node in nodes {
                search.add(node, None);
            }
        }
    }

    /// Whether waiting may help a search that has nobody to ask: the family is known to exist, or
    /// may come to be.
    fn may_find_nodes(&self, family: Family) -> bool {
        let link = self.link(family);
        link.connected || link.next_bootstrap.is_some() || self.config.bootstrap_follows
    }

    /// Sends one request of a search; a node that cannot be asked is dropped from it.
    fn ask(&mut self, now: Time, id: SearchId, ask: Ask) -> bool {
        let Some((_, _, search)) = self.searches.get(&id) else { return true };
        let (target, hash) = (search.target, Some(search.target));
        let (to, node, token) = (ask.node.addr, Some(ask.node.id), ask.token);
        let value = match &search.goal {
            Goal::Announce { value, .. } => Some(value.clone()),
            _ => None,
        };
        let sent = match (ask.what, value) {
            (What::Find, _) => {
                self.request(now, to, node, Purpose::Lookup(id), 3, Request::Find { target, want: None })
            }
            (What::Get, _) => {
                let request = Request::Get { hash, query: None, want: None };
                self.request(now, to, node, Purpose::Lookup(id), 3, request)
            }
            (What::Listen { socket }, _) => {
                self.sockets.insert(socket, id);
                let token = token.into();
                let request = Request::Listen { hash, version: LISTEN_VERSION, socket, token, query: None };
                self.request(now, to, node, Purpose::Listen(id), 3, request)
            }
            (What::Probe, Some(value)) => {
                let request = Request::Get { hash, query: Some(Query::probe(value.id())), want: None };
                self.request(now, to, node, Purpose::Probe(id, value.id()), 3, request)
            }
            (What::Refresh, Some(value)) => {
                let request = Request::Refresh { hash, value_id: value.id(), token: token.into() };
                self.request(now, to, node, Purpose::Refresh(id, value.id()), 3, request)
            }
            (What::Put, Some(value)) => {
                let (values, fragmented) = fragment::entries(&[&value]);
                // No creation time: a clock that is wrong would shorten the value's life.
                let request = Request::Put { hash, values, created: None, token: token.into() };
                let fragments = if fragmented { &[&value][..] } else { &[] };
                let purpose = Purpose::Put(id, value.id());
                self.send_request(
                    now,
                    Outgoing { to, id: node, purpose, max_attempts: 3, request, fragmented: fragments },
                )
            }
            (What::Probe | What::Refresh | What::Put, None) => false,
        };
        if !sent && let Some((_, _, search)) = self.searches.get_mut(&id) {
            search.failed(&ask.node.id);
        }
        sent
    }

    /// A search has done what it can for now. Those that last go on; the others end, and with the
    /// last of them their operation.
    fn search_done(&mut self, now: Time, id: SearchId) {
        let Some((op, _, search)) = self.searches.get(&id) else { return };
        let Some(op) = *op else { return self.drop_search(id) };
        let (requests, answers, hops, copies) = (search.requests, search.answers, search.hops(), search.copies());
        let copies_of_both = self.copies(op);
        let Some(operation) = self.operations.get_mut(&op) else { return };
        let summary = &mut operation.summary;
        let count = |summary: &mut Summary| {
            summary.requests += requests;
            summary.answers += answers;
            summary.hops = summary.hops.max(hops);
            summary.elapsed = now.since(operation.started);
        };
        match &mut operation.kind {
            Kind::Get { .. } => {
                count(summary);
                let summary = *summary;
                operation.searches.retain(|search| *search != id);
                if operation.searches.is_empty() {
                    self.operations.remove(&op);
                    self.events.push_back(Event::GetDone { op, summary });
                }
                self.drop_search(id);
            }
            Kind::Put { permanent: false, acknowledged, .. } => {
                count(summary);
                *acknowledged += copies;
                let (summary, acknowledged) = (*summary, *acknowledged);
                operation.searches.retain(|search| *search != id);
                if operation.searches.is_empty() {
                    self.operations.remove(&op);
                    self.events.push_back(Event::PutDone { op, acknowledged, summary });
                }
                self.drop_search(id);
            }
            Kind::Put { permanent: true, announced, .. } => {
                // One family is enough: the other may never get a node.
                if !*announced && copies_of_both > 0 {
                    *announced = true;
                    count(summary);
                    let (acknowledged, summary) = (copies_of_both, *summary);
                    self.events.push_back(Event::PutDone { op, acknowledged, summary });
                }
                self.keep_going(now, id);
            }
            Kind::Listen { .. } => self.keep_going(now, id),
            Kind::Ping => {}
        }
    }

    /// A search that lasts tries again later when it has nothing else to wait for.
    fn keep_going(&mut self, now: Time, id: SearchId) {
        let due = self.searches.get(&id).and_then(|(_, _, search)| search.due);
        self.set_due(id, Some(due.unwrap_or(now + BOOTSTRAP_RETRY_MIN)));
    }

    fn set_due(&mut self, id: SearchId, due: Option<Time>) {
        let Some((_, _, search)) = self.searches.get_mut(&id) else { return };
        if let Some(old) = search.queued.take() {
            self.search_due.remove(&(old, id));
        }
        if let Some(due) = due {
            search.queued = Some(due);
            self.search_due.insert((due, id));
        }
    }

    fn drop_search(&mut self, id: SearchId) {
        self.set_due(id, None);
        if let Some((_, _, search)) = self.searches.remove(&id) {
            for socket in search.sockets() {
                self.sockets.remove(&socket);
            }
        }
    }
}
