//! A future beside others in one task, polled only when it was woken itself.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// A future that is polled when it was woken itself, and not whenever another of the same task is:
/// a tunnel wakes for every packet, and its time limit once an hour.
pub(super) struct WakeFilter<F> {
    future: F,
    signal: Arc<Signal>,
    /// Wakes through the signal.
    waker: Waker,
    /// Whom the signal wakes.
    task: Waker,
}

struct Signal {
    is_woken: AtomicBool,
    task: Mutex<Waker>,
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.is_woken.store(true, Ordering::Release);
        self.task.lock().unwrap_or_else(PoisonError::into_inner).wake_by_ref();
    }
}

impl<F: Future + Unpin> WakeFilter<F> {
    pub(super) fn new(future: F) -> Self {
        let task = Waker::noop().clone();
        let signal = Arc::new(Signal { is_woken: AtomicBool::new(true), task: Mutex::new(task.clone()) });
        Self { future, waker: Waker::from(Arc::clone(&signal)), signal, task }
    }

    /// Changes the future, which is polled next time.
    pub(super) fn change(&mut self, change: impl FnOnce(&mut F)) {
        change(&mut self.future);
        self.look_again();
    }

    /// Has the future polled next time.
    pub(super) fn look_again(&mut self) {
        self.signal.is_woken.store(true, Ordering::Release);
    }

    pub(super) fn poll(&mut self, cx: &Context<'_>) -> Poll<F::Output> {
        if !self.task.will_wake(cx.waker()) {
            self.task.clone_from(cx.waker());
            self.signal.task.lock().unwrap_or_else(PoisonError::into_inner).clone_from(cx.waker());
        }
        // Behind the new waker: whoever woke the old one has left its mark.
        if !self.signal.is_woken.load(Ordering::Acquire) || !self.signal.is_woken.swap(false, Ordering::AcqRel) {
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
        let mut filter = WakeFilter::new(std::future::poll_fn(|cx| {
            polls += 1;
            Pin::new(&mut rung).poll(cx)
        }));
        for _ in 0..3 {
            assert!(filter.poll(&Context::from_waker(Waker::noop())).is_pending());
        }
        let waiting = std::future::poll_fn(|cx| filter.poll(cx));
        let (rung, ()) = tokio::join!(waiting, async move {
            tokio::task::yield_now().await;
            ring.send(()).unwrap();
        });
        rung.unwrap();
        assert_eq!(polls, 2);
    }
}
