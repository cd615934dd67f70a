//! A request's body on its way to the program.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep, sleep};

/// Time that a body is held back for the program's `100 Continue`. Programs that know none wait for
/// the body (RFC 9110, section 10.1.1).
const CONTINUE_LIMIT: Duration = Duration::from_secs(1);

/// How far a body has come.
#[derive(Debug)]
pub(super) struct Progress {
    moved: Mutex<Instant>,
    is_sent: AtomicBool,
}

impl Progress {
    fn new(is_sent: bool) -> Arc<Self> {
        Arc::new(Self { moved: Mutex::new(Instant::now()), is_sent: AtomicBool::new(is_sent) })
    }

    /// When something was sent last.
    pub(super) fn moved(&self) -> Instant {
        *self.moved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether all of it was sent.
    pub(super) fn is_sent(&self) -> bool {
        self.is_sent.load(Ordering::Relaxed)
    }

    fn moves(&self, is_sent: bool) {
        *self.moved.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.is_sent.fetch_or(is_sent, Ordering::Relaxed);
    }
}

/// A body as the visitor sends it, frame by frame.
#[derive(Debug)]
pub(super) struct Upload {
    /// `None`: there is none.
    body: Option<Incoming>,
    progress: Arc<Progress>,
    held_back: Option<HeldBack>,
}

/// What a body waits for.
#[derive(Debug)]
struct HeldBack {
    may_go: oneshot::Receiver<()>,
    limit: Pin<Box<Sleep>>,
}

impl Upload {
    /// Passes `body` on at once; with `may_go` when that is told, or a second later.
    pub(super) fn new(body: Option<Incoming>, may_go: Option<oneshot::Receiver<()>>) -> Self {
        let progress = Progress::new(body.as_ref().is_none_or(Body::is_end_stream));
        let held_back = may_go.map(|may_go| HeldBack { may_go, limit: Box::pin(sleep(CONTINUE_LIMIT)) });
        Self { body, progress, held_back }
    }

    pub(super) fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = hyper::Error;

    /// Never ready once the program has answered without the body: the visitor is not asked for it.
    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        if let Some(held_back) = &mut this.held_back {
            match Pin::new(&mut held_back.may_go).poll(cx) {
                Poll::Ready(Ok(())) => {}
                // The program has answered without it.
                Poll::Ready(Err(_)) => return Poll::Pending,
                Poll::Pending => ready!(held_back.limit.as_mut().poll(cx)),
            }
            this.held_back = None;
        }
        let Some(body) = &mut this.body else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(&mut *body).poll_frame(cx));
        this.progress.moves(frame.is_none() || body.is_end_stream());
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}
