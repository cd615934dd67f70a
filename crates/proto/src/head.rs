//! First bytes of a browser's connection → an HTTP request head, or TLS.

use crate::host::{Authority, HostError, parse_host};

/// Longest request head the gateway reads before it routes, in bytes. Cookies of several apps fit; browsers and common
/// servers stop between 8 and 64 KiB.
pub const MAX_HEAD: usize = 64 * 1024;

/// Most header lines of a request head. Browsers send about 20, and common servers stop between 100 and 2,000.
pub const MAX_HEADERS: usize = 256;

/// What the first bytes of a connection are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sniffed {
    /// Not enough bytes to tell: read more.
    Partial,
    /// A TLS handshake record: see [`crate::client_hello`].
    Tls,
    /// A whole HTTP/1 request head.
    Http(RequestHead),
}

/// What the gateway needs of a request head. The bytes themselves are passed on as they came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHead {
    /// The method, as sent.
    pub method: String,
    /// The request target, as sent.
    pub target: String,
    /// Where the request goes.
    pub authority: Authority,
    /// What the client likes to read, for answers of the gateway's own.
    pub accept: Accept,
    /// Bytes of the head, with its empty line and those in front of it (RFC 9112, section 2.2).
    pub len: usize,
}

/// Form of an answer of the gateway's own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Accept {
    /// A page, for `text/html`.
    Html,
    /// JSON, for `application/json` and its kin.
    Json,
    /// Plain text, for everything else, `*/*` too (curl).
    #[default]
    Text,
}

/// Why a connection's first bytes are answered with an error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeadError {
    /// Not HTTP/1: answer 400.
    #[error("malformed request: {0}")]
    Malformed(&'static str),
    /// Longer than [`MAX_HEAD`], or more lines than [`MAX_HEADERS`]: answer 431.
    #[error("request head longer than {MAX_HEAD} bytes or {MAX_HEADERS} headers")]
    TooLarge,
    /// No `Host` header: answer 400.
    #[error("request without a Host header")]
    NoHost,
    /// More than one `Host` header: answer 400.
    #[error("request with {0} Host headers")]
    ManyHosts(usize),
    /// A `Host` that is not served. `accept` is what the client likes to read.
    #[error("{source}")]
    Host {
        /// Why.
        source: HostError,
        /// Form of the answer.
        accept: Accept,
    },
}

/// First byte of a TLS handshake record; no HTTP method begins with it.
const TLS_HANDSHAKE: u8 = 22;

/// Start of what an HTTP/2 client sends first (RFC 9113, section 3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2";

/// Looks at all bytes received so far. What they are does not depend on how they were cut into reads.
///
/// The `Host` header decides where a request goes, also when its target names a host (`GET http://… HTTP/1.1`).
///
/// # Errors
/// [`HeadError`] when they can never become a head that is served.
pub fn sniff(bytes: &[u8]) -> Result<Sniffed, HeadError> {
    if bytes.first() == Some(&TLS_HANDSHAKE) {
        return Ok(Sniffed::Tls);
    }
    if bytes.starts_with(HTTP2_PREFACE) {
        return Err(HeadError::Malformed("HTTP/2 without TLS is not spoken here, HTTP/1.1 is"));
    }
    let within_limit = bytes.get(..MAX_HEAD).unwrap_or(bytes);
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(within_limit) {
        Ok(httparse::Status::Complete(len)) => request_head(&request, len).map(Sniffed::Http),
        Ok(httparse::Status::Partial) if bytes.len() >= MAX_HEAD => Err(HeadError::TooLarge),
        Ok(httparse::Status::Partial) => Ok(Sniffed::Partial),
        Err(httparse::Error::TooManyHeaders) => Err(HeadError::TooLarge),
        Err(error) => Err(HeadError::Malformed(reason(error))),
    }
}

/// Takes what the gateway needs out of a whole head.
fn request_head(request: &httparse::Request<'_, '_>, len: usize) -> Result<RequestHead, HeadError> {
    let values = |name: &'static str| {
        request.headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
    };
    let host = match values("host").count() {
        0 => return Err(HeadError::NoHost),
        1 => values("host").next().unwrap_or_default(),
        count => return Err(HeadError::ManyHosts(count)),
    };
    let accept = preferred_form(values("accept"));
    let authority = parse_host(host).map_err(|source| HeadError::Host { source, accept })?;
    Ok(RequestHead {
        method: request.method.unwrap_or_default().to_owned(),
        target: request.path.unwrap_or_default().to_owned(),
        authority,
        accept,
        len,
    })
}

/// What is wrong, for the one who wrote the client.
fn reason(error: httparse::Error) -> &'static str {
    match error {
        httparse::Error::HeaderName => "a header's name has a character that is not allowed",
        httparse::Error::HeaderValue => "a header's value has a character that is not allowed",
        httparse::Error::NewLine => "a line does not end with CR LF",
        httparse::Error::Token => "method or target has a character that is not allowed",
        httparse::Error::Version => "not HTTP/1.0 or HTTP/1.1",
        _ => "not an HTTP request",
    }
}

/// The form with the highest quality among the values of the `Accept` headers (RFC 9110, section 12.5.1); among equals
/// a type that is named before a wildcard, then the one that comes first.
fn preferred_form<'a>(values: impl Iterator<Item = &'a [u8]>) -> Accept {
    let mut best = (0, false, Accept::default());
    for range in values.filter_map(|value| std::str::from_utf8(value).ok()).flat_map(|value| value.split(',')) {
        let (form, is_named) = form_of(range);
        let quality = quality(range).unwrap_or(0);
        if (quality, is_named) > (best.0, best.1) {
            best = (quality, is_named, form);
        }
    }
    best.2
}

/// The form that suits a media range, and whether the range names a type.
fn form_of(range: &str) -> (Accept, bool) {
    let media_type = range.split(';').next().unwrap_or(range).trim().to_ascii_lowercase();
    let form = match media_type.as_str() {
        "text/html" | "application/xhtml+xml" => Accept::Html,
        "application/json" | "text/json" => Accept::Json,
        other if other.starts_with("application/") && other.ends_with("+json") => Accept::Json,
        _ => Accept::Text,
    };
    (form, !media_type.ends_with("/*"))
}

/// The quality of a media range in thousandths; 1,000 if none is said, `None` if it is malformed.
fn quality(range: &str) -> Option<u16> {
    let parameters = range.split(';').skip(1).filter_map(|parameter| parameter.split_once('='));
    let Some((_, text)) = parameters.into_iter().find(|(name, _)| name.trim().eq_ignore_ascii_case("q")) else {
        return Some(1000);
    };
    let (whole, fraction) = text.trim().split_once('.').unwrap_or((text.trim(), ""));
    let is_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.len() != 1 || fraction.len() > 3 || !is_digits(whole) || !is_digits(fraction) {
        return None;
    }
    let thousandths = format!("{whole}{fraction:0<3}").parse().ok()?;
    (thousandths <= 1000).then_some(thousandths)
}
