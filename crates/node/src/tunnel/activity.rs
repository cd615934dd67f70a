//! When a tunnel's bytes moved.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::outcome::End;
use crate::limits::HALF_CLOSED_IDLE;

/// While the node stops, a tunnel that owes no answer ends after this silence: a browser's idle
/// connection must not hold the stop for the whole grace.
const DRAIN_SILENCE: Duration = Duration::from_secs(1);

/// A side of a tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// The one that serves.
    Service,
    /// The one that dialled.
    Dialler,
}

impl Side {
    pub(super) fn other(self) -> Self {
        match self {
            Self::Service => Self::Dialler,
            Self::Dialler => Self::Service,
        }
    }
}

/// What moved, when, and which way last.
pub(super) struct Activity {
    began: Instant,
    last_millis: AtomicU64,
    /// Whether that was since the time was kept.
    is_fresh: AtomicBool,
    /// Whether the last bytes went to the dialling side: then no answer is owed.
    answered: AtomicBool,
    to_service: AtomicU64,
    to_dialler: AtomicU64,
    is_half_closed: AtomicBool,
}

impl Activity {
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            last_millis: AtomicU64::new(0),
            is_fresh: AtomicBool::new(false),
            answered: AtomicBool::new(true),
            to_service: AtomicU64::new(0),
            to_dialler: AtomicU64::new(0),
            is_half_closed: AtomicBool::new(false),
        }
    }

    /// `delivered` bytes on their way `toward` a side are out of the application's hands, or of
    /// ours.
    pub(super) fn note(&self, toward: Side, delivered: usize) {
        let counter = match toward {
            Side::Service => &self.to_service,
            Side::Dialler => &self.to_dialler,
        };
        counter.fetch_add(delivered as u64, Ordering::Relaxed);
        self.is_fresh.store(true, Ordering::Relaxed);
        self.answered.store(toward == Side::Dialler, Ordering::Relaxed);
    }

    /// Keeps the time of what was noted since the last call. Returns whether there was something.
    pub(super) fn stamp(&self) -> bool {
        let is_fresh = self.is_fresh.load(Ordering::Relaxed);
        if is_fresh {
            self.is_fresh.store(false, Ordering::Relaxed);
            self.last_millis.store(self.began.elapsed().as_millis() as u64, Ordering::Relaxed);
        }
        is_fresh
    }

    /// Bytes `toward` a side so far.
    pub(super) fn bytes(&self, toward: Side) -> u64 {
        match toward {
            Side::Service => self.to_service.load(Ordering::Relaxed),
            Side::Dialler => self.to_dialler.load(Ordering::Relaxed),
        }
    }

    /// When something moved last.
    pub(super) fn last(&self) -> Instant {
        self.began + Duration::from_millis(self.last_millis.load(Ordering::Relaxed))
    }

    /// Says that one direction has ended. Returns whether that is new: then what waits for the
    /// tunnel to be [outlasted](Self::outlasted) has to look again.
    pub(super) fn half_closed(&self) -> bool {
        !self.is_half_closed.swap(true, Ordering::Relaxed)
    }

    /// Returns when it has been silent for too long, and why that is too long: for `idle`, for
    /// [`HALF_CLOSED_IDLE`] once a direction has ended, for [`DRAIN_SILENCE`] once `stop` was
    /// called and no answer is owed any more.
    ///
    /// Polled by hand, with one timer, on the heap and only where there is a limit: most tunnels
    /// are silent most of the time, and there are thousands of them.
    pub(super) async fn outlasted(&self, idle: Option<Duration>, stop: &CancellationToken) -> End {
        let (mut stopped, mut timer) = (pin!(stop.cancelled()), None);
        poll_fn(|cx| {
            let is_stopping = stopped.as_mut().poll(cx).is_ready();
            loop {
                let due = match self.due(idle, is_stopping) {
                    Ok(due) => due,
                    Err(end) => return Poll::Ready(end),
                };
                if ready!(poll_until(&mut timer, due, cx)).is_none() {
                    return Poll::Pending;
                }
            }
        })
        .await
    }

    /// When to look again whether it is silent for too long.
    ///
    /// # Errors
    /// It is, now.
    fn due(&self, idle: Option<Duration>, is_stopping: bool) -> Result<Option<Instant>, End> {
        let (now, limit) = (Instant::now(), if is_stopping { Some(DRAIN_SILENCE) } else { self.limit(idle) });
        let due = limit.map(|limit| self.last() + limit);
        match due.filter(|due| *due <= now) {
            Some(_) if !is_stopping => Err(End::Idle),
            Some(_) if self.answered.load(Ordering::Relaxed) => Err(End::Stopped),
            Some(_) => Ok(Some(now + DRAIN_SILENCE)),
            None => Ok(due),
        }
    }

    /// Silence after which the tunnel ends while the node does not stop.
    fn limit(&self, idle: Option<Duration>) -> Option<Duration> {
        let half_closed = self.is_half_closed.load(Ordering::Relaxed).then_some(HALF_CLOSED_IDLE);
        idle.into_iter().chain(half_closed).min()
    }
}

/// Ready when it is `due`: `None` when that is never.
fn poll_until(timer: &mut Option<Pin<Box<Sleep>>>, due: Option<Instant>, cx: &mut Context<'_>) -> Poll<Option<()>> {
    let Some(due) = due else { return Poll::Ready(None) };
    let timer = timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
    if timer.deadline() != due {
        timer.as_mut().reset(due);
    }
    timer.as_mut().poll(cx).map(Some)
}
