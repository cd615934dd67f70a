#![doc = include_str!("../README.md")]

// A datagram travels through the modules in this order.

pub mod hash; // keys, node ids, distance
pub mod message; // bytes ⇄ messages
pub mod time; // the caller's clock
pub mod value; // what is stored

mod address; // whom to believe an address
mod external_addr; // our address, as others see us
mod fragment; // values larger than a datagram
mod limiter; // rates and blacklist
mod msgpack; // the encoding
mod request; // what we asked and await
mod search; // iterative lookup
mod sightings; // our address with its port, as others name us
mod storage; // what we keep for others
mod table; // whom we know
mod token; // proof of address

pub mod limits; // every bound in time, size and count
pub mod node; // all of it together
pub mod operation; // what the application asks and hears

pub use address::Family;
pub use hash::InfoHash;
pub use limiter::Rates;
pub use message::NodeAddr;
pub use node::{Config, Counters, Node, OperationError, TableStatus, Transmit};
pub use operation::{Event, OpId, Summary};
pub use storage::VerifySignature;
pub use time::Time;
pub use value::{Signed, Value, ValueError, ValueType};
