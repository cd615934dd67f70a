//! Looks now and then whether the other computer of a tunnel lives.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hardline_proto::liveness::{Liveness, PathState};
use tokio::time::{Instant, Sleep, sleep};

use super::activity::Activity;
use super::wake_filter::WakeFilter;
use crate::limits::BRISK_IDLE;
use crate::session::{Carrier, RoundTrip};
use crate::transport::Asking;

/// Time between two looks while bytes move. Most tunnels of a page have ended by the first one.
const LOOK: Duration = Duration::from_secs(2);

/// The same while the other computer owes an answer, or is silent.
const CLOSER_LOOK: Duration = Duration::from_secs(1);

/// The same while bytes wait for a reader that takes a pause.
const PAUSED_LOOK: Duration = Duration::from_secs(5);

/// Follows one tunnel: looks while something moves, and until the other computer has said something
/// behind the last movement. Then it rests, and the tunnel costs nothing but TCP's keepalive.
pub(super) struct PeerWatch(Option<Box<Awake>>);

/// A watch that looks. On the heap, so that a tunnel at rest has no room for it.
struct Awake {
    liveness: Liveness,
    timer: WakeFilter<Pin<Box<Sleep>>>,
    /// When the system asks a silent peer.
    asking: Asking,
}

/// What is followed.
pub(super) trait Followed {
    /// When bytes moved last.
    fn moved(&self) -> Instant;
    /// As [`Carrier::path_state`].
    fn path_state(&self) -> Option<PathState>;
    /// As [`Carrier::ask_peer`].
    fn ask_peer(&self, asking: Asking);
}

/// Notes the round trip at each look.
impl<C: Carrier + ?Sized> Followed for (&C, &Activity, Option<&RoundTrip>) {
    fn moved(&self) -> Instant {
        self.1.last()
    }
    fn path_state(&self) -> Option<PathState> {
        let state = self.0.path_state();
        if let Some(round_trip) = self.2 {
            round_trip.look(state);
        }
        state
    }
    fn ask_peer(&self, asking: Asking) {
        self.0.ask_peer(asking);
    }
}

impl PeerWatch {
    /// A watch of a tunnel in which something moves now.
    pub(super) fn new() -> Self {
        let timer = WakeFilter::new(Box::pin(sleep(LOOK)));
        Self(Some(Box::new(Awake { liveness: Liveness::default(), timer, asking: Asking::Rarely })))
    }

    /// Says that bytes have moved.
    pub(super) fn moved(&mut self) {
        if self.0.is_none() {
            *self = Self::new();
        }
    }

    /// Says that the service was found at another address: the other computer is asked at once.
    pub(super) fn found_elsewhere(&mut self) {
        let now = Instant::now();
        self.moved();
        if let Some(awake) = &mut self.0 {
            awake.liveness.found_elsewhere(now.into_std());
            awake.timer.change(|timer| timer.as_mut().reset(now));
        }
    }

    /// Ready when the other computer counts as gone.
    pub(super) fn poll(&mut self, cx: &Context<'_>, tunnel: &impl Followed) -> Poll<()> {
        while let Some(awake) = &mut self.0
            && awake.timer.poll(cx).is_ready()
        {
            let (now, state) = (Instant::now(), tunnel.path_state());
            if state.is_some_and(|state| awake.liveness.handle(now.into_std(), &state)) {
                return Poll::Ready(());
            }
            let is_suspect = awake.liveness.is_suspect();
            let quiet = now.saturating_duration_since(tunnel.moved());
            let next = if is_suspect { Some(CLOSER_LOOK) } else { next_look(quiet, state) };
            awake.set(if is_suspect { Asking::Now } else { next.map_or(Asking::Rarely, |_| Asking::Soon) }, tunnel);
            match next {
                Some(next) => awake.timer.change(|timer| timer.as_mut().reset(now + next)),
                None => self.0 = None,
            }
        }
        Poll::Pending
    }
}

impl Awake {
    fn set(&mut self, asking: Asking, tunnel: &impl Followed) {
        if self.asking != asking {
            self.asking = asking;
            tunnel.ask_peer(asking);
        }
    }
}

/// Time until the next look at a tunnel in which nothing has moved for `quiet`; `None` to rest.
fn next_look(quiet: Duration, state: Option<PathState>) -> Option<Duration> {
    match state {
        Some(state) if state.is_owed => Some(CLOSER_LOOK),
        Some(state) if state.has_unsent => Some(PAUSED_LOOK),
        // It was asked, and has answered. What came right behind the last movement may be half a
        // record.
        Some(state) if state.silence + BRISK_IDLE <= quiet => None,
        // By now the system has ended the connection, or it asks nobody.
        _ if quiet > 3 * BRISK_IDLE => None,
        _ if quiet > LOOK => Some(CLOSER_LOOK),
        _ => Some(LOOK),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::poll_fn;

    use hardline_proto::liveness::GONE;
    use tokio::time::timeout;

    use super::*;

    /// A tunnel whose other computer says what it is told to.
    struct Simulated<F> {
        begun: Instant,
        moved: Cell<Instant>,
        looks: Cell<u32>,
        asking: Cell<Asking>,
        /// What is known so long after the beginning.
        state: F,
    }

    impl<F: Fn(Duration) -> Option<PathState>> Simulated<F> {
        fn new(state: F) -> Self {
            let begun = Instant::now();
            Self { begun, moved: Cell::new(begun), looks: Cell::new(0), asking: Cell::new(Asking::Rarely), state }
        }

        /// When its other computer counts as gone, within an hour.
        async fn gone_after(&self) -> Option<Duration> {
            let mut watch = PeerWatch::new();
            let gone = poll_fn(|cx| watch.poll(cx, self));
            timeout(Duration::from_secs(3600), gone).await.ok().map(|()| self.begun.elapsed())
        }
    }

    impl<F: Fn(Duration) -> Option<PathState>> Followed for Simulated<F> {
        fn moved(&self) -> Instant {
            self.moved.get()
        }
        fn path_state(&self) -> Option<PathState> {
            self.looks.set(self.looks.get() + 1);
            (self.state)(self.begun.elapsed())
        }
        fn ask_peer(&self, asking: Asking) {
            self.asking.set(asking);
        }
    }

    fn well(silence: Duration) -> PathState {
        let round_trip = Duration::from_millis(40);
        PathState { is_owed: false, repeats: 0, has_unsent: false, silence, round_trip }
    }

    #[tokio::test(start_paused = true)]
    async fn a_tunnel_whose_bytes_are_not_acknowledged_ends_after_ten_to_thirteen_seconds() {
        let dead = Simulated::new(|time| Some(PathState { is_owed: true, repeats: 5, ..well(time) }));
        let after = dead.gone_after().await.unwrap();
        assert!((GONE..GONE + Duration::from_secs(3)).contains(&after), "{after:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_tunnel_is_asked_for_once_and_then_costs_nothing() {
        let asked = BRISK_IDLE + Duration::from_millis(40);
        let silent = Simulated::new(|time| Some(well(time.checked_sub(asked).unwrap_or(time))));
        assert_eq!(silent.gone_after().await, None);
        assert_eq!(silent.asking.get(), Asking::Rarely);
        assert!(silent.looks.get() <= 5, "{} looks in an hour", silent.looks.get());
    }

    #[tokio::test(start_paused = true)]
    async fn half_a_record_behind_the_last_movement_is_no_answer() {
        let heard = Duration::from_millis(30);
        let dead = Simulated::new(|time| Some(well(time.saturating_sub(heard))));
        let mut watch = PeerWatch::new();
        assert!(timeout(GONE, poll_fn(|cx| watch.poll(cx, &dead))).await.is_err());
        assert_eq!(dead.asking.get(), Asking::Soon, "still asked");
    }

    #[tokio::test(start_paused = true)]
    async fn a_tunnel_that_only_receives_is_asked_after_soon() {
        // The way dies at once: nothing is owed, and nothing comes.
        let dead = Simulated::new(|time| Some(well(time)));
        let mut watch = PeerWatch::new();
        let asked = timeout(GONE, poll_fn(|cx| watch.poll(cx, &dead)));
        assert!(asked.await.is_err(), "that is the system's to tell");
        assert_eq!(dead.asking.get(), Asking::Soon);
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_takes_a_pause_is_followed_at_leisure() {
        let paused = Simulated::new(|_| Some(PathState { has_unsent: true, ..well(Duration::from_secs(1)) }));
        assert_eq!(paused.gone_after().await, None);
        assert!(paused.looks.get() < 1000, "{} looks in an hour", paused.looks.get());
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_that_move_again_wake_a_resting_watch() {
        let tunnel = Simulated::new(|time| {
            let is_dead = time > Duration::from_secs(1800);
            Some(if is_dead { PathState { is_owed: true, repeats: 9, ..well(time) } } else { well(Duration::ZERO) })
        });
        let mut watch = PeerWatch::new();
        let resting = timeout(Duration::from_secs(1801), poll_fn(|cx| watch.poll(cx, &tunnel)));
        assert!(resting.await.is_err(), "it rests");
        tunnel.moved.set(Instant::now());
        watch.moved();
        let gone = timeout(Duration::from_secs(14), poll_fn(|cx| watch.poll(cx, &tunnel)));
        assert!(gone.await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_tunnel_whose_service_is_elsewhere_is_asked_for_at_once() {
        let minute = Duration::from_secs(60);
        // Dead since the first seconds. Asked by the system, it answers nothing.
        let tunnel = Simulated::new(|time| {
            let asked = time.saturating_sub(minute).as_secs() as u32;
            Some(PathState { is_owed: asked > 0, repeats: asked, ..well(time.saturating_sub(BRISK_IDLE)) })
        });
        let mut watch = PeerWatch::new();
        assert!(timeout(minute, poll_fn(|cx| watch.poll(cx, &tunnel))).await.is_err());
        assert_eq!(tunnel.asking.get(), Asking::Rarely, "it rests");
        watch.found_elsewhere();
        timeout(Duration::from_secs(4), poll_fn(|cx| watch.poll(cx, &tunnel))).await.unwrap();
        assert_eq!(tunnel.asking.get(), Asking::Now);
    }

    #[tokio::test(start_paused = true)]
    async fn where_the_system_tells_nothing_its_own_questions_are_all_there_is() {
        let unknown = Simulated::new(|_| None);
        assert_eq!(unknown.gone_after().await, None);
        assert!(unknown.asking.get() == Asking::Rarely && unknown.looks.get() < 20);
    }
}
