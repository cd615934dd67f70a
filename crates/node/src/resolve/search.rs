//! One search per service, shared by everybody who waits for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hardline_proto::KeyHash;
use hardline_proto::candidate::{Candidate, Source};
use hardline_proto::dial::DialSchedule;
use hardline_proto::hosts::HostPort;
use hardline_proto::network::NetworkState;
use hardline_proto::stages::{Stage, Stages};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::board::Board;
use super::report::SourceReport;
use super::{Resolver, sources};

/// How long a search without success goes on after the last one who waited has left: a page that
/// says "not found" loads again within this time and finds it still going on.
const LINGER: Duration = Duration::from_secs(8);

/// Age from which newcomers get a search of their own: what was heard long ago must not take the
/// place of news.
const MAX_AGE: Duration = Duration::from_secs(30);

/// Searches under way at once: five questions each leave our node of the DHT room for what it
/// publishes. A page that embeds more services than this finds the last of them when others have
/// ended.
const MAX_SEARCHES: usize = 128;

/// The searches under way.
#[derive(Debug, Default)]
pub(super) struct Searches(Mutex<HashMap<KeyHash, Arc<Search>>>);

/// One search.
#[derive(Debug)]
pub(super) struct Search {
    pub(super) key: KeyHash,
    began: Instant,
    board: watch::Sender<Board>,
    stages: Mutex<Stages>,
    stage: watch::Sender<Stage>,
    /// Somebody has changed `stages`.
    restage: Notify,
}

/// One's share in a search. Dropping the last one ends it, soon.
#[derive(Debug)]
pub(crate) struct Lookup {
    search: Arc<Search>,
    board: watch::Receiver<Board>,
    seen: usize,
    moves: u32,
}

impl Lookup {
    /// Waits until there is something to [`tell`](Self::tell). Cancel safe.
    pub(crate) async fn changed(&mut self) {
        // The sender lives as long as the search, which this holds.
        let _ = self.board.changed().await;
    }

    /// Tells `schedule` what is new. It begins anew when this computer has moved to another
    /// network: what failed there may work here. Returns whether that happened.
    pub(crate) fn tell(&mut self, schedule: &mut DialSchedule) -> bool {
        let board = self.board.borrow_and_update();
        let has_moved = board.moves != self.moves;
        if has_moved {
            (*schedule, self.seen, self.moves) = (DialSchedule::new(), 0, board.moves);
        }
        board.tell(self.seen, schedule);
        self.seen = board.len();
        has_moved
    }

    /// Says that everything found so far has failed.
    pub(crate) fn all_failed(&self) {
        self.search.restage(|stages| stages.all_failed(Instant::now().into_std()));
    }

    /// Says where a connection was made, for the others who wait.
    pub(crate) fn reached(&self, at: &HostPort) {
        self.search.board.send_modify(|board| board.reached = Some(at.clone()));
    }

    /// What is spoken at `at`, as somebody said who told of the address.
    pub(crate) fn version(&self, at: &HostPort) -> Option<u16> {
        self.board.borrow().is_v2(at).then_some(2)
    }

    /// What was asked so far.
    pub(crate) fn report(&self) -> Vec<SourceReport> {
        self.board.borrow().report(self.search.began.elapsed())
    }
}

impl Resolver {
    /// Joins the search for `key`, or begins one.
    pub(crate) fn lookup(self: &Arc<Self>, key: KeyHash) -> Lookup {
        let mut searches = self.searches.lock();
        if let Some(search) = searches.get(&key).filter(|search| search.is_joinable()) {
            return Lookup::new(search);
        }
        let search = Arc::new(Search::new(key, self.has_at_hand(&key)));
        let lookup = Lookup::new(&search);
        if searches.len() < MAX_SEARCHES || searches.contains_key(&key) {
            searches.insert(key, Arc::clone(&search));
            self.tasks.spawn(search.run(Arc::clone(self)));
        } else {
            search.board.send_modify(|board| board.is_over = true);
        }
        lookup
    }
}

impl Lookup {
    fn new(search: &Arc<Search>) -> Self {
        let mut board = search.board.subscribe();
        board.mark_changed();
        Self { search: Arc::clone(search), board, seen: 0, moves: 0 }
    }
}

impl Searches {
    fn lock(&self) -> MutexGuard<'_, HashMap<KeyHash, Arc<Search>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a search out, unless `still_wanted`. Nobody can join it in between. Returns whether it
    /// is out.
    fn remove(&self, search: &Arc<Search>, still_wanted: impl FnOnce(&Search) -> bool) -> bool {
        let mut searches = self.lock();
        if still_wanted(search) {
            return false;
        }
        // A newcomer may have got another one for the same service.
        if searches.get(&search.key).is_some_and(|known| Arc::ptr_eq(known, search)) {
            searches.remove(&search.key);
        }
        true
    }
}

impl Search {
    fn new(key: KeyHash, has_at_hand: bool) -> Self {
        let began = Instant::now();
        let mut stages = Stages::new(began.into_std(), has_at_hand);
        let stage = watch::Sender::new(stages.stage(began.into_std()));
        Self { key, began, board: watch::Sender::default(), stages: Mutex::new(stages), stage, restage: Notify::new() }
    }

    fn is_joinable(&self) -> bool {
        let board = self.board.borrow();
        !board.is_over && board.reached.is_none() && self.began.elapsed() < MAX_AGE
    }

    async fn run(self: Arc<Self>, resolver: Arc<Resolver>) {
        tokio::select! {
            () = resolver.stop.cancelled() => {}
            () = self.unwanted(&resolver.searches) => return,
            () = self.ask_wherever_we_are(&resolver) => {}
        }
        resolver.searches.remove(&self, |_| false);
        self.board.send_modify(|board| board.is_over = true);
    }

    /// Waits until nobody waits any more, and takes the search out.
    async fn unwanted(self: &Arc<Self>, searches: &Searches) {
        loop {
            self.board.closed().await;
            if self.board.borrow().reached.is_none() {
                sleep(LINGER).await;
            }
            if searches.remove(self, |search| search.board.receiver_count() > 0) {
                return;
            }
        }
    }

    /// Asks all sources, and again from the beginning whenever this computer has moved to another
    /// network.
    async fn ask_wherever_we_are(&self, resolver: &Arc<Resolver>) {
        loop {
            let here = resolver.network.now();
            tokio::select! {
                () = self.ask(resolver, &here) => return,
                () = resolver.network.left(&here) => {}
            }
            self.board.send_modify(Board::moved);
            let now = Instant::now().into_std();
            self.restage(|stages| *stages = Stages::new(now, resolver.has_at_hand(&self.key)));
        }
    }

    async fn ask(&self, resolver: &Arc<Resolver>, here: &NetworkState) {
        let asking = sources::Asking { search: self, resolver, here };
        let near = async { tokio::join!(asking.at_hand(), asking.remembered(), asking.lan()) };
        tokio::join!(self.follow_stages(), near, asking.dht(), asking.proxy());
    }

    /// Opens one stage after the other.
    async fn follow_stages(&self) {
        loop {
            let (stage, next) = {
                let mut stages = self.lock_stages();
                (stages.stage(Instant::now().into_std()), stages.poll_timeout())
            };
            self.stage.send_replace(stage);
            let Some(next) = next else { return };
            tokio::select! {
                () = sleep_until(next.into()) => {}
                () = self.restage.notified() => {}
            }
        }
    }

    /// Waits until `stage` has begun.
    pub(super) async fn stage(&self, stage: Stage) {
        // The sender is our own.
        let _ = self.stage.subscribe().wait_for(|now| *now >= stage).await;
    }

    fn restage(&self, change: impl FnOnce(&mut Stages)) {
        change(&mut self.lock_stages());
        self.restage.notify_one();
    }

    fn lock_stages(&self) -> MutexGuard<'_, Stages> {
        self.stages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that `source` is being asked, until the guard is dropped.
    pub(super) fn asked(&self, source: Source) -> AskedGuard<'_> {
        self.board.send_modify(|board| board.asked(self.began.elapsed(), source));
        AskedGuard { search: self, source }
    }

    /// Whether this computer has moved to another network since the search began.
    pub(super) fn has_moved(&self) -> bool {
        self.board.borrow().moves > 0
    }

    /// Notes why `source` does not help, or that it does after all.
    pub(super) fn problem(&self, source: Source, problem: Option<String>) {
        self.board.send_if_modified(|board| {
            board.problem(source, problem);
            false // nobody waits for it
        });
    }

    /// Notes that version 2 of the tunnel is spoken at `at`, as somebody says. To be called before
    /// [`found`](Self::found).
    pub(super) fn hint_v2(&self, at: &HostPort) {
        self.board.send_if_modified(|board| {
            board.hint_v2(at);
            false // nobody waits for it
        });
    }

    /// Notes an address that `asked` named.
    pub(super) fn found(&self, asked: Source, candidate: Candidate) {
        if self.board.send_if_modified(|board| board.found(asked, candidate)) {
            self.restage(Stages::found);
        }
    }
}

/// Ends a source's time when dropped.
pub(super) struct AskedGuard<'a> {
    search: &'a Search,
    source: Source,
}

impl Drop for AskedGuard<'_> {
    fn drop(&mut self) {
        self.search.board.send_modify(|board| board.ended(self.search.began.elapsed(), self.source));
    }
}

#[cfg(test)]
mod tests;
