//! Places at a limit: the tunnels that have been silent longest make room.
//!
//! A tunnel may be silent for as long as it likes, so at a limit those that nobody uses must not
//! keep out who comes. One that was silent for less than [`ROOM_SILENCE`] keeps its place: then the
//! newcomer is refused, and a crowd of strangers drives out nobody who is at work.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::time::Instant;

use crate::limits::ROOM_SILENCE;

/// Time between two searches when the last one found nobody: a flood at a limit must not have
/// thousands of places looked at for each newcomer.
const NEXT_SEARCH: Duration = Duration::from_secs(1);

/// The place of one tunnel, or of several over one connection.
#[derive(Debug)]
pub(crate) struct Seat {
    taken: Instant,
    moved_millis: AtomicU64,
    is_evicted: AtomicBool,
    evicted: AtomicWaker,
}

impl Seat {
    /// Says that bytes moved `at` this time.
    pub(crate) fn moved(&self, at: Instant) {
        let millis = at.saturating_duration_since(self.taken).as_millis() as u64;
        self.moved_millis.fetch_max(millis, Ordering::Relaxed);
    }

    /// Returns when the place is needed for somebody else. Cancel safe; one waits at a time.
    pub(crate) fn evicted(&self) -> impl Future<Output = ()> + Send {
        poll_fn(|cx| self.poll_evicted(cx))
    }

    /// The same, polled.
    pub(super) fn poll_evicted(&self, cx: &Context<'_>) -> Poll<()> {
        self.evicted.register(cx.waker());
        if self.is_evicted() { Poll::Ready(()) } else { Poll::Pending }
    }

    fn is_evicted(&self) -> bool {
        self.is_evicted.load(Ordering::Acquire)
    }

    fn evict(&self) {
        self.is_evicted.store(true, Ordering::Release);
        self.evicted.wake();
    }

    fn moved_at(&self) -> Instant {
        self.taken + Duration::from_millis(self.moved_millis.load(Ordering::Relaxed))
    }
}

/// Places, each with what is known of `W`ho has it.
#[derive(Debug)]
pub(crate) struct Seats<W>(Mutex<Taken<W>>);

#[derive(Debug)]
struct Taken<W> {
    seats: HashMap<u64, (W, Arc<Seat>)>,
    next: u64,
    /// When to search again, after nobody was found.
    search_at: Option<Instant>,
}

impl<W> Default for Seats<W> {
    fn default() -> Self {
        Self(Mutex::new(Taken { seats: HashMap::new(), next: 0, search_at: None }))
    }
}

impl<W> Seats<W> {
    /// How many are taken.
    pub(crate) fn len(&self) -> usize {
        self.lock().seats.len()
    }

    /// Takes a place, and returns its number.
    pub(crate) fn take(&self, whose: W) -> (u64, Arc<Seat>) {
        let (taken, evicted) = (Instant::now(), AtomicWaker::new());
        let seat = Seat { taken, moved_millis: AtomicU64::new(0), is_evicted: AtomicBool::new(false), evicted };
        let seat = Arc::new(seat);
        let mut all = self.lock();
        let number = all.next;
        all.next += 1;
        all.seats.insert(number, (whose, Arc::clone(&seat)));
        (number, seat)
    }

    /// Gives a place back. Returns whether it was still held.
    pub(crate) fn give_back(&self, number: u64) -> bool {
        let mut all = self.lock();
        let was_held = all.seats.remove(&number).is_some();
        if all.seats.is_empty() {
            all.seats.shrink_to_fit();
        }
        was_held
    }

    /// Takes the place of the one that has been silent longest, of those that `may_be`, and tells
    /// it. Returns whose it was.
    pub(crate) fn make_room(&self, may_be: impl Fn(&W) -> bool) -> Option<W> {
        let now = Instant::now();
        let mut all = self.lock();
        if all.search_at.is_some_and(|at| now < at) {
            return None;
        }
        let silent = all.seats.iter().filter(|(_, (whose, _))| may_be(whose));
        let longest = silent.map(|(number, (_, seat))| (seat.moved_at(), *number)).min();
        let Some((_, number)) = longest.filter(|(moved, _)| *moved + ROOM_SILENCE <= now) else {
            all.search_at = Some(now + NEXT_SEARCH);
            return None;
        };
        let (whose, seat) = all.seats.remove(&number)?;
        seat.evict();
        Some(whose)
    }

    fn lock(&self) -> MutexGuard<'_, Taken<W>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Places for so many connections of this computer's own programs.
#[derive(Debug)]
pub(crate) struct Places {
    limit: usize,
    seats: Seats<()>,
}

/// One of them; given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    number: u64,
    pub(crate) seat: Arc<Seat>,
}

impl Places {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, seats: Seats::default() })
    }

    /// Takes a place, of one that makes room if need be. `None` when nobody can.
    pub(crate) fn enter(self: &Arc<Self>) -> Option<Place> {
        if self.seats.len() >= self.limit {
            self.seats.make_room(|()| true)?;
        }
        let (number, seat) = self.seats.take(());
        Some(Place { places: Arc::clone(self), number, seat })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.seats.give_back(self.number);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn at_a_limit_the_one_silent_longest_makes_room_and_nobody_who_is_at_work() {
        let places = Places::new(3);
        let [silent, older, busy] = [(); 3].map(|()| places.enter().unwrap());
        advance(SECOND).await;
        silent.seat.moved(Instant::now());
        advance(ROOM_SILENCE - SECOND / 2).await;
        busy.seat.moved(Instant::now());
        let newcomer = places.enter().unwrap();
        assert!(older.seat.is_evicted() && !silent.seat.is_evicted());
        assert!(places.enter().is_none(), "the others have moved lately");
        advance(SECOND * 2).await;
        let second = places.enter().unwrap();
        assert!(silent.seat.is_evicted() && !busy.seat.is_evicted());
        drop((silent, older));
        assert_eq!(places.seats.len(), 3, "a place that was taken is not given back twice");
        drop((newcomer, second, busy));
        assert_eq!(places.seats.len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn only_those_make_room_whom_the_limit_concerns() {
        let seats = Seats::default();
        let (_, first) = seats.take("a stranger's");
        let (_, second) = seats.take("a friend's");
        advance(ROOM_SILENCE).await;
        assert_eq!(seats.make_room(|whose| whose.starts_with("a friend")), Some("a friend's"));
        assert!(second.is_evicted() && !first.is_evicted());
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_at_a_limit_searches_once_a_second() {
        let places = Places::new(1);
        let _busy = places.enter().unwrap();
        advance(ROOM_SILENCE - SECOND / 2).await;
        assert!(places.enter().is_none());
        advance(SECOND / 2).await;
        assert!(places.enter().is_none(), "not searched");
        advance(SECOND / 2).await;
        assert!(places.enter().is_some());
    }
}
