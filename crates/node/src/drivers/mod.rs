//! Sockets and timers for the pure state machines of `hardline-proto`.

pub mod lan;
