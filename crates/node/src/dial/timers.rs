//! Timers that are used again.
//!
//! A new timer that is due before all others wakes the thread that waits for them: a system call
//! for each tunnel. One that is moved to a later time costs no more than a store, and it is looked
//! at when its old time has come.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// Timers kept for the next. More than that at once are made anew.
const KEPT: usize = 32;

/// Timers that nobody waits for now.
#[derive(Default)]
pub(super) struct Timers(Mutex<Vec<Pin<Box<Sleep>>>>);

/// A timer in use.
struct Lent<'a> {
    timers: &'a Timers,
    /// There until it is given back.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Timers {
    /// What `future` comes to, if it does within `time`.
    pub(super) async fn timeout<F: Future>(&self, time: Duration, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        let mut lent = None;
        poll_fn(|cx| {
            if let Poll::Ready(output) = future.as_mut().poll(cx) {
                return Poll::Ready(Some(output));
            }
            let Lent { timer, .. } = lent.get_or_insert_with(|| self.lend(Instant::now() + time));
            timer.as_mut().map_or(Poll::Pending, |timer| timer.as_mut().poll(cx)).map(|()| None)
        })
        .await
    }

    fn lend(&self, deadline: Instant) -> Lent<'_> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let timer = match kept {
            Some(mut timer) => {
                timer.as_mut().reset(deadline);
                timer
            }
            None => Box::pin(sleep_until(deadline)),
        };
        Lent { timers: self, timer: Some(timer) }
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let mut kept = self.timers.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT {
            kept.extend(self.timer.take());
        }
    }
}

impl fmt::Debug for Timers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timers").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::Arc;

    use tokio::time::sleep;

    use super::*;

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn kept(timers: &Timers) -> usize {
        timers.0.lock().unwrap().len()
    }

    #[tokio::test(start_paused = true)]
    async fn a_timer_that_is_used_again_keeps_the_new_time_whether_earlier_or_later() {
        let (timers, begun) = (Timers::default(), Instant::now());
        assert_eq!(timers.timeout(ms(100), sleep(ms(10))).await, Some(()));
        assert_eq!(timers.timeout(ms(100), pending::<()>()).await, None);
        assert_eq!(begun.elapsed(), ms(110));
        assert_eq!(timers.timeout(ms(1000), sleep(ms(10))).await, Some(()));
        assert_eq!(timers.timeout(ms(30), pending::<()>()).await, None);
        assert_eq!(begun.elapsed(), ms(150));
        assert_eq!(kept(&timers), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_there_at_once_takes_no_timer() {
        let timers = Timers::default();
        assert_eq!(timers.timeout(ms(1), async { 7 }).await, Some(7));
        assert_eq!(kept(&timers), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn any_number_may_wait_at_once_and_a_few_are_kept() {
        let (timers, begun) = (Arc::new(Timers::default()), Instant::now());
        let waiting = (0..3 * KEPT).map(|_| Arc::clone(&timers));
        let waiting: Vec<_> =
            waiting.map(|timers| tokio::spawn(async move { timers.timeout(ms(75), pending::<()>()).await })).collect();
        for one in waiting {
            assert_eq!(one.await.unwrap(), None);
        }
        assert_eq!((begun.elapsed(), kept(&timers)), (ms(75), KEPT));
    }
}
