//! A verified connection → bytes both ways.

mod activity; // when bytes moved
mod direction; // one direction, copied
mod local_addr; // this host's address of a tunnel, and when it is lost
mod open_tunnels; // how many, in words
mod outcome; // what became of it
mod peer_watch; // whether the other computer lives
mod prefixed;
mod relay;
mod seats; // places at a limit
#[cfg(test)]
mod tests; // over every transport, by every session
mod wake_filter; // what rarely happens, polled when it does

pub(crate) use activity::Side;
pub(crate) use open_tunnels::OpenTunnels;
pub(crate) use outcome::End;
pub(crate) use prefixed::Prefixed;
pub(crate) use relay::{Drain, relay};
pub(crate) use seats::{Place, Places, Seat, Seats};
