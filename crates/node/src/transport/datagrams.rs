//! Datagrams as a stream of bytes, which tunnels carry: a length in front of each
//! ([`hardline_proto::tunnel::datagram`]).

use std::future::Future as _;
use std::io::{self, IoSliceMut};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use hardline_proto::tunnel::datagram::{DatagramQueue, DatagramReader, HEADER, MAX_DATAGRAM, header};
use hardline_proto::tunnel::frame::ResetReason;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UdpSocket;
use tokio::time::{Instant, Sleep, sleep};

use super::buffers::Buffer;
use super::{ByteStream, Reset};
use crate::limits::{DATAGRAM_BYTES_WAITING, DATAGRAMS_WAITING};

/// Memory kept for the datagram on its way, in bytes: one that fits into a packet.
const KEPT: usize = 2048;

/// Errors of a socket in a row that tell of datagrams sent earlier. As many as may wait for us.
const TOLD: usize = 16;

/// Where datagrams of one kind come from and go to.
pub(crate) trait DatagramEnd: Send + Sync + Unpin + 'static {
    /// Waits for the next datagram, and puts it behind what is in `frame`; `false` when none comes
    /// any more.
    fn poll_receive(&mut self, cx: &mut Context<'_>, frame: &mut Vec<u8>) -> Poll<io::Result<bool>>;

    /// Sends a datagram, or loses it where there is no room.
    fn send(&mut self, datagram: &[u8]);

    /// Says that nothing is received here any more.
    fn close(&mut self) {}
}

/// Datagrams that wait for who reads them.
#[derive(Debug)]
pub(crate) struct Inbox {
    waiting: Mutex<Waiting>,
    dropped: AtomicU64,
}

#[derive(Debug)]
struct Waiting {
    queue: DatagramQueue,
    reader: Option<Waker>,
    is_closed: bool,
}

impl Default for Inbox {
    fn default() -> Self {
        let queue = DatagramQueue::new(DATAGRAMS_WAITING, DATAGRAM_BYTES_WAITING);
        Self { waiting: Mutex::new(Waiting { queue, reader: None, is_closed: false }), dropped: AtomicU64::new(0) }
    }
}

impl Inbox {
    /// Takes a datagram; where there is no room the oldest makes it. Returns whether there is
    /// somebody to read it.
    pub(crate) fn push(&self, datagram: &[u8]) -> bool {
        let mut waiting = self.lock();
        if waiting.is_closed {
            return false;
        }
        let dropped = waiting.queue.push(datagram);
        self.dropped.fetch_add(dropped, Ordering::Relaxed);
        if let Some(reader) = waiting.reader.take() {
            reader.wake();
        }
        true
    }

    /// Waits for the oldest; `None` when it is closed.
    pub(crate) fn poll_pop(&self, cx: &Context<'_>) -> Poll<Option<Vec<u8>>> {
        let mut waiting = self.lock();
        if waiting.is_closed {
            return Poll::Ready(None);
        }
        match waiting.queue.pop() {
            Some(datagram) => Poll::Ready(Some(datagram)),
            None => {
                waiting.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Takes the oldest, if there is one.
    pub(crate) fn pop(&self) -> Option<Vec<u8>> {
        self.lock().queue.pop()
    }

    /// Lets nothing more in or out.
    pub(crate) fn close(&self) {
        let mut waiting = self.lock();
        waiting.is_closed = true;
        if let Some(reader) = waiting.reader.take() {
            reader.wake();
        }
    }

    /// How many were dropped for want of room.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts a datagram with its length behind `frames`; one that is too long is lost.
pub(crate) fn put_frame(frames: &mut Vec<u8>, datagram: &[u8]) {
    if let Some(header) = header(datagram.len()) {
        frames.extend_from_slice(&header);
        frames.extend_from_slice(datagram);
    }
}

/// Waits for a datagram at a socket that is connected, and puts it behind what is in `frame`.
///
/// # Errors
/// Those of the socket. They may tell of a datagram sent earlier.
pub(crate) fn poll_socket(socket: &UdpSocket, cx: &mut Context<'_>, frame: &mut Vec<u8>) -> Poll<io::Result<()>> {
    // Lent only if something is there.
    let mut buffer = Buffer::take();
    let mut read = ReadBuf::new(&mut buffer);
    ready!(socket.poll_recv(cx, &mut read))?;
    frame.extend_from_slice(read.filled());
    Poll::Ready(Ok(()))
}

/// Whether an error of a UDP socket tells of what became of an earlier datagram, and no more.
pub(crate) fn is_told(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, ConnectionReset, HostUnreachable, NetworkUnreachable};
    matches!(error.kind(), ConnectionRefused | ConnectionReset | HostUnreachable | NetworkUnreachable)
}

/// Datagrams of one flow as a stream of bytes.
///
/// It ends when nothing has come or gone for a time (RFC 4787, section 4.3), or when the other end
/// of the tunnel has ended.
pub(crate) struct DatagramStream<E> {
    end: E,
    reader: DatagramReader,
    /// A datagram with its length, and how much of it has been read.
    frame: Vec<u8>,
    read: usize,
    state: State,
    idle: Duration,
    last: Instant,
    timer: Pin<Box<Sleep>>,
    waker: Option<Waker>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Ended,
    /// What came from the tunnel makes no sense.
    Broken,
}

impl<E> std::fmt::Debug for DatagramStream<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("DatagramStream").field(&self.state).finish()
    }
}

impl<E: DatagramEnd> DatagramStream<E> {
    /// The datagrams of `end`, until there was none for `idle`.
    pub(crate) fn new(end: E, idle: Duration) -> Self {
        Self {
            end,
            reader: DatagramReader::default(),
            frame: Vec::new(),
            read: 0,
            state: State::Open,
            idle,
            last: Instant::now(),
            timer: Box::pin(sleep(idle)),
            waker: None,
        }
    }

    /// Waits for a datagram, which is then in `frame`; `false` at the end.
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        for _ in 0..TOLD {
            match self.state {
                State::Open => {}
                State::Ended => return Poll::Ready(Ok(false)),
                State::Broken => return Poll::Ready(Err(io::ErrorKind::InvalidData.into())),
            }
            self.frame.resize(HEADER, 0);
            let received = self.end.poll_receive(cx, &mut self.frame);
            let length = self.frame.len() - HEADER;
            match received {
                Poll::Pending => {
                    self.frame.clear();
                    ready!(self.poll_silence(cx));
                    self.finish(State::Ended);
                }
                Poll::Ready(Ok(true)) if length <= MAX_DATAGRAM => {
                    self.frame[..HEADER].copy_from_slice(&header(length).unwrap_or_default());
                    self.last = Instant::now();
                    return Poll::Ready(Ok(true));
                }
                Poll::Ready(Ok(true)) => self.frame.clear(),
                Poll::Ready(Ok(false)) => {
                    self.frame.clear();
                    self.finish(State::Ended);
                }
                Poll::Ready(Err(error)) => {
                    self.frame.clear();
                    if !is_told(&error) {
                        return Poll::Ready(Err(error));
                    }
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Returns when nothing has come or gone for too long.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.waker = Some(cx.waker().clone());
        loop {
            ready!(self.timer.as_mut().poll(cx));
            let due = self.last + self.idle;
            if due <= Instant::now() {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(due);
        }
    }

    fn finish(&mut self, state: State) {
        if self.state == State::Open {
            self.state = state;
            self.end.close();
        }
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl<E: DatagramEnd> ByteStream for DatagramStream<E> {
    /// Reads as many datagrams as have come and fit. One is cut only if the room cannot hold it
    /// alone.
    fn poll_read_slices(&mut self, cx: &mut Context<'_>, room: &mut [IoSliceMut<'_>]) -> Poll<io::Result<usize>> {
        let most: usize = room.iter().map(|piece| piece.len()).sum();
        let mut filled = 0;
        while filled < most {
            if self.read == self.frame.len() {
                self.read = 0;
                self.frame.clear();
                self.frame.shrink_to(KEPT);
                match self.poll_frame(cx) {
                    Poll::Ready(Ok(true)) => {}
                    _ if filled > 0 => break, // said the next time
                    Poll::Ready(Ok(false)) => return Poll::Ready(Ok(0)),
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => return Poll::Pending,
                }
            }
            let rest = &self.frame[self.read..];
            if filled > 0 && rest.len() > most - filled {
                break;
            }
            let copied = put(room, filled, rest);
            self.read += copied;
            filled += copied;
        }
        Poll::Ready(Ok(filled))
    }
}

/// Copies as much of `bytes` as there is room for behind the first `filled` bytes.
fn put(room: &mut [IoSliceMut<'_>], filled: usize, bytes: &[u8]) -> usize {
    let (mut skip, mut rest) = (filled, bytes);
    for piece in room {
        let used = skip.min(piece.len());
        skip -= used;
        let free = &mut piece[used..];
        let (part, after) = rest.split_at(rest.len().min(free.len()));
        free[..part.len()].copy_from_slice(part);
        rest = after;
    }
    bytes.len() - rest.len()
}

impl<E: DatagramEnd> AsyncRead for DatagramStream<E> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let room = buf.initialize_unfilled();
        let read = ready!(self.get_mut().poll_read_slices(cx, &mut [IoSliceMut::new(room)]))?;
        buf.advance(read);
        Poll::Ready(Ok(()))
    }
}

impl<E: DatagramEnd> AsyncWrite for DatagramStream<E> {
    fn poll_write(self: Pin<&mut Self>, _cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let mut input = bytes;
        loop {
            match this.reader.next(&mut input) {
                Ok(Some(datagram)) => this.end.send(datagram),
                Ok(None) => break,
                Err(error) => {
                    this.finish(State::Broken);
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error)));
                }
            }
            this.last = Instant::now();
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// A flow whose other end has ended is over: nobody is there to answer.
    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().finish(State::Ended);
        Poll::Ready(Ok(()))
    }
}

impl<E> Reset for DatagramStream<E> {
    fn reset_on_close(&mut self, _reason: ResetReason) {} // UDP knows none
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::Arc;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// One end in memory: what was sent, and what comes.
    #[derive(Clone, Default)]
    struct End {
        comes: Arc<Inbox>,
        sent: Arc<Mutex<Vec<Vec<u8>>>>,
    }

    impl DatagramEnd for End {
        fn poll_receive(&mut self, cx: &mut Context<'_>, frame: &mut Vec<u8>) -> Poll<io::Result<bool>> {
            let Some(datagram) = ready!(self.comes.poll_pop(cx)) else { return Poll::Ready(Ok(false)) };
            frame.extend_from_slice(&datagram);
            Poll::Ready(Ok(true))
        }
        fn send(&mut self, datagram: &[u8]) {
            self.sent.lock().unwrap().push(datagram.to_vec());
        }
        fn close(&mut self) {
            self.comes.close();
        }
    }

    const IDLE: Duration = Duration::from_secs(120);

    fn stream() -> (End, DatagramStream<End>) {
        let end = End::default();
        (end.clone(), DatagramStream::new(end, IDLE))
    }

    #[tokio::test]
    async fn datagrams_are_read_whole_in_order_and_cut_only_where_they_must_be() {
        let (end, mut stream) = stream();
        for datagram in [&b"one"[..], b"", &[7; 90], &[8; 200]] {
            end.comes.push(datagram);
        }
        let (mut first, mut second) = ([0; 8], [0; 80]);
        let mut room = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
        let read = poll_fn(|cx| stream.poll_read_slices(cx, &mut room)).await.unwrap();
        assert_eq!((read, &first[..7]), (7, &b"\0\x03one\0\0"[..]), "the third has no room behind them");
        let mut room = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
        assert_eq!(poll_fn(|cx| stream.poll_read_slices(cx, &mut room)).await.unwrap(), 88);
        assert_eq!((first, second[79]), ([0, 90, 7, 7, 7, 7, 7, 7], 7));
        let mut rest = vec![0; 4 + 202];
        stream.read_exact(&mut rest).await.unwrap();
        assert_eq!(rest, [&[7; 4][..], &[0, 200], &[8; 200]].concat());
    }

    #[tokio::test]
    async fn what_is_written_is_sent_datagram_by_datagram() {
        let (end, mut stream) = stream();
        for part in [&b"\0\x03one\0"[..], b"\0\0\x05th", b"ree"] {
            stream.write_all(part).await.unwrap();
        }
        assert_eq!(*end.sent.lock().unwrap(), [&b"one"[..], b"", b"three"]);
        assert!(stream.write_all(&[0xff, 0xff]).await.is_err());
        assert!(stream.read(&mut [0; 8]).await.is_err(), "and so the tunnel breaks");
    }

    #[tokio::test(start_paused = true)]
    async fn a_flow_ends_when_it_was_silent_both_ways_or_the_other_end_has_ended() {
        let (end, mut stream) = stream();
        let began = Instant::now();
        for _ in 0..3 {
            tokio::time::advance(IDLE - Duration::from_secs(1)).await;
            stream.write_all(&[0, 0]).await.unwrap();
            tokio::time::advance(IDLE - Duration::from_secs(1)).await;
            end.comes.push(b"");
            stream.read_exact(&mut [0; 2]).await.unwrap();
        }
        assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0);
        assert_eq!(began.elapsed().as_secs(), 7 * IDLE.as_secs() - 6);
        assert!(!end.comes.push(b"late"), "it is told that nobody reads any more");

        let (_end, mut stream) = self::stream();
        stream.shutdown().await.unwrap();
        assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0);
    }
}
