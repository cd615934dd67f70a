//! When the addresses of a service are published anew.

use std::time::{Duration, Instant};

/// Least time between two publishings, in the long run: addresses that change all the time are not
/// told each time.
pub const INTERVAL: Duration = Duration::from_secs(5);

/// Publishings at once, after a rest: at a start addresses become known one after the other, of the
/// interfaces, of the router, of relays.
pub const BURST: u32 = 3;

/// The pace of one service's publishings.
#[derive(Debug, Clone, Default)]
pub struct Pace {
    /// When nothing more follows from those before.
    rested_at: Option<Instant>,
}

impl Pace {
    /// Notes that a publishing begins. One without any address costs nothing and need not be noted.
    pub fn begin(&mut self, now: Instant) {
        self.rested_at = Some(self.rested_at.map_or(now, |at| at.max(now)) + INTERVAL);
    }

    /// When the next may begin, from `now` on.
    #[must_use]
    pub fn earliest(&self, now: Instant) -> Instant {
        let earliest = self.rested_at.and_then(|at| (at + INTERVAL).checked_sub(INTERVAL * BURST));
        earliest.map_or(now, |at| at.max(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_addresses_and_those_that_follow_soon_are_published_at_once() {
        let (start, mut pace) = (Instant::now(), Pace::default());
        for ms in [100, 350, 900] {
            let now = start + Duration::from_millis(ms);
            assert_eq!(pace.earliest(now), now);
            pace.begin(now);
        }
    }

    #[test]
    fn addresses_that_change_all_the_time_are_published_every_five_seconds() {
        let (start, mut pace, mut begun) = (Instant::now(), Pace::default(), Vec::new());
        for tenths in 0..600 {
            let now = start + Duration::from_millis(tenths * 100);
            if pace.earliest(now) == now {
                pace.begin(now);
                begun.push(tenths / 10);
            }
        }
        assert_eq!(begun, [0, 0, 0, 5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55]);
    }

    #[test]
    fn a_rest_gives_back_what_may_be_published_at_once() {
        let (start, mut pace) = (Instant::now(), Pace::default());
        (0..BURST).for_each(|_| pace.begin(start));
        assert_eq!(pace.earliest(start), start + INTERVAL);
        let later = start + INTERVAL * BURST;
        for _ in 0..BURST {
            assert_eq!(pace.earliest(later), later);
            pace.begin(later);
        }
        assert_eq!(pace.earliest(later), later + INTERVAL);
    }
}
