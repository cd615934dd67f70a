//! Where a session leads, and over what.

use std::sync::Arc;
use std::time::Duration;

use hardline_proto::candidate::{Candidate, Way};
use hardline_proto::path::{Path, PathKind};

use super::{DiallerSession, RoundTrip};

/// Where a session leads, and over what: one for all of its tunnels.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) candidate: Candidate,
    /// Without its round trip.
    path: Path,
    round_trip: Arc<RoundTrip>,
}

impl Route {
    pub(crate) fn new(candidate: Candidate, path: Path) -> Self {
        Self { candidate, path, round_trip: Arc::default() }
    }

    /// What kind of path it is.
    pub(crate) fn kind(&self) -> PathKind {
        self.path.kind
    }

    /// The path, with its round trip if that was measured.
    pub(crate) fn path(&self) -> Path {
        Path { round_trip: self.round_trip.last(), ..self.path.clone() }
    }

    /// Notes the time that an answer of the other computer took, which counts where the system
    /// knows no better: behind a relay, whose own answers are all that it sees.
    pub(crate) fn answered(&self, session: &dyn DiallerSession, took: Duration) {
        let is_relayed = self.candidate.way == Way::Relayed;
        let state = session.path_state().filter(|state| !is_relayed && !state.round_trip.is_zero());
        self.round_trip.measured(state.map_or(took, |state| state.round_trip));
    }

    /// Notes the time that an answer took, where nothing else is known: for each tunnel, so the
    /// system is not asked.
    pub(crate) fn answered_after(&self, took: Duration) {
        if self.candidate.way == Way::Relayed {
            self.round_trip.measured(took);
        }
    }

    /// Notes what the system knows now, where that is of use.
    pub(crate) fn look(&self, session: &dyn DiallerSession) {
        if let Some(round_trip) = self.round_trip() {
            round_trip.look(session.path_state());
        }
    }

    /// Where running tunnels note what the system knows, where that is of use.
    pub(crate) fn round_trip(&self) -> Option<Arc<RoundTrip>> {
        (self.candidate.way != Way::Relayed).then(|| Arc::clone(&self.round_trip))
    }
}
