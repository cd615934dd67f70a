//! TLS ClientHello → server name (RFC 8446, section 4.1.2; RFC 6066, section 3).

/// Longest ClientHello read, in bytes with record headers. Post-quantum key shares take 2 KiB.
pub const MAX_CLIENT_HELLO: usize = 16 * 1024;

/// What could be read of a ClientHello.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hello {
    /// Not whole yet: read more.
    Partial,
    /// Whole.
    Complete {
        /// The `host_name` of its server name extension.
        server_name: Option<String>,
    },
}

/// Why bytes are not a ClientHello.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HelloError {
    /// Not a well-formed ClientHello.
    #[error("malformed ClientHello: {0}")]
    Malformed(&'static str),
    /// Longer than [`MAX_CLIENT_HELLO`].
    #[error("ClientHello longer than {MAX_CLIENT_HELLO} bytes")]
    TooLarge,
}

/// Content type of a handshake record (RFC 8446, section 5.1).
const RECORD_HANDSHAKE: u8 = 22;
/// Bytes of a record's header: type, version, length.
const RECORD_HEADER: usize = 5;
/// Longest fragment of a record, in bytes (RFC 8446, section 5.1).
const MAX_FRAGMENT: usize = 1 << 14;
/// Type of the handshake message (RFC 8446, section 4).
const CLIENT_HELLO: u8 = 1;
/// Bytes of a handshake message's header: type, length.
const MESSAGE_HEADER: usize = 4;
/// Type of the server name extension, and of a host name in it (RFC 6066, section 3).
const SERVER_NAME: usize = 0;
const HOST_NAME: u8 = 0;
/// Longest host name, in bytes (RFC 1035, section 2.3.4).
const MAX_NAME: usize = 253;

/// Reads the server name of the ClientHello at the start of `bytes`, which may be spread over several records.
///
/// Whatever is not needed to find the name is stepped over, so unknown versions, cipher suites and extensions (GREASE,
/// RFC 8701; an encrypted ClientHello) do no harm. What follows the ClientHello is not looked at.
///
/// # Errors
/// [`HelloError`] when the bytes can never become one.
pub fn read_client_hello(bytes: &[u8]) -> Result<Hello, HelloError> {
    let within_limit = bytes.get(..MAX_CLIENT_HELLO).unwrap_or(bytes);
    match join_records(within_limit)? {
        Some(body) => Ok(Hello::Complete { server_name: server_name(&body)? }),
        None if bytes.len() >= MAX_CLIENT_HELLO => Err(HelloError::TooLarge),
        None => Ok(Hello::Partial),
    }
}

/// Collects the body of the first handshake message, or `None` if it is not all there yet.
fn join_records(bytes: &[u8]) -> Result<Option<Vec<u8>>, HelloError> {
    let mut message = Vec::new();
    let mut records = Reader(bytes);
    loop {
        if let Some(body) = whole_body(&message)? {
            return Ok(Some(body.to_vec()));
        }
        check_record_start(records.0)?;
        let Some(length) = records.take(3).and_then(|_type_and_version| records.number(2)) else { return Ok(None) };
        if length == 0 || length > MAX_FRAGMENT {
            return Err(HelloError::Malformed("record length"));
        }
        let fragment = records.take(length).unwrap_or_else(|| std::mem::take(&mut records.0));
        message.extend_from_slice(fragment);
    }
}

/// Refuses what can be seen to be wrong in the first bytes of a record, however few have come.
fn check_record_start(record: &[u8]) -> Result<(), HelloError> {
    match record {
        [content_type, ..] if *content_type != RECORD_HANDSHAKE => Err(HelloError::Malformed("not a handshake record")),
        [_, major, ..] if *major != 3 => Err(HelloError::Malformed("record version")),
        _ => Ok(()),
    }
}

/// The body of the ClientHello at the start of `message`, or `None` if it is not all there yet.
fn whole_body(message: &[u8]) -> Result<Option<&[u8]>, HelloError> {
    let mut reader = Reader(message);
    match reader.u8() {
        None => return Ok(None),
        Some(CLIENT_HELLO) => {}
        Some(_) => return Err(HelloError::Malformed("not a ClientHello")),
    }
    let Some(length) = reader.number(3) else { return Ok(None) };
    if RECORD_HEADER + MESSAGE_HEADER + length > MAX_CLIENT_HELLO {
        return Err(HelloError::TooLarge);
    }
    Ok(reader.take(length))
}

/// Finds the server name in the body of a ClientHello (RFC 8446, section 4.1.2).
fn server_name(body: &[u8]) -> Result<Option<String>, HelloError> {
    let mut hello = Reader(body);
    hello.take(2).ok_or(HelloError::Malformed("version"))?;
    hello.take(32).ok_or(HelloError::Malformed("random"))?;
    hello.vector(1).filter(|id| id.len() <= 32).ok_or(HelloError::Malformed("session id"))?;
    let suites = hello.vector(2).ok_or(HelloError::Malformed("cipher suites"))?;
    if suites.is_empty() || suites.len() % 2 != 0 {
        return Err(HelloError::Malformed("cipher suites"));
    }
    hello.vector(1).filter(|methods| !methods.is_empty()).ok_or(HelloError::Malformed("compression methods"))?;
    if hello.0.is_empty() {
        return Ok(None); // before TLS 1.3, extensions may be absent
    }
    let extensions = hello.vector(2).filter(|_| hello.0.is_empty()).ok_or(HelloError::Malformed("extensions"))?;
    server_name_of_extensions(extensions)
}

/// Finds the server name among the extensions.
fn server_name_of_extensions(extensions: &[u8]) -> Result<Option<String>, HelloError> {
    let mut extensions = Reader(extensions);
    let mut found = None;
    while !extensions.0.is_empty() {
        let kind = extensions.number(2).ok_or(HelloError::Malformed("extension type"))?;
        let data = extensions.vector(2).ok_or(HelloError::Malformed("extension data"))?;
        if kind == SERVER_NAME {
            if found.is_some() {
                return Err(HelloError::Malformed("two server name extensions"));
            }
            found = Some(host_name_of_list(data)?);
        }
    }
    Ok(found.flatten())
}

/// Finds the host name in the server name extension (RFC 6066, section 3).
fn host_name_of_list(data: &[u8]) -> Result<Option<String>, HelloError> {
    let mut data = Reader(data);
    let list = data.vector(2).filter(|list| data.0.is_empty() && !list.is_empty());
    let mut list = Reader(list.ok_or(HelloError::Malformed("server name list"))?);
    let mut found = None;
    while !list.0.is_empty() {
        let kind = list.u8().ok_or(HelloError::Malformed("server name type"))?;
        let name = list.vector(2).ok_or(HelloError::Malformed("server name"))?;
        if kind == HOST_NAME && found.replace(host_name(name)?).is_some() {
            return Err(HelloError::Malformed("two host names"));
        }
    }
    Ok(found)
}

/// The host name, if it can be one: printable ASCII. Whose it is, [`crate::host`] finds out.
fn host_name(bytes: &[u8]) -> Result<String, HelloError> {
    let fits = (1..=MAX_NAME).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic);
    if fits { Ok(String::from_utf8_lossy(bytes).into_owned()) } else { Err(HelloError::Malformed("host name")) }
}

/// Takes big-endian numbers and length-prefixed vectors (RFC 8446, section 3) off the front of a slice. `None`
/// means that there are too few bytes.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    /// A number of `width` bytes; the widest here has 3.
    fn number(&mut self, width: usize) -> Option<usize> {
        Some(self.take(width)?.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)))
    }

    /// A vector behind its length, which has `width` bytes.
    fn vector(&mut self, width: usize) -> Option<&'a [u8]> {
        let length = self.number(width)?;
        self.take(length)
    }
}
