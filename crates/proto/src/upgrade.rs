//! When a better path is looked for, while the one there is leads through a relay or NATs.

use std::time::{Duration, Instant};

/// Time after the first tunnel over such a path until a better one is looked for: what the
/// connection's own race had under way may be ready by then.
pub const FIRST: Duration = Duration::from_secs(1);

/// Longest time between two looks. Each costs a search, and most homes have no better path.
pub const MOST: Duration = Duration::from_secs(300);

/// Use after which the next look is soon again: a day has passed, and the router may be another.
pub const FORGOTTEN: Duration = Duration::from_secs(1800);

/// Decides when a better path to one service is looked for.
///
/// Say [`opened`](Self::opened) for each tunnel, and ask [`poll`](Self::poll) after that and at the
/// times that it names. While nothing is open nothing is looked for, so a client that rests sends
/// nothing.
#[derive(Debug, Clone)]
pub struct Upgrade {
    pause: Duration,
    /// Not before then.
    next: Instant,
    /// Of the networks of this computer.
    generation: u64,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Nothing until another tunnel is opened.
    Rest,
    /// Nothing until then.
    Wait(Instant),
    /// A better path is to be looked for. Tell its end.
    Look,
}

impl Upgrade {
    /// For a service to which no tunnel was opened before.
    #[must_use]
    pub fn new(now: Instant, generation: u64) -> Self {
        Self { pause: FIRST, next: now + FIRST, generation }
    }

    /// Notes that a tunnel was opened at `now` over a path that may be bettered.
    pub fn opened(&mut self, now: Instant, generation: u64) {
        let is_forgotten = now.saturating_duration_since(self.next) >= FORGOTTEN;
        if is_forgotten {
            *self = Self::new(now, generation);
        }
        self.moved(now, generation);
    }

    /// Notes the networks that this computer is in: another path may be the best in others.
    pub fn moved(&mut self, now: Instant, generation: u64) {
        if self.generation != generation {
            *self = Self::new(now, generation);
        }
    }

    /// What is to be done at `now`. `is_in_use` says whether tunnels are open over a path that may
    /// be bettered.
    #[must_use]
    pub fn poll(&self, now: Instant, is_in_use: bool) -> Next {
        match is_in_use {
            false => Next::Rest,
            true if self.next <= now => Next::Look,
            true => Next::Wait(self.next),
        }
    }

    /// Notes that a look has ended at `now`, whatever came of it.
    pub fn ended(&mut self, now: Instant) {
        self.pause = (self.pause * 2).min(MOST);
        self.next = now + self.pause;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    /// The looks within `time`, in seconds from the start, while `is_open` says at which of them a
    /// tunnel is open. Each takes a second.
    fn looks(time: u32, is_open: impl Fn(u32) -> bool) -> Vec<u32> {
        let start = Instant::now();
        let mut upgrade = Upgrade::new(start, 0);
        let mut looks = Vec::new();
        for second in 0..time {
            let now = start + second * S;
            if upgrade.poll(now, is_open(second)) == Next::Look {
                looks.push(second);
                upgrade.ended(now + S);
            }
        }
        looks
    }

    #[test]
    fn looks_become_rare_and_never_stop_while_there_is_use() {
        let day = looks(86_400, |_| true);
        assert_eq!(day[..7], [1, 4, 9, 18, 35, 68, 133]);
        assert!(day.len() < 8 + 86_400 / 300, "{}", day.len());
        assert!(day.windows(2).all(|two| two[1] - two[0] <= 301), "{day:?}");
    }

    #[test]
    fn who_has_nothing_open_looks_for_nothing() {
        assert_eq!(looks(86_400, |_| false), [0; 0]);
        // Short requests: the first of them after a look is due has it.
        let looks = looks(60, |second| second % 7 == 0);
        assert_eq!(looks, [7, 14, 21, 35, 56]);
        let start = Instant::now();
        assert_eq!(Upgrade::new(start, 0).poll(start + S, false), Next::Rest);
        assert_eq!(Upgrade::new(start, 0).poll(start, true), Next::Wait(start + FIRST));
    }

    #[test]
    fn in_another_network_and_after_a_long_rest_it_begins_anew() {
        let start = Instant::now();
        let mut upgrade = Upgrade::new(start, 0);
        for _ in 0..20 {
            upgrade.ended(start);
        }
        let now = start + S;
        upgrade.opened(now, 0);
        assert_eq!(upgrade.poll(now, true), Next::Wait(start + MOST));
        let mut moved = upgrade.clone();
        moved.opened(now, 1);
        assert_eq!(moved.poll(now, true), Next::Wait(now + FIRST));
        let later = start + MOST + FORGOTTEN;
        upgrade.opened(later, 0);
        assert_eq!(upgrade.poll(later, true), Next::Wait(later + FIRST));
    }
}
