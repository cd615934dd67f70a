//! Where this computer is now, and when that changes.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hardline_proto::candidate::Surroundings;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::debug;

/// How long an answer of the system is used again: a page opens many connections at once.
const REFRESH: Duration = Duration::from_millis(500);

/// Time between two looks while somebody waits for a lookup.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Asks the system for this computer's addresses. Only who looks something up asks: at rest nothing runs.
pub(crate) struct Place {
    listening: Vec<u16>,
    is_loopback_shared: bool,
    interfaces: Arc<dyn Fn() -> Vec<IpAddr> + Send + Sync>,
    latest: Mutex<Option<(Instant, Surroundings)>>,
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
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        match &*latest {
            Some((asked, here)) if asked.elapsed() < REFRESH => here.clone(),
            _ => {
                let mut own = (self.interfaces)();
                own.sort_unstable();
                let (listening, is_loopback_shared) = (self.listening.clone(), self.is_loopback_shared);
                let here = Surroundings { own, listening, is_loopback_shared };
                *latest = Some((Instant::now(), here.clone()));
                here
            }
        }
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
