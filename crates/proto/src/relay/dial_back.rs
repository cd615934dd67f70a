//! Whether a publisher can be reached without the relay: rules for a relay that tries it.
//!
//! A relay that dialled wherever it is told would scan ports for others. So it dials nobody but who
//! asks, and seldom.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// Times a token may ask in [`WINDOW`].
pub const PER_WINDOW: usize = 6;

/// See [`PER_WINDOW`].
pub const WINDOW: Duration = Duration::from_secs(60);

/// Time for the connection to be opened and recognised.
pub const LIMIT: Duration = Duration::from_secs(3);

/// Where to dial back a publisher whose control connection came from `asker` to the address `own`
/// of the relay; `None` where that would not be the publisher.
///
/// It is the source address of the connection, whatever the publisher says. Who comes from the
/// relay's own computer, or from its loopback, came through a program there that passes connections
/// on: the port would be one of the relay's computer.
#[must_use]
pub fn target(asker: IpAddr, own: IpAddr, port: u16) -> Option<SocketAddr> {
    let (asker, own) = (asker.to_canonical(), own.to_canonical());
    let is_here = asker == own || (asker.is_loopback() && !own.is_loopback());
    let is_one_host = !asker.is_unspecified() && !asker.is_multicast();
    (port != 0 && is_one_host && !is_here).then_some(SocketAddr::new(asker, port))
}

/// Who has asked when. Holds tokens that a relay knows, and so a bounded number.
#[derive(Debug, Default)]
pub struct DialBackLog(BTreeMap<String, Asked>);

#[derive(Debug, Default)]
struct Asked {
    is_dialling: bool,
    times: VecDeque<Instant>,
}

impl DialBackLog {
    /// Whether `token` may ask now; if so it is dialled until [`Self::end`]. One at a time, and
    /// [`PER_WINDOW`] in a [`WINDOW`].
    pub fn begin(&mut self, now: Instant, token: &str) -> bool {
        self.0.retain(|_, asked| {
            asked.times.retain(|at| now.saturating_duration_since(*at) < WINDOW);
            asked.is_dialling || !asked.times.is_empty()
        });
        let asked = self.0.entry(token.to_owned()).or_default();
        let may = !asked.is_dialling && asked.times.len() < PER_WINDOW;
        if may {
            asked.is_dialling = true;
            asked.times.push_back(now);
        }
        may
    }

    /// What [`Self::begin`] allowed is over.
    pub fn end(&mut self, token: &str) {
        if let Some(asked) = self.0.get_mut(token) {
            asked.is_dialling = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_but_the_asker_is_dialled() {
        let dialled = |asker: &str, own: &str, port| {
            target(asker.parse().unwrap(), own.parse().unwrap(), port).map(|at| at.to_string())
        };
        assert_eq!(dialled("203.0.113.5", "198.51.100.1", 7008).as_deref(), Some("203.0.113.5:7008"));
        assert_eq!(dialled("::ffff:203.0.113.5", "::ffff:198.51.100.1", 1).as_deref(), Some("203.0.113.5:1"));
        assert_eq!(dialled("2001:db8::5", "2001:db8::1", 7008).as_deref(), Some("[2001:db8::5]:7008"));
        for (asker, own, port) in [
            ("203.0.113.5", "198.51.100.1", 0),
            ("198.51.100.1", "198.51.100.1", 22),
            ("::ffff:198.51.100.1", "198.51.100.1", 22),
            ("127.0.0.1", "198.51.100.1", 22),
            ("::1", "2001:db8::1", 22),
            ("127.0.0.1", "127.0.0.1", 22),
            ("0.0.0.0", "198.51.100.1", 22),
            ("224.0.0.1", "198.51.100.1", 22),
        ] {
            assert_eq!(dialled(asker, own, port), None, "{asker} at {own}, port {port}");
        }
    }

    #[test]
    fn a_token_asks_one_at_a_time_and_a_few_times_a_minute() {
        let (mut log, start) = (DialBackLog::default(), Instant::now());
        assert!(log.begin(start, "bob"));
        assert!(!log.begin(start, "bob"), "one at a time");
        assert!(log.begin(start, "carol"), "each token by itself");
        log.end("bob");
        for _ in 1..PER_WINDOW {
            assert!(log.begin(start, "bob"));
            log.end("bob");
        }
        assert!(!log.begin(start + WINDOW / 2, "bob"));
        assert!(log.begin(start + WINDOW, "bob"));
    }

    #[test]
    fn who_rests_is_forgotten() {
        let (mut log, start) = (DialBackLog::default(), Instant::now());
        for number in 0..100 {
            log.begin(start, &number.to_string());
            log.end(&number.to_string());
        }
        log.begin(start + WINDOW, "last");
        assert_eq!(log.0.len(), 1);
    }
}
