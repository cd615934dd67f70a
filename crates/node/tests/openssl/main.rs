//! Against OpenSSL's program: every kind of certificate and key it makes, its client and its
//! server, and impostors.
//!
//! Needs the program `openssl`, version 3, and fails without it.
#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;

mod dialler; // our node dials `openssl s_server`
mod given; // certificates and keys made by `openssl`
mod identities; // our identities loaded from such files
mod impostors; // who answers for an address that is another's
mod listener; // `openssl s_client` dials our node
mod program; // the program itself, as maker, client and server
mod records; // records of our own against its records
mod rustls_pairs; // such identities on both of our own sides
mod sealed; // such identities seal what the DHT is told
