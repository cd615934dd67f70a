//! Datagrams coming in: what may be looked at, and who deals with it.

use std::net::SocketAddr;

use super::Node;
use crate::address::{Family, Prefix, canonical, is_martian};
use crate::fragment::Assembled;
use crate::hash::InfoHash;
use crate::message::{Body, Fragment, Message, NodeAddr};
use crate::table::Heard;
use crate::time::Time;

impl Node {
    /// Takes a datagram that arrived at `now` from `from`. Whatever it holds, this neither fails
    /// nor panics.
    pub fn handle_datagram(&mut self, now: Time, from: SocketAddr, datagram: &[u8]) {
        self.counters.datagrams_in += 1;
        self.counters.bytes_in += datagram.len() as u64;
        let from = canonical(from);
        if is_martian(&from) || !self.link(Family::of(&from)).enabled {
            self.counters.dropped_foreign += 1;
        } else if self.blacklist.contains(now, &from) {
            self.counters.dropped_blacklisted += 1;
        } else if !self.datagram_limiter.allow(now, Prefix::of(from.ip()), 1) {
            self.counters.dropped_rate += 1;
        } else {
            match Message::decode(datagram) {
                Ok(message) => self.handle_message(now, from, datagram, message),
                Err(_) => self.counters.dropped_malformed += 1,
            }
        }
    }

    fn handle_message(&mut self, now: Time, from: SocketAddr, datagram: &[u8], message: Message<'_>) {
        if message.network != self.config.network {
            self.counters.dropped_foreign += 1;
            return;
        }
        let (tid, client) = (message.tid, message.client);
        match message.body {
            Body::Request { id, request } => {
                if id.is_zero() || id == self.id {
                    self.counters.dropped_foreign += 1;
                } else if !self.request_limiter.allow(now, Prefix::of(from.ip()), 1) {
                    self.counters.dropped_rate += 1;
                } else {
                    self.counters.requests_in += 1;
                    self.note_heard(now, NodeAddr { id, addr: from }, client, false);
                    self.handle_request(now, from, id, tid, request, datagram);
                }
            }
            Body::Reply(reply) => self.handle_reply(now, from, tid, client, reply, datagram),
            Body::Error { id, code, .. } => self.handle_error(now, from, tid, id, code),
            Body::Fragments(fragments) => {
                if !self.reassembly.expects(&(from, tid)) {
                    self.keep_early(now, from, tid, &fragments);
                } else if let Some(assembled) = self.reassembly.add(now, (from, tid), &fragments) {
                    self.handle_assembled(now, assembled);
                }
            }
            Body::LegacyPush { .. } => self.counters.dropped_unsolicited += 1,
        }
    }

    /// Keeps fragments that may have overtaken the message that announces them. As with released
    /// nodes they are counted like requests, for a stranger can send any number of them.
    fn keep_early(&mut self, now: Time, from: SocketAddr, tid: u32, fragments: &[Fragment<'_>]) {
        if !self.request_limiter.allow(now, Prefix::of(from.ip()), 1) {
            self.counters.dropped_rate += 1;
        } else if !self.reassembly.keep_early(now, (from, tid), fragments) {
            self.counters.dropped_unsolicited += 1;
        }
    }

    /// Deals with a message whose values came in fragments.
    pub(super) fn handle_assembled(&mut self, now: Time, assembled: Assembled) {
        let (from, tid) = assembled.key;
        let Ok(message) = Message::decode(&assembled.header) else { return };
        match message.body {
            Body::Request { id, request } => {
                self.handle_complete_request(now, from, id, tid, request, &assembled.values);
            }
            Body::Reply(reply) => {
                self.handle_complete_reply(now, from, tid, message.client, reply, &assembled.values);
            }
            _ => {}
        }
    }

    pub(super) fn handle_late_reassemblies(&mut self, now: Time) {
        while let Some(assembled) = self.reassembly.handle_timeout(now) {
            self.handle_assembled(now, assembled);
        }
    }

    /// Enters a node that sent us something in the table, if it may be there.
    pub(super) fn note_heard(&mut self, now: Time, node: NodeAddr, client: bool, replied: bool) {
        self.failed.remove(&node.id);
        if client || node.id.is_zero() {
            return;
        }
        match self.link_mut(Family::of(&node.addr)).table.heard(now, node, replied) {
            Heard::New if !replied => self.verify(now, node),
            Heard::Doubt(dubious) => self.verify(now, dubious),
            Heard::New | Heard::Nothing => {}
        }
        if replied {
            self.note_connected(now, Family::of(&node.addr));
        }
    }

    /// Remembers that `id` does not answer; when that `is_sure`, it is not asked again for a while.
    pub(super) fn note_failed(&mut self, now: Time, family: Family, id: InfoHash, is_sure: bool) {
        if let Some(candidate) = self.link_mut(family).table.failed(&id) {
            self.verify(now, candidate);
        }
        if self.failed.len() >= crate::limits::MAX_FAILED_NODES {
            self.failed.retain(|_, until| *until > now);
        }
        if is_sure && self.failed.len() < crate::limits::MAX_FAILED_NODES {
            self.failed.insert(id, now + crate::limits::FAILED_NODE_MEMORY);
        }
    }

    /// Whether `id` failed of late.
    pub(super) fn has_failed(&self, now: Time, id: &InfoHash) -> bool {
        self.failed.get(id).is_some_and(|until| *until > now)
    }
}
