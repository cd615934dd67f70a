//! A stage in front of the program behind a service that understands HTTP/1.1: heads are rewritten
//! (`proto::rewrite`), and the program may speak TLS. Bodies stream through, and after an upgrade
//! bytes are raw again.
//!
//! A visitor's connection has one connection to the program at a time, so what visitors do cannot
//! mix. Both are hyper's; in front of it `proto::framing` refuses what could be read in two ways.

mod exchange; // a request → the program's answer
mod pages; // what is answered when the program does not
mod serve; // a visitor's connection, request after request
mod settings; // what a service's settings ask for
mod talk; // what the parts of a visitor's connection tell each other
mod upload; // a request's body on its way
mod visitor; // a visitor's bytes

use std::io::{self, IoSlice};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hardline_proto::rewrite::Rules;
use hardline_proto::tunnel::frame::ResetReason;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};
use tokio_util::task::AbortOnDropHandle;

use self::talk::Talk;
use super::place::Place;
use super::{BackendStream, BackendTimeouts};
use crate::config::ServiceConfig;
use crate::tls::backend::BackendTls;
use crate::transport::{ByteStream, Reset};

/// Bytes on their way in each direction between a tunnel and its stage. Who is slower makes the
/// other wait.
const PIPE: usize = 64 * 1024;

/// The stage of one service.
#[derive(Debug)]
pub(crate) struct HttpStage {
    rules: Rules,
    /// Where the program speaks TLS.
    tls: Option<BackendTls>,
    place: Place,
    /// Time for a TLS handshake with the program.
    handshake: Duration,
    /// Time for the program to begin an answer.
    answer: Duration,
}

impl HttpStage {
    /// The stage that `config` asks for, if it asks for one.
    ///
    /// # Errors
    /// When its settings cannot be used: a file of certificates that cannot be read, say.
    pub(super) fn new(config: &ServiceConfig, place: Place, timeouts: BackendTimeouts) -> io::Result<Option<Self>> {
        let Some(rules) = settings::rules(config) else { return Ok(None) };
        let tls = settings::tls(config)?;
        Ok(Some(Self { rules, tls, place, handshake: timeouts.connect, answer: timeouts.answer }))
    }

    /// Begins to serve a visitor whose computer is at `visitor`. The program is connected to
    /// before, so that one that does not run is told as for a raw service.
    pub(super) async fn connect(stage: &Arc<Self>, visitor: IpAddr) -> io::Result<Staged> {
        let first = stage.place.connect().await?;
        let (pipe, far) = duplex(PIPE);
        let talk = Arc::new(Talk::default());
        let serving = serve::serve(Arc::clone(stage), visitor, far, first, Arc::clone(&talk));
        Ok(Staged { pipe, talk, _serving: AbortOnDropHandle::new(tokio::spawn(serving)) })
    }
}

/// A tunnel's end of the stage. Everything behind it ends with it.
#[derive(Debug)]
pub(crate) struct Staged {
    pipe: DuplexStream,
    talk: Arc<Talk>,
    _serving: AbortOnDropHandle<()>,
}

impl AsyncRead for Staged {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.pipe).poll_read(cx, buf))?;
        // A truncated answer must not look whole.
        if buf.filled().len() == before && self.talk.is_broken() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Staged {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.pipe).poll_write(cx, bytes)
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.pipe).poll_write_vectored(cx, pieces)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_shutdown(cx)
    }
}

impl ByteStream for Staged {}

impl Reset for Staged {
    fn reset_on_close(&mut self, _reason: ResetReason) {
        self.talk.reset();
    }
}

/// A connection to the program, for one visitor; reset when the visitor's is.
#[derive(Debug)]
struct BackendIo {
    stream: BackendStream,
    talk: Arc<Talk>,
}

impl AsyncRead for BackendIo {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for BackendIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, pieces)
    }
    fn is_write_vectored(&self) -> bool {
        true
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Drop for BackendIo {
    fn drop(&mut self) {
        if self.talk.is_reset() {
            self.stream.reset_on_close(ResetReason::APPLICATION);
        }
    }
}
