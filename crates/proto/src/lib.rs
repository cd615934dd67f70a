//! Hardline's names, wire formats and decisions.
//!
//! Everything here is pure: bytes and instants come in as arguments, values and deadlines go out.
//! There is no socket, no clock and no randomness in this crate, so every rule can be tested in
//! simulated time and fuzzed.
//!
//! The modules stand in the order a request meets them.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "a test needs a first instant to count from"))]

pub mod client_hello; // TLS ClientHello → server name
pub mod head; // first bytes of a browser's connection → HTTP request head, or TLS
pub mod host; // `Host` header → what the browser wants
pub mod initiator; // request headers → who made the browser send it
pub mod link; // what a person types or pastes → key hash and password

pub mod dht_key; // key hash and day → keys of the DHT
pub mod key; // certificate → key hash, the name of a service
pub mod rolling; // key hash and day → rolling code
pub mod sealed; // addresses ⇄ a value that only the service can make, and only who knows its name can read

pub mod call; // "I want to reach you, I am at these addresses" ⇄ a value for the DHT
mod cipher; // plaintext ⇄ ciphertext for those who know a key hash
pub mod punch; // two computers behind NAT → a way through both

pub mod admission; // who may come in: handshakes and tunnels, counted and limited
pub mod candidate; // addresses a service may answer at
pub mod dial; // candidates → when to try which
pub mod hosts; // `host:port` lists, as `WANHosts` carries them
pub mod lan; // LAN discovery: datagrams and their state machine
pub mod liveness; // whether the other computer of a tunnel still lives
pub mod network; // the networks that this host is in
pub mod path; // what a connection goes over, in words
pub mod publish; // when a service's addresses are published anew
pub mod rate; // how often → not too often
pub mod stages; // when which tier of sources is asked
pub mod upgrade;
pub mod visitors; // who may come in to a private service: invitations, and what visitors show // when a better path is looked for

mod chunks; // where a chunked body ends
pub mod exchange; // both directions of a browser's connection → what passes, where a policy stands
pub mod framing; // bytes of a visitor → where each request begins, and whether it may pass
pub mod proxy; // requests to a proxy for services → which service, and what it is asked
pub mod rewrite; // heads of requests and answers → what a backend and a browser should see
pub mod socks; // SOCKS5 → which service

pub mod relay; // joining connections by server name, without a key

pub mod portmap; // asking a router to open a port
pub mod preamble; // the JSON line each side of a connection begins with
pub mod tunnel; // version 2: sessions that carry one tunnel after the other

pub use key::KeyHash;
