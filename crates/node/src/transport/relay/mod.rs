//! A relay of one's own: joins clients and publishers that cannot reach each other, by server
//! name, without a key.
//!
//! `server` is the relay, `publisher` the side of who is reached through it. The messages and the
//! books are in [`hardline_proto::relay`].

#[cfg(feature = "quic")]
pub(crate) mod caller; // a service is called through a relay, at the dialler
mod callers; // who calls publishers, at the relay
mod control; // a publisher's control connection, at the relay
pub(crate) mod dial_back; // a relay tries whether a publisher is reached without it
mod join; // two TCP connections → bytes both ways
mod lines; // lines of a control connection
pub(crate) mod port; // the P2P port: peers, relays, publishers
pub(crate) mod publisher; // control and data connections, at the publisher
pub(crate) mod server; // clients and data connections, at the relay
pub mod tokens; // who may register
pub(crate) mod verify; // a publisher has a relay try its addresses

#[cfg(test)]
pub(crate) mod tests;
