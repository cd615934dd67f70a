//! Certificate → key hash, the name of a service.

use std::fmt;
use std::str::FromStr;

use blake2::digest::consts::U32;
use blake2::{Blake2b, Digest};

/// The name of a service: the first 20 bytes of the unkeyed BLAKE2b-256 of its exact DER
/// certificate.
///
/// Written as 40 lower-case hexadecimal digits. BLAKE2b with another digest length gives other
/// bytes, because the length is part of its parameter block (RFC 7693, section 2.5).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyHash([u8; Self::LEN]);

impl KeyHash {
    /// Length in bytes.
    pub const LEN: usize = 20;

    /// Hashes the DER bytes of a certificate, exactly as they were presented.
    #[must_use]
    pub fn of_certificate(der: &[u8]) -> Self {
        Self(truncated_blake2b_256(&[der]))
    }

    /// Takes 20 bytes as a key hash.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// The 20 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// The first eight digits, for logs and tables.
    #[must_use]
    pub fn short(&self) -> String {
        hex(&self.0[..4])
    }

    /// Whether every digit is a decimal one. TLS libraries take such a name for a malformed IPv4
    /// address and refuse it as a server name, so a new identity with such a hash is thrown away
    /// and made again.
    #[must_use]
    pub fn is_all_decimal(&self) -> bool {
        self.0.iter().all(|byte| byte >> 4 < 10 && byte & 15 < 10)
    }
}

impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyHash({self})")
    }
}

/// Why a text is not a key hash.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyHashError {
    /// The text has another length.
    #[error("a key hash has 40 digits, this has {len}")]
    Length {
        /// Characters found.
        len: usize,
    },
    /// A character is no hexadecimal digit.
    #[error("{found:?} is not a hexadecimal digit")]
    Digit {
        /// The first character that does not belong.
        found: char,
    },
}

impl FromStr for KeyHash {
    type Err = KeyHashError;

    /// Reads 40 hexadecimal digits in either case.
    fn from_str(text: &str) -> Result<Self, KeyHashError> {
        if let Some(found) = text.chars().find(|c| !c.is_ascii_hexdigit()) {
            return Err(KeyHashError::Digit { found });
        }
        unhex(text).map(Self).ok_or(KeyHashError::Length { len: text.len() })
    }
}

/// Value of an ASCII hexadecimal digit.
fn digit(ascii: u8) -> u8 {
    match ascii {
        b'0'..=b'9' => ascii - b'0',
        _ => (ascii | 0x20) - b'a' + 10,
    }
}

/// The `N` bytes that 2 × `N` hexadecimal digits stand for, in either case.
pub(crate) fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0]) << 4 | digit(pair[1]);
    }
    Some(bytes)
}

/// Lower-case hexadecimal text of `bytes`.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The first 20 bytes of the BLAKE2b-256 of `parts`, one after the other.
pub(crate) fn truncated_blake2b_256(parts: &[&[u8]]) -> [u8; KeyHash::LEN] {
    let mut hash = Blake2b::<U32>::new();
    for part in parts {
        hash.update(part);
    }
    let mut bytes = [0; KeyHash::LEN];
    bytes.copy_from_slice(&hash.finalize()[..KeyHash::LEN]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `printf hardline | b2sum -l 256 | cut -c1-40`
    #[test]
    fn the_hash_is_blake2b_with_a_32_byte_digest_cut_to_20() {
        assert_eq!(KeyHash::of_certificate(b"hardline").to_string(), EXPECTED);
    }
    const EXPECTED: &str = "6fef58cb259ed9746e280ac7ca618aab93d3fe79";

    #[test]
    fn a_key_hash_is_read_in_either_case_and_written_in_lower_case() {
        let text = "E868423731872B8235A0ADC9102BB45BB9E8321E";
        assert_eq!(text.parse::<KeyHash>().map(|key| key.to_string()), Ok(text.to_lowercase()));
    }

    #[test]
    fn other_texts_are_refused_with_the_reason() {
        assert_eq!("abc".parse::<KeyHash>(), Err(KeyHashError::Length { len: 3 }));
        assert_eq!("".parse::<KeyHash>(), Err(KeyHashError::Length { len: 0 }));
        assert_eq!("xyz".parse::<KeyHash>(), Err(KeyHashError::Digit { found: 'x' }));
        assert_eq!("ä".repeat(20).parse::<KeyHash>(), Err(KeyHashError::Digit { found: 'ä' }));
    }

    #[test]
    fn an_all_decimal_hash_is_told_apart() {
        assert!(KeyHash::from_bytes([0x19; 20]).is_all_decimal());
        assert!(!KeyHash::from_bytes([0x1a; 20]).is_all_decimal());
        assert!(!KeyHash::from_bytes([0xa1; 20]).is_all_decimal());
    }
}
