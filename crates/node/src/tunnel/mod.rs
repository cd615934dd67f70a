//! A verified connection → bytes both ways.

mod activity; // when bytes moved
mod aside; // what rarely happens, beside what often does
mod count;
mod local_addr; // this host's address of a tunnel, and when it is lost
mod prefixed;
mod relay;
#[cfg(test)]
mod tests; // over every transport, by every session
mod way; // one direction

pub(crate) use activity::Side;
pub(crate) use count::Tunnels;
pub(crate) use prefixed::Prefixed;
pub(crate) use relay::{Drain, relay};
