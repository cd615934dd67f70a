//! Key hash and day → rolling code, a name for the wire that changes every day.

use std::fmt;

use crate::key::{KeyHash, hex, truncated_blake2b_256};

/// Whole days since the Unix epoch, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Day(pub u64);

impl Day {
    /// Seconds in a day of Unix time.
    pub const SECONDS: u64 = 86_400;

    /// The day that holds `seconds` of Unix time.
    #[must_use]
    pub const fn from_unix_seconds(seconds: u64) -> Self {
        Self(seconds / Self::SECONDS)
    }

    /// This day and its two neighbours: clocks of two computers may disagree around midnight.
    #[must_use]
    pub const fn with_neighbours(self) -> [Self; 3] {
        [Self(self.0.saturating_sub(1)), self, Self(self.0.saturating_add(1))]
    }
}

/// What a key hash is called on the wire for one day: who does not know the key hash cannot tell
/// whose it is.
///
/// The first 20 bytes of BLAKE2b-256 over the key hash and the day as unsigned 64-bit
/// little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RollingCode([u8; KeyHash::LEN]);

impl RollingCode {
    /// The code of `key` on `day`.
    #[must_use]
    pub fn of(key: &KeyHash, day: Day) -> Self {
        Self(truncated_blake2b_256(&[key.as_bytes(), &day.0.to_le_bytes()]))
    }

    /// The 20 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; KeyHash::LEN] {
        &self.0
    }
}

impl fmt::Display for RollingCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with Python: `hashlib.blake2b(key + struct.pack("<Q", 20000),
    /// digest_size=32).hexdigest()[:40]`.
    #[test]
    fn the_code_hashes_the_key_hash_and_the_day() {
        let key = KeyHash::from_bytes([7; 20]);
        assert_eq!(RollingCode::of(&key, Day(20_000)).to_string(), "9e6492646474cde606377c3a2c8bd160534ba565");
    }

    #[test]
    fn a_day_begins_at_midnight_utc() {
        assert_eq!(Day::from_unix_seconds(86_399), Day(0));
        assert_eq!(Day::from_unix_seconds(86_400), Day(1));
        assert_eq!(Day(0).with_neighbours(), [Day(0), Day(0), Day(1)]);
    }
}
