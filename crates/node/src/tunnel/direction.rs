//! One direction of a tunnel.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::activity::{Activity, Side};
use crate::session::Carrier;
use crate::transport::ByteStream;

/// How one direction stopped.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stopped {
    /// Nobody reads it any more.
    Receiver(io::ErrorKind),
    /// Its sender broke.
    Sender(io::ErrorKind),
}

/// One direction of a tunnel, and how far it has come.
pub(super) struct Direction<D> {
    copying: D,
    state: State,
}

enum State {
    Copying,
    /// The sender has ended; the receiver is being told.
    Ending,
    Stopped(Result<(), Stopped>),
}

/// Which way bytes are copied. By us they are not: an application's are read to where they are
/// sealed, a peer's are written from where they were opened.
pub(super) trait CopyDirection<A, C: ?Sized> {
    /// Copies until the sender ends.
    fn poll_copy(&mut self, cx: &mut Context<'_>, a: &mut A, c: &mut C, activity: &Activity) -> Copied;
    /// Tells the receiver that nothing more comes.
    fn poll_end(&mut self, cx: &mut Context<'_>, a: &mut A, c: &mut C) -> Poll<io::Result<()>>;
}

pub(super) type Copied = Poll<Result<(), Stopped>>;

/// From an application to a peer.
pub(super) struct ToPeer {
    pub(super) toward: Side,
    /// Whether the last read filled a record: then there is more, and room for more is worth its
    /// while.
    pub(super) is_full: bool,
}

/// From a peer to an application.
pub(super) struct FromPeer {
    pub(super) toward: Side,
    pub(super) is_flushed: bool,
}

impl<D> Direction<D> {
    pub(super) fn new(copying: D) -> Self {
        Self { copying, state: State::Copying }
    }

    pub(super) fn poll<A, C: ?Sized>(
        &mut self,
        cx: &mut Context<'_>,
        application: &mut A,
        carrier: &mut C,
        activity: &Activity,
    ) -> Copied
    where
        D: CopyDirection<A, C>,
    {
        loop {
            match self.state {
                State::Copying => match ready!(self.copying.poll_copy(cx, application, carrier, activity)) {
                    Ok(()) => self.state = State::Ending,
                    Err(stopped) => self.state = State::Stopped(Err(stopped)),
                },
                State::Ending => {
                    // Nobody is hurt when the receiver has gone before it heard that nothing more
                    // comes.
                    let _ = ready!(self.copying.poll_end(cx, application, carrier));
                    self.state = State::Stopped(Ok(()));
                }
                State::Stopped(how) => return Poll::Ready(how),
            }
        }
    }
}

impl<A: ByteStream, C: Carrier + ?Sized> CopyDirection<A, C> for ToPeer {
    fn poll_copy(&mut self, cx: &mut Context<'_>, application: &mut A, carrier: &mut C, activity: &Activity) -> Copied {
        loop {
            ready!(carrier.poll_send(cx)).map_err(receiver_gone)?;
            let mut room = carrier.room().map_err(receiver_gone)?;
            let slices = room.slices();
            let (count, first) = (slices.len(), slices.first().map_or(0, |slice| slice.len()));
            let slices = &mut slices[..if self.is_full { count } else { count.min(1) }];
            let Poll::Ready(read) = application.poll_read_slices(cx, slices) else {
                carrier.forget_room();
                return Poll::Pending;
            };
            match read {
                Ok(0) => {
                    carrier.forget_room();
                    return Poll::Ready(Ok(()));
                }
                Ok(length) => {
                    self.is_full = length >= first;
                    carrier.commit(length).map_err(receiver_gone)?;
                    activity.note(self.toward, length);
                }
                Err(error) => {
                    carrier.forget_room();
                    return Poll::Ready(Err(Stopped::Sender(error.kind())));
                }
            }
        }
    }

    fn poll_end(&mut self, cx: &mut Context<'_>, _application: &mut A, carrier: &mut C) -> Poll<io::Result<()>> {
        carrier.poll_end(cx)
    }
}

impl<A: ByteStream, C: Carrier + ?Sized> CopyDirection<A, C> for FromPeer {
    fn poll_copy(&mut self, cx: &mut Context<'_>, application: &mut A, carrier: &mut C, activity: &Activity) -> Copied {
        loop {
            let Poll::Ready(payload) = carrier.poll_payload(cx) else {
                // While nothing comes, what came must arrive.
                if !self.is_flushed {
                    ready!(Pin::new(&mut *application).poll_flush(cx)).map_err(receiver_gone)?;
                    self.is_flushed = true;
                }
                return Poll::Pending;
            };
            match payload {
                Ok(true) => {}
                Ok(false) => return Poll::Ready(Ok(())),
                Err(error) => return Poll::Ready(Err(Stopped::Sender(error.kind()))),
            }
            let application = Pin::new(&mut *application);
            let written = ready!(match carrier.payload().slices() {
                [piece] => application.poll_write(cx, piece),
                pieces => application.poll_write_vectored(cx, pieces),
            });
            let written = written.and_then(|n| if n == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(n) });
            let written = written.map_err(receiver_gone)?;
            carrier.consume(written);
            self.is_flushed = false;
            activity.note(self.toward, written);
        }
    }

    fn poll_end(&mut self, cx: &mut Context<'_>, application: &mut A, _carrier: &mut C) -> Poll<io::Result<()>> {
        Pin::new(application).poll_shutdown(cx)
    }
}

fn receiver_gone(error: io::Error) -> Stopped {
    Stopped::Receiver(error.kind())
}
