//! What a search has found so far: one writes, everybody who waits reads.

use std::time::Duration;

use hardline_proto::candidate::{Candidate, MAX_CANDIDATES_PER_SOURCE, Source};
use hardline_proto::dial::DialSchedule;
use hardline_proto::hosts::HostPort;

use super::report::SourceReport;

/// Addresses kept that are said to speak version 2: those of several records, and of neighbours.
const MAX_V2: usize = 64;

/// State of one search.
#[derive(Debug, Default)]
pub(super) struct Board {
    /// How often this computer has moved to another network since the search began.
    pub(super) moves: u32,
    candidates: Vec<Candidate>,
    sources: Vec<Entry>,
    /// Where version 2 of the tunnel is spoken, as somebody says.
    v2: Vec<HostPort>,
    /// Where a connection was made.
    pub(super) reached: Option<HostPort>,
    /// Whether nothing more will be found.
    pub(super) is_over: bool,
}

#[derive(Debug)]
struct Entry {
    source: Source,
    found: usize,
    began: Duration,
    /// `None` while it is being asked.
    took: Option<Duration>,
    problem: Option<String>,
}

impl Board {
    /// Notes, at `now` after the beginning of the search, that a source is being asked.
    pub(super) fn asked(&mut self, now: Duration, source: Source) {
        match self.entry(source) {
            Some(entry) => entry.took = None,
            None => self.sources.push(Entry { source, found: 0, began: now, took: None, problem: None }),
        }
    }

    /// Notes that a source has no more to say.
    pub(super) fn ended(&mut self, now: Duration, source: Source) {
        if let Some(entry) = self.entry(source) {
            entry.took = Some(now.saturating_sub(entry.began));
        }
    }

    /// Notes why a source does not help, or that it does after all.
    pub(super) fn problem(&mut self, source: Source, problem: Option<String>) {
        if let Some(entry) = self.entry(source) {
            entry.problem = problem;
        }
    }

    /// Notes an address that `asked` named. Returns whether it is news.
    pub(super) fn found(&mut self, asked: Source, candidate: Candidate) -> bool {
        let of_this_source = self.candidates.iter().filter(|known| known.source == candidate.source).count();
        let is_known = self.candidates.contains(&candidate);
        if is_known || of_this_source >= MAX_CANDIDATES_PER_SOURCE {
            return false;
        }
        if let Some(entry) = self.entry(asked) {
            entry.found += 1;
        }
        self.candidates.push(candidate);
        true
    }

    /// Notes that version 2 of the tunnel is spoken at `at`, as somebody says.
    pub(super) fn hint_v2(&mut self, at: &HostPort) {
        if self.v2.len() < MAX_V2 && !self.v2.contains(at) {
            self.v2.push(at.clone());
        }
    }

    /// Whether somebody said that version 2 of the tunnel is spoken at `at`.
    pub(super) fn is_v2(&self, at: &HostPort) -> bool {
        self.v2.contains(at)
    }

    /// Forgets everything: it was found from another network.
    pub(super) fn moved(&mut self) {
        *self = Self { moves: self.moves + 1, is_over: self.is_over, ..Self::default() };
    }

    /// Tells `schedule` what it does not know yet: candidates from number `seen` on, and which
    /// sources are being asked.
    pub(super) fn tell(&self, seen: usize, schedule: &mut DialSchedule) {
        for entry in &self.sources {
            match entry.took {
                None => schedule.asked(entry.source),
                Some(_) => schedule.ended(entry.source),
            }
        }
        for candidate in self.candidates.iter().skip(seen) {
            schedule.add(candidate.clone());
        }
        if let Some(at) = &self.reached {
            schedule.prefer(at);
        }
        if self.is_over {
            schedule.no_more();
        }
    }

    /// Candidates so far.
    pub(super) fn len(&self) -> usize {
        self.candidates.len()
    }

    /// What was asked, as it stands at `now`.
    pub(super) fn report(&self, now: Duration) -> Vec<SourceReport> {
        let report = |entry: &Entry| SourceReport {
            source: entry.source,
            found: entry.found,
            took: entry.took.unwrap_or_else(|| now.saturating_sub(entry.began)),
            problem: entry.problem.clone(),
        };
        self.sources.iter().map(report).collect()
    }

    fn entry(&mut self, source: Source) -> Option<&mut Entry> {
        self.sources.iter_mut().find(|entry| entry.source == source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn candidate(source: Source, port: u16) -> Candidate {
        Candidate { at: format!("192.0.2.1:{port}").parse().unwrap(), source }
    }

    #[test]
    fn a_source_s_time_ends_with_it_and_runs_while_it_is_asked() {
        let mut board = Board::default();
        board.asked(MS, Source::Given);
        assert!(board.found(Source::Given, candidate(Source::Given, 1)));
        board.ended(3 * MS, Source::Given);
        board.asked(2 * MS, Source::Lan);
        let took: Vec<_> = board.report(9 * MS).into_iter().map(|entry| (entry.source, entry.took)).collect();
        assert_eq!(took, [(Source::Given, 2 * MS), (Source::Lan, 7 * MS)]);
        assert_eq!(board.report(9 * MS)[0].found, 1);
    }

    #[test]
    fn who_comes_late_is_told_what_was_found_before() {
        let mut board = Board::default();
        assert!(board.found(Source::Lan, candidate(Source::Lan, 1)));
        assert!(!board.found(Source::Lan, candidate(Source::Lan, 1)));
        let mut schedule = DialSchedule::new();
        board.tell(0, &mut schedule);
        assert!(!schedule.add(candidate(Source::Lan, 1)), "known already");
        assert!(!schedule.is_exhausted());
        board.is_over = true;
        let mut other = DialSchedule::new();
        board.tell(board.len(), &mut other);
        assert!(other.is_exhausted());
    }

    #[test]
    fn what_is_said_of_versions_is_bounded() {
        let mut board = Board::default();
        let at = |port: u16| candidate(Source::Sealed, port).at;
        (1..1000).for_each(|port| board.hint_v2(&at(port)));
        board.hint_v2(&at(1));
        assert_eq!((board.v2.len(), board.is_v2(&at(1)), board.is_v2(&at(999))), (MAX_V2, true, false));
    }

    #[test]
    fn one_source_s_flood_is_bounded_and_takes_no_place_of_another() {
        let mut board = Board::default();
        let taken = (1..1000).filter(|port| board.found(Source::Plain, candidate(Source::Plain, *port))).count();
        assert_eq!(taken, MAX_CANDIDATES_PER_SOURCE);
        assert!(board.found(Source::Sealed, candidate(Source::Sealed, 1)), "although a stranger had named it");
    }
}
