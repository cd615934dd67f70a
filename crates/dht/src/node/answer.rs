//! Requests of others.

use std::net::SocketAddr;
use std::time::Duration;

use super::Node;
use super::send::Outgoing;
use crate::address::{Family, Prefix};
use crate::fragment::{self, Begun};
use crate::hash::InfoHash;
use crate::limits::{
    MAX_IDS_PER_UPDATE, MAX_PENDING_PUSHES, MAX_PUSH_VALUES, MAX_REPLY_VALUES, REPLICATION, SEARCH_START_NODES,
};
use crate::message::{
    ERROR_BAD_REQUEST, ERROR_NOT_FOUND, ERROR_WRONG_TOKEN, NODE4_LEN, NODE6_LEN, Query, Reply, Request, Update,
    ValueEntry, Values, Want,
};
use crate::request::Purpose;
use crate::storage::Stored;
use crate::time::Time;
use crate::value::{Value, ValueError};

/// What a node asks to be stored.
struct Put<'a> {
    hash: InfoHash,
    values: &'a [ValueEntry<'a>],
    /// Values that came in fragments.
    assembled: &'a [Vec<u8>],
    /// Unix time, in seconds.
    created: Option<u64>,
}

/// What a node asks to hear.
struct Listen {
    id: InfoHash,
    hash: InfoHash,
    socket: Option<u32>,
    query: Query,
}

/// A listener of a key, to be told something.
#[derive(Clone, Copy)]
pub(super) struct Receiver {
    pub(super) hash: InfoHash,
    pub(super) to: SocketAddr,
    pub(super) socket: u32,
    pub(super) id: InfoHash,
}

impl Node {
    /// Answers a request, or waits for the fragments of its values.
    pub(super) fn handle_request(
        &mut self,
        now: Time,
        from: SocketAddr,
        id: InfoHash,
        tid: u32,
        request: Request<'_>,
        datagram: &[u8],
    ) {
        let values = match &request {
            Request::Put { token, values, .. } if self.tokens.is_valid(&from, token) => values,
            Request::Update(update) if self.is_open(&from, update.socket) => &update.values,
            _ => &Values::new(),
        };
        let sizes = values.iter().any(|value| matches!(value, ValueEntry::Size(_)));
        let begun = if sizes { self.reassembly.begin(now, (from, tid), datagram, values) } else { Begun::Refused };
        match begun {
            Begun::Waiting => {}
            Begun::Complete(assembled) => self.handle_assembled(now, assembled),
            Begun::Refused => self.handle_complete_request(now, from, id, tid, request, &[]),
        }
    }

    /// Answers a request with all its values; `assembled` are those that came in fragments.
    pub(super) fn handle_complete_request(
        &mut self,
        now: Time,
        from: SocketAddr,
        id: InfoHash,
        tid: u32,
        request: Request<'_>,
        assembled: &[Vec<u8>],
    ) {
        match request {
            Request::Ping => self.reply(from, tid, self.reply_to(from)),
            Request::Update(update) => self.handle_update(now, from, tid, &update, assembled),
            // A client has nothing to say, and is not asked by those who know the flag.
            _ if self.config.client => {}
            Request::Find { target, want } => self.answer_find(now, from, tid, &target, want),
            Request::Get { hash, query, want } => match hash {
                Some(hash) => self.answer_get(now, from, tid, hash, query.unwrap_or_default(), want),
                None => self.error(from, tid, ERROR_BAD_REQUEST, "Get without hash"),
            },
            Request::Put { hash, values, created, token } => match self.admit(from, tid, hash, &token) {
                Some(hash) => self.answer_put(now, from, tid, Put { hash, values: &values, assembled, created }),
                None => self.counters.wrong_tokens += 1,
            },
            Request::Refresh { hash, value_id, token } => match self.admit(from, tid, hash, &token) {
                Some(hash) => self.answer_refresh(now, from, tid, hash, value_id),
                None => self.counters.wrong_tokens += 1,
            },
            Request::Listen { hash, version, socket, token, query } => match self.admit(from, tid, hash, &token) {
                Some(hash) => {
                    let query = query.unwrap_or_default();
                    let socket = (version > 0).then_some(socket);
                    self.answer_listen(now, from, tid, Listen { id, hash, socket, query });
                }
                None => self.counters.wrong_tokens += 1,
            },
        }
    }

    /// Checks what every writing request needs; answers with an error if it lacks something.
    fn admit(&mut self, from: SocketAddr, tid: u32, hash: Option<InfoHash>, token: &[u8]) -> Option<InfoHash> {
        if hash.is_none() {
            self.error(from, tid, ERROR_BAD_REQUEST, "No hash");
            return None;
        }
        if !self.tokens.is_valid(&from, token) {
            self.error(from, tid, ERROR_WRONG_TOKEN, "Wrong token");
            return None;
        }
        hash
    }

    fn answer_find(&mut self, now: Time, from: SocketAddr, tid: u32, target: &InfoHash, want: Option<Want>) {
        let (nodes4, nodes6) = self.nearest_blobs(now, from, target, want);
        let token = self.tokens.make(&from);
        let reply = Reply {
            nodes4: nodes4.into(),
            nodes6: nodes6.into(),
            token: token.as_slice().into(),
            ..self.reply_to(from)
        };
        self.reply(from, tid, reply);
    }

    fn answer_get(&mut self, now: Time, from: SocketAddr, tid: u32, hash: InfoHash, query: Query, want: Option<Want>) {
        let (nodes4, nodes6) = self.nearest_blobs(now, from, &hash, want);
        let token = self.tokens.make(&from);
        let mut reply = Reply {
            nodes4: nodes4.into(),
            nodes6: nodes6.into(),
            token: token.as_slice().into(),
            ..self.reply_to(from)
        };
        let matching: Vec<Value> = self.storage.values(&hash).filter(|value| query.matches(value)).cloned().collect();
        if !query.select.is_empty() {
            if !matching.is_empty() {
                reply.fields = Some(query.fields_of(matching.iter()));
            }
            return self.reply(from, tid, reply);
        }
        let sent = first_within(MAX_REPLY_VALUES, &matching);
        let (entries, fragmented) = fragment::entries(&sent);
        reply.values = entries;
        self.reply(from, tid, reply);
        if fragmented {
            self.send_fragments(now, from, tid, &sent);
        }
    }

    fn answer_put(&mut self, now: Time, from: SocketAddr, tid: u32, put: Put<'_>) {
        let Put { hash, values, assembled, created } = put;
        let inline = values.iter().filter_map(|entry| match entry {
            ValueEntry::Inline(packed) => Some(&packed[..]),
            ValueEntry::Size(_) => None,
        });
        let is_ours = self.is_near(now, Family::of(&from), &hash);
        let prefix = Prefix::of(from.ip());
        for (index, packed) in inline.chain(assembled.iter().map(Vec::as_slice)).enumerate() {
            // The first one was counted with the request.
            if index > 0 && !self.request_limiter.allow(now, prefix, 1) {
                self.counters.dropped_rate += 1;
                return;
            }
            match Value::parse(packed) {
                // Not confirmed, so that who means well puts it again, later.
                Ok(value) if is_ours && !self.may_check_signature(now, prefix, &hash, &value) => {
                    self.counters.dropped_rate += 1;
                }
                Ok(value) => {
                    if is_ours {
                        self.store(now, hash, &value, self.age(now, created), Some(prefix));
                    }
                    // Nodes that do not store say nothing else: the publisher finds nearer ones by
                    // itself.
                    self.reply(from, tid, Reply { value_id: Some(value.id()), ..self.reply_to(from) });
                }
                Err(ValueError::ZeroId) => self.error(from, tid, ERROR_BAD_REQUEST, "Put with invalid id"),
                Err(_) => self.counters.dropped_malformed += 1,
            }
        }
    }

    /// Whether a signature that the value may have is within the rate. What is stored already is
    /// not checked again.
    fn may_check_signature(&mut self, now: Time, prefix: Prefix, hash: &InfoHash, value: &Value) -> bool {
        value.signed().is_none() || self.storage.holds(hash, value) || self.signature_limiter.allow(now, prefix, 1)
    }

    fn answer_refresh(&mut self, now: Time, from: SocketAddr, tid: u32, hash: InfoHash, id: u64) {
        if !self.storage.has_key(&hash) && !self.listeners.has_key(&hash) {
            return self.error(from, tid, ERROR_NOT_FOUND, "Nothing stored there");
        }
        if self.storage.extend(now, hash, id) {
            self.push_ids(now, hash, &[id], &[]);
        }
        self.reply(from, tid, Reply { value_id: Some(id), ..self.reply_to(from) });
    }

    /// Registers a listener. Without a `socket` (listen version 0, which nobody sends any more) it
    /// only confirms.
    fn answer_listen(&mut self, now: Time, from: SocketAddr, tid: u32, listen: Listen) {
        let Listen { id, hash, socket, query } = listen;
        if let Some(socket) = socket {
            let matching: Vec<Value> =
                self.storage.values(&hash).filter(|value| query.matches(value)).cloned().collect();
            let is_new = self.listeners.insert(now, hash, (from, socket), id, query) == Some(true);
            if is_new && !matching.is_empty() {
                self.push_values(now, Receiver { hash, to: from, socket, id }, &matching);
            }
        }
        let token = self.tokens.make(&from);
        self.reply(from, tid, Reply { token: token.as_slice().into(), ..self.reply_to(from) });
    }

    /// Keeps a value and tells the listeners of its key.
    pub(super) fn store(&mut self, now: Time, hash: InfoHash, value: &Value, age: Duration, owner: Option<Prefix>) {
        match self.storage.put(now, hash, value, age, owner) {
            Stored::Ignored => {}
            Stored::Refreshed => self.push_ids(now, hash, &[value.id()], &[]),
            Stored::Changed => {
                let receivers: Vec<_> = self
                    .listeners
                    .at(&hash)
                    .filter(|(_, listener)| listener.query.matches(value))
                    .map(|((to, socket), listener)| Receiver { hash, to: *to, socket: *socket, id: listener.id })
                    .collect();
                for receiver in receivers {
                    self.push_values(now, receiver, std::slice::from_ref(value));
                }
            }
        }
        self.expire_stored(now);
    }

    /// Drops values that are over, or too many, and tells their listeners.
    pub(super) fn expire_stored(&mut self, now: Time) {
        while let Some((hash, id)) = self.storage.drop_next(now) {
            self.push_ids(now, hash, &[], &[id]);
        }
    }

    /// Tells a listener of values, as many as one push may carry; the others follow when it is
    /// acknowledged.
    pub(super) fn push_values(&mut self, now: Time, receiver: Receiver, values: &[Value]) {
        // A single value may be larger than what a push should carry.
        let sent = first_within(MAX_PUSH_VALUES.max(values.first().map_or(0, |value| value.packed().len())), values);
        if sent.is_empty() {
            return;
        }
        let rest = values.get(sent.len()..).unwrap_or_default().to_vec();
        let (entries, fragmented) = fragment::entries(&sent);
        let Receiver { hash, socket, .. } = receiver;
        let update = Update { version: Some(1), hash: Some(hash), socket, values: entries, ..Update::default() };
        self.push(now, receiver, update, if fragmented { &sent } else { &[] }, rest);
    }

    fn push_ids(&mut self, now: Time, hash: InfoHash, refreshed: &[u64], expired: &[u64]) {
        debug_assert!(refreshed.len() + expired.len() <= MAX_IDS_PER_UPDATE);
        let receivers: Vec<_> = self
            .listeners
            .at(&hash)
            .map(|((to, socket), listener)| Receiver { hash, to: *to, socket: *socket, id: listener.id })
            .collect();
        for receiver in receivers {
            let (refreshed, expired) = (refreshed.to_vec(), expired.to_vec());
            let update = Update { socket: receiver.socket, refreshed, expired, ..Update::default() };
            self.push(now, receiver, update, &[], Vec::new());
        }
    }

    fn push(&mut self, now: Time, receiver: Receiver, update: Update<'_>, fragmented: &[&Value], rest: Vec<Value>) {
        let Receiver { hash, to, socket, id } = receiver;
        if self.pushing >= MAX_PENDING_PUSHES {
            self.counters.dropped_rate += 1;
            return;
        }
        let token = self.tokens.make(&to);
        let update = Update { token: token.as_slice().into(), ..update };
        let purpose = Purpose::Push { hash, socket, rest };
        let request = Request::Update(update);
        if self.send_request(now, Outgoing { to, id: Some(id), purpose, max_attempts: 3, request, fragmented }) {
            self.pushing += 1;
        }
    }

    /// Whether we are among the nodes that should keep values of `hash`: as far as we know of
    /// enough others, not all of them are nearer.
    fn is_near(&self, now: Time, family: Family, hash: &InfoHash) -> bool {
        let nearest = self.link(family).table.closest(hash, SEARCH_START_NODES, |entry| entry.is_good(now));
        nearest.len() < REPLICATION || nearest.last().is_none_or(|last| hash.cmp_distance(&self.id, &last.id).is_lt())
    }

    /// How old a value is that says it was made at Unix time `created`.
    fn age(&self, now: Time, created: Option<u64>) -> Duration {
        let unix_now = self.config.unix_time_at_zero.map(|zero| zero.saturating_add(now.as_secs()));
        let age = unix_now.zip(created).map(|(now, created)| now.saturating_sub(created));
        Duration::from_secs(age.unwrap_or(0))
    }

    /// Records of the good nodes nearest to `target`, of the families the requester wants.
    fn nearest_blobs(&self, now: Time, from: SocketAddr, target: &InfoHash, want: Option<Want>) -> (Vec<u8>, Vec<u8>) {
        let want = want.unwrap_or(Want { v4: from.is_ipv4(), v6: from.is_ipv6() });
        let blob = |wanted: bool, family: Family, record: usize| {
            let mut blob = Vec::new();
            if wanted {
                blob.reserve_exact(REPLICATION * record);
                let nearest = self.link(family).table.closest(target, REPLICATION, |entry| entry.is_good(now));
                nearest.iter().for_each(|node| node.write(&mut blob));
            }
            blob
        };
        (blob(want.v4, Family::V4, NODE4_LEN), blob(want.v6, Family::V6, NODE6_LEN))
    }
}

/// As many of `values` as `max_bytes` hold and one message may list.
fn first_within(max_bytes: usize, values: &[Value]) -> Vec<&Value> {
    let mut bytes = 0;
    values
        .iter()
        .take_while(|value| {
            bytes += value.packed().len();
            bytes <= max_bytes
        })
        .take(crate::limits::MAX_VALUES_PER_MESSAGE)
        .collect()
}
