//! Bytes that look random and that both sides know.

use std::iter::repeat_with;

/// After so many bytes they repeat: a prime, so that no record, frame or buffer size divides it and
/// a piece that is lost, doubled or swapped with another shows.
const PERIOD: usize = 1_048_573;

/// The pattern, made once.
pub(crate) struct Pattern(Vec<u8>);

impl Pattern {
    pub(crate) fn new() -> Self {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let words = repeat_with(|| {
            // xorshift64, by George Marsaglia.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        });
        Self(words.flatten().take(PERIOD).collect())
    }

    /// The bytes from `offset` on: at least one, at most `most`.
    pub(crate) fn from(&self, offset: u64, most: u64) -> &[u8] {
        let begin = (offset % PERIOD as u64) as usize;
        let length = (PERIOD - begin).min(usize::try_from(most).unwrap_or(usize::MAX));
        &self.0[begin..begin + length]
    }

    /// Whether `bytes` are those from `offset` on.
    pub(crate) fn matches(&self, mut offset: u64, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let expected = self.from(offset, bytes.len() as u64);
            if bytes[..expected.len()] != *expected {
                return false;
            }
            offset += expected.len() as u64;
            bytes = &bytes[expected.len()..];
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_gives_it_takes_also_across_its_period() {
        let pattern = Pattern::new();
        let mut bytes = pattern.from(PERIOD as u64 - 10, 1000).to_vec();
        assert_eq!(bytes.len(), 10);
        bytes.extend(pattern.from(PERIOD as u64, 1000));
        assert!(pattern.matches(PERIOD as u64 - 10, &bytes));
    }

    #[test]
    fn a_changed_lost_or_swapped_piece_shows() {
        let pattern = Pattern::new();
        let bytes = pattern.from(0, 64 * 1024);
        let mut changed = bytes.to_vec();
        changed[40_000] ^= 1;
        assert!(!pattern.matches(0, &changed));
        assert!(!pattern.matches(0, &bytes[16_384..]));
        assert!(!pattern.matches(0, &[&bytes[16_384..], &bytes[..16_384]].concat()));
    }
}
