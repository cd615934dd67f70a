//! The line that asks for a tunnel, and its answer: a JSON object and a newline each, like the
//! preambles.

use std::fmt;

use serde_json::{Map, Value, json};

use crate::preamble::{PreambleError, parse_object};

/// Most unknown keys that a refusal names.
pub const MAX_UNKNOWN: usize = 8;

/// Longest name of an unknown key that is repeated, and longest reason that is kept, in bytes.
const MAX_NAME: usize = 64;

const OPEN: &str = "open";
const OPENED: &str = "opened";
const REFUSED: &str = "refused";
const UNKNOWN: &str = "unknown";
const DATAGRAMS: &str = "datagrams";

/// What a tunnel carries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A stream of bytes each way.
    #[default]
    Stream,
    /// [Datagrams](super::datagram), of UDP.
    Datagrams,
}

/// The dialler asks for a tunnel: `{"open":{}}`, or `{"open":{"datagrams":true}}`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Open {
    /// What it is to carry.
    pub kind: Kind,
    /// Keys inside `open` that we do not know: what a newer dialler would like. They are ignored,
    /// and named if the tunnel is refused. At most [`MAX_UNKNOWN`].
    pub unknown: Vec<String>,
}

impl Open {
    /// The line of a dialler that asks for a stream of bytes, newline included.
    pub const LINE: &'static [u8] = b"{\"open\":{}}\n";

    /// The line of one that asks for datagrams.
    pub const DATAGRAMS_LINE: &'static [u8] = b"{\"open\":{\"datagrams\":true}}\n";

    /// The line that asks for a tunnel of this kind.
    #[must_use]
    pub const fn line(kind: Kind) -> &'static [u8] {
        match kind {
            Kind::Stream => Self::LINE,
            Kind::Datagrams => Self::DATAGRAMS_LINE,
        }
    }

    /// Reads a line, with or without its newline.
    ///
    /// # Errors
    /// [`PreambleError`] when it is no object, or has no object `open` in it.
    pub fn parse(line: &[u8]) -> Result<Self, PreambleError> {
        match parse_object(line)?.get(OPEN) {
            Some(Value::Object(open)) => {
                let unknown = names(open.keys().filter(|key| *key != DATAGRAMS));
                Ok(Self { kind: kind(open), unknown })
            }
            _ => Err(PreambleError::NotAnObject("no object named open".to_owned())),
        }
    }
}

/// What is asked for or granted.
fn kind(object: &Map<String, Value>) -> Kind {
    if object.get(DATAGRAMS) == Some(&Value::Bool(true)) { Kind::Datagrams } else { Kind::Stream }
}

/// The listener's answer to [`Open`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The backend is there: `{"opened":{}}`, or `{"opened":{"datagrams":true}}`. A listener that
    /// knows of no datagrams says the first, whatever it was asked for.
    Opened(Kind),
    /// It is not, or the caller may not: `{"refused":"backend","unknown":["key"]}`.
    Refused(Refusal),
}

/// Why there is no tunnel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Whose fault it is.
    pub reason: Reason,
    /// Keys of `open` that the listener did not understand. At most [`MAX_UNKNOWN`].
    pub unknown: Vec<String>,
}

/// Whose fault a refusal is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The program behind the service does not answer.
    Backend,
    /// The password is missing or wrong.
    Password,
    /// The service speaks UDP, and was asked for a stream of bytes.
    Udp,
    /// The service speaks no UDP, and was asked for datagrams.
    NoUdp,
    /// One that a newer listener knows, in its own word: printable ASCII, at most 64 bytes.
    Other(String),
}

impl Reason {
    fn as_str(&self) -> &str {
        match self {
            Self::Backend => "backend",
            Self::Password => "password",
            Self::Udp => "udp",
            Self::NoUdp => "no_udp",
            Self::Other(other) => other,
        }
    }
}

impl From<&str> for Reason {
    fn from(text: &str) -> Self {
        let known =
            [Self::Backend, Self::Password, Self::Udp, Self::NoUdp].into_iter().find(|reason| reason.as_str() == text);
        known.unwrap_or_else(|| Self::Other(clean(text)))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            Reason::Backend => f.write_str("the program behind the service does not answer")?,
            Reason::Password => f.write_str("the password is missing or wrong")?,
            Reason::Udp => f.write_str("the service speaks UDP")?,
            Reason::NoUdp => f.write_str("the service does not speak UDP")?,
            Reason::Other(other) => write!(f, "the other computer says {other:?}")?,
        }
        if !self.unknown.is_empty() {
            write!(f, "; it did not understand {}", self.unknown.join(", "))?;
        }
        Ok(())
    }
}

impl Answer {
    /// The line, newline included.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let object = match self {
            Self::Opened(Kind::Stream) => json!({ OPENED: {} }),
            Self::Opened(Kind::Datagrams) => json!({ OPENED: { DATAGRAMS: true } }),
            Self::Refused(refusal) if refusal.unknown.is_empty() => json!({ REFUSED: refusal.reason.as_str() }),
            Self::Refused(refusal) => json!({ REFUSED: refusal.reason.as_str(), UNKNOWN: refusal.unknown }),
        };
        format!("{object}\n").into_bytes()
    }

    /// Reads a line, with or without its newline. Unknown keys are ignored.
    ///
    /// # Errors
    /// [`PreambleError`] when it is no object, or neither grants nor refuses.
    pub fn parse(line: &[u8]) -> Result<Self, PreambleError> {
        let object = parse_object(line)?;
        match (object.get(REFUSED), object.get(OPENED)) {
            (Some(Value::String(reason)), _) => {
                Ok(Self::Refused(Refusal { reason: reason.as_str().into(), unknown: unknown(&object) }))
            }
            (None, Some(Value::Object(opened))) => Ok(Self::Opened(kind(opened))),
            _ => Err(PreambleError::NotAnObject("neither opened nor refused".to_owned())),
        }
    }
}

fn unknown(object: &Map<String, Value>) -> Vec<String> {
    match object.get(UNKNOWN) {
        Some(Value::Array(keys)) => names(keys.iter().filter_map(Value::as_str)),
        _ => Vec::new(),
    }
}

/// Names of keys, fit to be repeated.
fn names(keys: impl IntoIterator<Item = impl AsRef<str>>) -> Vec<String> {
    keys.into_iter().map(|key| clean(key.as_ref())).filter(|key| !key.is_empty()).take(MAX_UNKNOWN).collect()
}

/// What is printable ASCII of `text`, a stranger's.
fn clean(text: &str) -> String {
    text.chars().filter(char::is_ascii_graphic).take(MAX_NAME).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_answer(line: &str, expected: Answer) {
        assert_eq!(Answer::parse(line.as_bytes()), Ok(expected), "{line}");
    }

    fn refused(reason: Reason, unknown: &[&str]) -> Answer {
        Answer::Refused(Refusal { reason, unknown: unknown.iter().map(ToString::to_string).collect() })
    }

    #[test]
    fn an_open_line_is_read_and_its_unknown_keys_are_named() {
        assert_eq!(Open::parse(Open::LINE), Ok(Open::default()));
        let datagrams = Open { kind: Kind::Datagrams, unknown: Vec::new() };
        assert_eq!(Open::parse(Open::line(Kind::Datagrams)), Ok(datagrams));
        assert_eq!(Open::parse(br#"{"open":{"datagrams":"yes"}}"#), Ok(Open::default()));
        let newer = Open::parse(br#"{"open":{"color":1,"c\nertificate":{}},"more":2}"#).unwrap();
        assert_eq!(newer.unknown, ["certificate", "color"]);
    }

    #[test]
    fn what_opens_nothing_is_refused() {
        for line in ["{}", r#"{"open":null}"#, r#"{"open":1}"#, "[]", r#"{"open":{},"open":{}}"#] {
            assert!(Open::parse(line.as_bytes()).is_err(), "{line}");
        }
    }

    #[test]
    fn an_answer_grants_or_says_why_not() {
        check_answer("{\"opened\":{}}\n", Answer::Opened(Kind::Stream));
        check_answer(r#"{"opened":{"datagrams":true}}"#, Answer::Opened(Kind::Datagrams));
        check_answer(r#"{"opened":{"new":1},"other":[]}"#, Answer::Opened(Kind::Stream));
        check_answer(r#"{"refused":"backend"}"#, refused(Reason::Backend, &[]));
        check_answer(r#"{"refused":"password","unknown":["color",7]}"#, refused(Reason::Password, &["color"]));
        check_answer(r#"{"refused":"udp"}"#, refused(Reason::Udp, &[]));
        check_answer(r#"{"refused":"later","opened":{}}"#, refused(Reason::Other("later".into()), &[]));
        for line in ["{}", r#"{"opened":1}"#, r#"{"refused":7}"#, r#"{"refused":7,"opened":{}}"#] {
            assert!(Answer::parse(line.as_bytes()).is_err(), "{line}");
        }
    }

    #[test]
    fn what_a_stranger_says_is_short_and_printable() {
        let long = format!(r#"{{"refused":"{}\u001b[31m","unknown":[{}""]}}"#, "x".repeat(500), "\"k\",".repeat(500));
        let Answer::Refused(refusal) = Answer::parse(long.as_bytes()).unwrap() else { panic!() };
        assert_eq!(refusal.reason, Reason::Other("x".repeat(MAX_NAME)));
        assert_eq!(refusal.unknown.len(), MAX_UNKNOWN);
    }

    #[test]
    fn what_is_written_reads_the_same_again() {
        for answer in [
            Answer::Opened(Kind::Stream),
            Answer::Opened(Kind::Datagrams),
            refused(Reason::Backend, &[]),
            refused(Reason::NoUdp, &[]),
            refused(Reason::Other("x".into()), &["a", "b"]),
        ] {
            assert_eq!(Answer::parse(&answer.encode()), Ok(answer));
        }
    }
}
