//! Bytes of a service → where each answer's head begins and ends.

use std::mem::MaybeUninit;

use super::asked::Asked;
use crate::chunks::{BadChunks, Chunks};
use crate::framing::number;
use crate::head::{MAX_HEAD, MAX_HEADERS};

/// Why what a service answers is not carried on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadAnswer {
    /// Nothing was asked.
    #[error("it says something that nobody asked for")]
    Unasked,
    /// Not an answer of HTTP/1.
    #[error("this is not an answer of HTTP/1.1")]
    Malformed,
    /// Longer than [`MAX_HEAD`], or more lines than [`MAX_HEADERS`].
    #[error("the head of the answer is longer than {MAX_HEAD} bytes or {MAX_HEADERS} lines")]
    TooLarge,
    /// The body's end can be found in two ways, or in none.
    #[error("the length of the answer can be read in two ways")]
    Length,
    /// Chunks that do not follow each other.
    #[error("the chunks of the answer are malformed")]
    Chunks,
    /// Another protocol begins that nobody asked for.
    #[error("it begins another protocol, which nobody asked for")]
    Upgrade,
}

impl From<BadChunks> for BadAnswer {
    fn from(_: BadChunks) -> Self {
        Self::Chunks
    }
}

/// Start of every answer's head.
const VERSION: &[u8] = b"HTTP/1.";

/// Follows the answers of one connection.
#[derive(Debug, Default)]
pub(super) struct AnswerFollower {
    state: State,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Head,
    /// Bytes of the body left.
    Body(u64),
    Chunks(Chunks),
    /// The body ends with the connection.
    UntilEnd,
    /// Another protocol from here on.
    Raw,
}

/// What may be done with the bytes at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Followed {
    /// So many of them belong to a body.
    Body(usize),
    /// So many are an interim head.
    Interim(usize),
    /// So many are a head. What was asked for is answered.
    Head(Head),
    /// The head is not whole.
    More,
}

/// A whole head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// Bytes of it.
    pub(super) length: usize,
    /// Bytes of its first line.
    pub(super) first_line: usize,
    /// Whether the request had asked for another protocol, and whether that begins now.
    pub(super) is_upgraded: Option<bool>,
}

impl AnswerFollower {
    pub(super) fn step(&mut self, bytes: &[u8], asked: &mut Asked) -> Result<Followed, BadAnswer> {
        if bytes.is_empty() {
            return Ok(Followed::More);
        }
        match self.state {
            State::Head => self.head(bytes, asked),
            State::Body(left) => {
                let count = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                let left = left - count as u64;
                self.state = if left == 0 { State::Head } else { State::Body(left) };
                Ok(Followed::Body(count))
            }
            State::Chunks(chunks) => {
                let (count, next) = chunks.follow(bytes)?;
                self.state = next.map_or(State::Head, State::Chunks);
                Ok(Followed::Body(count))
            }
            State::UntilEnd | State::Raw => Ok(Followed::Body(bytes.len())),
        }
    }

    /// Whether the next byte belongs to a head.
    pub(super) fn is_at_head(&self) -> bool {
        self.state == State::Head
    }

    /// Whether another protocol has begun.
    pub(super) fn is_raw(&self) -> bool {
        self.state == State::Raw
    }

    fn head(&mut self, bytes: &[u8], asked: &mut Asked) -> Result<Followed, BadAnswer> {
        let Some(kind) = asked.first() else { return Err(BadAnswer::Unasked) };
        let begun = bytes.len().min(VERSION.len());
        // Neither empty lines nor anything else in front, which browsers skip.
        if bytes[..begun] != VERSION[..begun] {
            return Err(BadAnswer::Malformed);
        }
        let within_limit = bytes.get(..MAX_HEAD).unwrap_or(bytes);
        let mut headers = [MaybeUninit::uninit(); MAX_HEADERS];
        let mut answer = httparse::Response::new(&mut []);
        let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(
            &mut answer,
            within_limit,
            &mut headers,
        );
        let length = match parsed {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) if bytes.len() >= MAX_HEAD => return Err(BadAnswer::TooLarge),
            Ok(httparse::Status::Partial) => return Ok(Followed::More),
            Err(httparse::Error::TooManyHeaders) => return Err(BadAnswer::TooLarge),
            Err(_) => return Err(BadAnswer::Malformed),
        };
        let status = answer.code.unwrap_or_default();
        let body = body_of(&answer)?;
        let is_upgraded = match status {
            101 if kind.asks_upgrade => Some(true),
            101 => return Err(BadAnswer::Upgrade),
            100..=199 => return Ok(Followed::Interim(length)),
            ..100 => return Err(BadAnswer::Malformed),
            _ => kind.asks_upgrade.then_some(false),
        };
        self.state = match status {
            101 => State::Raw,
            204 | 304 => State::Head,
            // Chromium takes it for one without a body, others go by its length.
            205 if !matches!(body, State::Head | State::UntilEnd) => return Err(BadAnswer::Length),
            205 => State::Head,
            _ if kind.is_head => State::Head,
            _ => body,
        };
        asked.answered();
        let first_line = bytes.iter().position(|byte| *byte == b'\n').map_or(length, |at| at + 1);
        Ok(Followed::Head(Head { length, first_line, is_upgraded }))
    }
}

/// How the body of `answer` ends, if it has one (RFC 9112, section 6.3).
fn body_of(answer: &httparse::Response<'_, '_>) -> Result<State, BadAnswer> {
    let values = |name: &'static str| {
        answer.headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
    };
    let (mut lengths, mut encodings) = (values("content-length"), values("transfer-encoding"));
    let body = match (lengths.next(), encodings.next()) {
        (None, None) => State::UntilEnd,
        (Some(length), None) => match number(length).ok_or(BadAnswer::Length)? {
            0 => State::Head,
            length => State::Body(length),
        },
        (None, Some(encoding)) if encoding.eq_ignore_ascii_case(b"chunked") && answer.version == Some(1) => {
            State::Chunks(Chunks::FIRST)
        }
        _ => return Err(BadAnswer::Length),
    };
    if lengths.next().is_some() || encodings.next().is_some() {
        return Err(BadAnswer::Length);
    }
    Ok(body)
}
