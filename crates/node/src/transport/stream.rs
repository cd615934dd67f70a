//! The application's end of a tunnel.

use std::io::{self, IoSliceMut, Read};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hardline_proto::tunnel::frame::ResetReason;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, Interest, ReadBuf};
use tokio::net::TcpStream;

use super::Reset;

/// A connection of a browser or of a program.
pub(crate) trait Application: AsyncRead + AsyncWrite + Reset + Unpin + Send {
    /// Reads into `room`, in order, in as few calls as possible, and returns how many bytes; 0 at the end.
    fn poll_read_slices(&mut self, cx: &mut Context<'_>, room: &mut [IoSliceMut<'_>]) -> Poll<io::Result<usize>> {
        let Some(first) = room.first_mut() else { return Poll::Ready(Ok(0)) };
        let mut read = ReadBuf::new(first);
        ready!(Pin::new(self).poll_read(cx, &mut read))?;
        Poll::Ready(Ok(read.filled().len()))
    }
}

impl Application for TcpStream {
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
                    // The socket is empty. Said in this way, the runtime waits for more before it reads again.
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

#[cfg(unix)]
impl Application for tokio::net::UnixStream {}

#[cfg(unix)]
impl Reset for tokio::net::UnixStream {
    fn reset_on_close(&mut self, _reason: ResetReason) {} // it knows none: dropping it is all there is
}

impl Application for DuplexStream {}

impl Reset for DuplexStream {
    fn reset_on_close(&mut self, _reason: ResetReason) {} // it knows none
}
