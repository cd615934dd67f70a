//! LAN discovery: the datagrams and the state machine that sends and answers them.
//!
//! Everything heard here is unauthenticated: a hint whom to dial and a line in a list, never more.

mod answers; // own services → who is told what
mod claims; // what was heard → who may be where
mod limits;
mod machine;
mod names; // key hash → what searches call it
mod rate;
mod searches; // services looked for → when to ask
mod wire; // bytes ⇄ datagrams

pub use answers::OwnService;
pub use claims::Found;
pub use limits::{
    MAX_ADDRS_PER_SERVICE, MAX_DATAGRAM, MAX_FREETEXT, MAX_SEARCHES, MAX_SERVICES_PER_SOURCE, MAX_TITLE,
    SERVICE_LIFETIME,
};
pub use machine::{Discovery, Event, Interface, Settings, Transmit};
pub use rate::{Dropped, Rates};
pub use searches::TooManySearches;
pub use wire::{Announcement, Cookie, Datagram, DatagramError, Freetext, Goodbye, Infohash, Search, Title};

use std::net::Ipv4Addr;

/// The multicast group everybody joins.
pub const GROUP: Ipv4Addr = Ipv4Addr::new(239, 192, 152, 143);
