//! Whether the other computer of a tunnel still lives, judged by what TCP has heard of it.
//!
//! TCP itself goes on for a quarter of an hour when nothing is acknowledged. `TCP_USER_TIMEOUT`
//! would end it sooner, and with it the connection whose reader takes a pause: Linux counts the
//! time of a closed window too, however punctually the other side answers its probes. So it is the
//! silence that counts here, and not how long bytes have waited.

use std::time::{Duration, Instant};

/// Silence of a computer that owes an acknowledgement after which it counts as gone. TCP has asked
/// five or six times by then; a Wi-Fi that roams, or a mobile network that changes cells, takes
/// less.
pub const GONE: Duration = Duration::from_secs(10);

/// The same when the service was found at another address meanwhile.
pub const GONE_ELSEWHERE: Duration = Duration::from_secs(1);

/// How often TCP must have asked in vain. Fewer may be lost by chance, or are on their way still
/// where a round trip takes a second.
pub const REPEATS: u32 = 3;

/// What TCP knows of the other computer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathState {
    /// Whether it owes an answer: to bytes sent, or to the question whether it has room again.
    pub is_owed: bool,
    /// How often it was asked since it answered.
    pub repeats: u32,
    /// Whether bytes wait for room at the other side.
    pub has_unsent: bool,
    /// Time since anything came of it.
    pub silence: Duration,
    /// As measured lately.
    pub round_trip: Duration,
}

/// Judges one connection by its [`PathState`]s.
#[derive(Debug, Clone, Default)]
pub struct Liveness {
    /// When an answer was first seen to be owed.
    owed_since: Option<Instant>,
    /// When the service was found at another address, while nothing was heard since.
    suspect_since: Option<Instant>,
}

impl Liveness {
    /// Says that the service was found at another address at `now`. It may have both: what is heard
    /// of this one later clears it.
    pub fn found_elsewhere(&mut self, now: Instant) {
        self.suspect_since = Some(now);
    }

    /// Whether it was found elsewhere, and not heard since.
    #[must_use]
    pub fn is_suspect(&self) -> bool {
        self.suspect_since.is_some()
    }

    /// Takes note of a look at `now`. Returns whether the other computer counts as gone.
    pub fn handle(&mut self, now: Instant, state: &PathState) -> bool {
        let heard = now.checked_sub(state.silence);
        self.suspect_since = self.suspect_since.filter(|since| heard.is_none_or(|heard| heard < *since));
        if !state.is_owed {
            self.owed_since = None;
            return false;
        }
        // What it said since then counts, whatever that was: packets are lost, and it lives.
        let since = self.owed_since.unwrap_or(now).max(heard.unwrap_or(now));
        self.owed_since = Some(since);
        let limit = if self.is_suspect() { GONE_ELSEWHERE } else { GONE };
        state.repeats >= REPEATS && now.saturating_duration_since(since) >= limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// A connection on which everything is acknowledged.
    const WELL: PathState = PathState {
        is_owed: false,
        repeats: 0,
        has_unsent: false,
        silence: Duration::ZERO,
        round_trip: Duration::from_millis(40),
    };

    /// The second of the first look from which on it counts as gone, of those in which it is looked
    /// at.
    fn gone_after(liveness: &mut Liveness, seconds: u32, state: impl Fn(u32) -> PathState) -> Option<u32> {
        let begun = Instant::now();
        (0..seconds).find(|&second| liveness.handle(begun + SECOND * second, &state(second)))
    }

    #[test]
    fn who_acknowledges_nothing_is_gone_after_ten_seconds() {
        let dead = |second| PathState { is_owed: true, repeats: second, silence: SECOND * second, ..WELL };
        assert_eq!(gone_after(&mut Liveness::default(), 60, dead), Some(10));
        let after_a_rest = |second| PathState { silence: SECOND * (3600 + second), ..dead(second) };
        assert_eq!(gone_after(&mut Liveness::default(), 60, after_a_rest), Some(10), "the rest before does not count");
    }

    #[test]
    fn who_is_found_at_another_address_is_gone_soon_unless_it_is_heard() {
        let dead = |second| PathState { is_owed: true, repeats: 3, silence: SECOND * (9 + second), ..WELL };
        let begun = Instant::now() + SECOND * 20;
        let mut liveness = Liveness::default();
        liveness.found_elsewhere(begun);
        let gone = (0..60).find(|&second| liveness.handle(begun + SECOND * second, &dead(second)));
        assert_eq!(gone, Some(1));
        let mut liveness = Liveness::default();
        liveness.found_elsewhere(begun);
        assert!(!liveness.handle(begun + SECOND, &WELL) && !liveness.is_suspect(), "it has two addresses");
        let gone = (2..60).find(|&second| liveness.handle(begun + SECOND * second, &dead(second)));
        assert_eq!(gone, Some(12), "as any other");
    }

    #[test]
    fn a_reader_that_takes_a_pause_is_not_gone() {
        // The window is closed, and the question for room is answered each time.
        let paused = |second| PathState {
            is_owed: second % 7 == 0,
            repeats: u32::from(second % 7 == 0),
            has_unsent: true,
            silence: SECOND * (second % 7),
            ..WELL
        };
        assert_eq!(gone_after(&mut Liveness::default(), 7200, paused), None);
        let dead_meanwhile = |second| match second {
            0..100 => paused(second),
            _ => PathState { is_owed: true, repeats: (second - 100) / 20, silence: SECOND * (second - 98), ..WELL },
        };
        assert_eq!(gone_after(&mut Liveness::default(), 7200, dead_meanwhile), Some(160), "asked three times in vain");
    }

    #[test]
    fn lost_packets_are_no_death_while_anything_comes() {
        let lossy = |second| PathState { is_owed: true, repeats: 5, silence: SECOND * (second % 9), ..WELL };
        assert_eq!(gone_after(&mut Liveness::default(), 7200, lossy), None);
        let far = |second| PathState { is_owed: true, repeats: second / 15, silence: SECOND * second, ..WELL };
        assert_eq!(gone_after(&mut Liveness::default(), 60, far), Some(45), "a network that is asked slowly");
    }
}
