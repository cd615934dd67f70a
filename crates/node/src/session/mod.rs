//! Sessions: what two computers say to each other over a connection, and how tunnels begin and end there.

mod carrier; // what a tunnel is to who carries bytes
pub(crate) mod pool; // sessions that wait for their next tunnel
mod preamble;
mod tunnel;
mod v1; // bytes as they are
mod v2; // frames, reuse, honest ends

pub(crate) use carrier::Carrier;
#[cfg(test)]
pub(crate) use carrier::{Payload, Room};
pub(crate) use preamble::{PreambleFailure, exchange_as_dialler, read_preamble, send_preamble};
pub use tunnel::TunnelStream;
pub(crate) use v1::PlainStream;
pub(crate) use v2::{LinkEnd, LinkStream, NoTunnel};
