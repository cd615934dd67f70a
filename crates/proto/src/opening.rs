//! The JSON line each side of a tunnel begins with (version 1).

use std::collections::BTreeSet;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::{Map, Value};

use crate::hosts::HostList;

/// Longest opening line accepted from a peer, in bytes, newline included. Room for about 150 addresses.
pub const MAX_OPENING_LINE: usize = 8 * 1024;

/// Longest password sent or accepted, in bytes.
pub const MAX_PASSWORD: usize = 256;

/// Keys of the JSON object.
const WAN_HOSTS: &str = "WANHosts";
const PASSWORD: &str = "password";

/// What one side tells the other before any payload. Unknown keys are ignored. Its `Debug` text hides the password.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Opening {
    /// Addresses at which the listener can be reached from outside, best first. Only a listener says this.
    pub wan_hosts: Option<HostList>,
    /// The free text in front of the key hash in the dialler's address. Only a dialler says this.
    pub password: Option<String>,
}

impl fmt::Debug for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let password = self.password.as_ref().map(|_| "MASKED");
        f.debug_struct("Opening").field("wan_hosts", &self.wan_hosts).field("password", &password).finish()
    }
}

/// Why a line is not an opening line. None of the texts repeats what the peer sent.
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
    /// The line, newline included. It has no other line break, whatever the password holds.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut object = Map::new();
        if let Some(hosts) = &self.wan_hosts {
            object.insert(WAN_HOSTS.to_owned(), hosts.to_string().into());
        }
        if let Some(password) = &self.password {
            object.insert(PASSWORD.to_owned(), password.as_str().into());
        }
        format!("{}\n", Value::Object(object)).into_bytes()
    }

    /// Reads a line, with or without its newline. White space around the object is allowed.
    ///
    /// A `WANHosts` that is not a string is ignored. So is a `password` that is not a string, or is longer than
    /// [`MAX_PASSWORD`]: a service that asks for one finds none, and refuses.
    ///
    /// # Errors
    /// [`OpeningError`] when the line is too long or is not one JSON object with each key once.
    pub fn parse(line: &[u8]) -> Result<Self, OpeningError> {
        if line.len() > MAX_OPENING_LINE {
            return Err(OpeningError::TooLong);
        }
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        if line.contains(&b'\n') {
            return Err(OpeningError::NotAnObject("a line break inside".to_owned()));
        }
        // Checked here, because serde's own complaint would repeat a string that stands in the object's place.
        if line.trim_ascii_start().first() != Some(&b'{') {
            return Err(OpeningError::NotAnObject("no opening brace".to_owned()));
        }
        serde_json::from_slice(line).map_err(|error| OpeningError::NotAnObject(error.to_string()))
    }
}

impl<'de> Deserialize<'de> for Opening {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(OpeningVisitor)
    }
}

/// Takes the keys one by one: a derived `Deserialize` would not notice an unknown key twice.
struct OpeningVisitor;

impl<'de> Visitor<'de> for OpeningVisitor {
    type Value = Opening;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Opening, A::Error> {
        let mut opening = Opening::default();
        let mut seen = BTreeSet::new();
        // Values are read as `Value`, for which serde_json bounds the depth (at 128).
        while let Some((key, value)) = map.next_entry::<String, Value>()? {
            match (key.as_str(), value) {
                (WAN_HOSTS, Value::String(text)) => opening.wan_hosts = Some(HostList::parse_lenient(&text)),
                (PASSWORD, Value::String(text)) if text.len() <= MAX_PASSWORD => opening.password = Some(text),
                _ => {}
            }
            if !seen.insert(key) {
                return Err(A::Error::custom("a key stands there twice"));
            }
        }
        Ok(opening)
    }
}
