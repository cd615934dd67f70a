//! Connections to other computers: how they are made and accepted, and how their peers are
//! verified.
//!
//! A `Transport` connects to a service and proves its key; a `Listener` hands in who comes, and an
//! `Incoming` proves ours. What comes of either is a verified connection, over which `session`
//! opens tunnels. Whether such a connection is a stream of bytes is between the transport and its
//! session: TCP's is a `SecureStream`, QUIC's opens streams by itself.

pub(crate) mod buffers; // memory for bytes under way, lent only while there are some
pub(crate) mod datagrams; // datagrams of UDP ⇄ a stream of bytes
mod dial; // whom to reach, and what came of it
mod engine; // rustls without its buffers
pub mod handshake; // a stream of bytes → a verified connection
mod incoming; // who comes in
mod lookup; // names → addresses, by the system or by servers handed in
#[cfg(test)]
pub(crate) mod memory; // the tests' transport
#[cfg_attr(not(feature = "quic"), path = "no_quic.rs")]
pub(crate) mod quic; // connections over UDP
pub mod relay; // joining connections by server name, without a key
pub mod secure; // a TLS connection: stream, records, memory only while bytes are under way
mod stream; // streams of bytes
pub(crate) mod tcp; // TCP connections, made and accepted
pub(crate) mod udp; // a UDP socket that has several users

pub(crate) use dial::{ConnectError, Connected, Target, Transport};
pub(crate) use incoming::{Incoming, Listener, ServiceTls, Unserved, accept_each};
pub(crate) use lookup::look_up;
pub use lookup::use_servers;
pub(crate) use stream::read_onto;
pub use stream::{Asking, ByteStream, Reset};
pub use tcp::open_stream;
