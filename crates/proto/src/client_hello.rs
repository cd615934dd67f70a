//! TLS ClientHello → server name (RFC 8446, section 4.1.2; RFC 6066, section 3). Read by a reader
//! of our own: rustls's would bring TLS into this crate.

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

/// Reads the server name of the ClientHello at the start of `bytes`, which may be spread over
/// several records.
///
/// Whatever is not needed to find the name is stepped over, so unknown versions, cipher suites and
/// extensions (GREASE, RFC 8701; an encrypted ClientHello) do no harm. What follows the ClientHello
/// is not looked at.
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

/// Takes big-endian numbers and length-prefixed vectors (RFC 8446, section 3) off the front of a
/// slice. `None` means that there are too few bytes.
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A vector behind its length, which has `width` bytes.
    fn vector(width: usize, content: &[u8]) -> Vec<u8> {
        [&content.len().to_be_bytes()[8 - width..], content].concat()
    }

    fn extension(kind: u16, data: &[u8]) -> Vec<u8> {
        [&kind.to_be_bytes()[..], &vector(2, data)].concat()
    }

    fn name_entry(kind: u8, name: &[u8]) -> Vec<u8> {
        [&[kind][..], &vector(2, name)].concat()
    }

    /// A server name extension with these entries.
    fn server_names(entries: &[Vec<u8>]) -> Vec<u8> {
        extension(0, &vector(2, &entries.concat()))
    }

    /// The body of a ClientHello with `extensions`, which may be absent altogether.
    fn body(extensions: Option<&[Vec<u8>]>) -> Vec<u8> {
        let fixed = [&[3, 3][..], &[7; 32], &vector(1, &[9; 32]), &vector(2, &[0x13, 1]), &vector(1, &[0])].concat();
        [fixed, extensions.map_or_else(Vec::new, |all| vector(2, &all.concat()))].concat()
    }

    fn message(body: &[u8]) -> Vec<u8> {
        [&[1][..], &vector(3, body)].concat()
    }

    /// `message` in records with at most `fragment` bytes each.
    fn records(message: &[u8], fragment: usize) -> Vec<u8> {
        message.chunks(fragment).flat_map(|part| [&[22, 3, 1][..], &vector(2, part)].concat()).collect()
    }

    fn hello(extensions: &[Vec<u8>]) -> Vec<u8> {
        records(&message(&body(Some(extensions))), MAX_FRAGMENT)
    }

    fn complete(name: Option<&str>) -> Result<Hello, HelloError> {
        Ok(Hello::Complete { server_name: name.map(str::to_owned) })
    }

    #[track_caller]
    fn check(bytes: &[u8], name: Option<&str>) {
        assert_eq!(read_client_hello(bytes), complete(name));
    }

    #[track_caller]
    fn check_refused(bytes: &[u8], reason: &'static str) {
        assert_eq!(read_client_hello(bytes), Err(HelloError::Malformed(reason)));
    }

    #[test]
    fn hellos_of_real_programs_are_read_however_they_are_cut() {
        const KEY: &str = "e868423731872b8235a0adc9102bb45bb9e8321e";
        const AT_LOCALHOST: &str = "e868423731872b8235a0adc9102bb45bb9e8321e.localhost";
        for (bytes, name) in [
            (&include_bytes!("../tests/vectors/client_hello/openssl-s_client.bin")[..], Some(KEY)),
            (include_bytes!("../tests/vectors/client_hello/openssl-s_client-tls12.bin"), Some(KEY)),
            (include_bytes!("../tests/vectors/client_hello/openssl-s_client-no-sni.bin"), None),
            (include_bytes!("../tests/vectors/client_hello/curl.bin"), Some(AT_LOCALHOST)),
            (include_bytes!("../tests/vectors/client_hello/python-ssl.bin"), Some(KEY)),
            (include_bytes!("../tests/vectors/client_hello/chromium.bin"), Some(AT_LOCALHOST)),
            (include_bytes!("../tests/vectors/client_hello/firefox.bin"), Some(AT_LOCALHOST)),
        ] {
            check(bytes, name);
            for end in 0..bytes.len() {
                assert_eq!(read_client_hello(&bytes[..end]), Ok(Hello::Partial), "{end} bytes");
            }
            for fragment in [1, 2, 3, 5, 100, 1000] {
                check(&records(&bytes[RECORD_HEADER..], fragment), name);
            }
        }
    }

    #[test]
    fn what_follows_the_hello_is_not_looked_at() {
        let mut bytes = hello(&[server_names(&[name_entry(0, b"name")])]);
        bytes.extend_from_slice(&[0xff; MAX_CLIENT_HELLO]);
        check(&bytes, Some("name"));
    }

    #[test]
    fn the_name_is_found_among_extensions_unknown_to_us() {
        let grease = extension(0x0a0a, &[]);
        let encrypted_hello = extension(0xfe0d, &[0; 200]);
        check(&hello(&[grease, encrypted_hello, server_names(&[name_entry(0, b"name")])]), Some("name"));
        check(&hello(&[server_names(&[name_entry(7, b"?"), name_entry(0, b"name")])]), Some("name"));
    }

    #[test]
    fn a_hello_may_name_nobody() {
        check(&hello(&[]), None);
        check(&hello(&[extension(16, b"x")]), None);
        check(&hello(&[server_names(&[name_entry(7, b"?")])]), None);
        check(&records(&message(&body(None)), MAX_FRAGMENT), None);
    }

    #[test]
    fn a_malformed_server_name_is_refused() {
        check_refused(&hello(&[extension(0, &[])]), "server name list");
        check_refused(&hello(&[extension(0, &[0, 0])]), "server name list");
        check_refused(&hello(&[extension(0, &[0, 9, 0])]), "server name list");
        check_refused(&hello(&[extension(0, &[0, 1, 0, 0])]), "server name list");
        check_refused(&hello(&[extension(0, &[0, 1, 0])]), "server name");
        check_refused(&hello(&[extension(0, &[0, 4, 0, 0, 9, b'a'])]), "server name");
        for name in [&b""[..], b"a b", b"a\0", b"\xc3\xa4", &[b'a'; 254]] {
            check_refused(&hello(&[server_names(&[name_entry(0, name)])]), "host name");
        }
        let name = name_entry(0, b"name");
        check_refused(&hello(&[server_names(&[name.clone(), name.clone()])]), "two host names");
        check_refused(
            &hello(&[server_names(std::slice::from_ref(&name)), server_names(&[name])]),
            "two server name extensions",
        );
    }

    #[test]
    fn a_malformed_body_is_refused_with_the_part_that_is_wrong() {
        let whole = body(Some(&[extension(16, b"x")]));
        let parts =
            [(1, "version"), (20, "random"), (40, "session id"), (68, "cipher suites"), (72, "compression methods")];
        for (end, reason) in parts.into_iter().chain([(74, "extensions"), (whole.len() - 1, "extensions")]) {
            check_refused(&records(&message(&whole[..end]), MAX_FRAGMENT), reason);
        }
        let with = |at: usize, byte: u8| {
            let mut changed = whole.clone();
            changed[at] = byte;
            records(&message(&changed), MAX_FRAGMENT)
        };
        check_refused(&with(34, 33), "session id");
        check_refused(&with(68, 1), "cipher suites");
        check_refused(&with(71, 0), "compression methods");
        check_refused(&with(78, 9), "extension data");
        check_refused(&records(&message(&[&whole[..], b"x"].concat()), MAX_FRAGMENT), "extensions");
    }

    #[test]
    fn what_is_no_client_hello_is_refused_at_its_first_wrong_byte() {
        check_refused(b"G", "not a handshake record");
        check_refused(&[21, 3, 3, 0, 2, 1, 0], "not a handshake record");
        check_refused(&[22, 2], "record version");
        check_refused(&[22, 3, 1, 0, 0], "record length");
        check_refused(&[22, 3, 1, 0x40, 1], "record length");
        check_refused(&[22, 3, 1, 0, 4, 2], "not a ClientHello");
        let mut two_records = records(&message(&body(Some(&[]))), 60);
        two_records[65] = 23;
        check_refused(&two_records, "not a handshake record");
    }

    #[test]
    fn a_hello_longer_than_the_limit_is_refused_as_soon_as_it_says_so() {
        let overhead = hello(&[extension(21, &[])]).len();
        let padded = |len: usize| hello(&[extension(21, &vec![0; len - overhead])]);
        check(&padded(MAX_CLIENT_HELLO), None);
        assert_eq!(read_client_hello(&padded(MAX_CLIENT_HELLO + 1)[..9]), Err(HelloError::TooLarge));
        assert_eq!(read_client_hello(&[22, 3, 1, 0, 4, 1, 0xff, 0xff, 0xff]), Err(HelloError::TooLarge));
    }

    #[test]
    fn a_hello_that_grows_too_long_by_tiny_records_is_refused() {
        let bytes = records(&message(&body(Some(&[extension(21, &[0; 3000])]))), 1);
        assert_eq!(read_client_hello(&bytes[..MAX_CLIENT_HELLO - 1]), Ok(Hello::Partial));
        assert_eq!(read_client_hello(&bytes), Err(HelloError::TooLarge));
    }
}
