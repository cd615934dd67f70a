//! Streams of bytes: the connection of a browser or of a program, or what TLS runs over.

use std::future::poll_fn;
use std::io::{self, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hardline_proto::liveness::PathState;
use hardline_proto::tunnel::frame::ResetReason;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, Interest, ReadBuf};
use tokio::net::TcpStream;

use super::tcp;
use crate::system::unix_socket::UnixStream;

/// What can be broken off: either end of a tunnel.
pub trait Reset {
    /// Makes the coming close a reset where there is one, so that the other end sees a broken
    /// tunnel as broken and takes no truncated answer for a whole one.
    fn reset_on_close(&mut self, reason: ResetReason);
}

/// When a silent computer is asked whether it is still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asking {
    /// Now and then.
    Rarely,
    /// After a few seconds.
    Soon,
    /// At once.
    Now,
}

/// A stream of bytes with two ends.
pub trait ByteStream: AsyncRead + AsyncWrite + Reset + Unpin + Send + Sync + 'static {
    /// The address of this computer that the other end knows, if it has one.
    fn local_ip(&self) -> Option<IpAddr> {
        None
    }

    /// What is known of the other end's computer, where the system tells.
    fn path_state(&self) -> Option<PathState> {
        None
    }

    /// Says when the other end's computer is asked whether it is there.
    fn ask(&self, _asking: Asking) {}

    /// Reads into `room`, in order, in as few calls as possible, and returns how many bytes; 0 at
    /// the end.
    fn poll_read_slices(&mut self, cx: &mut Context<'_>, room: &mut [IoSliceMut<'_>]) -> Poll<io::Result<usize>> {
        let Some(first) = room.first_mut() else { return Poll::Ready(Ok(0)) };
        let mut read = ReadBuf::new(first);
        ready!(Pin::new(self).poll_read(cx, &mut read))?;
        Poll::Ready(Ok(read.filled().len()))
    }
}

/// Reads what has come, `MOST` bytes at a time, to the end of `bytes`, and returns how many they
/// were; 0 at the end of the stream. While nothing comes no memory is kept for it: most strangers
/// who say little say it slowly.
pub(crate) async fn read_onto<const MOST: usize>(
    stream: &mut (impl AsyncRead + Unpin),
    bytes: &mut Vec<u8>,
) -> io::Result<usize> {
    poll_fn(|cx| {
        let mut room = [MaybeUninit::uninit(); MOST];
        let mut read = ReadBuf::uninit(&mut room);
        ready!(Pin::new(&mut *stream).poll_read(cx, &mut read))?;
        bytes.extend_from_slice(read.filled());
        Poll::Ready(Ok(read.filled().len()))
    })
    .await
}

impl ByteStream for TcpStream {
    fn local_ip(&self) -> Option<IpAddr> {
        Some(self.local_addr().ok()?.ip())
    }

    fn path_state(&self) -> Option<PathState> {
        tcp::path_state(self)
    }

    fn ask(&self, asking: Asking) {
        tcp::ask(self, asking);
    }

    fn poll_read_slices(&mut self, cx: &mut Context<'_>, room: &mut [IoSliceMut<'_>]) -> Poll<io::Result<usize>> {
        if let [room] = room {
            let mut read = ReadBuf::new(room);
            ready!(Pin::new(self).poll_read(cx, &mut read))?;
            return Poll::Ready(Ok(read.filled().len()));
        }
        let most: usize = room.iter().map(|slice| slice.len()).sum();
        loop {
            ready!(self.poll_read_ready(cx))?;
            let mut short = None;
            let read = self.try_io(Interest::READABLE, || {
                let read = (&*SockRef::from(&*self)).read_vectored(room)?;
                if 0 < read && read < most {
                    // The socket is empty. Said in this way, the runtime waits for more before it
                    // reads again.
                    short = Some(read);
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                Ok(read)
            });
            match (short, read) {
                (Some(read), _) | (None, Ok(read)) => return Poll::Ready(Ok(read)),
                (None, Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
                (None, Err(error)) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl Reset for TcpStream {
    fn reset_on_close(&mut self, _reason: ResetReason) {
        // Fails only on a socket that is closed already.
        let _ = self.set_zero_linger();
    }
}

impl ByteStream for UnixStream {}

impl Reset for UnixStream {
    fn reset_on_close(&mut self, _reason: ResetReason) {} // it knows none: dropping it is all there is
}

impl ByteStream for DuplexStream {}

impl Reset for DuplexStream {
    fn reset_on_close(&mut self, _reason: ResetReason) {} // it knows none
}
