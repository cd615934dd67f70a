//! What all sources have found in one lookup: merged, each address once, and capped per source.

use std::time::{Duration, Instant};

use super::{Candidate, SourceInfo, TransportAddr};
use crate::dial::DialSchedule;

/// Most addresses of one source in one lookup. What a stranger tells us cannot make us dial more
/// hosts than this, and a flood of forged answers of one source does not take the place of what
/// another source knows.
pub const MAX_CANDIDATES_PER_SOURCE: usize = 8;

/// The candidates of one lookup, and what was asked for them.
#[derive(Debug, Default)]
pub struct CandidateSet {
    candidates: Vec<Candidate>,
    sources: Vec<AskedSource>,
}

/// A source that was asked.
#[derive(Debug, Clone)]
pub struct AskedSource {
    /// Which.
    pub info: SourceInfo,
    /// The addresses it named, whoever else did.
    pub found: Vec<TransportAddr>,
    /// When it was asked first, from the beginning of the lookup.
    pub began: Duration,
    /// How long it took; `None` while it is being asked.
    pub took: Option<Duration>,
    /// Why it is of no help, if it is not.
    pub problem: Option<String>,
}

impl CandidateSet {
    /// Notes, at `now` after the beginning of the lookup, that a source is being asked.
    pub fn asked(&mut self, now: Duration, info: SourceInfo) {
        match self.source(info.name) {
            Some(source) => source.took = None,
            None => {
                let source = AskedSource { info, found: Vec::new(), began: now, took: None, problem: None };
                self.sources.push(source);
            }
        }
    }

    /// Notes that a source has no more to say.
    pub fn ended(&mut self, now: Duration, info: SourceInfo) {
        if let Some(source) = self.source(info.name) {
            source.took = Some(now.saturating_sub(source.began));
        }
    }

    /// Notes why a source does not help, or that it does after all.
    pub fn problem(&mut self, info: SourceInfo, problem: Option<String>) {
        if let Some(source) = self.source(info.name) {
            source.problem = problem;
        }
    }

    /// Takes a candidate from the source that was `asked`; another one may stand behind it, as a
    /// service does behind the record that a proxy hands out. Returns whether the address is new.
    /// An address known already keeps its first source, and the highest version that anybody names.
    pub fn found(&mut self, asked: SourceInfo, candidate: Candidate) -> bool {
        let Some(source) = self.source(asked.name) else { return false };
        if !source.found.contains(&candidate.addr) {
            if source.found.len() >= MAX_CANDIDATES_PER_SOURCE {
                return false;
            }
            source.found.push(candidate.addr.clone());
        }
        match self.candidates.iter_mut().find(|known| known.addr == candidate.addr) {
            Some(known) => {
                known.version = known.version.max(candidate.version);
                false
            }
            None => {
                self.candidates.push(candidate);
                true
            }
        }
    }

    /// The version of the tunnel that is spoken at `addr`, as somebody says.
    #[must_use]
    pub fn version(&self, addr: &TransportAddr) -> Option<u16> {
        self.candidates.iter().find(|known| known.addr == *addr)?.version
    }

    /// Tells `schedule` at `now` what it does not know yet: candidates from number `seen` on, and
    /// which sources are being asked.
    pub fn tell(&self, now: Instant, seen: usize, schedule: &mut DialSchedule) {
        for source in &self.sources {
            match source.took {
                None => schedule.asked(source.info),
                Some(_) => schedule.ended(source.info),
            }
        }
        for candidate in self.candidates.iter().skip(seen) {
            schedule.add(now, candidate.clone());
        }
    }

    /// Number of candidates so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.candidates.len()
    }

    /// Whether nothing was found so far.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.candidates.is_empty()
    }

    /// What was asked, in the order of the first questions.
    #[must_use]
    pub fn sources(&self) -> &[AskedSource] {
        &self.sources
    }

    fn source(&mut self, name: &str) -> Option<&mut AskedSource> {
        self.sources.iter_mut().find(|source| source.info.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::candidate::{Tier, Trust, Way};

    const MS: Duration = Duration::from_millis(1);
    const LAN: SourceInfo = info(Tier::Lan, Trust::Neighbour, "lan");
    const SIGNED: SourceInfo = info(Tier::Wan, Trust::Service, "signed");
    const TEXT: SourceInfo = info(Tier::Wan, Trust::Stranger, "text");

    const fn info(tier: Tier, trust: Trust, name: &'static str) -> SourceInfo {
        SourceInfo { tier, trust, name, label: name }
    }

    /// A set whose sources are all being asked since the beginning.
    fn asking() -> CandidateSet {
        let mut set = CandidateSet::default();
        for info in [LAN, SIGNED, TEXT] {
            set.asked(Duration::ZERO, info);
        }
        set
    }

    fn candidate(source: SourceInfo, port: u16) -> Candidate {
        Candidate {
            addr: TransportAddr::Tcp(format!("192.0.2.1:{port}").parse().unwrap()),
            source,
            version: None,
            way: Way::Straight,
        }
    }

    fn found(set: &CandidateSet) -> Vec<usize> {
        set.sources().iter().map(|source| source.found.len()).collect()
    }

    #[test]
    fn a_source_s_time_ends_with_it_and_runs_while_it_is_asked() {
        let mut set = CandidateSet::default();
        set.asked(MS, LAN);
        set.ended(3 * MS, LAN);
        set.asked(2 * MS, TEXT);
        assert_eq!(set.sources().iter().map(|source| source.took).collect::<Vec<_>>(), [Some(2 * MS), None]);
        set.asked(5 * MS, LAN);
        assert_eq!(set.sources()[0].took, None, "asked again");
        set.ended(9 * MS, LAN);
        assert_eq!(set.sources()[0].took, Some(8 * MS), "from the first question on");
    }

    #[test]
    fn an_address_is_kept_once_and_counts_for_everybody_who_named_it() {
        let mut set = asking();
        assert!(set.found(LAN, candidate(LAN, 1)));
        assert!(!set.found(LAN, candidate(LAN, 1)));
        assert!(!set.found(SIGNED, candidate(SIGNED, 1)));
        assert_eq!((set.len(), found(&set)), (1, vec![1, 1, 0]));
    }

    #[test]
    fn whoever_says_what_is_spoken_at_an_address_is_heard_also_later() {
        let mut set = asking();
        let at = candidate(TEXT, 1).addr;
        set.found(TEXT, candidate(TEXT, 1));
        assert_eq!(set.version(&at), None);
        set.found(SIGNED, Candidate { version: Some(2), ..candidate(SIGNED, 1) });
        assert_eq!(set.version(&at), Some(2));
    }

    #[test]
    fn who_comes_late_is_told_what_was_found_before() {
        let mut set = asking();
        set.found(LAN, candidate(LAN, 1));
        let mut schedule = DialSchedule::new();
        set.tell(Instant::now(), 0, &mut schedule);
        assert!(!schedule.is_idle());
        let mut other = DialSchedule::new();
        set.tell(Instant::now(), set.len(), &mut other);
        assert!(other.is_idle());
    }

    #[test]
    fn one_source_s_flood_is_bounded_and_takes_no_place_of_another() {
        let mut set = asking();
        let taken = (1..1000).filter(|port| set.found(TEXT, candidate(TEXT, *port))).count();
        assert_eq!(taken, MAX_CANDIDATES_PER_SOURCE);
        assert!(set.found(SIGNED, candidate(SIGNED, 1000)));
        assert!(!set.found(SIGNED, candidate(SIGNED, 1)), "known already");
        assert_eq!(found(&set), [0, 2, MAX_CANDIDATES_PER_SOURCE], "although a stranger had named it");
    }
}
