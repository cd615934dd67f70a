//! A relay joins connections by server name, without a key: its address, its messages, its books.
//!
//! A publisher that nobody can reach keeps a control connection to the relay and registers the
//! names of its services. When a client says hello under one of them, the relay joins it with a
//! data connection that the publisher has opened, and copies bytes. TLS runs between client and
//! publisher; the relay sees names of the day, addresses, sizes and times.

pub mod callers; // how often who may call whom
pub mod dial_back; // whether a publisher is reached without the relay
mod id; // random identifiers of 128 bits
pub mod message; // control messages ⇄ JSON lines; the first bytes of a data connection
pub mod registry; // who holds which name, what waits, what is joined
mod url; // `relay://TOKEN@HOST:PORT/KEYHASH`

pub use id::{Id, IdError};
pub use url::{RelayUrl, RelayUrlError};

use crate::key::KeyHash;

/// ALPN of the control connection, inside TLS pinned to the relay's key hash.
pub const ALPN: &[u8] = b"hardline-relay/1";

/// A server name that a client asks for: the 20 bytes of a rolling code or, for clients of the
/// legacy protocol, of a key hash.
pub type Name = [u8; KeyHash::LEN];
