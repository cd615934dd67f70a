//! Messages as they travel: one msgpack map per datagram.

mod decode;
mod encode;
mod query;

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

pub use self::decode::DecodeError;
pub use self::query::{Condition, Field, FieldValue, Fields, Query};
use crate::hash::InfoHash;

/// A decoded datagram. Borrows from its bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct Message<'a> {
    /// Transaction id: chosen by the requester, echoed in the reply.
    pub tid: u32,
    /// Network the sender belongs to; 0 is the public one.
    pub network: u32,
    /// Whether the sender is a client that must not be named to others.
    pub client: bool,
    /// The sender's software, if it says.
    pub agent: Option<&'a [u8]>,
    /// What it is about.
    pub body: Body<'a>,
}

/// The kinds of messages.
#[derive(Debug, Clone, PartialEq)]
pub enum Body<'a> {
    /// A question.
    Request {
        /// The sender's node id.
        id: InfoHash,
        /// What is asked.
        request: Request<'a>,
    },
    /// An answer; which fields it has depends on the question.
    Reply(Reply<'a>),
    /// A refusal.
    Error {
        /// The sender's node id.
        id: Option<InfoHash>,
        /// 203, 401 or 404.
        code: u64,
        /// For people; differs between versions.
        text: Cow<'a, [u8]>,
    },
    /// Parts of values announced by an earlier message with the same transaction id.
    Fragments(Vec<Fragment<'a>>),
    /// A push of listen version 0; only ever received, and ignored.
    LegacyPush {
        /// The sender's node id.
        id: InfoHash,
    },
}

/// The content of the hash is missing or zero, or a value's id is.
pub const ERROR_BAD_REQUEST: u64 = 203;
/// The token is not valid for this address.
pub const ERROR_WRONG_TOKEN: u64 = 401;
/// Refresh for a hash of which nothing is stored.
pub const ERROR_NOT_FOUND: u64 = 404;

/// The requests of the protocol.
#[derive(Debug, Clone, PartialEq)]
pub enum Request<'a> {
    /// Are you there?
    Ping,
    /// Which nodes are nearest to `target`?
    Find {
        /// The place in the id space.
        target: InfoHash,
        /// Families to name nodes of.
        want: Option<Want>,
    },
    /// What is stored at `hash`, and which nodes are nearest to it?
    Get {
        /// The key; `None` when missing, which is answered with an error.
        hash: Option<InfoHash>,
        /// Which values or fields; all values when absent.
        query: Option<Query>,
        /// Families to name nodes of.
        want: Option<Want>,
    },
    /// Store these.
    Put {
        /// The key; `None` when missing, which is answered with an error.
        hash: Option<InfoHash>,
        /// The values, or their sizes.
        values: Values<'a>,
        /// When they were made, in Unix seconds.
        created: Option<u64>,
        /// The token the receiver gave out.
        token: Cow<'a, [u8]>,
    },
    /// Keep this value longer.
    Refresh {
        /// The key; `None` when missing.
        hash: Option<InfoHash>,
        /// Number of the value.
        value_id: u64,
        /// The token the receiver gave out.
        token: Cow<'a, [u8]>,
    },
    /// Tell me when values at `hash` change.
    Listen {
        /// The key; `None` when missing, which is answered with an error.
        hash: Option<InfoHash>,
        /// 1; older senders leave it out, which counts as 0.
        version: u64,
        /// Number by which the listener knows the pushes.
        socket: u32,
        /// The token the receiver gave out.
        token: Cow<'a, [u8]>,
        /// Which values.
        query: Option<Query>,
    },
    /// Values at a listened key changed.
    Update(Update<'a>),
}

/// What a storing node tells a listener.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Update<'a> {
    /// 1 when values are sent, absent otherwise.
    pub version: Option<u64>,
    /// The key; absent in refreshed and expired lists.
    pub hash: Option<InfoHash>,
    /// The listener's number.
    pub socket: u32,
    /// New or changed values, or their sizes.
    pub values: Values<'a>,
    /// When they were made, in Unix seconds.
    pub created: Option<u64>,
    /// A fresh write token of the sender.
    pub token: Cow<'a, [u8]>,
    /// Ids of values whose life was extended.
    pub refreshed: Vec<u64>,
    /// Ids of values that are gone.
    pub expired: Vec<u64>,
}

/// The body of a reply.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Reply<'a> {
    /// The sender's node id.
    pub id: InfoHash,
    /// The number of the value put or refreshed.
    pub value_id: Option<u64>,
    /// The requester's address as the sender saw it.
    pub address: Option<IpAddr>,
    /// IPv4 nodes: records of id, address, port.
    pub nodes4: Cow<'a, [u8]>,
    /// IPv6 nodes: records of id, address, port.
    pub nodes6: Cow<'a, [u8]>,
    /// A write token.
    pub token: Cow<'a, [u8]>,
    /// Values, or their sizes.
    pub values: Values<'a>,
    /// Fields of values.
    pub fields: Option<Fields<'a>>,
}

/// Packed values one after the other, or the sizes of those that follow in fragments.
pub type Values<'a> = Vec<ValueEntry<'a>>;

/// One entry of `values`.
#[derive(Debug, Clone, PartialEq)]
pub enum ValueEntry<'a> {
    /// A packed value, not looked into yet.
    Inline(Cow<'a, [u8]>),
    /// Size in bytes of one that follows in fragments.
    Size(u64),
}

/// A piece of a packed value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fragment<'a> {
    /// Which entry of `values`.
    pub index: u64,
    /// Where in it, in bytes.
    pub offset: u64,
    /// The bytes.
    pub data: &'a [u8],
}

/// Address families a requester wants nodes of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Want {
    /// IPv4, number 2 on the wire.
    pub v4: bool,
    /// IPv6, number 10 on the wire.
    pub v6: bool,
}

/// A node as others name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeAddr {
    /// Its id.
    pub id: InfoHash,
    /// Where it is.
    pub addr: SocketAddr,
}

/// Length of a record in [`Reply::nodes4`].
pub const NODE4_LEN: usize = InfoHash::LEN + 4 + 2;
/// Length of a record in [`Reply::nodes6`].
pub const NODE6_LEN: usize = InfoHash::LEN + 16 + 2;

impl Reply<'_> {
    /// The nodes named, IPv4 first.
    pub fn nodes(&self) -> impl Iterator<Item = NodeAddr> + '_ {
        let v4 = self.nodes4.chunks_exact(NODE4_LEN).filter_map(|record| {
            let (id, addr, port) = split_record::<4>(record)?;
            Some(NodeAddr { id, addr: (Ipv4Addr::from(addr), port).into() })
        });
        let v6 = self.nodes6.chunks_exact(NODE6_LEN).filter_map(|record| {
            let (id, addr, port) = split_record::<16>(record)?;
            Some(NodeAddr { id, addr: (Ipv6Addr::from(addr), port).into() })
        });
        v4.chain(v6)
    }
}

impl NodeAddr {
    /// Appends the record of this node.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.id.0);
        match self.addr.ip() {
            IpAddr::V4(ip) => out.extend_from_slice(&ip.octets()),
            IpAddr::V6(ip) => out.extend_from_slice(&ip.octets()),
        }
        out.extend_from_slice(&self.addr.port().to_be_bytes());
    }
}

fn split_record<const N: usize>(record: &[u8]) -> Option<(InfoHash, [u8; N], u16)> {
    let (id, rest) = record.split_first_chunk::<{ InfoHash::LEN }>()?;
    let (addr, rest) = rest.split_first_chunk::<N>()?;
    Some((InfoHash(*id), *addr, u16::from_be_bytes(rest.try_into().ok()?)))
}
