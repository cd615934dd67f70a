//! Bytes that look random and that both sides can make.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Bytes, HttpBody};
use http_body_util::BodyExt as _;
use http_body_util::combinators::BoxBody;
use hyper::body::{Frame, SizeHint};
use sha2::{Digest as _, Sha256};
use tokio::time::Sleep;

/// Most bytes in one piece of a streamed body.
const PIECE: u64 = 64 * 1024;

/// The pattern's bytes from `offset` on; both numbers must be multiples of 8, but for the end of
/// the last piece.
fn fill(offset: u64, length: usize) -> Vec<u8> {
    let words = (offset / 8..).map(|index| splitmix64(index).to_le_bytes());
    words.flatten().take(length).collect()
}

/// The finaliser of SplitMix64: every index gives another, well mixed word.
fn splitmix64(index: u64) -> u64 {
    let mut z = index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The first `length` bytes of the pattern, as a body that is never in memory as a whole.
pub(crate) struct PatternBody {
    offset: u64,
    length: u64,
    /// Whether the length is told beforehand (`Content-Length`) or not (chunked).
    is_sized: bool,
    /// Whether stdout is told how far it came.
    is_told: bool,
}

impl PatternBody {
    pub(crate) fn sized(length: u64) -> Self {
        Self { offset: 0, length, is_sized: true, is_told: false }
    }

    pub(crate) fn chunked(length: u64) -> Self {
        Self { offset: 0, length, is_sized: false, is_told: false }
    }

    /// The same, and in the end says on stdout whether it was taken as a whole.
    pub(crate) fn told(mut self) -> Self {
        self.is_told = true;
        self
    }
}

impl Drop for PatternBody {
    fn drop(&mut self) {
        if self.is_told {
            println!("download {}", if self.offset == self.length { "whole" } else { "broken" });
        }
    }
}

impl HttpBody for PatternBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let length = PIECE.min(self.length - self.offset);
        if length == 0 {
            return Poll::Ready(None);
        }
        let piece = fill(self.offset, usize::try_from(length).unwrap_or(usize::MAX));
        self.offset += length;
        Poll::Ready(Some(Ok(Frame::data(piece.into()))))
    }

    fn size_hint(&self) -> SizeHint {
        if self.is_sized { SizeHint::with_exact(self.length - self.offset) } else { SizeHint::default() }
    }
}

/// A body that is not read for a while, once so many bytes have come. It says so on stderr.
pub(crate) struct Pausing<B> {
    body: B,
    left: u64,
    pause: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl<B> Pausing<B> {
    pub(crate) fn new(body: B, after: u64, pause: Duration) -> Self {
        Self { body, left: after, pause, sleep: None }
    }
}

impl<B: HttpBody<Data = Bytes> + Unpin> HttpBody for Pausing<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if self.left == 0 {
            let pause = self.pause;
            let sleep = self.sleep.get_or_insert_with(|| {
                eprintln!("paused");
                Box::pin(tokio::time::sleep(pause))
            });
            ready!(sleep.as_mut().poll(cx));
            self.left = u64::MAX;
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            self.left = self.left.saturating_sub(frame.data_ref().map_or(0, |data| data.len() as u64));
        }
        Poll::Ready(frame)
    }
}

/// Length and SHA-256 of a body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Sum {
    pub(crate) length: u64,
    pub(crate) sha256: String,
}

impl Sum {
    /// Reads the body to its end.
    pub(crate) async fn of<B: HttpBody<Data = Bytes> + Unpin>(mut body: B) -> Result<Self, B::Error> {
        let (mut length, mut hash) = (0, Sha256::new());
        while let Some(frame) = body.frame().await {
            if let Ok(data) = frame?.into_data() {
                length += data.len() as u64;
                hash.update(&data);
            }
        }
        Ok(Self { length, sha256: hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect() })
    }

    /// What the pattern's first `length` bytes come to.
    pub(crate) async fn of_pattern(length: u64) -> Self {
        let Ok(sum) = Self::of(PatternBody::sized(length)).await;
        sum
    }
}

/// A request body: the pattern, or nothing.
pub(crate) fn request_body(length: Option<u64>) -> BoxBody<Bytes, Infallible> {
    match length {
        Some(length) => PatternBody::sized(length).boxed(),
        None => http_body_util::Empty::new().boxed(),
    }
}
