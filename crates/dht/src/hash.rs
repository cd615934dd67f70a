//! 160-bit keys and node ids, and the XOR metric between them.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use rand::Rng;
use sha1::{Digest, Sha1};

/// A key or a node id: 20 bytes, bit 0 being the most significant.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct InfoHash(pub [u8; InfoHash::LEN]);

impl InfoHash {
    /// Length in bytes.
    pub const LEN: usize = 20;

    /// Length in bits.
    pub const BITS: usize = Self::LEN * 8;

    /// The value that stands for "invalid" on the wire.
    pub const ZERO: Self = Self([0; Self::LEN]);

    /// The key under which OpenDHT stores things named `name`: its SHA-1.
    #[must_use]
    pub fn of(name: &[u8]) -> Self {
        Self(Sha1::digest(name).into())
    }

    /// A uniformly random hash.
    pub fn random(rng: &mut impl Rng) -> Self {
        let mut bytes = [0; Self::LEN];
        rng.fill_bytes(&mut bytes);
        Self(bytes)
    }

    /// A random hash that shares exactly the first `bits` bits with `self`, or all of them when
    /// `bits` is 160.
    pub fn random_sharing(&self, bits: usize, rng: &mut impl Rng) -> Self {
        let mut other = Self::random(rng);
        for bit in 0..bits.min(Self::BITS) {
            other.set_bit(bit, self.bit(bit));
        }
        if bits < Self::BITS {
            other.set_bit(bits, !self.bit(bits));
        }
        other
    }

    /// Reads 20 bytes; `None` for any other length.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Whether this is [`InfoHash::ZERO`].
    #[must_use]
    pub fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }

    /// Number of leading bits that both have in common, 0 to 160.
    #[must_use]
    pub fn common_bits(&self, other: &Self) -> usize {
        let (high, mid, low) = self.xor(other);
        if high != 0 {
            high.leading_zeros() as usize
        } else if mid != 0 {
            64 + mid.leading_zeros() as usize
        } else {
            128 + low.leading_zeros() as usize
        }
    }

    /// Orders `a` and `b` by their XOR distance to `self`, the nearer first.
    #[must_use]
    pub fn cmp_distance(&self, a: &Self, b: &Self) -> Ordering {
        self.xor(a).cmp(&self.xor(b))
    }

    /// The XOR distance as three big-endian words.
    pub(crate) fn xor(&self, other: &Self) -> (u64, u64, u32) {
        let (a, b) = (self.words(), other.words());
        (a.0 ^ b.0, a.1 ^ b.1, a.2 ^ b.2)
    }

    fn words(&self) -> (u64, u64, u32) {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t] = self.0;
        (
            u64::from_be_bytes([a, b, c, d, e, f, g, h]),
            u64::from_be_bytes([i, j, k, l, m, n, o, p]),
            u32::from_be_bytes([q, r, s, t]),
        )
    }

    fn bit(&self, index: usize) -> bool {
        self.0[index / 8] & (0x80 >> (index % 8)) != 0
    }

    fn set_bit(&mut self, index: usize, on: bool) {
        let mask = 0x80 >> (index % 8);
        if on {
            self.0[index / 8] |= mask;
        } else {
            self.0[index / 8] &= !mask;
        }
    }
}

impl fmt::Display for InfoHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for InfoHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not exactly 40 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected 40 hex digits")]
pub struct ParseInfoHashError;

impl FromStr for InfoHash {
    type Err = ParseInfoHashError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.as_bytes();
        if digits.len() != Self::LEN * 2 {
            return Err(ParseInfoHashError);
        }
        let mut bytes = [0; Self::LEN];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            for digit in pair {
                let value = char::from(*digit).to_digit(16).ok_or(ParseInfoHashError)?;
                *byte = *byte << 4 | value as u8;
            }
        }
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{SeedableRng, rngs::StdRng};

    #[test]
    fn keys_are_sha1_of_names() {
        assert_eq!(InfoHash::of(b"hello").to_string(), "aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d");
        assert_eq!(InfoHash::of(b"").to_string(), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
    }

    #[test]
    fn hex_is_read_in_both_cases_and_nothing_else_is() {
        let hash = InfoHash::of(b"hello");
        assert_eq!(hash.to_string().parse(), Ok(hash));
        assert_eq!(hash.to_string().to_uppercase().parse(), Ok(hash));
        for bad in ["", "aa", &"g".repeat(40), &"a".repeat(41), "ää"] {
            assert_eq!(bad.parse::<InfoHash>(), Err(ParseInfoHashError), "{bad:?}");
        }
    }

    #[test]
    fn a_random_neighbour_shares_exactly_the_asked_bits() {
        let mut rng = StdRng::seed_from_u64(1);
        let id = InfoHash::of(b"me");
        for bits in 0..=160 {
            assert_eq!(id.random_sharing(bits, &mut rng).common_bits(&id), bits);
        }
    }

    #[test]
    fn distance_is_xor_read_as_a_big_endian_number() {
        let target = InfoHash::ZERO;
        let (mut near, mut far) = (InfoHash::ZERO, InfoHash::ZERO);
        near.0[19] = 0xff;
        far.0[18] = 1;
        assert_eq!(target.cmp_distance(&near, &far), Ordering::Less);
        assert_eq!(far.cmp_distance(&near, &far), Ordering::Greater);
    }
}
