//! A visitor's bytes, below hyper: requests reach it one whole head at a time, after
//! `proto::framing` has found nothing in them that could be read in two ways; and interim answers
//! (1xx), which hyper's server cannot send, go out between its messages.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use hardline_proto::framing::{Refusal, RequestFollower, Step};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

use super::pages;
use super::talk::Talk;

/// Bytes read at once while heads and chunks are looked at.
const READ: usize = 16 * 1024;

pub(super) struct VisitorIo {
    pipe: DuplexStream,
    talk: Arc<Talk>,
    follower: RequestFollower,
    /// Bytes that have come and not passed.
    come: BytesMut,
    /// How many of them may pass.
    passable: usize,
    has_ended: bool,
    /// Our own bytes on their way to the visitor.
    going: Bytes,
    /// Whether hyper has nothing left to send: it is between two messages as long as an interim
    /// answer waits.
    is_flushed: bool,
    has_told_refusal: bool,
}

impl VisitorIo {
    pub(super) fn new(pipe: DuplexStream, talk: Arc<Talk>) -> Self {
        Self {
            pipe,
            talk,
            follower: RequestFollower::default(),
            come: BytesMut::new(),
            passable: 0,
            has_ended: false,
            going: Bytes::new(),
            is_flushed: true,
            has_told_refusal: false,
        }
    }

    /// Lets as many of the bytes at hand pass as may. `false`: it is at the end.
    fn poll_passable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        while self.passable == 0 {
            if self.talk.refusal().is_some() {
                return Poll::Ready(Ok(false));
            }
            match self.follower.step(&self.come) {
                Ok(Step::Pass(count)) => self.passable = count,
                // Half a head: hyper says what is wrong with it.
                Ok(Step::More) if self.has_ended && self.come.is_empty() => return Poll::Ready(Ok(false)),
                Ok(Step::More) if self.has_ended => self.passable = self.come.len(),
                Ok(Step::More) => ready!(self.poll_come(cx))?,
                Ok(Step::Undecided) => match self.talk.take_decision(cx) {
                    Some(is_upgraded) => self.follower.decide(is_upgraded),
                    None => return Poll::Pending,
                },
                Err(refusal) => self.talk.refuse(refusal),
            }
        }
        Poll::Ready(Ok(true))
    }

    fn poll_come(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut room = [MaybeUninit::uninit(); READ];
        let mut read = ReadBuf::uninit(&mut room);
        ready!(Pin::new(&mut self.pipe).poll_read(cx, &mut read))?;
        self.has_ended = read.filled().is_empty();
        self.come.extend_from_slice(read.filled());
        Poll::Ready(Ok(()))
    }

    /// Sends our own bytes, and the interim answers that wait.
    fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            while self.going.has_remaining() {
                let sent = ready!(Pin::new(&mut self.pipe).poll_write(cx, &self.going))?;
                self.going.advance(sent);
            }
            match self.talk.next_interim() {
                Some(head) => self.going = head,
                None => return Poll::Ready(Ok(())),
            }
        }
    }
}

impl AsyncRead for VisitorIo {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.come.is_empty() && this.follower.may_pass_directly() >= buf.remaining() {
            let before = buf.filled().len();
            ready!(Pin::new(&mut this.pipe).poll_read(cx, buf))?;
            this.follower.passed_directly(buf.filled().len() - before);
            return Poll::Ready(Ok(()));
        }
        if ready!(this.poll_passable(cx))? {
            let count = this.passable.min(buf.remaining());
            buf.put_slice(&this.come.split_to(count));
            this.passable -= count;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for VisitorIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.is_flushed || this.going.has_remaining() {
            ready!(this.poll_interim(cx))?;
        }
        this.is_flushed = false;
        Pin::new(&mut this.pipe).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.pipe.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.is_flushed = true;
        ready!(this.poll_interim(cx))?;
        Pin::new(&mut this.pipe).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // Within a body an answer may be under way, and the visitor sees it cut off.
        let refusal = this.talk.refusal().filter(|refusal| *refusal != Refusal::Chunks);
        if let Some(refusal) = refusal.filter(|_| !this.has_told_refusal) {
            this.has_told_refusal = true;
            this.going = pages::refusal(refusal);
        }
        ready!(this.poll_interim(cx))?;
        Pin::new(&mut this.pipe).poll_shutdown(cx)
    }
}
