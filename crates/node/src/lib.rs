//! Hardline as an embeddable library: a service on one computer opens in a browser on another, by
//! the hash of its certificate and nothing else.
//!
//! The modules stand in the order a request meets them: a browser's connection enters at `gateway`
//! and leaves the dialling computer through `tunnel`; on the other computer it enters at `accept`
//! and ends at `backend`.
//!
//! Start with [`Node::start`](node::Node::start).

pub mod dial; // candidates → one verified connection
pub mod discovery; // key hash → candidates, from all sources
pub mod gateway; // browser → service name
pub mod session; // over a connection: the preambles, then one tunnel after the other
pub mod tls; // certificates, keys, the pin
pub mod transport; // verified connections to other computers
pub mod tunnel; // bytes both ways

pub mod accept; // incoming peer → service
pub mod backend;
pub mod visitors; // who may come in to a private service // service → local program or folder

#[cfg(feature = "quic")]
mod calls; // calls of diallers behind NATs → probes towards them
pub mod publish; // own addresses → values of the DHT
pub mod reach; // own addresses → what diallers are told

pub mod drivers; // sockets and timers for the pure state machines of `hardline-proto`
pub mod page; // the shell of the pages we make ourselves
pub mod store; // SQLite: what is remembered

pub mod access; // who may use a service
pub mod apps; // what known programs need behind a service
mod clock; // what day it is
pub mod config; // what an embedder may set
pub mod dns; // names below localhost → this computer
mod forwards; // ports of this computer that lead to services of others
mod json; // values in JSON
pub mod limits; // every bound in time, size and count
mod log_throttle; // a log message a minute, with a count
pub mod metrics; // every counter, declared once
pub mod network; // the state of this host's networks, observed by all
pub mod node; // the only place that wires the parts together
pub mod relays; // relays through which this computer is reached
pub mod services; // the table of services, observed by all
mod status; // what a node is doing → sentences, JSON
mod system; // what differs between operating systems
mod tuning; // options of sockets that only tune
mod warm_up; // one handshake before somebody waits

pub use hardline_dht as dht;
pub use hardline_proto as proto;
