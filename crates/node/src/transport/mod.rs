//! Connections to other computers: how they are made and accepted, and how their peers are verified.

mod buffers; // memory for bytes under way, lent only while there are some
pub mod handshake; // a TCP connection → a TLS connection
pub mod secure; // a TLS connection: socket, records, memory only while bytes are under way
pub(crate) mod tcp; // TCP connections, made and accepted
