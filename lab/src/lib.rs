//! Several "computers" on one machine, for tests with real peers.
//!
//! A [`Lab`] is one test's world: [`Host`]s and [`Switch`]es, each a network namespace of its own,
//! with programs running in them. Nothing has a route out of the lab. Everything is taken down when
//! the values are dropped, also after a panic; what a killed run left behind is found by its name
//! and removed by the next one.
//!
//! ```no_run
//! # fn main() -> anyhow::Result<()> {
//! let Some(lab) = hardline_lab::Lab::open()? else { return Ok(()) };
//! let (_switch, [alice, bob]) = lab.lan(["alice", "bob"])?;
//! let folder = alice.hardline(&["share", "."])?;
//! let page = bob.curl(&["http://localhost:7009/"])?;
//! # Ok(()) }
//! ```

mod clock;
mod datagrams;
mod dht;
mod helper;
mod impostor;
mod internet;
mod lab;
mod leftovers;
mod network;
mod npm;
mod process;
mod product;
mod programs;
mod python;
mod routed;
mod router;
mod servers;
mod service;
mod traffic;
mod yggdrasil;

pub use clock::WrongClock;
pub use datagrams::{Game, WireGuard};
pub use dht::{DHT_PORT, DhtNetwork};
pub use helper::{Backend, EVERY_CHECK, helper, screenshots};
pub use impostor::{IMPOSTOR_PORT, Impostor};
pub use lab::{Lab, REQUIRED, is_long};
pub use network::{Host, Switch};
pub use process::{Output, Process};
pub use product::{Hardline, artifact, hardline_program, other_program};
pub use python::{PythonServer, Release};
pub use routed::RoutedHome;
pub use router::{Mapping, Router};
pub use service::Service;
pub use traffic::Sent;
pub use yggdrasil::{Meeting, Yggdrasil};
