//! A round trip, shared by who measures it and who tells it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use hardline_proto::liveness::PathState;

/// A round trip as measured last.
#[derive(Debug, Default)]
pub(crate) struct RoundTrip {
    /// In microseconds; 0 before.
    us: AtomicU32,
}

impl RoundTrip {
    /// Notes that a round trip took so long.
    pub(crate) fn measured(&self, took: Duration) {
        let us = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
        self.us.store(us.max(1), Ordering::Relaxed);
    }

    /// Notes what the system knows of it, if it does.
    pub(crate) fn look(&self, state: Option<PathState>) {
        if let Some(state) = state.filter(|state| !state.round_trip.is_zero()) {
            self.measured(state.round_trip);
        }
    }

    /// The last one; `None` before.
    pub(crate) fn last(&self) -> Option<Duration> {
        let us = self.us.load(Ordering::Relaxed);
        (us > 0).then(|| Duration::from_micros(us.into()))
    }
}
