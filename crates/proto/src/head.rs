//! First bytes of a browser's connection → an HTTP request head, or TLS.

use crate::host::{Authority, HostError, parse_host};
use crate::initiator::Initiator;
use crate::proxy::{self, TargetForm};

/// Longest request head the gateway reads before it routes, in bytes. Cookies of several apps fit;
/// browsers and common servers stop between 8 and 64 KiB.
pub const MAX_HEAD: usize = 64 * 1024;

/// Most header lines of a request head. Browsers send about 20, and common servers stop between 100
/// and 2,000.
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
    /// How the target is written: as to a site, or as to a proxy.
    pub form: TargetForm,
    /// Where the request goes.
    pub authority: Authority,
    /// What the client likes to read, for answers of the gateway's own.
    pub accept: Accept,
    /// Who made the browser send it, for pages of the gateway's own.
    pub initiator: Initiator,
    /// Whether it may be sent twice: the method is safe (RFC 9110, section 9.2.2), nothing follows
    /// the head, and no other protocol is asked for.
    pub is_repeatable: bool,
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
    /// HTTP/2 from the first byte on: answer [`HTTP2_ANSWER`].
    #[error("HTTP/2 without TLS is not spoken here, HTTP/1.1 is")]
    Http2,
    /// Not HTTP/1: answer 400.
    #[error("malformed request: {0}")]
    Malformed(&'static str),
    /// Longer than [`MAX_HEAD`], or more lines than [`MAX_HEADERS`]: answer 431.
    #[error("request head longer than {MAX_HEAD} bytes or {MAX_HEADERS} headers")]
    TooLarge,
    /// No `Host` header: answer 400.
    #[error("request without a Host header")]
    NoHost {
        /// Form of the answer.
        accept: Accept,
    },
    /// More than one `Host` header: answer 400.
    #[error("request with {count} Host headers")]
    ManyHosts {
        /// How many.
        count: usize,
        /// Form of the answer.
        accept: Accept,
    },
    /// To a proxy, for something else than a service: answer 403.
    #[error("not a service: {source}")]
    NotAService {
        /// Why.
        source: HostError,
        /// Form of the answer.
        accept: Accept,
    },
    /// A `Host` that is not served.
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

/// What a client that begins with HTTP/2 is told: our settings, of which there are none, then that
/// HTTP/1.1 is required and nothing it sent was looked at (RFC 9113, sections 3.4, 6.8 and 7).
pub const HTTP2_ANSWER: &[u8] = b"\0\0\0\x04\0\0\0\0\0\
    \0\0\x30\x07\0\0\0\0\0\0\0\0\0\0\0\0\x0dHardline speaks HTTP/1.1 here, or TLS.\r\n";

impl HeadError {
    /// Form of the answer: what the client likes to read, where its head could be read that far.
    #[must_use]
    pub const fn accept(&self) -> Accept {
        match self {
            Self::NoHost { accept }
            | Self::ManyHosts { accept, .. }
            | Self::NotAService { accept, .. }
            | Self::Host { accept, .. } => *accept,
            Self::Http2 | Self::Malformed(_) | Self::TooLarge => Accept::Text,
        }
    }
}

/// Looks at all bytes received so far. What they are does not depend on how they were cut into
/// reads.
///
/// The `Host` header decides where a request goes, unless its target names a host (`GET http://…
/// HTTP/1.1`): then that does, as RFC 9112, section 3.2.2, has it. There must be one `Host` all the
/// same. `CONNECT` goes where its target says, and old clients send it without `Host`.
///
/// # Errors
/// [`HeadError`] when they can never become a head that is served.
pub fn sniff(bytes: &[u8]) -> Result<Sniffed, HeadError> {
    if bytes.first() == Some(&TLS_HANDSHAKE) {
        return Ok(Sniffed::Tls);
    }
    if bytes.starts_with(HTTP2_PREFACE) {
        return Err(HeadError::Http2);
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
    let accept = preferred_form(values("accept"));
    let (method, target) = (request.method.unwrap_or_default(), request.path.unwrap_or_default());
    let form = proxy::form_of(method, target);
    let (host, authority) = match (form, values("host").count()) {
        (_, count @ 2..) => return Err(HeadError::ManyHosts { count, accept }),
        (TargetForm::Connect, _) => (target.as_bytes(), proxy::connect_target(target).map(Authority::Service)),
        (_, 0) => return Err(HeadError::NoHost { accept }),
        (_, _) => {
            let named = proxy::split_absolute(target).map(|(host, _)| host.as_bytes());
            let host = named.or(values("host").next()).unwrap_or_default();
            (host, parse_host(host))
        }
    };
    let authority = authority.map_err(|source| match (form, &source) {
        (TargetForm::Origin, _) | (_, HostError::Malformed) => HeadError::Host { source, accept },
        _ => HeadError::NotAService { source, accept },
    })?;
    Ok(RequestHead {
        method: method.to_owned(),
        target: target.to_owned(),
        form,
        authority,
        accept,
        initiator: Initiator::of(host, values),
        is_repeatable: is_repeatable(request),
        len,
    })
}

/// Whether a request may be sent twice.
fn is_repeatable(request: &httparse::Request<'_, '_>) -> bool {
    let is_safe = matches!(request.method, Some("GET" | "HEAD" | "OPTIONS"));
    let more = ["upgrade", "transfer-encoding", "expect"];
    is_safe
        && request.headers.iter().all(|header| {
            let is = |name: &str| header.name.eq_ignore_ascii_case(name);
            !more.into_iter().any(is) && (!is("content-length") || header.value == b"0")
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

/// The form with the highest quality among the values of the `Accept` headers (RFC 9110, section
/// 12.5.1); among equals a type that is named before a wildcard, then the one that comes first.
fn preferred_form<'a>(values: impl Iterator<Item = &'a [u8]>) -> Accept {
    let mut best = (0, false);
    let mut form = Accept::default();
    for range in values.filter_map(|value| std::str::from_utf8(value).ok()).flat_map(|value| value.split(',')) {
        let (this_form, is_named) = form_of(range);
        let rank = (quality(range).unwrap_or(0), is_named);
        if rank.0 > 0 && rank > best {
            (best, form) = (rank, this_form);
        }
    }
    form
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

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "e868423731872b8235a0adc9102bb45bb9e8321e";

    /// Looks at `text`, with `KEY` replaced and line ends as HTTP has them.
    fn sniff_text(text: &str) -> Result<Sniffed, HeadError> {
        sniff(text.replace("KEY", KEY).replace('\n', "\r\n").as_bytes())
    }

    #[track_caller]
    fn head(text: &str) -> RequestHead {
        match sniff_text(text) {
            Ok(Sniffed::Http(head)) => head,
            other => panic!("{other:?} for {text:?}"),
        }
    }

    #[track_caller]
    fn check_refused(text: &str, expected: HeadError) {
        assert_eq!(sniff_text(text), Err(expected), "{text:?}");
    }

    #[track_caller]
    fn check_malformed(text: &str, fragment: &str) {
        match sniff_text(text) {
            Err(HeadError::Malformed(reason)) => assert!(reason.contains(fragment), "{reason} for {text:?}"),
            other => panic!("{other:?} for {text:?}"),
        }
    }

    #[test]
    fn a_request_goes_where_its_host_header_says() {
        let text = "GET /path?query HTTP/1.1\nUser-Agent: x\nhOsT:  pw-KEY.localhost:7009 \n\n";
        let head = head(&format!("{text}the body"));
        assert_eq!((head.method.as_str(), head.target.as_str()), ("GET", "/path?query"));
        assert_eq!(head.len, text.len() + KEY.len() - 3 + 4);
        let Authority::Service(name) = head.authority else { panic!("{head:?}") };
        assert_eq!((name.key.to_string().as_str(), name.password.as_deref()), (KEY, Some("pw")));
    }

    #[test]
    fn a_target_that_names_a_host_decides_against_the_host_header() {
        let goes = |target: &str| head(&format!("OPTIONS {target} HTTP/1.1\nHost: localhost\n\n")).authority;
        for target in ["http://KEY.localhost:7009/", "HTTP://pw-KEY.localhost", "http://KEY.localhost?x"] {
            assert!(matches!(goes(target), Authority::Service(_)), "{target}");
        }
        for target in ["*", "/http://KEY.localhost/", "example.org:80", "http://localhost:7009/KEY.localhost"] {
            assert_eq!(goes(target), Authority::Gateway, "{target}");
        }
        for target in ["http://localhost@KEY.localhost/", "http:///"] {
            let refused = sniff_text(&format!("GET {target} HTTP/1.1\nHost: localhost\n\n"));
            assert!(matches!(refused, Err(HeadError::Host { .. })), "{target}: {refused:?}");
        }
    }

    #[test]
    fn a_proxy_is_asked_for_services_and_for_nothing_else() {
        for line in ["CONNECT KEY.localhost:22", "CONNECT KEY:22", "GET http://KEY.localhost/"] {
            let found = head(&format!("{line} HTTP/1.1\nHost: example.org\n\n"));
            assert!(matches!(found.authority, Authority::Service(_)) && found.form != TargetForm::Origin, "{line}");
        }
        assert_eq!(head("CONNECT KEY.localhost:22 HTTP/1.0\n\n").form, TargetForm::Connect);
        for line in ["CONNECT example.org:443", "CONNECT localhost:7009", "CONNECT [::1]:80", "GET http://example.org/"]
        {
            let refused = sniff_text(&format!("{line} HTTP/1.1\nHost: KEY.localhost\n\n"));
            assert!(matches!(refused, Err(HeadError::NotAService { .. })), "{line}: {refused:?}");
        }
        for line in ["CONNECT KEY.localhost", "CONNECT /", "CONNECT KEY.localhost:0"] {
            let refused = sniff_text(&format!("{line} HTTP/1.1\nHost: KEY.localhost\n\n"));
            assert!(matches!(refused, Err(HeadError::Host { .. })), "{line}: {refused:?}");
        }
    }

    #[test]
    fn who_begins_with_http_2_is_told_that_http_1_1_is_required() {
        assert_eq!(sniff(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Err(HeadError::Http2));
        let (settings, goaway) = HTTP2_ANSWER.split_at(9);
        assert_eq!(settings, [0, 0, 0, 4, 0, 0, 0, 0, 0]);
        let length = usize::from(goaway[2]);
        assert_eq!((goaway[3], goaway.len()), (7, 9 + length));
        assert_eq!(goaway[9..17], [0, 0, 0, 0, 0, 0, 0, 0x0d], "no stream, HTTP_1_1_REQUIRED");
    }

    #[test]
    fn requests_that_common_clients_send_are_read() {
        head("GET / HTTP/1.0\nHost: localhost\n\n");
        head("PROPFIND /dav HTTP/1.1\nHost: KEY.localhost\n\n");
        head("GET /ws HTTP/1.1\nHost: KEY.localhost\nUpgrade: websocket\nConnection: Upgrade\n\n");
        head("POST / HTTP/1.1\nHost: KEY.localhost\nExpect: 100-continue\nTransfer-Encoding: chunked\n\n");
        head("GET / HTTP/1.1\nHost: KEY.localhost\nX-Name: b\u{fc}cher\nEmpty:\n\n");
        assert!(matches!(sniff(b"GET / HTTP/1.1\nHost: localhost\n\n"), Ok(Sniffed::Http(_))), "bare line feeds");
    }

    #[test]
    fn a_request_may_be_sent_twice_only_if_it_is_safe_and_nothing_follows() {
        let may = |method: &str, header: &str| {
            head(&format!("{method} / HTTP/1.1\nHost: KEY.localhost\n{header}\n")).is_repeatable
        };
        for method in ["GET", "HEAD", "OPTIONS"] {
            assert!(may(method, "") && may(method, "Content-Length: 0\n"), "{method}");
            for header in [
                "Content-Length: 1\n",
                "content-length: 00\n",
                "Content-Length: 0\nContent-Length: 5\n",
                "Transfer-Encoding: chunked\n",
                "Connection: Upgrade\nUpgrade: websocket\n",
                "Expect: 100-continue\n",
            ] {
                assert!(!may(method, header), "{method} with {header}");
            }
        }
        for method in ["POST", "PUT", "DELETE", "PATCH", "TRACE", "PROPFIND", "get", "GETX"] {
            assert!(!may(method, ""), "{method}");
        }
    }

    #[test]
    fn empty_lines_in_front_belong_to_the_head() {
        assert_eq!(sniff(b"\r\n"), Ok(Sniffed::Partial));
        assert_eq!(sniff_text("\n\nGET / HTTP/1.1\nHost: localhost\n\n").map(len), Ok(4 + 35));
        assert_eq!(sniff_text("GET / HTTP/1.1\nHost: localhost\n\n").map(len), Ok(35));
    }

    fn len(sniffed: Sniffed) -> usize {
        match sniffed {
            Sniffed::Http(head) => head.len,
            _ => 0,
        }
    }

    #[test]
    fn every_beginning_of_a_request_is_partial() {
        let text = format!("\r\nPOST /path HTTP/1.1\r\nHost: {KEY}.localhost\r\nA: b\r\n\r\n");
        for end in 0..text.len() {
            assert_eq!(sniff(&text.as_bytes()[..end]), Ok(Sniffed::Partial), "{end} bytes");
        }
    }

    #[test]
    fn a_tls_handshake_is_told_by_its_first_byte() {
        assert_eq!(sniff(&[22]), Ok(Sniffed::Tls));
        assert_eq!(sniff(b"\x16\x03\x01\x00"), Ok(Sniffed::Tls));
    }

    #[test]
    fn a_request_without_exactly_one_host_is_refused() {
        let (text, html) = (Accept::Text, Accept::Html);
        check_refused("GET / HTTP/1.1\n\n", HeadError::NoHost { accept: text });
        check_refused("GET / HTTP/1.0\nAccept: */*\n\n", HeadError::NoHost { accept: text });
        check_refused("GET / HTTP/1.0\nAccept: text/html\n\n", HeadError::NoHost { accept: html });
        check_refused("GET http://KEY.localhost/ HTTP/1.1\n\n", HeadError::NoHost { accept: text });
        let twice = "GET / HTTP/1.1\nHost: localhost\nHost: localhost\n";
        check_refused(&format!("{twice}\n"), HeadError::ManyHosts { count: 2, accept: text });
        check_refused(&format!("{twice}Accept: text/html\n\n"), HeadError::ManyHosts { count: 2, accept: html });
        check_refused("GET / HTTP/1.1\nHost: a\nHOST: b\nhost:\n\n", HeadError::ManyHosts { count: 3, accept: text });
    }

    #[test]
    fn a_host_that_is_not_served_is_refused_in_the_form_the_client_likes() {
        let refused = |source, accept| HeadError::Host { source, accept };
        check_refused("GET / HTTP/1.1\nHost: a.org\n\n", refused(HostError::NotLocal, Accept::Text));
        check_refused("GET / HTTP/1.1\nHost:\nAccept: text/html\n\n", refused(HostError::Malformed, Accept::Html));
        check_refused(
            "GET / HTTP/1.1\nAccept: application/json\nHost: x.localhost\n\n",
            refused(HostError::NoKey, Accept::Json),
        );
        check_refused(
            "GET / HTTP/1.1\nHost: KEY.localhost, KEY.localhost\n\n",
            refused(HostError::Malformed, Accept::Text),
        );
    }

    #[test]
    fn what_is_not_http_1_is_malformed() {
        check_malformed("GET / HTTP/2.0\n", "HTTP/1.1");
        check_malformed("GET / HTTP/0.9\n", "HTTP/1.1");
        check_malformed("GET /\n\n", "character");
        check_malformed("HARDLINE-SEARCH * HTTQ/1.1\n\n", "HTTP/1.1");
        check_malformed("\0\0\0", "character");
        check_malformed("GET / HTTP/1.1\nHost : localhost\n\n", "name");
        check_malformed("GET / HTTP/1.1\nHost: localhost\n folded\n\n", "name");
        check_malformed("GET / HTTP/1.1\nno colon\n\n", "name");
        check_malformed("GET / HTTP/1.1\nHost: local\0host\n\n", "value");
        assert!(matches!(sniff(b"SSH-2.0-OpenSSH_9.2\r\n"), Err(HeadError::Malformed(_))));
        assert!(matches!(sniff(b"\x80\x2e\x01\x03\x01"), Err(HeadError::Malformed(_))), "an SSL 2 hello");
    }

    #[test]
    fn a_head_up_to_the_limit_is_read_and_a_longer_one_refused() {
        let text = |len: usize| format!("GET / HTTP/1.1\r\nHost: localhost\r\nA: {}\r\n\r\n", "x".repeat(len - 40));
        assert_eq!(sniff(text(MAX_HEAD).as_bytes()).map(len), Ok(MAX_HEAD));
        assert_eq!(sniff(&text(MAX_HEAD + 1).as_bytes()[..MAX_HEAD - 1]), Ok(Sniffed::Partial));
        for end in [MAX_HEAD, MAX_HEAD + 1] {
            assert_eq!(sniff(&text(MAX_HEAD + 1).as_bytes()[..end]), Err(HeadError::TooLarge), "{end} bytes");
        }
        assert_eq!(sniff(&b"\r\n".repeat(MAX_HEAD)), Err(HeadError::TooLarge));
    }

    #[test]
    fn many_tiny_headers_are_too_large() {
        let text = |count| format!("GET / HTTP/1.1\nHost: localhost\n{}\n", "a:\n".repeat(count));
        head(&text(MAX_HEADERS - 1));
        check_refused(&text(MAX_HEADERS), HeadError::TooLarge);
        check_refused(&text(20_000), HeadError::TooLarge);
    }

    /// Compares the form that follows from the lines of an `Accept` header.
    #[track_caller]
    fn check_accept(values: &[&str], expected: Accept) {
        assert_eq!(preferred_form(values.iter().map(|value| value.as_bytes())), expected, "{values:?}");
    }

    #[test]
    fn the_answer_has_the_form_the_client_likes_best() {
        check_accept(&["text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"], Accept::Html);
        check_accept(&["text/html"], Accept::Html);
        check_accept(&["TEXT/HTML ; charset=utf-8 ; Q=0.5"], Accept::Html);
        check_accept(&["application/json"], Accept::Json);
        check_accept(&["application/json, text/plain, */*"], Accept::Json);
        check_accept(&["application/vnd.api+json"], Accept::Json);
        check_accept(&["*/*", "application/json"], Accept::Json);
        check_accept(&["application/json;q=0.5, text/html;q=0.8"], Accept::Html);
        check_accept(&["application/json, text/html"], Accept::Json);
        check_accept(&["text/html, application/json"], Accept::Html);
        check_accept(&["text/html;q=0.001, */*;q=0"], Accept::Html);
    }

    #[test]
    fn everything_else_is_answered_in_plain_text() {
        for value in
            ["*/*", "", "text/plain", "text/*", "text/event-stream", "image/png", "html", ",;,=", "text/html;q=0"]
        {
            check_accept(&[value], Accept::Text);
        }
        check_accept(&[], Accept::Text);
        check_accept(&["text/plain, text/html;q=0.9"], Accept::Text);
        for quality in ["1.001", "2", "-1", "0.0001", "0,9", "a", "", ".5", "+1"] {
            check_accept(&[&format!("text/html;q={quality}")], Accept::Text);
        }
        assert_eq!(preferred_form([&b"text/html\xff"[..]].into_iter()), Accept::Text);
    }
}
