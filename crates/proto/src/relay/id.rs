//! Random identifiers of 128 bits, written as 32 hexadecimal digits.

use std::fmt;
use std::str::FromStr;

use crate::key::{hex, unhex};

/// An identifier that nobody guesses: a registration token, a data token, a publisher's own.
///
/// Its `Debug` text hides all but the first four digits: most of them are secrets.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id([u8; Self::LEN]);

impl Id {
    /// Length in bytes.
    pub const LEN: usize = 16;

    /// Takes 16 bytes, which should be random.
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

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Id({}…)", hex(&self.0[..2]))
    }
}

/// The text is not 32 hexadecimal digits. It is not repeated: it may be a mistyped secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not 32 hexadecimal digits")]
pub struct IdError;

impl FromStr for Id {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        unhex(text).map(Self).ok_or(IdError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_is_read_as_it_is_written_in_either_case() {
        let id = Id::from_bytes(*b"\x00\x01\x7f\x80\xff0123456789a");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.to_string().to_uppercase().parse(), Ok(id));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "00", &"0".repeat(31), &"0".repeat(33), &"g".repeat(32), &"é".repeat(16)] {
            assert_eq!(text.parse::<Id>(), Err(IdError), "{text}");
        }
    }

    #[test]
    fn its_debug_text_does_not_tell_it() {
        let id = Id::from_bytes([0xab; 16]);
        assert_eq!(format!("{id:?}"), "Id(abab…)");
    }
}
