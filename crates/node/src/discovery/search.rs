//! One search per service, shared by everybody who waits for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use hardline_proto::KeyHash;
use hardline_proto::candidate::{Candidate, SourceInfo, Tier, TransportAddr, Way};
use hardline_proto::dial::DialSchedule;
use hardline_proto::hosts::HostPort;
use hardline_proto::network::NetworkState;
use hardline_proto::stages::Stages;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::Resolver;
use super::report::SourceReport;
use super::source::{AddressSource, Findings};
use super::state::SearchState;

/// How long a search without success goes on after the last one who waited has left: a page that
/// says "not found" loads again within this time and finds it still going on.
const LINGER: Duration = Duration::from_secs(8);

/// Time without success after which sources are listened to for news: most services are found
/// sooner.
const LISTEN_AFTER: Duration = Duration::from_millis(500);

/// Age from which newcomers get a search of their own: what was heard long ago must not take the
/// place of news.
const MAX_AGE: Duration = Duration::from_secs(30);

/// Relays of one service that are known apart.
const MAX_RELAYS: usize = 4;

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
    state: watch::Sender<SearchState>,
    stages: Mutex<Stages>,
    tier: watch::Sender<Tier>,
    /// Somebody has changed `stages`.
    restage: Notify,
    /// Whether it is time to call the service, if it can be called.
    call: watch::Sender<bool>,
    /// Relays through which the service is reached, as far as that is known.
    relays: watch::Sender<Vec<HostPort>>,
    /// Of one that nobody else joins: whether the service is called.
    beside: Option<bool>,
}

/// One's share in a search. Dropping the last one ends it, soon.
#[derive(Debug)]
pub(crate) struct Lookup {
    search: Arc<Search>,
    state: watch::Receiver<SearchState>,
    seen: usize,
    moves: u32,
}

impl Lookup {
    /// Waits until there is something to [`tell`](Self::tell). Cancel safe.
    pub(crate) async fn changed(&mut self) {
        // The sender lives as long as the search, which this holds.
        let _ = self.state.changed().await;
    }

    /// Tells `schedule` what is new. It begins anew when this computer has moved to another
    /// network: what failed there may work here. Returns whether that happened.
    pub(crate) fn tell(&mut self, schedule: &mut DialSchedule) -> bool {
        let state = self.state.borrow_and_update();
        let has_moved = state.moves != self.moves;
        if has_moved {
            (*schedule, self.seen, self.moves) = (DialSchedule::new(), 0, state.moves);
        }
        state.tell(Instant::now().into_std(), self.seen, schedule);
        self.seen = state.set.len();
        has_moved
    }

    /// Says that everything found so far has failed.
    pub(crate) fn all_failed(&self) {
        self.search.restage(|stages| stages.all_failed(Instant::now().into_std()));
    }

    /// Says where a connection was made, for the others who wait.
    pub(crate) fn reached(&self, addr: &TransportAddr) {
        self.search.state.send_modify(|state| state.reached = Some(addr.clone()));
    }

    /// Says that it is time to call the service.
    pub(crate) fn call(&self) {
        self.search.call.send_replace(true);
    }

    /// The version of the tunnel that is spoken at `addr`, as somebody says.
    pub(crate) fn version(&self, addr: &TransportAddr) -> Option<u16> {
        self.state.borrow().set.version(addr)
    }

    /// What was asked so far.
    pub(crate) fn report(&self) -> Vec<SourceReport> {
        let report = self.state.borrow().report(self.search.began.elapsed());
        // Where no relay is known, that it was not called goes without saying.
        let is_said = |source: &SourceReport| source.found > 0 || !is_relayed_call(source.source);
        report.into_iter().filter(is_said).collect()
    }
}

impl Resolver {
    /// Joins the search for `key`, or begins one.
    pub(crate) fn lookup(self: &Arc<Self>, key: KeyHash) -> Lookup {
        let mut searches = self.searches.lock();
        if let Some(search) = searches.get(&key).filter(|search| search.is_joinable()) {
            return Lookup::new(search);
        }
        let search = Arc::new(Search::new(key, self, None));
        let lookup = Lookup::new(&search);
        if searches.len() < MAX_SEARCHES || searches.contains_key(&key) {
            searches.insert(key, Arc::clone(&search));
            self.tasks.spawn(search.run(Arc::clone(self)));
        } else {
            search.state.send_modify(|state| state.is_over = true);
        }
        lookup
    }
}

impl Resolver {
    /// Begins a search for `key` of one's own, beside those of others. Without `calls` the service
    /// is not called.
    pub(crate) fn look_beside(self: &Arc<Self>, key: KeyHash, calls: bool) -> Lookup {
        let search = Arc::new(Search::new(key, self, Some(calls)));
        let lookup = Lookup::new(&search);
        self.tasks.spawn(search.run(Arc::clone(self)));
        lookup
    }
}

impl Lookup {
    fn new(search: &Arc<Search>) -> Self {
        let mut state = search.state.subscribe();
        state.mark_changed();
        Self { search: Arc::clone(search), state, seen: 0, moves: 0 }
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
    fn new(key: KeyHash, resolver: &Resolver, beside: Option<bool>) -> Self {
        let began = Instant::now();
        let mut stages = resolver.stages(began, beside);
        let tier = watch::Sender::new(stages.tier(began.into_std()));
        Self {
            key,
            began,
            state: watch::Sender::default(),
            stages: Mutex::new(stages),
            tier,
            restage: Notify::new(),
            call: watch::Sender::new(false),
            relays: watch::Sender::default(),
            beside,
        }
    }

    fn is_joinable(&self) -> bool {
        let state = self.state.borrow();
        !state.is_over && state.reached.is_none() && self.began.elapsed() < MAX_AGE
    }

    async fn run(self: Arc<Self>, resolver: Arc<Resolver>) {
        tokio::select! {
            () = resolver.stop.cancelled() => {}
            () = self.unwanted(&resolver.searches) => return,
            () = self.ask_wherever_we_are(&resolver) => {}
        }
        resolver.searches.remove(&self, |_| false);
        self.state.send_modify(|state| state.is_over = true);
    }

    /// Waits until nobody waits any more, and takes the search out.
    async fn unwanted(self: &Arc<Self>, searches: &Searches) {
        loop {
            self.state.closed().await;
            if self.state.borrow().reached.is_none() && self.beside.is_none() {
                sleep(LINGER).await;
            }
            if searches.remove(self, |search| search.state.receiver_count() > 0) {
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
            self.state.send_modify(SearchState::moved);
            self.call.send_replace(false);
            self.restage(|stages| *stages = resolver.stages(Instant::now(), self.beside));
            self.tier.send_replace(Tier::Local);
        }
    }

    async fn ask(&self, resolver: &Arc<Resolver>, here: &NetworkState) {
        let asking = resolver.asked(self.beside).map(|source| {
            let findings = Findings { search: self, source: source.info(), rules: &resolver.rules, here };
            self.ask_source(source, findings)
        });
        tokio::join!(self.follow_stages(), join_all(asking));
    }

    /// Asks one source when its tier's turn has come, and again where it wants that.
    async fn ask_source(&self, source: &dyn AddressSource, findings: Findings<'_>) {
        self.turn_of(findings.source.tier).await;
        let listening = async {
            sleep(LISTEN_AFTER).await;
            source.listen(&findings).await;
        };
        tokio::join!(self.ask_again(source, &findings), listening);
    }

    async fn ask_again(&self, source: &dyn AddressSource, findings: &Findings<'_>) {
        let info = findings.source;
        self.ask_once(source, findings).await;
        self.restage(|stages| stages.ended(Instant::now().into_std(), info.tier));
        while let Some(pause) = source.ask_again_after() {
            sleep(pause).await;
            self.ask_once(source, findings).await;
        }
    }

    async fn ask_once(&self, source: &dyn AddressSource, findings: &Findings<'_>) {
        self.state.send_modify(|state| state.set.asked(self.began.elapsed(), findings.source));
        source.lookup(findings).await;
        self.state.send_modify(|state| state.set.ended(self.began.elapsed(), findings.source));
    }

    /// Begins one tier after the other.
    async fn follow_stages(&self) {
        loop {
            let (tier, next) = {
                let mut stages = self.lock_stages();
                (stages.tier(Instant::now().into_std()), stages.poll_timeout())
            };
            self.tier.send_replace(tier);
            let Some(next) = next else { return };
            tokio::select! {
                () = sleep_until(next.into()) => {}
                () = self.restage.notified() => {}
            }
        }
    }

    /// Waits until `tier` may be asked.
    async fn turn_of(&self, tier: Tier) {
        // The sender is our own.
        let _ = self.tier.subscribe().wait_for(|now| *now >= tier).await;
    }

    fn restage(&self, change: impl FnOnce(&mut Stages)) {
        change(&mut self.lock_stages());
        self.restage.notify_one();
    }

    fn lock_stages(&self) -> MutexGuard<'_, Stages> {
        self.stages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes why `source` does not help, or that it does after all.
    pub(super) fn problem(&self, source: SourceInfo, problem: Option<String>) {
        self.state.send_if_modified(|state| {
            state.set.problem(source, problem);
            false // nobody waits for it
        });
    }

    /// Says that the service can be called, and waits until it is time to. Cancel safe.
    #[cfg(feature = "quic")]
    pub(super) async fn turn_to_call(&self) {
        self.state.send_if_modified(|state| !std::mem::replace(&mut state.is_callable, true));
        // The sender is our own.
        let _ = self.call.subscribe().wait_for(|is_time| *is_time).await;
    }

    /// Relays through which the service is reached, as soon as there is one. Cancel safe.
    #[cfg(feature = "quic")]
    pub(super) async fn relays(&self) -> Vec<HostPort> {
        let mut relays = self.relays.subscribe();
        // The sender is our own.
        let known = relays.wait_for(|relays| !relays.is_empty()).await;
        known.map(|known| known.clone()).unwrap_or_default()
    }

    fn note_relay(&self, candidate: &Candidate) {
        let (Way::Relayed, TransportAddr::Tcp(at)) = (candidate.way, &candidate.addr) else { return };
        self.relays.send_if_modified(|known| {
            let is_news = known.len() < MAX_RELAYS && !known.contains(at);
            if is_news {
                known.push(at.clone());
            }
            is_news
        });
    }

    /// Notes an address that `asked` named.
    pub(super) fn found(&self, asked: SourceInfo, candidate: Candidate) {
        self.note_relay(&candidate);
        if self.state.send_if_modified(|state| state.set.found(asked, candidate)) {
            self.restage(Stages::found);
        }
    }
}

#[cfg(feature = "quic")]
fn is_call(source: SourceInfo) -> bool {
    source == super::CALL || is_relayed_call(source)
}

#[cfg(feature = "quic")]
fn is_relayed_call(source: SourceInfo) -> bool {
    source == super::RELAYED_CALL
}

#[cfg(not(feature = "quic"))]
fn is_call(_source: SourceInfo) -> bool {
    false
}

#[cfg(not(feature = "quic"))]
fn is_relayed_call(_source: SourceInfo) -> bool {
    false
}

impl Resolver {
    /// The stages of a search that begins now.
    fn stages(&self, now: Instant, beside: Option<bool>) -> Stages {
        Stages::new(now.into_std(), self.asked(beside).map(|source| source.info().tier))
    }

    /// The sources that a search asks. Without the DHT a relay is known only from where the service
    /// was reached before, and then a better path is looked for beside it.
    fn asked(&self, beside: Option<bool>) -> impl Iterator<Item = &dyn AddressSource> {
        let has_dht = self.context.dht.is_some();
        let sources = self.sources.iter().map(AsRef::as_ref);
        sources.filter(move |source: &&dyn AddressSource| match beside {
            None => has_dht || !is_relayed_call(source.info()),
            Some(calls) => calls || !is_call(source.info()),
        })
    }

    /// Whether anybody beyond the LAN is asked.
    pub(crate) fn asks_wan(&self) -> bool {
        self.asked(None).any(|source| source.info().tier == Tier::Wan)
    }
}

#[cfg(test)]
mod tests;
