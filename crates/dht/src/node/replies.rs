//! Answers to our requests, and their absence.

use std::net::SocketAddr;

use super::Node;
use super::answer::Receiver;
use crate::address::Family;
use crate::fragment::Begun;
use crate::hash::InfoHash;
use crate::limits::{ATTEMPT_WAITS, REASSEMBLY_TOTAL};
use crate::message::{ERROR_NOT_FOUND, ERROR_WRONG_TOKEN, FieldValue, NodeAddr, Reply, Update, ValueEntry};
use crate::operation::{Event, Kind};
use crate::request::{Overdue, Pending, Purpose};
use crate::time::Time;
use crate::value::Value;

impl Node {
    /// Takes a reply, or waits for the fragments of its values.
    pub(super) fn handle_reply(
        &mut self,
        now: Time,
        from: SocketAddr,
        tid: u32,
        client: bool,
        reply: Reply<'_>,
        datagram: &[u8],
    ) {
        let awaited = self.requests.get(tid).is_some_and(|pending| {
            pending.to == from && pending.id.is_none_or(|id| id == reply.id) && reply.id != self.id
        });
        if !awaited {
            self.counters.dropped_unsolicited += 1;
            return;
        }
        let sizes = reply.values.iter().any(|value| matches!(value, ValueEntry::Size(_)));
        let begun =
            if sizes { self.reassembly.begin(now, (from, tid), datagram, &reply.values) } else { Begun::Refused };
        match begun {
            // The reassembly ends before this and calls back with what has come.
            Begun::Waiting => self.requests.postpone(tid, now + REASSEMBLY_TOTAL + ATTEMPT_WAITS[0].0),
            Begun::Complete(assembled) => self.handle_assembled(now, assembled),
            Begun::Refused => self.handle_complete_reply(now, from, tid, client, reply, &[]),
        }
    }

    /// Takes a reply with all its values; `assembled` are those that came in fragments.
    pub(super) fn handle_complete_reply(
        &mut self,
        now: Time,
        from: SocketAddr,
        tid: u32,
        client: bool,
        reply: Reply<'_>,
        assembled: &[Vec<u8>],
    ) {
        let Some(pending) = self.requests.answered(tid, from, reply.id) else { return };
        self.release(&pending);
        self.note_heard(now, NodeAddr { id: reply.id, addr: from }, client, true);
        if let Some(ip) = reply.address {
            self.seen_at(now, from, ip);
        }
        let id = reply.id;
        match pending.purpose {
            Purpose::Bootstrap | Purpose::Verify => {}
            Purpose::Push { hash, socket, rest } => {
                self.push_values(now, Receiver { hash, to: from, socket, id }, &rest);
            }
            Purpose::Ping(op) => {
                if self.operations.remove(&op).is_some() {
                    let round_trip = now.since(pending.sent);
                    self.events.push_back(Event::Pong { op, id, round_trip });
                }
            }
            Purpose::Maintain => self.get_to_know(now, from, &reply),
            Purpose::Lookup(search) => self.lookup_answered(now, from, search, &reply, assembled),
            Purpose::Probe(search, value) => {
                let stored = reply.fields.iter().flat_map(|fields| fields.rows());
                let is_stored = stored.into_iter().any(|row| row.first() == Some(&FieldValue::Uint(value)));
                self.with_search(now, search, |search, _| search.probed(&id, is_stored));
            }
            Purpose::Put(search, value) | Purpose::Refresh(search, value) => {
                self.put_acknowledged(now, search, value, &id);
            }
            Purpose::Listen(search) => {
                let token = reply.token.to_vec();
                self.with_search(now, search, |search, rng| search.listened(now, &id, &token, rng));
            }
        }
    }

    /// Takes a refusal of a request of ours.
    pub(super) fn handle_error(&mut self, now: Time, from: SocketAddr, tid: u32, id: Option<InfoHash>, code: u64) {
        let wanted = self.requests.get(tid).and_then(|pending| pending.id);
        let Some(id) = id.or(wanted) else { return };
        let Some(pending) = self.requests.answered(tid, from, id) else {
            self.counters.dropped_unsolicited += 1;
            return;
        };
        self.release(&pending);
        self.note_heard(now, NodeAddr { id, addr: from }, true, true);
        match (code, pending.purpose) {
            (ERROR_NOT_FOUND, Purpose::Refresh(search, _)) => {
                self.with_search(now, search, |search, _| search.lost(&id))
            }
            (ERROR_WRONG_TOKEN, Purpose::Put(search, _) | Purpose::Refresh(search, _) | Purpose::Listen(search)) => {
                self.with_search(now, search, |search, _| search.token_refused(now, &id))
            }
            (_, purpose) => {
                if let Some(search) = purpose.search() {
                    self.with_search(now, search, |search, _| search.failed(&id));
                }
            }
        }
    }

    /// Sends again what was not answered, and gives up what was not answered often enough.
    pub(super) fn handle_overdue_requests(&mut self, now: Time) {
        while let Some(overdue) = self.requests.handle_timeout(now, &mut self.rng) {
            match overdue {
                Overdue::Again(tid) => {
                    self.send_again(tid);
                    let Some(pending) = self.requests.get(tid) else { continue };
                    if let (Purpose::Lookup(search), Some(id), attempts) =
                        (pending.purpose.clone(), pending.id, pending.attempts)
                    {
                        self.with_search(now, search, |search, _| search.retried(&id, attempts));
                    }
                }
                Overdue::Failed(pending) => self.request_failed(now, &pending),
            }
        }
    }

    fn request_failed(&mut self, now: Time, pending: &Pending) {
        self.counters.requests_failed += 1;
        self.release(pending);
        if let Some(id) = pending.id {
            // One lost datagram is no reason to keep out of the way of a node.
            let is_sure = pending.attempts >= ATTEMPT_WAITS.len();
            self.note_failed(now, Family::of(&pending.to), id, is_sure);
        }
        match &pending.purpose {
            Purpose::Push { hash, socket, .. } => drop(self.listeners.remove(hash, &(pending.to, *socket))),
            Purpose::Ping(op) => {
                if self.operations.remove(op).is_some() {
                    self.events.push_back(Event::PingFailed { op: *op });
                }
            }
            purpose => {
                if let (Some(search), Some(id)) = (purpose.search(), pending.id) {
                    self.with_search(now, search, |search, _| search.failed(&id));
                }
            }
        }
    }

    /// Gives back what a request in flight was counted for.
    fn release(&mut self, pending: &Pending) {
        match pending.purpose {
            Purpose::Verify => drop(self.verifying.remove(&pending.to)),
            Purpose::Push { .. } => self.pushing -= 1,
            _ => {}
        }
    }

    fn lookup_answered(
        &mut self,
        now: Time,
        from: SocketAddr,
        search: crate::search::SearchId,
        reply: &Reply<'_>,
        assembled: &[Vec<u8>],
    ) {
        let id = reply.id;
        if reply.token.is_empty() {
            // Such a node would starve every search that asks it.
            self.blacklist.insert(now, from);
            self.note_failed(now, Family::of(&from), id, true);
            self.with_search(now, search, |search, _| search.failed(&id));
            return;
        }
        let named = self.named_nodes(now, from, reply);
        let op = self.searches.get(&search).and_then(|(op, ..)| *op);
        if let Some(op) = op {
            self.report_found(op, packed_values(&reply.values, assembled));
        }
        let token = reply.token.to_vec();
        self.with_search(now, search, |search, _| {
            search.answered(now, &id, &token);
            for node in named {
                search.add(node, Some(&id));
            }
        });
    }

    /// Reports values of a `get` that were not reported yet.
    fn report_found<'a>(&mut self, op: crate::operation::OpId, packed: impl Iterator<Item = &'a [u8]>) {
        let Some(operation) = self.operations.get_mut(&op) else { return };
        let Kind::Get { seen } = &mut operation.kind else { return };
        for value in packed.filter_map(|packed| Value::parse(packed).ok()) {
            let known = seen.get(&value.id()).is_some_and(|known| known.same_content(&value));
            if !known && seen.len() < crate::limits::MAX_HEARD_VALUES {
                seen.insert(value.id(), value.clone());
                self.events.push_back(Event::Found { op, value });
            }
        }
    }

    /// A storing node tells of changes. It always gets its acknowledgement, or it would repeat
    /// itself.
    pub(super) fn handle_update(
        &mut self,
        now: Time,
        from: SocketAddr,
        tid: u32,
        update: &Update<'_>,
        assembled: &[Vec<u8>],
    ) {
        self.reply(from, tid, self.reply_to(from));
        if !self.is_open(&from, update.socket) {
            return;
        }
        let search = self.sockets.get(&update.socket).and_then(|search| self.searches.get(search));
        let Some(op) = search.and_then(|(op, ..)| *op) else { return };
        let Some(Kind::Listen { heard }) = self.operations.get_mut(&op).map(|operation| &mut operation.kind) else {
            return;
        };
        for value in packed_values(&update.values, assembled).filter_map(|packed| Value::parse(packed).ok()) {
            if heard.add(now, from, &value) {
                self.events.push_back(Event::Heard { op, value });
            }
        }
        heard.refreshed(now, from, &update.refreshed);
        let gone = heard.expired(from, &update.expired);
        self.events.extend(gone.into_iter().map(|value| Event::Expired { op, value }));
    }

    /// Whether `from` may push under `socket`.
    pub(super) fn is_open(&self, from: &SocketAddr, socket: u32) -> bool {
        let search = self.sockets.get(&socket).and_then(|search| self.searches.get(search));
        search.is_some_and(|(_, _, search)| search.listens_on(from, socket))
    }
}

impl Purpose {
    fn search(&self) -> Option<crate::search::SearchId> {
        match self {
            Self::Lookup(search)
            | Self::Probe(search, _)
            | Self::Put(search, _)
            | Self::Refresh(search, _)
            | Self::Listen(search) => Some(*search),
            _ => None,
        }
    }
}

/// Values that came inline and those that came in fragments.
fn packed_values<'a>(values: &'a [ValueEntry<'_>], assembled: &'a [Vec<u8>]) -> impl Iterator<Item = &'a [u8]> {
    let inline = values.iter().filter_map(|entry| match entry {
        ValueEntry::Inline(packed) => Some(&packed[..]),
        ValueEntry::Size(_) => None,
    });
    inline.chain(assembled.iter().map(Vec::as_slice))
}
