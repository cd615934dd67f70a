//! What the application asks of the node, and what it hears back.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::address::Family;
use crate::hash::InfoHash;
use crate::limits::MAX_HEARD_VALUES;
use crate::search::SearchId;
use crate::time::Time;
use crate::value::Value;

/// Number of an operation, unique for the life of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId(pub(crate) u64);

/// Something the application should know.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The first good node of a family is known.
    Connected(Family),
    /// No good node of a family is left; bootstrap goes on by itself.
    Disconnected(Family),
    /// Others agree that this is our public address.
    PublicAddress(IpAddr),
    /// A `get` found a value, or other content under an id it had reported.
    Found {
        /// The operation.
        op: OpId,
        /// The value.
        value: Value,
    },
    /// A `get` is over.
    GetDone {
        /// The operation.
        op: OpId,
        /// How it went.
        summary: Summary,
    },
    /// The first announcement of a `put` is over; one that is kept goes on being refreshed.
    PutDone {
        /// The operation.
        op: OpId,
        /// Nodes that acknowledged, of the nearest. Not all of them need have stored it.
        acknowledged: usize,
        /// How it went.
        summary: Summary,
    },
    /// A listened key has a new value, or one with a higher sequence number.
    Heard {
        /// The operation.
        op: OpId,
        /// The value.
        value: Value,
    },
    /// A value of a listened key is gone from every node listened on.
    Expired {
        /// The operation.
        op: OpId,
        /// The value, as heard.
        value: Value,
    },
    /// A ping was answered.
    Pong {
        /// The operation.
        op: OpId,
        /// Who answered.
        id: InfoHash,
        /// Time from the last attempt to the answer.
        round_trip: Duration,
    },
    /// A ping was not answered.
    PingFailed {
        /// The operation.
        op: OpId,
    },
}

/// How an operation went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// Time from its start.
    pub elapsed: Duration,
    /// Requests sent, retries aside.
    pub requests: u32,
    /// Nodes that answered.
    pub answers: u32,
    /// Longest way from a node known at the start to one of the nearest nodes, in steps.
    pub hops: u32,
    /// Whether it ended by its time limit.
    pub timed_out: bool,
}

/// An operation under way.
#[derive(Debug)]
pub(crate) struct Operation {
    pub(crate) started: Time,
    pub(crate) deadline: Option<Time>,
    /// Searches that are not done.
    pub(crate) searches: Vec<SearchId>,
    pub(crate) summary: Summary,
    pub(crate) kind: Kind,
}

#[derive(Debug)]
pub(crate) enum Kind {
    Get { seen: BTreeMap<u64, Value> },
    Put { permanent: bool, announced: bool, acknowledged: usize },
    Listen { heard: Heard },
    Ping,
}

impl Operation {
    pub(crate) fn next_timeout(&self) -> Option<Time> {
        let expiry = match &self.kind {
            Kind::Listen { heard } => heard.next_expiry,
            _ => None,
        };
        [self.deadline, expiry].into_iter().flatten().min()
    }
}

/// What the nodes listened on have told.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    values: BTreeMap<u64, HeardValue>,
    next_expiry: Option<Time>,
}

#[derive(Debug)]
struct HeardValue {
    value: Value,
    /// Nodes that have it, and until when if we hear no more.
    holders: BTreeMap<SocketAddr, Time>,
}

impl Heard {
    /// Notes that `from` has `value`; returns whether that is news.
    pub(crate) fn add(&mut self, now: Time, from: SocketAddr, value: &Value) -> bool {
        if self.values.len() >= MAX_HEARD_VALUES && !self.values.contains_key(&value.id()) {
            return false;
        }
        let until = now + value.kind().lifetime();
        self.next_expiry = Some(self.next_expiry.map_or(until, |at| at.min(until)));
        let mut news = false;
        let heard = self.values.entry(value.id()).or_insert_with(|| {
            news = true;
            HeardValue { value: value.clone(), holders: BTreeMap::new() }
        });
        heard.holders.insert(from, until);
        if value.seq() > heard.value.seq() {
            heard.value = value.clone();
            news = true;
        }
        news
    }

    /// Notes that `from` still has the values with these ids.
    pub(crate) fn refreshed(&mut self, now: Time, from: SocketAddr, ids: &[u64]) {
        for id in ids {
            if let Some(heard) = self.values.get_mut(id)
                && let Some(until) = heard.holders.get_mut(&from)
            {
                *until = now + heard.value.kind().lifetime();
            }
        }
    }

    /// Notes that `from` has dropped the values with these ids; returns those that nobody has any
    /// more.
    pub(crate) fn expired(&mut self, from: SocketAddr, ids: &[u64]) -> Vec<Value> {
        let mut gone = Vec::new();
        for id in ids {
            if let Some(heard) = self.values.get_mut(id) {
                heard.holders.remove(&from);
                if heard.holders.is_empty() {
                    gone.extend(self.values.remove(id).map(|heard| heard.value));
                }
            }
        }
        gone
    }

    /// Forgets what has not been confirmed for its lifetime; returns values that nobody has any
    /// more.
    pub(crate) fn handle_timeout(&mut self, now: Time) -> Vec<Value> {
        if self.next_expiry.is_none_or(|at| at > now) {
            return Vec::new();
        }
        let mut gone = Vec::new();
        self.values.retain(|_, heard| {
            heard.holders.retain(|_, until| *until > now);
            if heard.holders.is_empty() {
                gone.push(heard.value.clone());
            }
            !heard.holders.is_empty()
        });
        self.next_expiry = self.values.values().flat_map(|heard| heard.holders.values()).min().copied();
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::ValueType;

    #[test]
    fn a_value_is_news_once_and_gone_when_the_last_holder_drops_it() {
        let mut heard = Heard::default();
        let [one, two] = [1, 2].map(|port| SocketAddr::from(([192, 0, 2, 1], port)));
        let value = Value::new(7, ValueType::USER_DATA, b"x", "").unwrap();
        assert!(heard.add(Time::ZERO, one, &value));
        assert!(!heard.add(Time::ZERO, two, &value));
        assert_eq!(heard.expired(one, &[7, 8]), []);
        assert_eq!(heard.expired(two, &[7]), [value]);
    }

    #[test]
    fn a_value_nobody_confirms_expires_by_itself() {
        let mut heard = Heard::default();
        let from = SocketAddr::from(([192, 0, 2, 1], 1));
        let value = Value::new(7, ValueType::ICE_CANDIDATES, b"x", "").unwrap();
        heard.add(Time::ZERO, from, &value);
        heard.refreshed(Time::from_secs(30), from, &[7]);
        assert_eq!(heard.handle_timeout(Time::from_secs(60)), []);
        assert_eq!(heard.next_expiry, Some(Time::from_secs(90)));
        assert_eq!(heard.handle_timeout(Time::from_secs(90)), [value]);
        assert_eq!(heard.next_expiry, None);
    }
}
