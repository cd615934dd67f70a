//! Where this computer is now, and when that changes.

mod changes; // whether it is worth asking

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hardline_proto::candidate::Surroundings;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::debug;

use self::changes::AddressChanges;

/// How long an answer of the system is used again where it does not tell of changes: a page opens many connections at once,
/// and asking costs some ten microseconds, or a hundred when nobody has asked for a while. Whatever a person does between
/// two requests takes longer.
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
    /// Where the system tells of changes.
    changes: Option<AddressChanges>,
    latest: Mutex<Latest>,
}

impl Place {
    /// The place of a process that listens at the TCP ports `listening`.
    pub(crate) fn new(listening: Vec<u16>, is_loopback_shared: bool) -> Self {
        // Before the first question, so that nothing is missed.
        let changes = AddressChanges::listen().inspect_err(|error| debug!(%error, "own addresses are asked for often"));
        Self { changes: changes.ok(), ..Self::with_interfaces(listening, is_loopback_shared, Arc::new(interfaces)) }
    }

    pub(super) fn with_interfaces(
        listening: Vec<u16>,
        is_loopback_shared: bool,
        interfaces: Arc<dyn Fn() -> Vec<IpAddr> + Send + Sync>,
    ) -> Self {
        Self { listening, is_loopback_shared, interfaces, changes: None, latest: Mutex::default() }
    }

    /// The surroundings now; at most [`REFRESH`] old where the system does not tell of changes.
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
        if self.is_due(latest.asked) {
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

    /// Whether the system is to be asked.
    fn is_due(&self, asked: Option<Instant>) -> bool {
        match &self.changes {
            // Heard in any case: the answer that follows is newer than all of it.
            Some(changes) => changes.any() || asked.is_none(),
            None => asked.is_none_or(|asked| asked.elapsed() >= REFRESH),
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

    /// In a network of its own, whose loopback has no address yet.
    #[cfg(target_os = "linux")]
    #[test]
    fn the_system_tells_of_an_address_at_once() {
        const NAMESPACE: [&str; 3] = ["--user", "--map-root-user", "--net"];
        let run = |program: &std::ffi::OsStr, words: &[&str]| {
            std::process::Command::new("unshare").args(NAMESPACE).arg(program).args(words).output().unwrap()
        };
        if !run("true".as_ref(), &[]).status.success() {
            assert!(std::env::var_os("HARDLINE_LAB_REQUIRED").is_none(), "this machine cannot do network namespaces");
            eprintln!("NOT TESTED: this machine cannot do network namespaces");
            return;
        }
        let inside = "resolve::place::tests::inside_a_loopback_comes_up";
        let output = run(std::env::current_exe().unwrap().as_ref(), &["--exact", inside, "--ignored", "--nocapture"]);
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{output:?}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    #[ignore = "run by the test above"]
    fn inside_a_loopback_comes_up() {
        let asked = Arc::new(std::sync::atomic::AtomicU32::new(0));
        let mut place = Place::new(Vec::new(), false);
        assert!(place.changes.is_some());
        let counted = Arc::clone(&asked);
        place.interfaces = Arc::new(move || {
            counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            interfaces()
        });
        let has_loopback = |place: &Place| place.now().own.contains(&IpAddr::from([127, 0, 0, 1]));
        assert!(!has_loopback(&place) && !has_loopback(&place));
        assert!(std::process::Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap().success());
        assert!(has_loopback(&place) && has_loopback(&place));
        assert_eq!((place.moves(), asked.load(std::sync::atomic::Ordering::Relaxed)), (1, 2), "nobody asks in vain");
    }
}
