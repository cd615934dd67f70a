//! The JSON line each side of a connection begins with, in both versions.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::{Map, Value};

use crate::hosts::HostList;

/// Longest preamble accepted from a peer, in bytes, newline included. Room for about 150 addresses.
pub const MAX_PREAMBLE: usize = 8 * 1024;

/// Longest password sent or accepted, in bytes.
pub const MAX_PASSWORD: usize = 256;

/// Keys of the JSON object.
const WAN_HOSTS: &str = "WANHosts";
const PASSWORD: &str = "password";
const RELAYED: &str = "relayed";

/// What one side tells the other before any payload. Unknown keys are ignored. Its `Debug` text
/// hides the password.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Preamble {
    /// Addresses at which the listener can be reached from outside, best first. Only a listener
    /// says this.
    pub wan_hosts: Option<HostList>,
    /// The free text in front of the key hash in the dialler's address. Only a dialler says this.
    pub password: Option<String>,
    /// Whether a relay joined this connection to the listener's own. Only a listener says this.
    pub is_relayed: bool,
}

impl fmt::Debug for Preamble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let password = self.password.as_ref().map(|_| "MASKED");
        f.debug_struct("Preamble")
            .field("wan_hosts", &self.wan_hosts)
            .field("password", &password)
            .field("is_relayed", &self.is_relayed)
            .finish()
    }
}

/// Why a line is not a preamble. None of the texts repeats what the peer sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PreambleError {
    /// The line is longer than [`MAX_PREAMBLE`].
    #[error("preamble longer than {MAX_PREAMBLE} bytes")]
    TooLong,
    /// The line is not a JSON object, nested too deep, or has a key twice.
    #[error("preamble is not a JSON object: {0}")]
    NotAnObject(String),
}

impl Preamble {
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
        if self.is_relayed {
            object.insert(RELAYED.to_owned(), true.into());
        }
        format!("{}\n", Value::Object(object)).into_bytes()
    }

    /// Reads a line, with or without its newline. White space around the object is allowed.
    ///
    /// A `WANHosts` that is not a string is ignored. So is a `password` that is not a string, or is
    /// longer than [`MAX_PASSWORD`]: a service that asks for one finds none, and refuses.
    ///
    /// # Errors
    /// [`PreambleError`] when the line is too long or is not one JSON object with each key once.
    pub fn parse(line: &[u8]) -> Result<Self, PreambleError> {
        let mut preamble = Self::default();
        for (key, value) in parse_object(line)? {
            match (key.as_str(), value) {
                (WAN_HOSTS, Value::String(text)) => preamble.wan_hosts = Some(HostList::parse_lenient(&text)),
                (PASSWORD, Value::String(text)) if text.len() <= MAX_PASSWORD => preamble.password = Some(text),
                (RELAYED, Value::Bool(is_relayed)) => preamble.is_relayed = is_relayed,
                _ => {}
            }
        }
        Ok(preamble)
    }
}

/// Reads one line, with or without its newline, as one JSON object with each key once.
pub(crate) fn parse_object(line: &[u8]) -> Result<Map<String, Value>, PreambleError> {
    if line.len() > MAX_PREAMBLE {
        return Err(PreambleError::TooLong);
    }
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    if line.contains(&b'\n') {
        return Err(PreambleError::NotAnObject("a line break inside".to_owned()));
    }
    // Checked here, because serde's own complaint would repeat a string that stands in the object's
    // place.
    if line.trim_ascii_start().first() != Some(&b'{') {
        return Err(PreambleError::NotAnObject("no opening brace".to_owned()));
    }
    let object: Object = serde_json::from_slice(line).map_err(|error| PreambleError::NotAnObject(error.to_string()))?;
    Ok(object.0)
}

/// An object with each key once: serde_json's own takes the last of several.
struct Object(Map<String, Value>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor)
    }
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Object;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
        let mut object = Map::new();
        // Values are read as `Value`, for which serde_json bounds the depth (at 128).
        while let Some((key, value)) = map.next_entry::<String, Value>()? {
            if object.insert(key, value).is_some() {
                return Err(A::Error::custom("a key stands there twice"));
            }
        }
        Ok(Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preamble(hosts: Option<&str>, password: Option<&str>) -> Preamble {
        Preamble {
            wan_hosts: hosts.map(HostList::parse_lenient),
            password: password.map(str::to_owned),
            is_relayed: false,
        }
    }

    #[track_caller]
    fn check(line: impl AsRef<[u8]>, expected: Preamble) {
        let line = line.as_ref();
        assert_eq!(Preamble::parse(line), Ok(expected), "{}", String::from_utf8_lossy(line));
    }

    /// Refuses `line` with a reason that has `fragment` in it.
    #[track_caller]
    fn check_refused(line: impl AsRef<[u8]>, fragment: &str) {
        match Preamble::parse(line.as_ref()) {
            Err(PreambleError::NotAnObject(reason)) => assert!(reason.contains(fragment), "{reason}"),
            other => panic!("{other:?} for {}", String::from_utf8_lossy(line.as_ref())),
        }
    }

    #[test]
    fn the_lines_of_released_peers_are_read() {
        check("{}\n", Preamble::default());
        check("{\"WANHosts\":\"203.0.113.5:7008\"}\n", preamble(Some("203.0.113.5:7008"), None));
        check(
            "{\"WANHosts\":\"203.0.113.5:7008,[200:1::2]:7008\"}\n",
            preamble(Some("203.0.113.5:7008,[200:1::2]:7008"), None),
        );
        check("{\"WANHosts\":\"\"}\n", preamble(Some(""), None));
        check("{\"password\":\"pw\"}\n", preamble(None, Some("pw")));
    }

    #[test]
    fn an_ipv6_address_without_brackets_and_an_empty_password_are_read() {
        check(r#"{"WANHosts": "300:1::2:7008"}"#, preamble(Some("[300:1::2]:7008"), None));
        check(r#"{"password": ""}"#, preamble(None, Some("")));
    }

    #[test]
    fn a_listener_says_that_a_relay_is_in_between_and_otherwise_nothing_of_it() {
        let relayed = Preamble { is_relayed: true, ..Preamble::default() };
        assert_eq!(relayed.encode(), b"{\"relayed\":true}\n");
        check(relayed.encode(), relayed);
        check(r#"{"relayed":false}"#, Preamble::default());
    }

    #[test]
    fn white_space_around_the_object_does_not_matter() {
        for line in ["{\"password\":\"pw\"} \t \n", "{\"password\":\"pw\"}\r\n", "  { \"password\" : \"pw\" }\r"] {
            check(line, preamble(None, Some("pw")));
        }
    }

    #[test]
    fn unknown_keys_are_ignored() {
        check(r#"{"a":null,"b":[1,{"password":"x"}],"password":"pw","PASSWORD":"y"}"#, preamble(None, Some("pw")));
    }

    #[test]
    fn a_known_key_with_a_value_of_another_type_counts_as_absent() {
        for value in ["null", "true", "7", "[\"a:1\"]", "{\"a\":1}"] {
            check(format!(r#"{{"WANHosts":{value},"password":{value}}}"#), Preamble::default());
        }
        check(r#"{"relayed":"yes"}"#, Preamble::default());
    }

    #[test]
    fn a_password_longer_than_the_limit_counts_as_absent() {
        let line = |length| format!(r#"{{"password":"{}"}}"#, "p".repeat(length));
        check(line(MAX_PASSWORD), preamble(None, Some(&"p".repeat(MAX_PASSWORD))));
        check(line(MAX_PASSWORD + 1), Preamble::default());
    }

    #[test]
    fn a_key_that_stands_there_twice_is_refused() {
        check_refused(r#"{"password":"a","password":"a"}"#, "twice");
        check_refused(r#"{"WANHosts":"","x":1,"WANHosts":""}"#, "twice");
        check_refused(r#"{"x":1,"x":1}"#, "twice");
        check_refused(r#"{"password":"a","pass\u0077ord":"a"}"#, "twice");
    }

    #[test]
    fn what_is_no_json_object_is_refused() {
        for line in ["", "\n", "[]", "null", "7", "\"text\"", "GET / HTTP/1.1\r\n", "\u{feff}{}", "\0{}"] {
            check_refused(line, "no opening brace");
        }
        for line in
            ["{", "{}{}", "{} x", "{]", "{'a':1}", "{\"a\":1,}", "{\"a\"}", "{\"a\":NaN}", "{\"a\":1e999}", "{1:2}"]
        {
            check_refused(line, "line 1");
        }
        check_refused(b"{\"password\":\"\xff\"}", "line 1");
        check_refused("{\"password\":\"\\ud800\"}", "line 1");
    }

    #[test]
    fn more_than_one_line_is_refused() {
        for line in ["{\n}", "{}\n\n", "{}\nGET / HTTP/1.1", "\n{}"] {
            check_refused(line, "line break");
        }
    }

    #[test]
    fn deep_nesting_is_refused() {
        let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        check(nested(100), Preamble::default());
        check_refused(nested(1000), "recursion limit");
        check_refused(format!("{{\"a\":{}", "{\"a\":".repeat(1000)), "recursion limit");
    }

    #[test]
    fn a_line_longer_than_the_limit_is_refused() {
        let line = |length: usize| format!("{{}}{}\n", " ".repeat(length - 3));
        check(line(MAX_PREAMBLE), Preamble::default());
        assert_eq!(Preamble::parse(line(MAX_PREAMBLE + 1).as_bytes()), Err(PreambleError::TooLong));
    }

    #[test]
    fn a_line_is_written_as_released_peers_read_it() {
        assert_eq!(Preamble::default().encode(), b"{}\n");
        let text = String::from_utf8(preamble(Some("203.0.113.5:7008,[200::1]:7008"), None).encode());
        assert_eq!(text.as_deref(), Ok("{\"WANHosts\":\"203.0.113.5:7008,[200::1]:7008\"}\n"));
        assert_eq!(preamble(None, Some("a\n\"b")).encode(), b"{\"password\":\"a\\n\\\"b\"}\n");
    }

    #[test]
    fn neither_debug_text_nor_error_repeats_a_password() {
        assert!(!format!("{:?}", preamble(None, Some("hunter2"))).contains("hunter2"));
        for line in ["\"hunter2\"", "{\"password\":\"hunter2\",\"password\":1}", "{\"password\":\"hunter2", "{hunter2}"]
        {
            let error = Preamble::parse(line.as_bytes()).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
    }
}
