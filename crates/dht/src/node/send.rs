//! Requests and replies on their way out.

use std::net::SocketAddr;

use super::{Node, Transmit};
use crate::address::{Family, Prefix};
use crate::fragment;
use crate::hash::InfoHash;
use crate::limits::{MAX_PENDING_REQUESTS, MAX_VERIFICATIONS};
use crate::message::{Body, Message, NodeAddr, Reply, Request};
use crate::request::{Pending, Purpose};
use crate::time::Time;
use crate::value::Value;

/// The software we say we are.
const AGENT: &[u8] = b"hl";

/// A request to one node, and what is awaited of it.
pub(super) struct Outgoing<'a> {
    pub(super) to: SocketAddr,
    /// Who should answer, if that is known.
    pub(super) id: Option<InfoHash>,
    pub(super) purpose: Purpose,
    pub(super) max_attempts: usize,
    pub(super) request: Request<'a>,
    /// Values of the request that follow in fragments.
    pub(super) fragmented: &'a [&'a Value],
}

impl Node {
    /// Sends a request and waits for its answer. Returns whether there was room for it.
    pub(super) fn request(
        &mut self,
        now: Time,
        to: SocketAddr,
        id: Option<InfoHash>,
        purpose: Purpose,
        max_attempts: usize,
        request: Request<'_>,
    ) -> bool {
        self.send_request(now, Outgoing { to, id, purpose, max_attempts, request, fragmented: &[] })
    }

    /// The same; everything that is sent and awaited passes here.
    pub(super) fn send_request(&mut self, now: Time, outgoing: Outgoing<'_>) -> bool {
        let Outgoing { to, id, purpose, max_attempts, request, fragmented } = outgoing;
        if self.requests.len() >= MAX_PENDING_REQUESTS || !self.link(Family::of(&to)).enabled {
            return false;
        }
        let tid = self.requests.unused_tid(&mut self.rng);
        let mut datagrams = vec![self.encode(tid, Body::Request { id: self.id, request })];
        datagrams.extend(fragment::datagrams(tid, self.config.network, self.config.client, fragmented));
        self.counters.requests_out += 1;
        for datagram in &datagrams {
            self.transmit(to, datagram.clone());
        }
        let pending = Pending { to, id, purpose, datagrams, sent: now, attempts: 1, max_attempts, deadline: now };
        self.requests.insert(now, tid, pending, &mut self.rng);
        true
    }

    /// Asks a node whether it is there, unless too many are being asked.
    pub(super) fn verify(&mut self, now: Time, node: NodeAddr) {
        let busy = self.verifying.len() >= MAX_VERIFICATIONS || self.verifying.contains(&node.addr);
        // Forged senders must not make us send more than they did, hence fewer attempts than usual.
        let attempts = if self.link(Family::of(&node.addr)).table.get(&node.id).is_some() { 2 } else { 1 };
        if !busy && self.request(now, node.addr, Some(node.id), Purpose::Verify, attempts, Request::Ping) {
            self.verifying.insert(node.addr);
        }
    }

    pub(super) fn reply(&mut self, to: SocketAddr, tid: u32, reply: Reply<'_>) {
        let datagram = self.encode(tid, Body::Reply(reply));
        self.transmit(to, datagram);
    }

    /// The part of a reply that all replies have.
    pub(super) fn reply_to(&self, to: SocketAddr) -> Reply<'static> {
        Reply { id: self.id, address: Some(to.ip()), ..Reply::default() }
    }

    pub(super) fn error(&mut self, to: SocketAddr, tid: u32, code: u64, text: &'static str) {
        let datagram = self.encode(tid, Body::Error { id: Some(self.id), code, text: text.as_bytes().into() });
        self.transmit(to, datagram);
    }

    /// Sends the fragments of a reply, as far as the receiver's allowance goes: the asker's address
    /// may be forged.
    pub(super) fn send_fragments(&mut self, now: Time, to: SocketAddr, tid: u32, values: &[&Value]) {
        for datagram in fragment::datagrams(tid, self.config.network, self.config.client, values) {
            let bytes = u32::try_from(datagram.len()).unwrap_or(u32::MAX);
            if !self.fragment_limiter.allow(now, Prefix::of(to.ip()), bytes) {
                self.counters.dropped_rate += 1;
                return;
            }
            self.transmit(to, datagram);
        }
    }

    pub(super) fn transmit(&mut self, to: SocketAddr, payload: Vec<u8>) {
        self.counters.datagrams_out += 1;
        self.counters.bytes_out += payload.len() as u64;
        self.transmits.push_back(Transmit { to, payload });
    }

    /// Sends the datagrams of a pending request once more.
    pub(super) fn send_again(&mut self, tid: u32) {
        let Some(pending) = self.requests.get(tid) else { return };
        let (to, datagrams) = (pending.to, pending.datagrams.clone());
        for datagram in datagrams {
            self.transmit(to, datagram);
        }
    }

    fn encode(&self, tid: u32, body: Body<'_>) -> Vec<u8> {
        let mut datagram = Vec::with_capacity(512);
        let (network, client) = (self.config.network, self.config.client);
        Message { tid, network, client, agent: Some(AGENT), body }.encode(&mut datagram);
        datagram.shrink_to_fit();
        datagram
    }
}
