//! Where a session leads, and over what.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use hardline_proto::candidate::{Candidate, Way};
use hardline_proto::path::{Path, PathKind};

use super::DiallerSession;

/// Where a session leads, and over what: one for all of its tunnels.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) candidate: Candidate,
    /// Without its round trip.
    path: Path,
    /// As measured last, in microseconds; 0 before.
    round_trip: AtomicU32,
}

impl Route {
    pub(crate) fn new(candidate: Candidate, path: Path) -> Self {
        Self { candidate, path, round_trip: AtomicU32::new(0) }
    }

    /// What kind of path it is.
    pub(crate) fn kind(&self) -> PathKind {
        self.path.kind
    }

    /// The path, with its round trip if that was measured.
    pub(crate) fn path(&self) -> Path {
        let us = self.round_trip.load(Ordering::Relaxed);
        let round_trip = (us > 0).then(|| Duration::from_micros(us.into()));
        Path { round_trip, ..self.path.clone() }
    }

    /// Notes the time that an answer of the other computer took, which counts where the system
    /// knows no better: behind a relay, whose own answers are all that it sees.
    pub(crate) fn answered(&self, session: &dyn DiallerSession, took: Duration) {
        let is_relayed = self.candidate.way == Way::Relayed;
        let state = session.path_state().filter(|state| !is_relayed && !state.round_trip.is_zero());
        self.measured(state.map_or(took, |state| state.round_trip));
    }

    /// Notes the time that an answer took, where nothing else is known: for each tunnel, so the
    /// system is not asked.
    pub(crate) fn answered_after(&self, took: Duration) {
        if self.candidate.way == Way::Relayed {
            self.measured(took);
        }
    }

    /// Notes what the system knows now, where that is of use.
    pub(crate) fn look(&self, session: &dyn DiallerSession) {
        if self.candidate.way != Way::Relayed
            && let Some(state) = session.path_state().filter(|state| !state.round_trip.is_zero())
        {
            self.measured(state.round_trip);
        }
    }

    fn measured(&self, round_trip: Duration) {
        let us = u32::try_from(round_trip.as_micros()).unwrap_or(u32::MAX);
        self.round_trip.store(us.max(1), Ordering::Relaxed);
    }
}
