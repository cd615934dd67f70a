//! Control messages ⇄ JSON lines, and the first bytes of a data connection.
//!
//! Over the control connection each side sends JSON objects, one a line. Unknown keys are ignored;
//! a message of an unknown type is skipped, so that both sides can grow.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use serde_json::{Map, Value, json};

use super::{Id, Name};
use crate::call::{CALL_LEN, RELAYED_ANSWER_LEN};
use crate::key::{KeyHash, hex, unhex};
use crate::preamble::{MAX_PREAMBLE, parse_object};

/// Longest line of the control connection, in bytes, newline included.
pub const MAX_LINE: usize = MAX_PREAMBLE;

/// Names in one registration: what fits into a line, with room for the rest. A service needs three
/// (the codes of yesterday, today and tomorrow), and one more for legacy clients.
pub const MAX_NAMES: usize = 160;

/// What a publisher says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromPublisher {
    /// Asks for these names and gives up all that it held before. The first message, and again
    /// whenever its names change.
    Register {
        /// Admits it.
        token: Id,
        /// Tells a publisher that comes back from another one with the same names.
        publisher: Id,
        /// At most [`MAX_NAMES`].
        names: Vec<Name>,
        /// Whether it wants to hear [`FromRelay::Call`].
        takes_calls: bool,
    },
    /// Asks whether the relay is there; answered with [`FromRelay::Pong`].
    Ping,
    /// Asks the relay to connect to `port` of the address that this connection comes from, and to
    /// begin there with [`dial_back_preamble`]; answered with [`FromRelay::DialledBack`]. Only a
    /// relay that has said so understands it.
    DialBack {
        /// By which the publisher recognises the connection; random.
        nonce: Id,
        /// Where it may be reached.
        port: u16,
    },
    /// Answers [`FromRelay::Call`].
    Answer {
        /// As the relay named it.
        caller: Id,
        /// [`RELAYED_ANSWER_LEN`] bytes that the relay cannot read.
        sealed: Vec<u8>,
    },
}

/// What a relay says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromRelay {
    /// The names are registered, but for those that another token holds.
    Registered {
        /// Names that were refused.
        refused: Vec<Name>,
        /// Where the relay sees the publisher.
        seen: Option<SocketAddr>,
        /// Whether the relay understands [`FromPublisher::DialBack`].
        dials_back: bool,
    },
    /// Nothing is registered; the connection ends.
    Refused {
        /// Why.
        reason: RefusalReason,
    },
    /// Asks for a data connection that begins with [`data_preamble`] of this token, now.
    Connect {
        /// Good for one connection.
        token: Id,
    },
    /// Answers [`FromPublisher::Ping`].
    Pong,
    /// Answers [`FromPublisher::DialBack`].
    DialledBack {
        /// As asked.
        nonce: Id,
        /// What came of it.
        outcome: DialBackOutcome,
    },
    /// Somebody calls one of the publisher's services ([`call`](crate::call)). Only for a
    /// publisher that has said that it takes calls.
    Call {
        /// Names who calls, for the answer.
        caller: Id,
        /// The name that is called.
        name: Name,
        /// [`CALL_LEN`] bytes that the relay cannot read.
        sealed: Vec<u8>,
    },
}

/// What came of dialling a publisher back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DialBackOutcome {
    /// Somebody opened the connection, and ended it after the nonce.
    Opened,
    /// Nobody did in time.
    Closed,
    /// It was not tried: the publisher asks too often, or comes from where nobody is dialled.
    Refused,
}

impl DialBackOutcome {
    const fn text(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Closed => "closed",
            Self::Refused => "refused",
        }
    }
}

/// Why a publisher is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalReason {
    /// The relay does not know the token, or does not any more.
    Token,
    /// A limit of the token is reached.
    Limit,
}

impl RefusalReason {
    const fn text(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Limit => "limit",
        }
    }
}

/// Why a line is not a message. None of the texts repeats what the peer sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// Longer than [`MAX_LINE`].
    #[error("a line longer than {MAX_LINE} bytes")]
    TooLong,
    /// Not a JSON object with each key once.
    #[error("not a JSON object")]
    NotAnObject,
    /// A key is missing or malformed.
    #[error("{0:?} is missing or malformed")]
    Key(&'static str),
}

impl FromPublisher {
    /// The line, newline included.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        line(match self {
            Self::Register { token, publisher, names, takes_calls } => json!({
                "type": "register",
                "token": token.to_string(),
                "publisher": publisher.to_string(),
                "names": names.iter().map(|name| hex(name)).collect::<Vec<_>>(),
                "takes_calls": takes_calls,
            }),
            Self::Ping => json!({ "type": "ping" }),
            Self::DialBack { nonce, port } => {
                json!({ "type": "dial_back", "nonce": nonce.to_string(), "port": port })
            }
            Self::Answer { caller, sealed } => {
                json!({ "type": "answer", "caller": caller.to_string(), "sealed": hex(sealed) })
            }
        })
    }

    /// Reads a line, with or without its newline; `None` for a type that is not known.
    ///
    /// # Errors
    /// [`MessageError`].
    pub fn parse(bytes: &[u8]) -> Result<Option<Self>, MessageError> {
        let object = object(bytes)?;
        Ok(Some(match text(&object, "type")? {
            "register" => Self::Register {
                token: id(&object, "token")?,
                publisher: id(&object, "publisher")?,
                names: names(&object, "names")?,
                takes_calls: object.get("takes_calls") == Some(&Value::Bool(true)),
            },
            "ping" => Self::Ping,
            "dial_back" => Self::DialBack { nonce: id(&object, "nonce")?, port: port(&object, "port")? },
            "answer" => Self::Answer { caller: id(&object, "caller")?, sealed: sealed::<RELAYED_ANSWER_LEN>(&object)? },
            _ => return Ok(None),
        }))
    }
}

impl FromRelay {
    /// The line, newline included.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        line(match self {
            Self::Registered { refused, seen, dials_back } => json!({
                "type": "registered",
                "refused": refused.iter().map(|name| hex(name)).collect::<Vec<_>>(),
                "seen": seen.map(|seen| seen.to_string()),
                "dials_back": dials_back,
            }),
            Self::Refused { reason } => json!({ "type": "refused", "reason": reason.text() }),
            Self::Connect { token } => json!({ "type": "connect", "token": token.to_string() }),
            Self::Pong => json!({ "type": "pong" }),
            Self::DialledBack { nonce, outcome } => {
                json!({ "type": "dialled_back", "nonce": nonce.to_string(), "outcome": outcome.text() })
            }
            Self::Call { caller, name, sealed } => {
                json!({ "type": "call", "caller": caller.to_string(), "name": hex(name), "sealed": hex(sealed) })
            }
        })
    }

    /// Reads a line, with or without its newline; `None` for a type that is not known.
    ///
    /// # Errors
    /// [`MessageError`].
    pub fn parse(bytes: &[u8]) -> Result<Option<Self>, MessageError> {
        let object = object(bytes)?;
        Ok(Some(match text(&object, "type")? {
            "registered" => Self::Registered {
                refused: names(&object, "refused")?,
                seen: object.get("seen").and_then(Value::as_str).and_then(|seen| seen.parse().ok()),
                dials_back: object.get("dials_back") == Some(&Value::Bool(true)),
            },
            "refused" => Self::Refused {
                reason: match text(&object, "reason")? {
                    "limit" => RefusalReason::Limit,
                    _ => RefusalReason::Token,
                },
            },
            "connect" => Self::Connect { token: id(&object, "token")? },
            "pong" => Self::Pong,
            "dialled_back" => Self::DialledBack {
                nonce: id(&object, "nonce")?,
                outcome: match text(&object, "outcome")? {
                    "opened" => DialBackOutcome::Opened,
                    "closed" => DialBackOutcome::Closed,
                    _ => DialBackOutcome::Refused,
                },
            },
            "call" => Self::Call {
                caller: id(&object, "caller")?,
                name: unhex(text(&object, "name")?).ok_or(MessageError::Key("name"))?,
                sealed: sealed::<CALL_LEN>(&object)?,
            },
            _ => return Ok(None),
        }))
    }
}

fn line(value: Value) -> Vec<u8> {
    format!("{value}\n").into_bytes()
}

fn object(bytes: &[u8]) -> Result<Map<String, Value>, MessageError> {
    if bytes.len() > MAX_LINE {
        return Err(MessageError::TooLong);
    }
    parse_object(bytes).map_err(|_| MessageError::NotAnObject)
}

fn text<'a>(object: &'a Map<String, Value>, key: &'static str) -> Result<&'a str, MessageError> {
    object.get(key).and_then(Value::as_str).ok_or(MessageError::Key(key))
}

fn id(object: &Map<String, Value>, key: &'static str) -> Result<Id, MessageError> {
    text(object, key)?.parse().map_err(|_| MessageError::Key(key))
}

fn sealed<const LEN: usize>(object: &Map<String, Value>) -> Result<Vec<u8>, MessageError> {
    unhex::<LEN>(text(object, "sealed")?).map(Vec::from).ok_or(MessageError::Key("sealed"))
}

fn port(object: &Map<String, Value>, key: &'static str) -> Result<u16, MessageError> {
    let port = object.get(key).and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok());
    port.filter(|port| *port != 0).ok_or(MessageError::Key(key))
}

fn names(object: &Map<String, Value>, key: &'static str) -> Result<Vec<Name>, MessageError> {
    let list = object.get(key).and_then(Value::as_array).ok_or(MessageError::Key(key))?;
    if list.len() > MAX_NAMES {
        return Err(MessageError::Key(key));
    }
    list.iter().map(|name| name.as_str().and_then(unhex).ok_or(MessageError::Key(key))).collect()
}

/// What a data connection begins with, so that it is told from a TLS connection: a byte that no
/// TLS record begins with, and the version of this protocol.
pub const DATA_MAGIC: [u8; 2] = [b'R', 1];

/// Length of [`data_preamble`].
pub const DATA_PREAMBLE: usize = DATA_MAGIC.len() + Id::LEN;

/// The first bytes that a publisher sends over a data connection.
#[must_use]
pub fn data_preamble(token: &Id) -> [u8; DATA_PREAMBLE] {
    let mut bytes = [0; DATA_PREAMBLE];
    bytes[..DATA_MAGIC.len()].copy_from_slice(&DATA_MAGIC);
    bytes[DATA_MAGIC.len()..].copy_from_slice(token.as_bytes());
    bytes
}

/// The token of a data connection that began with `bytes`; `None` if it is something else.
#[must_use]
pub fn read_data_preamble(bytes: &[u8; DATA_PREAMBLE]) -> Option<Id> {
    let token = bytes.strip_prefix(&DATA_MAGIC)?;
    token.try_into().ok().map(Id::from_bytes)
}

/// What a dial-back begins with, so that it is told from a TLS connection and from a data
/// connection.
pub const DIAL_BACK_MAGIC: [u8; 2] = [b'R', 2];

/// All that a relay sends over a connection that [`FromPublisher::DialBack`] asked for; as long as
/// [`data_preamble`].
#[must_use]
pub fn dial_back_preamble(nonce: &Id) -> [u8; DATA_PREAMBLE] {
    let mut bytes = data_preamble(nonce);
    bytes[..DIAL_BACK_MAGIC.len()].copy_from_slice(&DIAL_BACK_MAGIC);
    bytes
}

/// The nonce of a dial-back that began with `bytes`; `None` if it is something else.
#[must_use]
pub fn read_dial_back_preamble(bytes: &[u8; DATA_PREAMBLE]) -> Option<Id> {
    let nonce = bytes.strip_prefix(&DIAL_BACK_MAGIC)?;
    nonce.try_into().ok().map(Id::from_bytes)
}

/// What a caller's connection begins with, so that it is told from the others.
pub const CALLER_MAGIC: [u8; 2] = [b'R', 3];

/// Length of [`caller_preamble`]; longer than [`DATA_PREAMBLE`].
pub const CALLER_PREAMBLE: usize = CALLER_MAGIC.len() + KeyHash::LEN;

/// The first bytes of a connection by which a service is called through a relay: the name that is
/// called. The relay says where it sees the caller, as [`client_address`]; then come calls of
/// [`CALL_LEN`] bytes, and answers of [`RELAYED_ANSWER_LEN`].
#[must_use]
pub fn caller_preamble(name: &Name) -> [u8; CALLER_PREAMBLE] {
    let mut bytes = [0; CALLER_PREAMBLE];
    bytes[..CALLER_MAGIC.len()].copy_from_slice(&CALLER_MAGIC);
    bytes[CALLER_MAGIC.len()..].copy_from_slice(name);
    bytes
}

/// The name that is called by a connection that began with `bytes`; `None` if it is something else.
#[must_use]
pub fn read_caller_preamble(bytes: &[u8; CALLER_PREAMBLE]) -> Option<Name> {
    bytes.strip_prefix(&CALLER_MAGIC)?.try_into().ok()
}

/// Length of [`client_address`].
pub const CLIENT_ADDRESS: usize = 18;

/// The first bytes that a relay sends over a data connection, in front of the client's own: where
/// the client comes from, as an IPv6 address (IPv4 mapped) and a port, big-endian.
#[must_use]
pub fn client_address(client: SocketAddr) -> [u8; CLIENT_ADDRESS] {
    let ip = match client.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    let mut bytes = [0; CLIENT_ADDRESS];
    bytes[..16].copy_from_slice(&ip.octets());
    bytes[16..].copy_from_slice(&client.port().to_be_bytes());
    bytes
}

/// Reads what [`client_address`] writes.
#[must_use]
pub fn read_client_address(bytes: &[u8; CLIENT_ADDRESS]) -> SocketAddr {
    let mut ip = [0; 16];
    ip.copy_from_slice(&bytes[..16]);
    let port = u16::from_be_bytes([bytes[16], bytes[17]]);
    SocketAddr::new(Ipv6Addr::from(ip).to_canonical(), port)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn an_id(byte: u8) -> Id {
        Id::from_bytes([byte; Id::LEN])
    }

    #[test]
    fn a_publisher_s_messages_are_read_as_they_are_written() {
        let names: Vec<Name> = (0..MAX_NAMES).map(|n| [n as u8; 20]).collect();
        let register = FromPublisher::Register { token: an_id(1), publisher: an_id(2), names, takes_calls: true };
        let dial_back = FromPublisher::DialBack { nonce: an_id(3), port: 7008 };
        let answer = FromPublisher::Answer { caller: an_id(4), sealed: vec![5; RELAYED_ANSWER_LEN] };
        for message in [register, FromPublisher::Ping, dial_back, answer] {
            let line = message.encode();
            assert!(line.len() <= MAX_LINE, "{} bytes", line.len());
            assert_eq!(FromPublisher::parse(&line), Ok(Some(message)));
        }
    }

    #[test]
    fn a_relay_s_messages_are_read_as_they_are_written() {
        let refused: Vec<Name> = (0..MAX_NAMES).map(|n| [n as u8; 20]).collect();
        let seen = Some("[2001:db8::1]:49152".parse().unwrap());
        for message in [
            FromRelay::Registered { refused, seen, dials_back: true },
            FromRelay::Registered { refused: Vec::new(), seen: None, dials_back: false },
            FromRelay::Refused { reason: RefusalReason::Token },
            FromRelay::Refused { reason: RefusalReason::Limit },
            FromRelay::Connect { token: an_id(3) },
            FromRelay::Pong,
            FromRelay::DialledBack { nonce: an_id(4), outcome: DialBackOutcome::Opened },
            FromRelay::DialledBack { nonce: an_id(4), outcome: DialBackOutcome::Closed },
            FromRelay::DialledBack { nonce: an_id(4), outcome: DialBackOutcome::Refused },
            FromRelay::Call { caller: an_id(5), name: [6; 20], sealed: vec![7; CALL_LEN] },
        ] {
            let line = message.encode();
            assert!(line.len() <= MAX_LINE, "{} bytes", line.len());
            assert_eq!(FromRelay::parse(&line), Ok(Some(message)));
        }
    }

    #[test]
    fn a_relay_of_an_earlier_version_is_not_asked_to_dial_back() {
        let registered = FromRelay::Registered { refused: Vec::new(), seen: None, dials_back: false };
        assert_eq!(FromRelay::parse(b"{\"type\":\"registered\",\"refused\":[],\"seen\":null}"), Ok(Some(registered)));
    }

    #[test]
    fn a_publisher_of_an_earlier_version_takes_no_calls() {
        let register =
            FromPublisher::Register { token: an_id(1), publisher: an_id(2), names: Vec::new(), takes_calls: false };
        let line =
            format!("{{\"type\":\"register\",\"token\":\"{}\",\"publisher\":\"{}\",\"names\":[]}}", an_id(1), an_id(2));
        assert_eq!(FromPublisher::parse(line.as_bytes()), Ok(Some(register)));
    }

    #[test]
    fn a_caller_is_told_from_a_data_connection() {
        let bytes = caller_preamble(&[7; 20]);
        assert_eq!(read_caller_preamble(&bytes), Some([7; 20]));
        let data = bytes.first_chunk::<DATA_PREAMBLE>().unwrap();
        assert_eq!((read_data_preamble(data), read_dial_back_preamble(data)), (None, None));
        assert_eq!(bytes[0], DATA_MAGIC[0]);
    }

    #[test]
    fn what_is_called_has_one_length() {
        let call = |sealed: &str| {
            format!(
                "{{\"type\":\"call\",\"caller\":\"{}\",\"name\":\"{}\",\"sealed\":\"{sealed}\"}}",
                an_id(1),
                "ab".repeat(20)
            )
        };
        for digits in [0, 2 * CALL_LEN - 2, 2 * CALL_LEN + 2] {
            let error = FromRelay::parse(call(&"a".repeat(digits)).as_bytes());
            assert_eq!(error, Err(MessageError::Key("sealed")), "{digits}");
        }
        assert!(FromRelay::parse(call(&"a".repeat(2 * CALL_LEN)).as_bytes()).unwrap().is_some());
    }

    #[test]
    fn a_dial_back_is_told_from_a_data_connection() {
        let (nonce, data) = (dial_back_preamble(&an_id(5)), data_preamble(&an_id(5)));
        assert_eq!(read_dial_back_preamble(&nonce), Some(an_id(5)));
        assert_eq!((read_dial_back_preamble(&data), read_data_preamble(&nonce)), (None, None));
        assert_eq!(nonce[0], DATA_MAGIC[0]);
    }

    #[test]
    fn what_a_later_version_says_is_passed_over() {
        assert_eq!(FromPublisher::parse(b"{\"type\":\"sing\",\"song\":[1]}\n"), Ok(None));
        assert_eq!(FromRelay::parse(b"{\"type\":\"pong\",\"more\":1}"), Ok(Some(FromRelay::Pong)));
    }

    #[test]
    fn malformed_lines_are_refused_and_never_repeated() {
        let too_many = format!(
            "{{\"type\":\"register\",\"token\":\"{0}\",\"publisher\":\"{0}\",\"names\":[{1}]}}",
            an_id(1),
            vec!["\"\""; MAX_NAMES + 1].join(",")
        );
        let dial_back = |port: &str| format!("{{\"type\":\"dial_back\",\"nonce\":\"{}\",\"port\":{port}}}", an_id(1));
        for (line, error) in [
            ("", MessageError::NotAnObject),
            ("[]", MessageError::NotAnObject),
            ("{}", MessageError::Key("type")),
            ("{\"type\":1}", MessageError::Key("type")),
            ("{\"type\":\"register\"}", MessageError::Key("token")),
            ("{\"type\":\"register\",\"token\":\"secret\"}", MessageError::Key("token")),
            ("{\"type\":\"dial_back\"}", MessageError::Key("nonce")),
            (&dial_back("0"), MessageError::Key("port")),
            (&dial_back("65536"), MessageError::Key("port")),
            (&too_many, MessageError::Key("names")),
            (&" ".repeat(MAX_LINE + 1), MessageError::TooLong),
        ] {
            assert_eq!(FromPublisher::parse(line.as_bytes()), Err(error.clone()), "{line}");
            assert!(!error.to_string().contains("secret"));
        }
        assert_eq!(FromRelay::parse(b"{\"type\":\"connect\"}"), Err(MessageError::Key("token")));
    }

    #[test]
    fn a_data_connection_is_told_from_tls_by_its_first_byte() {
        let bytes = data_preamble(&an_id(9));
        assert_ne!(bytes[0], 22, "what a TLS handshake begins with");
        assert_eq!(read_data_preamble(&bytes), Some(an_id(9)));
        let mut other = bytes;
        other[1] = 2;
        assert_eq!(read_data_preamble(&other), None);
    }

    #[test]
    fn a_client_s_address_is_read_as_it_is_written() {
        for text in ["192.0.2.1:443", "[2001:db8::1]:65535"] {
            let addr = text.parse().unwrap();
            assert_eq!(read_client_address(&client_address(addr)), addr);
        }
    }
}
