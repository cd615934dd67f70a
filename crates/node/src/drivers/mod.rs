//! Sockets and timers for the pure state machines of `hardline-proto` and `hardline-dht`.

pub mod dht;
pub mod lan;
