//! What a visitor shows in its ClientHello: a protocol name (ALPN, RFC 7301) that only the two can
//! make, that changes with each connection, and is good for once.
//!
//! `TAG | NONCE | MAC`, of 8, 8 and 16 bytes, behind a prefix. Tag and MAC are each cut from the
//! BLAKE2b-256 of a purpose, the door, the key hash of the service and the hour; the MAC's of the
//! nonce too. The tag finds the visitor among thousands without a try of each, and changes every
//! hour.

use std::collections::VecDeque;
use std::fmt;

use super::is_same;
use crate::key::{KeyHash, truncated_blake2b_256};

/// What the protocol name begins with.
const PREFIX: &[u8] = b"hardline-visitor/1:";

const TAG: &[u8] = b"hardline visitor tag";
const MAC: &[u8] = b"hardline visitor mac";

/// Nonces remembered of one visitor; of more, the oldest are forgotten.
pub const MAX_NONCES: usize = 512;

/// Whole hours since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hour(pub u64);

impl Hour {
    /// The hour that holds `seconds` of Unix time.
    #[must_use]
    pub const fn from_unix_seconds(seconds: u64) -> Self {
        Self(seconds / 3600)
    }

    /// This hour and its two neighbours: clocks of two computers may disagree by an hour.
    #[must_use]
    pub const fn with_neighbours(self) -> [Self; 3] {
        [Self(self.0.saturating_sub(1)), self, Self(self.0.saturating_add(1))]
    }
}

/// A secret of a service and one of its visitors. Its `Debug` text hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct Door([u8; Door::LEN]);

/// By which a visitor is found, for an hour.
pub type Tag = [u8; 8];

/// What a visitor shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// Whose it is.
    pub tag: Tag,
    /// Random, another one for each connection.
    pub nonce: [u8; 8],
    mac: [u8; 16],
}

impl Door {
    /// Its length in bytes.
    pub const LEN: usize = 32;

    /// The door with these random bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// The bytes, to be kept.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// The tag of this door to the service `key` in `hour`.
    #[must_use]
    pub fn tag(&self, key: &KeyHash, hour: Hour) -> Tag {
        first(truncated_blake2b_256(&[TAG, &self.0, key.as_bytes(), &hour.0.to_le_bytes()]))
    }

    /// What a visitor of the service `key` shows in `hour`, with a `nonce` never used before.
    #[must_use]
    pub fn prove(&self, key: &KeyHash, hour: Hour, nonce: [u8; 8]) -> Proof {
        Proof { tag: self.tag(key, hour), nonce, mac: self.mac(key, hour, nonce) }
    }

    /// Whether `proof`, whose tag is this door's, was made by who knows it.
    #[must_use]
    pub fn is_proven(&self, key: &KeyHash, hour: Hour, proof: &Proof) -> bool {
        is_same(&self.mac(key, hour, proof.nonce), &proof.mac)
    }

    fn mac(&self, key: &KeyHash, hour: Hour, nonce: [u8; 8]) -> [u8; 16] {
        first(truncated_blake2b_256(&[MAC, &self.0, key.as_bytes(), &hour.0.to_le_bytes(), &nonce]))
    }
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Door(MASKED)")
    }
}

impl Proof {
    /// The protocol name that carries it.
    #[must_use]
    pub fn to_protocol(&self) -> Vec<u8> {
        [PREFIX, &self.tag, &self.nonce, &self.mac].concat()
    }

    /// Reads a protocol name; `None` for every other.
    #[must_use]
    pub fn parse(protocol: &[u8]) -> Option<Self> {
        let (tag, rest) = protocol.strip_prefix(PREFIX)?.split_first_chunk()?;
        let (nonce, mac) = rest.split_first_chunk()?;
        Some(Self { tag: *tag, nonce: *nonce, mac: mac.try_into().ok()? })
    }
}

/// The nonces that one visitor has used: who repeats what it has seen on the way is refused.
#[derive(Debug, Default)]
pub struct Nonces(VecDeque<[u8; 8]>);

impl Nonces {
    /// Notes a nonce. Returns whether it is new.
    pub fn note(&mut self, nonce: [u8; 8]) -> bool {
        if self.0.contains(&nonce) {
            return false;
        }
        if self.0.len() == MAX_NONCES {
            self.0.pop_front();
        }
        self.0.push_back(nonce);
        true
    }
}

fn first<const N: usize>(hash: [u8; KeyHash::LEN]) -> [u8; N] {
    const { assert!(N <= KeyHash::LEN) };
    std::array::from_fn(|at| hash[at])
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: KeyHash = KeyHash::from_bytes([7; 20]);
    const DOOR: Door = Door::from_bytes([1; 32]);

    /// Computed with Python: `hashlib.blake2b(b"hardline visitor tag" + bytes([1]*32) +
    /// bytes([7]*20) + struct.pack("<Q", 500000), digest_size=32)` and the same with the MAC's
    /// purpose and `bytes(8)` behind.
    #[test]
    fn tag_and_mac_are_cut_from_hashes() {
        let proof = DOOR.prove(&KEY, Hour(500_000), [0; 8]).to_protocol();
        let text: String = proof[PREFIX.len()..].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(text, EXPECTED);
    }
    const EXPECTED: &str = "5ec7efb40b65f3f000000000000000000683c990ca2744da6ea6be9fbd0ed296";

    #[test]
    fn a_proof_is_good_for_its_door_service_hour_and_nonce_alone() {
        let proof = DOOR.prove(&KEY, Hour(5), [9; 8]);
        assert!(DOOR.is_proven(&KEY, Hour(5), &proof));
        assert!(!Door::from_bytes([2; 32]).is_proven(&KEY, Hour(5), &proof));
        assert!(!DOOR.is_proven(&KeyHash::from_bytes([8; 20]), Hour(5), &proof));
        assert!(!DOOR.is_proven(&KEY, Hour(6), &proof));
        assert!(!DOOR.is_proven(&KEY, Hour(5), &Proof { nonce: [8; 8], ..proof.clone() }));
        for at in 0..16 {
            let mut changed = proof.clone();
            changed.mac[at] ^= 1;
            assert!(!DOOR.is_proven(&KEY, Hour(5), &changed));
        }
        assert_ne!(DOOR.tag(&KEY, Hour(5)), DOOR.tag(&KEY, Hour(6)));
    }

    #[test]
    fn a_nonce_is_good_for_once_and_so_many_are_remembered() {
        let mut nonces = Nonces::default();
        let nonce = |number: usize| (number as u64).to_le_bytes();
        assert!((0..MAX_NONCES).all(|number| nonces.note(nonce(number))));
        assert!((0..MAX_NONCES).all(|number| !nonces.note(nonce(number))));
        assert!(nonces.note(nonce(MAX_NONCES)) && !nonces.note(nonce(1)));
        assert!(nonces.0.len() <= MAX_NONCES);
    }

    #[test]
    fn the_debug_text_hides_the_door() {
        assert_eq!(format!("{DOOR:?}"), "Door(MASKED)");
    }
}
