//! LAN discovery: the datagrams and the state machine that sends and answers them.
//!
//! Everything heard here is unauthenticated: a hint whom to dial and a line in a list, never more.

mod addr; // who is where on a directly connected network
mod answers; // own services → who is told what
mod claims; // what was heard → who may be where
mod limits;
mod machine;
mod names; // key hash → what searches call it
mod rate;
mod searches; // services looked for → when to ask
mod wire; // bytes ⇄ datagrams

pub use addr::{Interface, LanAddr};
pub use answers::OwnService;
pub use claims::Found;
pub use limits::{
    MAX_ADDRS_PER_SERVICE, MAX_DATAGRAM, MAX_FREETEXT, MAX_SEARCHES, MAX_SERVICES_PER_SOURCE, MAX_TITLE,
    SERVICE_LIFETIME,
};
pub use machine::{Discovery, Event, Settings, Transmit};
pub use rate::{Dropped, Rates};
pub use searches::TooManySearches;
pub use wire::{Announcement, Cookie, Datagram, DatagramError, Freetext, Goodbye, Infohash, Search, Title};

use std::net::{Ipv4Addr, Ipv6Addr};

/// The multicast group everybody joins.
pub const GROUP: Ipv4Addr = Ipv4Addr::new(239, 192, 152, 143);

/// The same for IPv6, which our own peers alone join: link-local scope, not assigned for good (RFC
/// 4291, section 2.7), with the bits of the other one at its end.
pub const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff12, 0, 0, 0, 0, 0, 0xefc0, 0x988f);
