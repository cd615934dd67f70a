//! When to look at this computer's interfaces again.

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use if_watch::tokio::IfWatcher;
use tokio::time::{MissedTickBehavior, interval};
use tracing::debug;

/// Time between two looks without being told of a change. A cable pulled or plugged in changes no address, so nothing tells
/// of it, and two seconds are the most that a change may go unnoticed.
const LOOK_INTERVAL: Duration = Duration::from_millis(1500);

/// Tells when to look at the interfaces again: the system says so, or some time has passed.
pub(crate) struct Changes {
    watcher: Option<IfWatcher>,
    looks: tokio::time::Interval,
}

impl Changes {
    /// Where the system does not tell, only time does.
    pub(crate) fn new() -> Self {
        let watcher =
            IfWatcher::new().inspect_err(|error| debug!(%error, "interfaces are looked at now and then only"));
        let mut looks = interval(LOOK_INTERVAL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { watcher: watcher.ok(), looks }
    }

    /// Waits for the next reason to look. Cancel safe.
    pub(crate) async fn next(&mut self) {
        poll_fn(|cx| self.poll_next(cx)).await;
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut is_changed = self.looks.poll_tick(cx).is_ready();
        // Many changes at once, as at the start, are one reason to look.
        while let Some(watcher) = &mut self.watcher {
            match watcher.poll_if_event(cx) {
                Poll::Ready(Ok(_)) => is_changed = true,
                Poll::Ready(Err(error)) => {
                    debug!(%error, "interfaces are looked at now and then only");
                    self.watcher = None;
                }
                Poll::Pending => break,
            }
        }
        if is_changed { Poll::Ready(()) } else { Poll::Pending }
    }
}
