//! When a node leaves the socket of QUIC for one of its own, and when it comes back.
//!
//! A router may go on sending from an address that it no longer has, for every flow that came in by
//! an open port (the kernel of Linux forgets such flows after minutes of silence only, and the node
//! is never silent that long). No answer arrives then. A socket at another port makes new flows.

use std::time::Duration;

use tokio::time::Instant;

/// Time without any node that answers until the socket is left.
const PATIENCE: Duration = Duration::from_secs(5);

/// First time away, counted from when nodes answer again: where the internet was gone, nothing was
/// wrong with the socket.
const SHORT: Duration = Duration::from_secs(20);

/// Time away when the socket was no better after the first: longer than routers remember UDP flows
/// (RFC 4787, section 4.3, recommends five minutes; Linux has two or three).
const LONG: Duration = Duration::from_secs(6 * 60);

/// Which socket is to be used from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    Leave,
    Return,
}

#[derive(Debug)]
pub(super) struct Detour {
    place: Place,
    /// How long the next time away is.
    next: Duration,
}

#[derive(Debug, Clone, Copy)]
enum Place {
    /// At the socket of QUIC.
    Home {
        connected_at: Option<Instant>,
        lost_at: Option<Instant>,
    },
    Away {
        back_at: Option<Instant>,
    },
}

impl Place {
    const START: Self = Self::Home { connected_at: None, lost_at: None };
}

impl Default for Detour {
    fn default() -> Self {
        Self { place: Place::START, next: SHORT }
    }
}

impl Detour {
    /// Looks at whether nodes answer, about once a second.
    pub(super) fn look(&mut self, now: Instant, is_connected: bool) -> Option<Turn> {
        match &mut self.place {
            Place::Home { connected_at, lost_at } if is_connected => {
                *lost_at = None;
                if *connected_at.get_or_insert(now) + LONG <= now {
                    self.next = SHORT;
                }
                None
            }
            // Somebody who was never connected may have no internet at all.
            Place::Home { connected_at: None, .. } => None,
            Place::Home { lost_at, .. } => {
                let is_over = *lost_at.get_or_insert(now) + PATIENCE <= now;
                is_over.then(|| {
                    self.place = Place::Away { back_at: None };
                    Turn::Leave
                })
            }
            Place::Away { back_at } => {
                if is_connected {
                    back_at.get_or_insert(now + self.next);
                }
                let is_over = back_at.is_some_and(|at| at <= now);
                is_over.then(|| {
                    self.next = LONG;
                    self.place = Place::START;
                    Turn::Return
                })
            }
        }
    }

    /// The computer is in another network: what went before says nothing of it.
    pub(super) fn network_changed(&mut self) -> Option<Turn> {
        let is_away = matches!(self.place, Place::Away { .. });
        *self = Self::default();
        is_away.then_some(Turn::Return)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks once a second, for so many seconds; gives the turns with their second.
    fn turns(
        detour: &mut Detour,
        start: Instant,
        seconds: std::ops::Range<u64>,
        is_connected: bool,
    ) -> Vec<(u64, Turn)> {
        let at = |second| start + Duration::from_secs(second);
        seconds.filter_map(|second| detour.look(at(second), is_connected).map(|turn| (second, turn))).collect()
    }

    #[test]
    fn it_leaves_when_no_node_answers_any_more_and_comes_back_after_a_while() {
        let (mut detour, start) = (Detour::default(), Instant::now());
        assert_eq!(turns(&mut detour, start, 0..10, true), []);
        assert_eq!(turns(&mut detour, start, 10..60, false), [(15, Turn::Leave)]);
        assert_eq!(turns(&mut detour, start, 60..100, true), [(80, Turn::Return)]);
    }

    #[test]
    fn it_stays_away_for_longer_when_the_socket_was_no_better() {
        let (mut detour, start) = (Detour::default(), Instant::now());
        turns(&mut detour, start, 0..1, true);
        turns(&mut detour, start, 1..10, false);
        assert_eq!(turns(&mut detour, start, 10..40, true), [(30, Turn::Return)]);
        assert_eq!(turns(&mut detour, start, 40..50, false), [(45, Turn::Leave)]);
        assert_eq!(turns(&mut detour, start, 50..500, true), [(410, Turn::Return)]);
        // It was connected for long, so all is as in the beginning.
        turns(&mut detour, start, 500..900, true);
        assert_eq!(turns(&mut detour, start, 900..910, false), [(905, Turn::Leave)]);
        assert_eq!(turns(&mut detour, start, 910..950, true), [(930, Turn::Return)]);
    }

    #[test]
    fn it_never_leaves_where_it_was_not_connected_before() {
        assert_eq!(turns(&mut Detour::default(), Instant::now(), 0..1000, false), []);
    }

    #[test]
    fn another_network_brings_it_back_at_once() {
        let (mut detour, start) = (Detour::default(), Instant::now());
        turns(&mut detour, start, 0..1, true);
        assert_eq!(detour.network_changed(), None);
        turns(&mut detour, start, 1..2, true);
        assert_eq!(turns(&mut detour, start, 2..20, false), [(7, Turn::Leave)]);
        assert_eq!(detour.network_changed(), Some(Turn::Return));
    }
}
