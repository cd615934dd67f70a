//! QUIC (RFC 9000): connections over UDP, which open as many streams as there are tunnels.
//!
//! The handshake is that of TCP's connections: the same certificate, picked by the same server
//! names, verified by the same pin. There is no second TLS inside.
//!
//! - One socket both dials and listens, so that an address seen outside is good for both.
//! - A connection survives a change of the dialler's address.
//! - While no tunnel is open nothing is sent.

mod connection; // a verified connection and its streams
mod datagrams; // what goes beside the streams
mod endpoint; // the socket
mod extra; // sockets beside it, for a symmetric NAT
mod listen; // who comes in
mod probing; // the socket's other use: probes through NATs
mod shared; // which of its users gets what comes
mod sockets; // all of a node
mod system; // the system's socket
mod tasks; // what runs for them
#[cfg(test)]
mod tests;
mod tls; // our TLS settings, as QUIC wants them

pub(crate) use connection::{Accepting, QuicConnection, QuicEnd, QuicStream, StreamEnd};
pub(crate) use datagrams::DatagramFlow;
pub(crate) use endpoint::QuicEndpoint;
pub(crate) use listen::QuicListener;
pub(crate) use probing::{Opened, Punch};
pub(crate) use sockets::{QuicListening, QuicSockets, WAY_LIFETIME};
#[cfg(test)]
pub(crate) use tasks::QuicTasks;
