//! From the service to the browser.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hardline_proto::exchange::{AnswerStep, BadAnswer, POLICY};
use hardline_proto::head::MAX_HEAD;
use tokio::io::AsyncWrite;

use super::{Followed, FollowedEnd, Http};
use crate::session::PIECES;
use crate::transport::ByteStream;

impl Http {
    /// Looks at `pieces` as far as they can be written at once. Returns how many of their bytes are
    /// taken out of them: what is `passable` follows those.
    fn look_at(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut taken = 0;
        for piece in pieces {
            let mut rest = &piece[..];
            while !rest.is_empty() {
                let is_first = self.passable == 0 && self.going.is_empty();
                if self.exchange.is_at_answers_head() && !is_first {
                    return Ok(taken);
                }
                if self.begun.is_empty() {
                    match self.look_at_piece(rest)? {
                        Looked::Passes(count) => rest = &rest[count..],
                        Looked::Taken(count) => (rest, taken) = (&rest[count..], taken + count),
                    }
                } else {
                    let count = self.look_at_begun(rest)?;
                    (rest, taken) = (&rest[count..], taken + count);
                }
            }
        }
        Ok(taken)
    }

    fn look_at_piece(&mut self, bytes: &[u8]) -> io::Result<Looked> {
        match self.exchange.answer(bytes) {
            Ok(AnswerStep::Pass(count)) => {
                self.passable += count;
                Ok(Looked::Passes(count))
            }
            Ok(AnswerStep::Head { length, insert_at }) => {
                self.insert(&bytes[..length], insert_at);
                Ok(Looked::Taken(length))
            }
            Ok(AnswerStep::More) => {
                self.begun.extend_from_slice(bytes);
                Ok(Looked::Taken(bytes.len()))
            }
            Err(why) => Err(self.bad_answer(why)),
        }
    }

    /// Looks at a head whose beginning has come before. Returns how many of `bytes` belong to it.
    fn look_at_begun(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let before = self.begun.len();
        self.begun.extend_from_slice(bytes);
        // A head ends with a line; looking at each byte of one anew would take for ever.
        if !bytes.contains(&b'\n') && self.begun.len() < MAX_HEAD {
            return Ok(bytes.len());
        }
        let begun = std::mem::take(&mut self.begun);
        let length = match self.exchange.answer(&begun) {
            Ok(AnswerStep::Pass(length)) => {
                self.going = begun[..length].to_vec();
                length
            }
            Ok(AnswerStep::Head { length, insert_at }) => {
                self.insert(&begun[..length], insert_at);
                length
            }
            Ok(AnswerStep::More) => {
                self.begun = begun;
                return Ok(bytes.len());
            }
            Err(why) => return Err(self.bad_answer(why)),
        };
        Ok(length - before)
    }

    fn insert(&mut self, head: &[u8], at: usize) {
        self.going.reserve_exact(head.len() + POLICY.len());
        self.going.extend_from_slice(&head[..at]);
        self.going.extend_from_slice(POLICY);
        self.going.extend_from_slice(&head[at..]);
    }

    /// Whether no byte waits here, in either direction.
    fn has_nothing(&self) -> bool {
        self.passable == 0 && self.going.is_empty() && self.held.is_empty()
    }

    fn bad_answer(&mut self, why: BadAnswer) -> io::Error {
        let can_be_told = self.exchange.is_at_answers_head() && !self.exchange.is_answered();
        self.end(FollowedEnd::BadAnswer { why, can_be_told })
    }
}

/// What became of bytes.
enum Looked {
    /// So many may pass as they are.
    Passes(usize),
    /// So many are taken out.
    Taken(usize),
}

impl<S: ByteStream> Followed<S> {
    /// Writes what goes in front, then what may pass of `pieces` behind the first `skipped` bytes.
    /// Returns how many bytes of `pieces` that were.
    fn poll_pass(
        inner: &mut S,
        http: &mut Http,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
        skipped: usize,
    ) -> Poll<io::Result<usize>> {
        let mut out = [IoSlice::new(&[]); PIECES + 1];
        let mut count = 0;
        if http.gone < http.going.len() {
            out[0] = IoSlice::new(&http.going[http.gone..]);
            count = 1;
        }
        let (mut skip, mut left) = (skipped, http.passable);
        for piece in pieces {
            let begin = skip.min(piece.len());
            skip -= begin;
            let piece = &piece[begin..];
            let piece = &piece[..piece.len().min(left)];
            left -= piece.len();
            if !piece.is_empty() && count < out.len() {
                out[count] = IoSlice::new(piece);
                count += 1;
            }
        }
        let written = ready!(match &out[..count] {
            [] => return Poll::Ready(Ok(0)),
            [piece] => Pin::new(inner).poll_write(cx, piece),
            out => Pin::new(inner).poll_write_vectored(cx, out),
        })?;
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        let ours = written.min(http.going.len() - http.gone);
        http.gone += ours;
        if http.gone == http.going.len() {
            (http.going, http.gone) = (Vec::new(), 0);
        }
        http.passable -= written - ours;
        Poll::Ready(Ok(written - ours))
    }

    /// Sends what goes in front.
    fn poll_going(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(http) = self.http.as_deref_mut() else { return Poll::Ready(Ok(())) };
        while !http.going.is_empty() {
            ready!(Self::poll_pass(&mut self.inner, http, cx, &[], 0))?;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_followed(&mut self, cx: &mut Context<'_>, pieces: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let Some(http) = self.http.as_deref_mut() else { return self.inner_write(cx, pieces) };
        if pieces.iter().all(|piece| piece.is_empty()) {
            return Poll::Ready(Ok(0));
        }
        let mut taken = 0;
        loop {
            if taken == 0 && http.passable == 0 && http.going.is_empty() {
                let looked = http.look_at(pieces);
                if http.is_waiting || http.end.is_some() {
                    // What waited for an answer, or is to hear of the end, is in the same task.
                    cx.waker().wake_by_ref();
                }
                taken = looked?;
            }
            match Self::poll_pass(&mut self.inner, http, cx, pieces, taken)? {
                Poll::Ready(passed) if taken + passed > 0 => {
                    if http.exchange.is_raw() && http.has_nothing() {
                        self.http = None;
                    }
                    return Poll::Ready(Ok(taken + passed));
                }
                // What goes in front was written, or a part of it.
                Poll::Ready(_) => {}
                Poll::Pending if taken > 0 => return Poll::Ready(Ok(taken)),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn inner_write(&mut self, cx: &mut Context<'_>, pieces: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match pieces {
            [piece] => Pin::new(&mut self.inner).poll_write(cx, piece),
            pieces => Pin::new(&mut self.inner).poll_write_vectored(cx, pieces),
        }
    }
}

impl<S: ByteStream> AsyncWrite for Followed<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().poll_followed(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_followed(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_going(cx))?;
        Pin::new(&mut this.inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_going(cx))?;
        Pin::new(&mut this.inner).poll_shutdown(cx)
    }
}
