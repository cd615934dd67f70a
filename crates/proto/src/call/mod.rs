//! A call: who wants to reach a service behind NAT says at which UDP addresses it is itself, so
//! that both can send to each other at once and their routers let them ([`punch`](crate::punch)).
//!
//! A call is put in the DHT under a key of the day, or carried by a relay at which the service is
//! registered, and can be read and written only by who knows the key hash. All calls have the same
//! length: how much is in one is not seen from outside, and a call has more bytes than the
//! datagrams that it makes the service send.

mod answer; // what a service may ask before it sends many datagrams
mod gate; // which calls are followed
mod relayed; // what a service says to a call that a relay has carried
mod wire; // call ⇄ bytes of a fixed length

use std::fmt;
use std::net::SocketAddr;

pub use answer::{Answer, Cookie, CookieSecret};
pub(crate) use gate::site;
pub use gate::{Admitted, CallGate, Refused, Surroundings};
pub use relayed::{RELAYED_ANSWER_LEN, RelayedAnswer};

use crate::cipher::{self, Cipher, DecryptError};
use crate::key::{KeyHash, hex};
use crate::punch::Mapping;
use crate::rolling::Day;

/// Length of the nonce of [`seal`], in bytes.
pub const NONCE_LEN: usize = cipher::NONCE_LEN;

/// Length of every sealed call, in bytes. Most of it is padding: see the assertion beside
/// [`MAX_UNASKED`](crate::punch::MAX_UNASKED).
pub const CALL_LEN: usize = 512;

/// Addresses in one call: one of each family, and the same from inside for a neighbour whose
/// network drops multicast.
pub const MAX_ADDRESSES: usize = 4;

/// How old a call may be, or how far ahead, in milliseconds: clocks at home are wrong by minutes.
/// As long as the DHT keeps values, so what it hands out late is refused only if it was seen.
pub const MAX_SKEW_MS: u64 = 10 * 60 * 1000;

/// Length of a call before it is encrypted, in bytes.
pub const PLAINTEXT_LEN: usize = CALL_LEN - cipher::OVERHEAD;

const CIPHER: Cipher = Cipher { version: 1, context: b"hardline/2 call" };

/// Names a call and the attempt that follows. Random; whoever knows it can take part.
///
/// Its `Debug` text hides most of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId([u8; Self::LEN]);

impl CallId {
    /// Length in bytes.
    pub const LEN: usize = 16;

    /// Takes 16 bytes, which have to be random.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CallId({}…)", hex(&self.0[..2]))
    }
}

/// What a dialler says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Names it.
    pub id: CallId,
    /// When it was written, Unix time in milliseconds.
    pub issued_ms: u64,
    /// What the dialler's router does.
    pub mapping: Mapping,
    /// Where the dialler is, at most [`MAX_ADDRESSES`].
    pub addresses: Vec<SocketAddr>,
    /// From an answer to an earlier call: asks for as many datagrams as a symmetric NAT takes.
    pub cookie: Option<Cookie>,
}

/// Why bytes are not a call to this service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// Of another length than calls and answers have.
    #[error("{len} bytes are not a call")]
    Length {
        /// Its length in bytes.
        len: usize,
    },
    /// Of a version that this program does not know.
    #[error("call of an unknown version")]
    UnknownVersion,
    /// Not encrypted for this service and day, or changed since.
    #[error("not encrypted for this service and day")]
    NotDecryptable,
    /// Decrypted, but not what a call looks like.
    #[error("malformed call: {0}")]
    Malformed(&'static str),
}

impl From<DecryptError> for CallError {
    fn from(error: DecryptError) -> Self {
        match error {
            DecryptError::UnknownVersion => Self::UnknownVersion,
            DecryptError::NotDecryptable => Self::NotDecryptable,
        }
    }
}

/// Seals a call to `service` for one day; addresses beyond [`MAX_ADDRESSES`] are left out. `nonce`
/// has to be random.
#[must_use]
pub fn seal(call: &Call, service: &KeyHash, day: Day, nonce: [u8; NONCE_LEN]) -> Vec<u8> {
    encrypt(&wire::write(call), service, day, nonce)
}

/// Encrypts what is inside a call. Only for those who check [`open`].
#[must_use]
pub fn encrypt(plaintext: &[u8; PLAINTEXT_LEN], service: &KeyHash, day: Day, nonce: [u8; NONCE_LEN]) -> Vec<u8> {
    CIPHER.encrypt(plaintext, service, day, nonce)
}

/// Opens what [`seal`] made. Whether it is followed, [`CallGate`] says.
///
/// # Errors
/// [`CallError`] says what is wrong with it; anybody can write such bytes.
pub fn open(bytes: &[u8], service: &KeyHash, day: Day) -> Result<Call, CallError> {
    if bytes.len() != CALL_LEN {
        return Err(CallError::Length { len: bytes.len() });
    }
    wire::read(&CIPHER.decrypt(bytes, service, day)?)
}
