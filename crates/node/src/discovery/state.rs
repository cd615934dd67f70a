//! What a search has found so far: one writes, everybody who waits reads.

use std::time::{Duration, Instant};

use hardline_proto::candidate::{CandidateSet, Tier, TransportAddr};
use hardline_proto::dial::DialSchedule;

use super::report::SourceReport;

/// State of one search.
#[derive(Debug, Default)]
pub(super) struct SearchState {
    /// How often this computer has moved to another network since the search began.
    pub(super) moves: u32,
    pub(super) set: CandidateSet,
    /// Whether the service can be called.
    pub(super) is_callable: bool,
    /// Where a connection was made.
    pub(super) reached: Option<TransportAddr>,
    /// Whether nothing more will be found.
    pub(super) is_over: bool,
}

impl SearchState {
    /// Forgets everything: it was found from another network.
    pub(super) fn moved(&mut self) {
        *self = Self { moves: self.moves + 1, is_over: self.is_over, ..Self::default() };
    }

    /// Tells `schedule` at `now` what it does not know yet: candidates from number `seen` on, which
    /// sources are being asked, and whether the service can be called.
    pub(super) fn tell(&self, now: Instant, seen: usize, schedule: &mut DialSchedule) {
        self.set.tell(now, seen, schedule);
        if self.is_callable {
            schedule.callable(now);
        }
        if let Some(addr) = &self.reached {
            schedule.prefer(addr);
        }
        if self.is_over {
            schedule.no_more();
        }
    }

    /// What was asked, as it stands at `now`. That this computer did not know by itself goes
    /// without saying.
    pub(super) fn report(&self, now: Duration) -> Vec<SourceReport> {
        let shown =
            self.set.sources().iter().filter(|source| source.info.tier != Tier::Local || !source.found.is_empty());
        let report = shown.map(|source| SourceReport {
            source: source.info,
            found: source.found.len(),
            took: source.took.unwrap_or_else(|| now.saturating_sub(source.began)),
            problem: source.problem.clone(),
        });
        report.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_that_comes_late_is_told_that_the_search_is_over() {
        let state = SearchState { is_over: true, ..SearchState::default() };
        let mut schedule = DialSchedule::new();
        state.tell(tokio::time::Instant::now().into_std(), 0, &mut schedule);
        assert!(schedule.is_exhausted());
    }
}
