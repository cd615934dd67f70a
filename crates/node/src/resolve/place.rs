//! Where this computer is now, and when that changes.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hardline_proto::candidate::Surroundings;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::debug;

/// How long an answer of the system is used again: a page opens many connections at once, and asking costs some ten
/// microseconds. Whatever a person does between two requests takes longer.
const REFRESH: Duration = Duration::from_millis(50);

/// Time between two looks while somebody waits for a lookup.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// What the system said last.
#[derive(Default)]
struct Latest {
    asked: Option<Instant>,
    here: Surroundings,
    /// How often `here` has become another.
    moves: u64,
}

/// Asks the system for this computer's addresses. Only who looks something up asks: at rest nothing runs.
pub(crate) struct Place {
    listening: Vec<u16>,
    is_loopback_shared: bool,
    interfaces: Arc<dyn Fn() -> Vec<IpAddr> + Send + Sync>,
    latest: Mutex<Latest>,
}

impl Place {
    /// The place of a process that listens at the TCP ports `listening`.
    pub(crate) fn new(listening: Vec<u16>, is_loopback_shared: bool) -> Self {
        Self::with_interfaces(listening, is_loopback_shared, Arc::new(interfaces))
    }

    pub(super) fn with_interfaces(
        listening: Vec<u16>,
        is_loopback_shared: bool,
        interfaces: Arc<dyn Fn() -> Vec<IpAddr> + Send + Sync>,
    ) -> Self {
        Self { listening, is_loopback_shared, interfaces, latest: Mutex::default() }
    }

    /// The surroundings now, at most [`REFRESH`] old.
    pub(crate) fn now(&self) -> Surroundings {
        self.look().here.clone()
    }

    /// How often this computer has moved, as far as somebody looked. A connection made before the last move may lead
    /// nowhere.
    pub(crate) fn moves(&self) -> u64 {
        self.look().moves
    }

    fn look(&self) -> MutexGuard<'_, Latest> {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        if latest.asked.is_none_or(|asked| asked.elapsed() >= REFRESH) {
            let mut own = (self.interfaces)();
            own.sort_unstable();
            let (listening, is_loopback_shared) = (self.listening.clone(), self.is_loopback_shared);
            let here = Surroundings { own, listening, is_loopback_shared };
            latest.moves += u64::from(latest.asked.is_some() && latest.here != here);
            latest.here = here;
            latest.asked = Some(Instant::now());
        }
        latest
    }

    /// Waits until this computer is no longer `here`. Cancel safe.
    pub(crate) async fn left(&self, here: &Surroundings) {
        let mut looks = interval(LOOK_INTERVAL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            if self.now() != *here {
                return;
            }
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").field("listening", &self.listening).finish_non_exhaustive()
    }
}

fn interfaces() -> Vec<IpAddr> {
    let found = if_addrs::get_if_addrs().unwrap_or_else(|error| {
        debug!(%error, "own addresses not known");
        Vec::new()
    });
    found.iter().map(if_addrs::Interface::ip).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn another_address_is_a_move_and_the_same_one_is_none() {
        let own = Arc::new(Mutex::new(vec![IpAddr::from([192, 168, 1, 2])]));
        let interfaces = Arc::clone(&own);
        let place = Place::with_interfaces(Vec::new(), false, Arc::new(move || interfaces.lock().unwrap().clone()));
        assert_eq!(place.moves(), 0);
        tokio::time::advance(REFRESH).await;
        assert_eq!(place.moves(), 0);
        own.lock().unwrap()[0] = IpAddr::from([10, 0, 0, 2]);
        tokio::time::advance(REFRESH).await;
        assert_eq!(place.moves(), 1);
        assert_eq!(place.now().own, [IpAddr::from([10, 0, 0, 2])]);
    }
}
