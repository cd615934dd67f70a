//! SOCKS5 (RFC 1928), as much of it as a proxy for services needs: no authentication, connections
//! to names.
//!
//! Two messages with fixed layouts. Crates for it (`fast-socks5`, `socks5-proto`) read from a
//! socket themselves, and connect wherever they are told to.

use crate::host::{ServiceName, parse_service_name};

/// First byte of everything that a SOCKS5 client sends. No HTTP method and no TLS record begins
/// with it.
pub const VERSION: u8 = 5;

/// Longest greeting, in bytes: 255 methods.
pub const MAX_GREETING: usize = 2 + 255;

/// Longest request, in bytes: a name of 255.
pub const MAX_REQUEST: usize = 4 + 1 + 255 + 2;

/// Answer to a greeting: no authentication is needed (RFC 1928, section 3).
pub const METHOD_NONE: [u8; 2] = [VERSION, 0];

/// Answer to a greeting: no method of the client's will do.
pub const NO_METHOD: [u8; 2] = [VERSION, 0xff];

/// What a request is answered with (RFC 1928, section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Reply {
    /// The tunnel is open.
    Succeeded = 0,
    /// The request cannot be read, or something went wrong here.
    Failed = 1,
    /// The name is no service's, or the service does not let the client in.
    NotAllowed = 2,
    /// The service was not found, or does not answer.
    HostUnreachable = 4,
    /// The program behind the service does not answer.
    Refused = 5,
    /// Something else than a connection is asked for.
    CommandNotSupported = 7,
    /// An IP address is asked for, not a name.
    AddressNotSupported = 8,
}

impl Reply {
    /// The answer's bytes. The address in it is 0.0.0.0:0: tunnels have none.
    #[must_use]
    pub const fn encode(self) -> [u8; 10] {
        [VERSION, self as u8, 0, IPV4, 0, 0, 0, 0, 0, 0]
    }
}

/// The command `CONNECT`.
const CONNECT: u8 = 1;
/// The address that follows is an IPv4 one.
const IPV4: u8 = 1;
/// The address that follows is a name, behind its length.
const NAME: u8 = 3;
/// "No authentication", among the methods of a greeting.
const NO_AUTHENTICATION: u8 = 0;

/// A whole greeting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Greeting {
    /// Whether the client can do without authentication.
    pub is_open: bool,
    /// Its bytes.
    pub len: usize,
}

/// A whole request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The service to connect to. The port does not matter: a service has one.
    pub name: ServiceName,
    /// Its bytes; what follows is for the service.
    pub len: usize,
}

/// Reads what a client begins with; `None` while it is not whole.
///
/// # Errors
/// [`Reply::Failed`] when it is another version, which has no answer.
pub fn read_greeting(bytes: &[u8]) -> Result<Option<Greeting>, Reply> {
    match bytes {
        [] | [VERSION] => Ok(None),
        [VERSION, count, rest @ ..] => Ok(rest
            .get(..usize::from(*count))
            .map(|methods| Greeting { is_open: methods.contains(&NO_AUTHENTICATION), len: 2 + methods.len() })),
        _ => Err(Reply::Failed),
    }
}

/// Reads what a client asks for; `None` while it is not whole.
///
/// # Errors
/// The answer to what is not a connection to a service.
pub fn read_request(bytes: &[u8]) -> Result<Option<Request>, Reply> {
    match bytes {
        [version, ..] if *version != VERSION => Err(Reply::Failed),
        [_, command, ..] if *command != CONNECT => Err(Reply::CommandNotSupported),
        [_, _, _, kind, ..] if *kind != NAME => Err(Reply::AddressNotSupported),
        [_, _, _, _, length, rest @ ..] => {
            let length = usize::from(*length);
            // The port, which is not looked at, is two bytes.
            let Some(name) = rest.get(..length + 2).map(|named| &named[..length]) else { return Ok(None) };
            let name = std::str::from_utf8(name).map_err(|_| Reply::NotAllowed)?;
            let name = parse_service_name(name).map_err(|_| Reply::NotAllowed)?;
            Ok(Some(Request { name, len: 5 + length + 2 }))
        }
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "e868423731872b8235a0adc9102bb45bb9e8321e";

    fn request(kind: u8, address: &[u8]) -> Vec<u8> {
        [&[VERSION, CONNECT, 0, kind], address, &[0x1b, 0x61]].concat()
    }

    fn named(name: &str) -> Vec<u8> {
        request(NAME, &[&[u8::try_from(name.len()).unwrap()], name.as_bytes()].concat())
    }

    #[test]
    fn a_greeting_is_whole_when_all_its_methods_are_there() {
        let greeting = |is_open, len| Ok(Some(Greeting { is_open, len }));
        for partial in [&b""[..], b"\x05", b"\x05\x02", b"\x05\x02\x00"] {
            assert_eq!(read_greeting(partial), Ok(None), "{partial:?}");
        }
        assert_eq!(read_greeting(b"\x05\x01\x00"), greeting(true, 3));
        assert_eq!(read_greeting(b"\x05\x02\x02\x00\x05"), greeting(true, 4));
        assert_eq!(read_greeting(b"\x05\x01\x02"), greeting(false, 3));
        assert_eq!(read_greeting(b"\x05\x00"), greeting(false, 2));
        assert_eq!(read_greeting(b"\x04\x01"), Err(Reply::Failed));
    }

    #[test]
    fn a_service_is_asked_for_by_its_name_at_any_port() {
        for name in [format!("{KEY}.localhost"), format!("pw-{KEY}.LOCALHOST."), KEY.to_owned()] {
            let bytes = [named(&name), b"SSH-2.0-x".to_vec()].concat();
            let asked = read_request(&bytes).unwrap().unwrap();
            assert_eq!((asked.name.key.to_string().as_str(), &bytes[asked.len..]), (KEY, &b"SSH-2.0-x"[..]));
            for end in 0..asked.len {
                assert_eq!(read_request(&bytes[..end]), Ok(None), "{end} bytes");
            }
        }
    }

    #[test]
    fn what_is_not_a_service_s_name_is_not_connected_to() {
        for name in ["example.org", "localhost", "127.0.0.1", "::1", "", "www.localhost", &format!("{KEY}.example.org")]
        {
            assert_eq!(read_request(&named(name)), Err(Reply::NotAllowed), "{name}");
        }
        assert_eq!(read_request(&request(NAME, b"\x01\xff")), Err(Reply::NotAllowed));
    }

    #[test]
    fn addresses_and_other_commands_have_replies_of_their_own() {
        assert_eq!(read_request(&request(IPV4, &[127, 0, 0, 1])), Err(Reply::AddressNotSupported));
        assert_eq!(read_request(&request(4, &[0; 16])), Err(Reply::AddressNotSupported));
        for command in [0, 2, 3, 0xf0] {
            assert_eq!(read_request(&[VERSION, command, 0, NAME]), Err(Reply::CommandNotSupported), "{command}");
        }
        assert_eq!(read_request(&[4, 1]), Err(Reply::Failed));
    }

    #[test]
    fn a_reply_has_the_bytes_of_the_rfc() {
        assert_eq!(Reply::Succeeded.encode(), [5, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(Reply::NotAllowed.encode(), [5, 2, 0, 1, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn the_longest_messages_are_as_long_as_said() {
        let greeting = [vec![VERSION, 255], vec![7; 255]].concat();
        assert_eq!(read_greeting(&greeting).unwrap().unwrap().len, MAX_GREETING);
        assert_eq!(read_request(&named(&"x".repeat(255))), Err(Reply::NotAllowed));
        assert_eq!(named(&"x".repeat(255)).len(), MAX_REQUEST);
    }
}
