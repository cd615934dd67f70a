//! Bytes of a visitor → where each request's head begins and ends, and whether it may pass.
//!
//! It stands in front of an HTTP library that reads the same bytes. Two programs that disagree
//! about where a request ends can be made to take one visitor's bytes for another's request
//! (request smuggling); so whatever could be read in two ways is refused here, before the library
//! or a backend sees it (RFC 9112, sections 3.2, 5.2 and 6.3).

use std::mem::MaybeUninit;

use crate::chunks::{BadChunks, Chunks};
use crate::head::{MAX_HEAD, MAX_HEADERS};

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Not a request of HTTP/1.
    #[error("this is not a request of HTTP/1.1")]
    Malformed,
    /// Longer than [`MAX_HEAD`], or more lines than [`MAX_HEADERS`].
    #[error("the head of the request is longer than {MAX_HEAD} bytes or {MAX_HEADERS} lines")]
    TooLarge,
    /// HTTP/1.1 without `Host`.
    #[error("the request has no Host")]
    NoHost,
    /// `Host` twice.
    #[error("the request has more than one Host")]
    ManyHosts,
    /// A length twice, or one that is no number.
    #[error("the request has more than one Content-Length, or one that is no number")]
    BadLength,
    /// Two ways to find the body's end.
    #[error("the request has both Content-Length and Transfer-Encoding")]
    TwoLengths,
    /// Something else than `chunked`, or in HTTP/1.0.
    #[error("the request has a Transfer-Encoding other than chunked")]
    TransferEncoding,
    /// Chunks that do not follow each other.
    #[error("the chunks of the request are malformed")]
    Chunks,
}

impl From<BadChunks> for Refusal {
    fn from(_: BadChunks) -> Self {
        Self::Chunks
    }
}

impl Refusal {
    /// The status to answer with.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::TooLarge => 431,
            Self::TransferEncoding => 501,
            _ => 400,
        }
    }
}

/// What may be done with the bytes at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// So many of them may pass; never 0.
    Pass(usize),
    /// More are needed first.
    More,
    /// The answer says how they are to be read: see [`RequestFollower::decide`].
    Undecided,
}

/// Follows the requests of one connection.
#[derive(Debug, Default)]
pub struct RequestFollower {
    state: State,
    /// The request at hand asks for another protocol.
    asks_upgrade: bool,
    decision: Option<bool>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Head,
    /// Bytes of the body left.
    Body(u64),
    Chunks(Chunks),
    Undecided,
    /// Another protocol from here on.
    Raw,
}

impl RequestFollower {
    /// Says what may be done with `bytes`, which begin where the last ones that passed ended. What
    /// passes is counted as passed.
    ///
    /// # Errors
    /// [`Refusal`]: nothing more may pass.
    pub fn step(&mut self, bytes: &[u8]) -> Result<Step, Refusal> {
        self.step_if(bytes, |_, _| Ok(()))
    }

    /// As [`step`](Self::step), but a whole head passes only if `admits` says so. It is told the
    /// head, and whether that asks for another protocol.
    pub(crate) fn step_if<E: From<Refusal>>(
        &mut self,
        bytes: &[u8],
        admits: impl FnOnce(&httparse::Request<'_, '_>, bool) -> Result<(), E>,
    ) -> Result<Step, E> {
        if self.state == State::Undecided {
            match self.decision.take() {
                None => return Ok(Step::Undecided),
                Some(true) => self.state = State::Raw,
                Some(false) => self.state = State::Head,
            }
        }
        if bytes.is_empty() {
            return Ok(Step::More);
        }
        match self.state {
            State::Head => self.head(bytes, admits),
            State::Body(left) => {
                let passes = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                self.passed_directly(passes);
                Ok(Step::Pass(passes))
            }
            State::Chunks(chunks) => {
                let (count, next) = chunks.follow(bytes).map_err(Refusal::from)?;
                match next {
                    Some(next) => self.state = State::Chunks(next),
                    None => self.message_ended(),
                }
                Ok(Step::Pass(count))
            }
            State::Undecided => Ok(Step::Undecided),
            State::Raw => Ok(Step::Pass(bytes.len())),
        }
    }

    /// How many of the next bytes may pass unseen; they are counted by
    /// [`passed_directly`](Self::passed_directly).
    #[must_use]
    pub fn may_pass_directly(&self) -> usize {
        match self.state {
            State::Body(left) => usize::try_from(left).unwrap_or(usize::MAX),
            State::Chunks(chunks) => usize::try_from(chunks.data_left()).unwrap_or(usize::MAX),
            State::Raw => usize::MAX,
            _ => 0,
        }
    }

    /// Counts bytes that passed unseen, at most [`may_pass_directly`](Self::may_pass_directly).
    pub fn passed_directly(&mut self, count: usize) {
        let count = count as u64;
        match &mut self.state {
            State::Body(left) => {
                *left = left.saturating_sub(count);
                if *left == 0 {
                    self.message_ended();
                }
            }
            State::Chunks(chunks) => *chunks = chunks.passed(count),
            _ => {}
        }
    }

    /// Says whether the backend took up the other protocol that a request asked for. To be called
    /// for each request with `Upgrade`, and for `CONNECT`, when it is answered.
    pub fn decide(&mut self, is_upgraded: bool) {
        self.decision = Some(is_upgraded);
    }

    fn head<E: From<Refusal>>(
        &mut self,
        bytes: &[u8],
        admits: impl FnOnce(&httparse::Request<'_, '_>, bool) -> Result<(), E>,
    ) -> Result<Step, E> {
        let within_limit = bytes.get(..MAX_HEAD).unwrap_or(bytes);
        let mut headers = [MaybeUninit::uninit(); MAX_HEADERS];
        let mut request = httparse::Request::new(&mut []);
        match request.parse_with_uninit_headers(within_limit, &mut headers) {
            Ok(httparse::Status::Complete(length)) => {
                let (body, asks_upgrade) = examine(&request)?;
                admits(&request, asks_upgrade)?;
                (self.state, self.asks_upgrade, self.decision) = (body, asks_upgrade, None);
                if body == State::Body(0) {
                    self.message_ended();
                }
                Ok(Step::Pass(length))
            }
            Ok(httparse::Status::Partial) if bytes.len() >= MAX_HEAD => Err(Refusal::TooLarge.into()),
            Ok(httparse::Status::Partial) => Ok(Step::More),
            Err(httparse::Error::TooManyHeaders) => Err(Refusal::TooLarge.into()),
            Err(_) => Err(Refusal::Malformed.into()),
        }
    }

    /// Whether the next byte belongs to a head.
    #[must_use]
    pub fn is_at_head(&self) -> bool {
        self.state == State::Head
    }

    fn message_ended(&mut self) {
        self.state = if self.asks_upgrade { State::Undecided } else { State::Head };
        self.asks_upgrade = false;
    }
}

/// How the body of `request` ends, and whether it asks for another protocol.
fn examine(request: &httparse::Request<'_, '_>) -> Result<(State, bool), Refusal> {
    let values = |name: &'static str| {
        request.headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
    };
    let is_http_1_1 = request.version == Some(1);
    match values("host").count() {
        0 if is_http_1_1 => return Err(Refusal::NoHost),
        0 | 1 => {}
        _ => return Err(Refusal::ManyHosts),
    }
    let (mut lengths, mut encodings) = (values("content-length"), values("transfer-encoding"));
    let body = match (lengths.next(), encodings.next()) {
        (Some(_), Some(_)) => return Err(Refusal::TwoLengths),
        (None, None) => State::Body(0),
        (Some(length), None) => State::Body(number(length).ok_or(Refusal::BadLength)?),
        (None, Some(encoding)) if encoding.eq_ignore_ascii_case(b"chunked") && is_http_1_1 => {
            State::Chunks(Chunks::FIRST)
        }
        (None, Some(_)) => return Err(Refusal::TransferEncoding),
    };
    if lengths.next().is_some() {
        return Err(Refusal::BadLength);
    }
    if encodings.next().is_some() {
        return Err(Refusal::TransferEncoding);
    }
    let asks_upgrade = request.method == Some("CONNECT") || (is_http_1_1 && values("upgrade").next().is_some());
    Ok((body, asks_upgrade))
}

/// A length: digits alone, below 2⁶³.
pub(crate) fn number(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    text.parse().ok().filter(|number| *number < 1 << 63)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Passes `text` in pieces of `size`, and returns where heads began, or the refusal.
    fn heads(text: &[u8], size: usize) -> Result<Vec<usize>, Refusal> {
        let mut follower = RequestFollower::default();
        let (mut passed, mut have, mut heads) = (0, 0, Vec::new());
        while have < text.len() {
            have = (have + size).min(text.len());
            loop {
                let is_head = follower.state == State::Head || follower.decision.is_some();
                match follower.step(&text[passed..have])? {
                    Step::Pass(count) => {
                        if is_head {
                            heads.push(passed);
                        }
                        passed += count;
                    }
                    Step::More => break,
                    Step::Undecided => follower.decide(false),
                }
            }
        }
        Ok(heads)
    }

    #[track_caller]
    fn check(requests: &[&str]) {
        let text = requests.concat();
        let mut offset = 0;
        let begins: Vec<usize> = requests
            .iter()
            .map(|request| {
                offset += request.len();
                offset - request.len()
            })
            .collect();
        for size in 1..=text.len() {
            assert_eq!(heads(text.as_bytes(), size).as_ref(), Ok(&begins), "in pieces of {size}");
        }
    }

    #[track_caller]
    fn check_refused(text: &str, refusal: Refusal) {
        for size in [1, 7, text.len()] {
            assert_eq!(heads(text.as_bytes(), size), Err(refusal), "{text:?}");
        }
    }

    const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

    #[test]
    fn requests_are_found_behind_every_kind_of_body() {
        check(&[GET, GET, GET]);
        check(&["POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 27\r\n\r\nGET / HTTP/1.1\r\nHost: b\r\n\r\n", GET]);
        let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n";
        check(&[&format!("{chunked}5\r\nGET /\r\n1B;x=y\r\n{GET}\r\n0\r\n\r\n"), GET]);
        check(&[&format!("{chunked}0\r\nX-Sum: 1\r\nY: 2\r\n\r\n"), GET]);
        check(&["GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n", GET]);
        check(&["GET / HTTP/1.0\r\n\r\n"]);
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        let post = |headers: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{headers}\r\n\r\n0\r\n\r\n");
        check_refused(&post("Content-Length: 5\r\nTransfer-Encoding: chunked"), Refusal::TwoLengths);
        check_refused(&post("Transfer-Encoding: chunked\r\nContent-Length: 5"), Refusal::TwoLengths);
        check_refused(&post("Content-Length: 5\r\nContent-Length: 5"), Refusal::BadLength);
        for length in ["+5", "5, 5", "0x5", "-1", "", "99999999999999999999", "9223372036854775808"] {
            check_refused(&post(&format!("Content-Length: {length}")), Refusal::BadLength);
        }
        for encoding in ["gzip, chunked", "chunked, identity", "xchunked", "chunked\r\nTransfer-Encoding: chunked"] {
            check_refused(&post(&format!("Transfer-Encoding: {encoding}")), Refusal::TransferEncoding);
        }
        check_refused("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", Refusal::TransferEncoding);
        check_refused("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", Refusal::ManyHosts);
        check_refused("GET / HTTP/1.1\r\nX: y\r\n\r\n", Refusal::NoHost);
        check_refused("GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n folded\r\n\r\n", Refusal::Malformed);
        check_refused("GET / HTTP/1.1\r\nHost : a\r\n\r\n", Refusal::Malformed);
        check_refused("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Refusal::Malformed);
        check_refused("\u{16}\u{3}\u{1}", Refusal::Malformed);
        let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        for chunks in ["\r\n", "x\r\n", "1\r\nab", "-1\r\n", "00000000000000001\r\na\r\n", "1\na\r\n", "1\r\na\n"] {
            check_refused(&format!("{chunked}{chunks}"), Refusal::Chunks);
        }
    }

    #[test]
    fn heads_that_are_too_long_are_refused() {
        let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(MAX_HEADERS));
        check_refused(&many, Refusal::TooLarge);
        let long = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "y".repeat(MAX_HEAD));
        assert_eq!(heads(long.as_bytes(), 4096), Err(Refusal::TooLarge));
    }

    #[test]
    fn after_an_upgrade_nothing_is_looked_at() {
        let mut follower = RequestFollower::default();
        let asks = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        assert_eq!(follower.step(asks), Ok(Step::Pass(asks.len())));
        assert_eq!(follower.step(b"\x81\x05"), Ok(Step::Undecided));
        follower.decide(true);
        assert_eq!(follower.step(b"\x81\x05"), Ok(Step::Pass(2)));
        assert_eq!(follower.may_pass_directly(), usize::MAX);
        assert_eq!(follower.step(b"POST\0"), Ok(Step::Pass(5)));
    }

    #[test]
    fn bytes_of_a_body_may_pass_unseen() {
        let mut follower = RequestFollower::default();
        let head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n";
        assert_eq!(follower.step(head), Ok(Step::Pass(head.len())));
        assert_eq!(follower.may_pass_directly(), 10);
        follower.passed_directly(9);
        assert_eq!(follower.step(b"xGET / HTTP/1.1\r\n"), Ok(Step::Pass(1)));
        assert_eq!(follower.may_pass_directly(), 0);
        assert_eq!(follower.step(b"GET / HTTP/1.1\r\n"), Ok(Step::More));
    }
}
