//! What is said to redeem an invitation: a line each way, JSON objects like the preambles, in a
//! tunnel whose both ends have proven their keys.

use serde_json::{Map, Value, json};

use super::{Door, Refused, Secret};
use crate::key::{hex, unhex};
use crate::preamble::{PreambleError, parse_object};

/// Longest name of a visitor, in bytes.
pub const MAX_VISITOR_NAME: usize = 64;

const INVITATION: &str = "invitation";
const NAME: &str = "name";
const DOOR: &str = "door";
const ENROLLED: &str = "enrolled";
const EXPIRES: &str = "expires_ms";
const REFUSED: &str = "refused";

/// Who is invited asks to be enrolled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// That of the invitation.
    pub secret: Secret,
    /// What it would like to be called.
    pub name: Option<String>,
    /// By what it will be known.
    pub door: Door,
}

/// The service's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It is enrolled.
    Enrolled(Enrolled),
    /// It is not.
    Refused(Refused),
}

/// A key that is enrolled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolled {
    /// What it is called.
    pub name: String,
    /// Until when it may come in, in Unix milliseconds.
    pub expires_ms: Option<u64>,
}

/// A name as it is kept: without control characters and white space around it, no longer than
/// [`MAX_VISITOR_NAME`]. `None` where nothing is left.
#[must_use]
pub fn visitor_name(text: &str) -> Option<String> {
    let mut name: String = text.chars().filter(|c| !c.is_control()).collect();
    name.truncate(name.floor_char_boundary(MAX_VISITOR_NAME));
    let name = name.trim();
    (!name.is_empty()).then(|| name.to_owned())
}

impl Request {
    /// The line, newline included.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut object = Map::new();
        object.insert(INVITATION.to_owned(), hex(self.secret.as_bytes()).into());
        object.insert(DOOR.to_owned(), hex(self.door.as_bytes()).into());
        if let Some(name) = &self.name {
            object.insert(NAME.to_owned(), name.as_str().into());
        }
        line(object)
    }

    /// Reads a line.
    ///
    /// # Errors
    /// [`PreambleError`] when it is too long, no object, or says no secret and no door.
    pub fn parse(line: &[u8]) -> Result<Self, PreambleError> {
        let object = parse_object(line)?;
        let text = |key| object.get(key).and_then(Value::as_str);
        let missing = |what: &str| PreambleError::NotAnObject(format!("no {what}"));
        Ok(Self {
            secret: text(INVITATION).and_then(unhex).map(Secret::from_bytes).ok_or_else(|| missing(INVITATION))?,
            door: text(DOOR).and_then(unhex).map(Door::from_bytes).ok_or_else(|| missing(DOOR))?,
            name: text(NAME).and_then(visitor_name),
        })
    }
}

impl Answer {
    /// The line, newline included.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let (key, value) = match self {
            Self::Enrolled(Enrolled { name, expires_ms }) => (ENROLLED, json!({ NAME: name, EXPIRES: expires_ms })),
            Self::Refused(refused) => (REFUSED, refused.as_str().into()),
        };
        line(Map::from_iter([(key.to_owned(), value)]))
    }

    /// Reads a line. A reason that is not known here counts as [`Refused::Unknown`].
    ///
    /// # Errors
    /// [`PreambleError`] when it is too long, no object, or says neither.
    pub fn parse(line: &[u8]) -> Result<Self, PreambleError> {
        let object = parse_object(line)?;
        if let Some(Value::String(word)) = object.get(REFUSED) {
            let known = Refused::ALL.into_iter().find(|refused| refused.as_str() == word);
            return Ok(Self::Refused(known.unwrap_or(Refused::Unknown)));
        }
        let enrolled = object.get(ENROLLED).and_then(Value::as_object);
        let name = enrolled.and_then(|it| visitor_name(it.get(NAME)?.as_str()?));
        let (Some(enrolled), Some(name)) = (enrolled, name) else {
            return Err(PreambleError::NotAnObject("neither enrolled nor refused".to_owned()));
        };
        Ok(Self::Enrolled(Enrolled { name, expires_ms: enrolled.get(EXPIRES).and_then(Value::as_u64) }))
    }
}

fn line(object: Map<String, Value>) -> Vec<u8> {
    format!("{}\n", Value::Object(object)).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let request = Request {
            secret: Secret::from_bytes([1; 16]),
            name: Some("Alice's laptop".into()),
            door: Door::from_bytes([2; 32]),
        };
        assert_eq!(Request::parse(&request.encode()), Ok(request.clone()));
        assert!(!format!("{request:?}").contains("0101"));
        let enrolled = |expires_ms| Answer::Enrolled(Enrolled { name: "alice".into(), expires_ms });
        for answer in Refused::ALL.map(Answer::Refused).into_iter().chain([enrolled(None), enrolled(Some(5))]) {
            assert_eq!(Answer::parse(&answer.encode()), Ok(answer));
        }
        assert_eq!(Answer::parse(b"{\"refused\":\"new\"}\n"), Ok(Answer::Refused(Refused::Unknown)));
    }

    #[test]
    fn what_lacks_a_part_is_refused_and_the_reason_does_not_repeat_it() {
        for line in ["{}", "{\"invitation\":\"hunter2\"}", "{\"door\":\"hunter2\"}", "hunter2"] {
            let error = Request::parse(line.as_bytes()).unwrap_err();
            assert!(!format!("{error}{error:?}").contains("hunter2"), "{error}");
        }
        assert!(Answer::parse(b"{}").is_err() && Answer::parse(b"{\"enrolled\":{\"name\":\"\\n\"}}").is_err());
    }

    #[test]
    fn a_name_is_short_and_has_no_control_characters() {
        assert_eq!(visitor_name(" a\tb\u{1b}[1m \n"), Some("ab[1m".into()));
        assert_eq!(visitor_name("\u{7}\n "), None);
        assert_eq!(visitor_name(&"ä".repeat(50)).map(|name| name.len()), Some(64));
    }
}
