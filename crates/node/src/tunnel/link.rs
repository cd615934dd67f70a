//! Version 2: a link over TLS. The only place where frames meet records.

use std::io::{self, IoSlice, Write};
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use hardline_proto::opening::Opening;
use hardline_proto::tunnel::frame::{MAX_PAYLOAD, ResetReason};
use hardline_proto::tunnel::{Answer, Closed, Event, Link, LinkError, Open, Phase, Refusal};
use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

use super::{OpeningFailure, Stream, read_opening, records, send_opening};

/// Full frames, a record each, encrypted before the first of them is sent.
const BATCH: usize = 8;

/// Payload that fits behind an open line in one record, in bytes. In one record: either all of it can be read or nothing.
const EARLY: usize = MAX_PAYLOAD - Open::LINE.len();

/// A verified connection of version 2, behind both opening lines.
///
/// While it carries a tunnel it is that tunnel's stream: reading ends with the other side's half-close, shutting down is
/// our own.
#[derive(Debug)]
pub(crate) struct LinkStream {
    /// On the heap: it is large, and every future that hands the link on has room for it.
    tls: Box<TlsStream<TcpStream>>,
    machine: Link,
}

/// Why a link can do nothing more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkEnd {
    /// The connection ended or broke.
    #[error("connection ended")]
    Closed(Closed),
    /// The peer broke off a tunnel.
    #[error("broken off: {0}")]
    Reset(ResetReason),
    /// The peer broke the protocol.
    #[error(transparent)]
    Protocol(#[from] LinkError),
}

impl From<LinkEnd> for io::Error {
    fn from(end: LinkEnd) -> Self {
        Self::new(io::ErrorKind::ConnectionReset, end)
    }
}

/// Why an open line brought no tunnel.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoTunnel {
    /// The listener says no. The link is parked.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// The link has ended.
    #[error(transparent)]
    End(#[from] LinkEnd),
}

impl LinkStream {
    /// `tls` stands behind both opening lines.
    pub(crate) fn new(tls: TlsStream<TcpStream>, machine: Link) -> Self {
        Self { tls: Box::new(tls), machine }
    }

    /// Whether it carries nothing, and nothing is left to be sent.
    pub(crate) fn is_parked(&self) -> bool {
        self.machine.phase() == Phase::Parked && !self.tls.get_ref().1.wants_write()
    }

    /// Whether a parked link is still of use: nothing has come, neither its end nor bytes that do not belong.
    pub(crate) fn is_quiet(&mut self) -> bool {
        let received = self.poll_receive(&mut Context::from_waker(Waker::noop()), usize::MAX, |_| ());
        self.is_parked() && received.is_pending()
    }

    /// Sends our opening line, and asks for nothing yet.
    pub(crate) async fn greet(&mut self, ours: &Opening) -> Result<(), OpeningFailure> {
        send_opening(&mut self.tls, ours).await
    }

    /// Waits for the peer's opening line.
    pub(crate) async fn greeted(&mut self) -> Result<Opening, OpeningFailure> {
        read_opening(&mut self.tls).await
    }

    /// Asks for a tunnel, with as much of `early` as fits behind the question, in one write. Returns how much that was.
    /// `greeting` goes in front: the opening line, on a new connection.
    pub(crate) async fn ask(&mut self, greeting: &[u8], early: &[u8]) -> Result<usize, LinkEnd> {
        let Some(open) = self.machine.open() else { return Err(LinkEnd::Closed(Closed::Unused)) };
        let sent = early.len().min(EARLY.saturating_sub(greeting.len()));
        let mut bytes = [greeting, open].concat();
        if let Some(header) = self.machine.payload(sent) {
            bytes.extend_from_slice(&header);
            bytes.extend_from_slice(&early[..sent]);
        }
        let written = async {
            records(&mut self.tls).write_all(&bytes)?;
            self.tls.flush().await
        };
        // A record that has not left whole cannot be read by the peer.
        written.await.map_err(|_| LinkEnd::Closed(self.machine.closed(true)))?;
        Ok(sent)
    }

    /// Waits for the answer to [`ask`](Self::ask).
    pub(crate) async fn answered(&mut self) -> Result<(), NoTunnel> {
        let refusal =
            self.receive(|event| if let Event::Refused(refusal) = event { Some(refusal) } else { None }).await?;
        match refusal {
            None => Ok(()),
            Some(refusal) => {
                // Whether the link can be parked shows when it is given back.
                let _ = self.shutdown().await;
                Err(NoTunnel::Refused(refusal))
            }
        }
    }

    /// Waits until a tunnel is asked for.
    pub(crate) async fn asked(&mut self) -> Result<Open, LinkEnd> {
        // A listener's parked link knows no other event.
        self.receive(|event| if let Event::Open(open) = event { open } else { Open::default() }).await
    }

    /// Answers what was [`asked`](Self::asked).
    pub(crate) async fn answer(&mut self, answer: &Answer) -> io::Result<()> {
        let line = self.machine.answer(answer).ok_or(io::ErrorKind::NotConnected)?;
        records(&mut self.tls).write_all(&line)?;
        self.tls.flush().await
    }

    /// Ends a parked link in a way that tells the other side that nothing was lost; another is just closed.
    pub(crate) async fn close(mut self) {
        if self.machine.close() {
            // Who is gone needs no goodbye.
            let _ = self.tls.shutdown().await;
        }
    }

    async fn receive<T>(&mut self, mut take: impl FnMut(Event<'_>) -> T) -> Result<T, LinkEnd> {
        std::future::poll_fn(|cx| self.poll_receive(cx, usize::MAX, &mut take)).await
    }

    /// The next event, made out of at most `most` bytes.
    fn poll_receive<T>(
        &mut self,
        cx: &mut Context<'_>,
        most: usize,
        mut take: impl FnMut(Event<'_>) -> T,
    ) -> Poll<Result<T, LinkEnd>> {
        while !matches!(self.machine.phase(), Phase::Closed | Phase::Deciding) {
            let available = match ready!(Pin::new(&mut self.tls).poll_fill_buf(cx)) {
                Ok(bytes) if !bytes.is_empty() => bytes,
                end => return Poll::Ready(Err(LinkEnd::Closed(self.machine.closed(end.is_ok())))),
            };
            let offered = &available[..available.len().min(most)];
            let mut rest = offered;
            let taken = match self.machine.receive(&mut rest) {
                Ok(Some(Event::Reset(reason))) => Err(LinkEnd::Reset(reason)),
                Ok(event) => Ok(event.map(&mut take)),
                Err(error) => Err(error.into()),
            };
            let used = offered.len() - rest.len();
            Pin::new(&mut self.tls).consume(used);
            if let Some(taken) = taken.transpose() {
                return Poll::Ready(taken);
            }
        }
        Poll::Ready(Err(LinkEnd::Closed(Closed::Broken)))
    }

    /// Sends `frame` if the socket takes it at once.
    fn send_now(&mut self, frame: &[u8]) -> bool {
        let sent = records(&mut self.tls).write_all(frame).is_ok();
        let flushed = Pin::new(&mut self.tls).poll_flush(&mut Context::from_waker(Waker::noop()));
        sent && matches!(flushed, Poll::Ready(Ok(())))
    }
}

/// What one event is to a reader.
enum Read {
    Some,
    End,
}

impl AsyncRead for LinkStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        while buf.remaining() > 0 && self.machine.can_receive() {
            let room = buf.remaining();
            let received = self.poll_receive(cx, room, |event| match event {
                Event::Payload(bytes) => {
                    buf.put_slice(bytes);
                    Read::Some
                }
                Event::End => Read::End,
                _ => Read::Some, // an open tunnel knows no other
            });
            match received {
                Poll::Ready(Ok(Read::Some)) => {}
                Poll::Ready(Ok(Read::End)) => return Poll::Ready(Ok(())),
                // What came before is delivered first.
                _ if buf.filled().len() > before => return Poll::Ready(Ok(())),
                Poll::Ready(Err(end)) => return Poll::Ready(Err(end.into())),
                Poll::Pending => return Poll::Pending,
            }
        }
        if buf.filled().len() == before && matches!(self.machine.phase(), Phase::Closed | Phase::Opening) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for LinkStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.as_mut().poll_flush(cx))?;
        let this = self.as_mut().get_mut();
        let frames = bytes.chunks(MAX_PAYLOAD).take(BATCH);
        let headers: Option<Vec<_>> = frames.clone().map(|payload| this.machine.payload(payload.len())).collect();
        let headers = headers.ok_or(io::ErrorKind::BrokenPipe)?;
        let slices: Vec<_> = headers
            .iter()
            .zip(frames.clone())
            .flat_map(|(header, payload)| [IoSlice::new(header), IoSlice::new(payload)])
            .collect();
        let written = records(&mut this.tls).write_vectored(&slices)?;
        if written != slices.iter().map(|slice| slice.len()).sum::<usize>() {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into())); // it takes everything: see `records`
        }
        // What the socket does not take now, it takes at the next flush, before more is encrypted.
        if let Poll::Ready(Err(error)) = self.poll_flush(cx) {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(frames.map(<[u8]>::len).sum()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(end) = self.machine.end() {
            records(&mut self.tls).write_all(&end)?;
        }
        self.poll_flush(cx)
    }
}

impl Stream for LinkStream {
    fn reset_on_close(&mut self, reason: ResetReason) {
        if self.machine.phase() == Phase::Closed {
            return; // told already, or nobody is there to be told
        }
        let is_told = self.machine.reset(reason).is_some_and(|frame| self.send_now(&frame));
        if !is_told {
            self.tls.get_mut().0.reset_on_close(reason);
        }
    }
}
