//! Requests in flight: retried three times, matched by transaction id, address and node id.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use rand::{Rng, RngExt};

use crate::hash::InfoHash;
use crate::limits::ATTEMPT_WAITS;
use crate::operation::OpId;
use crate::search::SearchId;
use crate::time::Time;
use crate::value::Value;

/// What a request is for, which is where its answer goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Learning the id of a bootstrap host.
    Bootstrap,
    /// Finding out whether a node exists, or still does.
    Verify,
    /// A ping of the application.
    Ping(OpId),
    /// Looking for nodes near an id, to fill the table.
    Maintain,
    /// `find` or `get` of a search.
    Lookup(SearchId),
    /// Asking whether a value is still stored, before it is refreshed.
    Probe(SearchId, u64),
    /// Storing a value.
    Put(SearchId, u64),
    /// Extending the life of a value.
    Refresh(SearchId, u64),
    /// Listening.
    Listen(SearchId),
    /// Telling a listener.
    Push {
        /// The key.
        hash: InfoHash,
        /// The listener's number.
        socket: u32,
        /// What did not fit and follows when this is acknowledged.
        rest: Vec<Value>,
    },
}

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Pending {
    pub(crate) to: SocketAddr,
    /// Whose answer counts; any id when not known yet.
    pub(crate) id: Option<InfoHash>,
    pub(crate) purpose: Purpose,
    /// The request and its fragments.
    pub(crate) datagrams: Vec<Vec<u8>>,
    pub(crate) sent: Time,
    /// Attempts made.
    pub(crate) attempts: usize,
    /// Attempts to make.
    pub(crate) max_attempts: usize,
    /// When to try again or to give up. Far away while a reply's fragments arrive, whose own clock
    /// runs then.
    pub(crate) deadline: Time,
}

/// A request whose time is over.
#[derive(Debug)]
pub(crate) enum Overdue {
    /// It is to be sent again.
    Again(u32),
    /// It has failed.
    Failed(Pending),
}

/// All requests in flight.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    pending: BTreeMap<u32, Pending>,
    deadlines: BTreeSet<(Time, u32)>,
}

impl Requests {
    /// A transaction id that is not in use: random, for it must not be guessed, and never 0.
    pub(crate) fn unused_tid(&self, rng: &mut impl Rng) -> u32 {
        loop {
            let tid = rng.random();
            if tid != 0 && !self.pending.contains_key(&tid) {
                return tid;
            }
        }
    }

    pub(crate) fn insert(&mut self, now: Time, tid: u32, mut pending: Pending, rng: &mut impl Rng) {
        pending.attempts = 1;
        pending.sent = now;
        pending.deadline = now + wait_after(1, rng);
        self.deadlines.insert((pending.deadline, tid));
        self.pending.insert(tid, pending);
    }

    pub(crate) fn get(&self, tid: u32) -> Option<&Pending> {
        self.pending.get(&tid)
    }

    /// Takes the request that a reply with this id from this address answers.
    pub(crate) fn answered(&mut self, tid: u32, from: SocketAddr, id: InfoHash) -> Option<Pending> {
        self.pending.get(&tid).filter(|pending| pending.to == from && pending.id.is_none_or(|wanted| wanted == id))?;
        self.remove(tid)
    }

    pub(crate) fn remove(&mut self, tid: u32) -> Option<Pending> {
        let pending = self.pending.remove(&tid)?;
        self.deadlines.remove(&(pending.deadline, tid));
        Some(pending)
    }

    /// Stops the request's own clock until `until`.
    pub(crate) fn postpone(&mut self, tid: u32, until: Time) {
        if let Some(pending) = self.pending.get_mut(&tid) {
            self.deadlines.remove(&(pending.deadline, tid));
            pending.deadline = until;
            self.deadlines.insert((until, tid));
        }
    }

    pub(crate) fn next_timeout(&self) -> Option<Time> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// The next request that is overdue at `now`; call again until `None`.
    pub(crate) fn handle_timeout(&mut self, now: Time, rng: &mut impl Rng) -> Option<Overdue> {
        let (deadline, tid) = *self.deadlines.first().filter(|(deadline, _)| *deadline <= now)?;
        self.deadlines.remove(&(deadline, tid));
        let pending = self.pending.get_mut(&tid)?;
        if pending.attempts < pending.max_attempts {
            pending.attempts += 1;
            pending.deadline = now + wait_after(pending.attempts, rng);
            self.deadlines.insert((pending.deadline, tid));
            return Some(Overdue::Again(tid));
        }
        self.pending.remove(&tid).map(Overdue::Failed)
    }

    pub(crate) fn len(&self) -> usize {
        self.pending.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Pending)> {
        self.pending.iter().map(|(tid, pending)| (*tid, pending))
    }

    /// Every request has exactly one deadline.
    pub(crate) fn check(&self) -> Result<(), String> {
        let in_order = self.pending.iter().all(|(tid, pending)| self.deadlines.contains(&(pending.deadline, *tid)));
        if in_order && self.deadlines.len() == self.pending.len() {
            Ok(())
        } else {
            Err(format!("{} requests, {} deadlines", self.pending.len(), self.deadlines.len()))
        }
    }
}

fn wait_after(attempt: usize, rng: &mut impl Rng) -> std::time::Duration {
    let (least, spread) = ATTEMPT_WAITS[(attempt - 1).min(ATTEMPT_WAITS.len() - 1)];
    least + rng.random_range(std::time::Duration::ZERO..=spread)
}
