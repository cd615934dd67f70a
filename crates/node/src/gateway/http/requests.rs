//! From the browser to the service.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hardline_proto::exchange::RequestStep;
use hardline_proto::head::MAX_HEAD;
use hardline_proto::liveness::PathState;
use tokio::io::{AsyncRead, ReadBuf};

use super::{Followed, FollowedEnd, Http};
use crate::transport::{Asking, ByteStream};

/// Bytes read at once while some are held.
const READ: usize = 8 * 1024;

/// What became of bytes that are held.
enum Held {
    /// So many may pass.
    Admitted,
    /// More must come.
    More,
    /// They wait for an answer.
    Wait,
}

impl Http {
    /// Looks at the first `count` bytes of `room`, behind those that were admitted before. Returns
    /// how many may pass; the others are held.
    fn look(&mut self, room: &[IoSliceMut<'_>], count: usize) -> io::Result<usize> {
        let known = self.admitted.min(count);
        self.admitted -= known;
        let (mut begin, mut passes) = (0, known);
        for slice in room {
            let end = count.min(begin + slice.len());
            while passes < end {
                match self.exchange.request(&slice[passes - begin..end - begin]) {
                    Ok(RequestStep::Pass(more)) => passes += more,
                    Ok(_) => {
                        self.hold(room, passes, count);
                        return Ok(passes);
                    }
                    Err(refusal) => return Err(self.end(FollowedEnd::BadRequest(refusal))),
                }
            }
            begin = end;
        }
        Ok(passes)
    }

    /// Keeps the bytes of `room` from `from` to `to`.
    fn hold(&mut self, room: &[IoSliceMut<'_>], from: usize, to: usize) {
        let mut begin = 0;
        for slice in room {
            let (first, last) = (from.max(begin), to.min(begin + slice.len()));
            if first < last {
                self.held.extend_from_slice(&slice[first - begin..last - begin]);
            }
            begin += slice.len();
        }
    }

    /// Looks at what is held.
    fn look_at_held(&mut self) -> io::Result<Held> {
        self.is_waiting = false;
        match self.exchange.request(&self.held) {
            Ok(RequestStep::Pass(count)) => {
                self.admitted = count;
                Ok(Held::Admitted)
            }
            Ok(RequestStep::More) => Ok(Held::More),
            Ok(RequestStep::Leave) if self.exchange.is_answered() => Err(self.end(FollowedEnd::Left)),
            Ok(RequestStep::Wait | RequestStep::Leave) => {
                self.is_waiting = true;
                Ok(Held::Wait)
            }
            Err(refusal) => Err(self.end(FollowedEnd::BadRequest(refusal))),
        }
    }

    /// Copies what is held and may pass.
    fn take_held(&mut self, room: &mut [IoSliceMut<'_>]) -> usize {
        let Some(first) = room.first_mut() else { return 0 };
        let count = self.admitted.min(self.held.len()).min(first.len());
        first[..count].copy_from_slice(&self.held[..count]);
        self.held.drain(..count);
        self.admitted -= count;
        if self.held.is_empty() {
            self.held = Vec::new();
        }
        count
    }
}

impl<S: ByteStream> Followed<S> {
    /// Passes what is held, as far as it may, while more is read onto it.
    fn poll_held(
        inner: &mut S,
        http: &mut Http,
        cx: &mut Context<'_>,
        room: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            if http.admitted > 0 {
                return Poll::Ready(Ok(http.take_held(room)));
            }
            match http.look_at_held()? {
                Held::Admitted => continue,
                // The answer wakes.
                Held::Wait if http.held.len() >= MAX_HEAD => return Poll::Pending,
                Held::More | Held::Wait => {}
            }
            let mut space = [MaybeUninit::uninit(); READ];
            let mut read = ReadBuf::uninit(&mut space);
            ready!(Pin::new(&mut *inner).poll_read(cx, &mut read))?;
            if read.filled().is_empty() {
                // Who has gone gets no answer to what it had not asked to the end.
                return Poll::Ready(Ok(0));
            }
            http.held.extend_from_slice(read.filled());
        }
    }
}

impl<S: ByteStream> ByteStream for Followed<S> {
    fn local_ip(&self) -> Option<IpAddr> {
        self.inner.local_ip()
    }

    fn path_state(&self) -> Option<PathState> {
        self.inner.path_state()
    }

    fn ask(&self, asking: Asking) {
        self.inner.ask(asking);
    }

    fn poll_read_slices(&mut self, cx: &mut Context<'_>, room: &mut [IoSliceMut<'_>]) -> Poll<io::Result<usize>> {
        let Some(http) = self.http.as_deref_mut() else { return self.inner.poll_read_slices(cx, room) };
        loop {
            if http.end.is_some() {
                return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
            }
            if !http.held.is_empty() {
                return Self::poll_held(&mut self.inner, http, cx, room);
            }
            let count = ready!(self.inner.poll_read_slices(cx, room))?;
            let passes = if count == 0 { 0 } else { http.look(room, count)? };
            if passes > 0 || count == 0 {
                return Poll::Ready(Ok(passes));
            }
        }
    }
}

impl<S: ByteStream> AsyncRead for Followed<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let room = buf.initialize_unfilled();
        let count = ready!(this.poll_read_slices(cx, &mut [IoSliceMut::new(room)]))?;
        buf.advance(count);
        Poll::Ready(Ok(()))
    }
}
