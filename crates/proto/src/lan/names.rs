//! Key hash → what searches call it.

use crate::key::{KeyHash, truncated_blake2b_256};
use crate::rolling::{Day, RollingCode};

/// A key hash, or one of the codes that stand for it, as 20 bytes.
pub(super) type Code = [u8; KeyHash::LEN];

/// Everything a service is called in searches.
#[derive(Debug)]
pub(super) struct Names {
    /// The key hash itself. Tells every neighbour which service is meant.
    pub(super) plain: Code,
    /// The key hash, hashed once more: what peers from 0.0.12 to 0.0.14 search by. It never
    /// changes, but tells nothing to who does not know the key hash.
    pub(super) double: Code,
    /// Today's rolling code: what peers from 0.0.15 on search by.
    pub(super) today: Code,
    /// The rolling codes of yesterday and tomorrow, for clocks that disagree around midnight.
    neighbours: [Code; 2],
}

impl Names {
    pub(super) fn of(key: &KeyHash, today: Day) -> Self {
        let [yesterday, today, tomorrow] = today.with_neighbours().map(|day| *RollingCode::of(key, day).as_bytes());
        Self {
            plain: *key.as_bytes(),
            double: truncated_blake2b_256(&[key.as_bytes()]),
            today,
            neighbours: [yesterday, tomorrow],
        }
    }

    pub(super) fn contains(&self, code: &Code) -> bool {
        [&self.plain, &self.double].contains(&code) || self.is_rolling(code)
    }

    pub(super) fn is_rolling(&self, code: &Code) -> bool {
        self.today == *code || self.neighbours.contains(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::hex;

    /// Computed with Python: `hashlib.blake2b(bytes([7] * 20), digest_size=32).hexdigest()[:40]`.
    #[test]
    fn the_double_hash_is_the_hash_of_the_key_hash() {
        let names = Names::of(&KeyHash::from_bytes([7; 20]), Day(20_000));
        assert_eq!(hex(&names.double), "1989823951993d78c22097a680d00b4cedc5fdc6");
        assert_eq!(hex(&names.today), "9e6492646474cde606377c3a2c8bd160534ba565");
    }
}
