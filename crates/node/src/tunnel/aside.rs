//! What rarely happens, beside what often does.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// A future that is polled when it was woken itself, and not whenever another of the same task is: a tunnel wakes for every
/// packet, and its time limit once an hour.
pub(super) struct Aside<F> {
    future: F,
    bell: Arc<Bell>,
    /// Rings the bell.
    waker: Waker,
    /// Whom the bell wakes.
    task: Waker,
}

struct Bell {
    has_rung: AtomicBool,
    task: Mutex<Waker>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.has_rung.store(true, Ordering::Release);
        self.task.lock().unwrap_or_else(PoisonError::into_inner).wake_by_ref();
    }
}

impl<F: Future + Unpin> Aside<F> {
    pub(super) fn new(future: F) -> Self {
        let task = Waker::noop().clone();
        let bell = Arc::new(Bell { has_rung: AtomicBool::new(true), task: Mutex::new(task.clone()) });
        Self { future, waker: Waker::from(Arc::clone(&bell)), bell, task }
    }

    pub(super) fn poll(&mut self, cx: &Context<'_>) -> Poll<F::Output> {
        if !self.task.will_wake(cx.waker()) {
            self.task.clone_from(cx.waker());
            self.bell.task.lock().unwrap_or_else(PoisonError::into_inner).clone_from(cx.waker());
        }
        // Behind the new waker: who rang for the old one has left its mark.
        if !self.bell.has_rung.load(Ordering::Acquire) || !self.bell.has_rung.swap(false, Ordering::AcqRel) {
            return Poll::Pending;
        }
        Pin::new(&mut self.future).poll(&mut Context::from_waker(&self.waker))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn it_is_polled_first_and_then_when_it_was_woken_in_whatever_task() {
        let (ring, mut rung) = oneshot::channel::<()>();
        let mut polls = 0;
        let mut aside = Aside::new(std::future::poll_fn(|cx| {
            polls += 1;
            Pin::new(&mut rung).poll(cx)
        }));
        for _ in 0..3 {
            assert!(aside.poll(&Context::from_waker(Waker::noop())).is_pending());
        }
        let waiting = std::future::poll_fn(|cx| aside.poll(cx));
        let (rung, ()) = tokio::join!(waiting, async move {
            tokio::task::yield_now().await;
            ring.send(()).unwrap();
        });
        rung.unwrap();
        assert_eq!(polls, 2);
    }
}
