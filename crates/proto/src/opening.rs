//! The JSON line each side of a tunnel begins with (version 1).

use crate::hosts::HostList;

/// Longest opening line accepted from a peer, in bytes, newline included. Room for about 150 addresses.
pub const MAX_OPENING_LINE: usize = 8 * 1024;

/// Longest password sent or accepted, in bytes.
pub const MAX_PASSWORD: usize = 256;

/// What one side tells the other before any payload. Unknown keys are ignored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Opening {
    /// Addresses at which the listener can be reached from outside, best first. Only a listener says this.
    pub wan_hosts: Option<HostList>,
    /// The free text in front of the key hash in the dialler's address. Only a dialler says this.
    pub password: Option<String>,
}

/// Why a line is not an opening line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpeningError {
    /// The line is longer than [`MAX_OPENING_LINE`].
    #[error("opening line longer than {MAX_OPENING_LINE} bytes")]
    TooLong,
    /// The line is not a JSON object, nested too deep, or has a key twice.
    #[error("opening line is not a JSON object: {0}")]
    NotAnObject(String),
}

impl Opening {
    /// The line, newline included.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        todo!()
    }

    /// Reads a line, with or without its newline.
    ///
    /// # Errors
    /// [`OpeningError`] when the line is too long or is not one JSON object with each key once.
    pub fn parse(line: &[u8]) -> Result<Self, OpeningError> {
        let _ = line;
        todo!()
    }
}
