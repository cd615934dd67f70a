//! Links that wait for their next tunnel.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use hardline_proto::candidate::Candidate;
use hardline_proto::host::ServiceName;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::LinkStream;
use crate::config::Parking;
use crate::limits::FRESH_LINK;
use crate::resolve::Resolver;

/// Time between two looks for links that nobody wants any more.
const SWEEP: Duration = Duration::from_secs(10);

/// The part of the time for which links are parked after which one that is kept ready is dialled anew.
const RENEWAL: f64 = 0.8;

/// The parked links of a node, per service and password.
///
/// The one parked last is taken first. So with less demand the others grow old, and after [`Parking::time`] they go.
#[derive(Debug)]
pub(crate) struct Pool {
    /// Knows when this computer has moved.
    resolver: Arc<Resolver>,
    parking: Parking,
    services: Mutex<HashMap<ServiceName, Kept>>,
    parked: Notify,
}

#[derive(Debug, Default)]
struct Kept {
    /// The one parked last at the end.
    links: Vec<Parked>,
    /// When a link was wanted last.
    wanted: Option<Instant>,
    /// Whether a spare link is being dialled.
    is_refilling: bool,
}

/// A link that carries nothing.
#[derive(Debug)]
pub(crate) struct Parked {
    pub(crate) link: LinkStream,
    /// Where it leads to.
    pub(crate) candidate: Candidate,
    /// How often this computer had moved.
    generation: u64,
    since: Instant,
    /// The other clock may stand still while the computer sleeps.
    since_date: SystemTime,
}

impl Parked {
    fn new(link: LinkStream, candidate: Candidate, generation: u64) -> Self {
        Self { link, candidate, generation, since: Instant::now(), since_date: SystemTime::now() }
    }

    fn age(&self) -> Duration {
        // A clock that was set back tells nothing.
        self.since.elapsed().max(self.since_date.elapsed().unwrap_or_default())
    }

    fn is_useful(&mut self, parking: &Parking) -> bool {
        self.age() < parking.time && self.link.is_quiet()
    }
}

impl Pool {
    pub(crate) fn new(resolver: Arc<Resolver>, parking: Parking) -> Self {
        Self { resolver, parking, services: Mutex::default(), parked: Notify::new() }
    }

    /// Whether the peer was heard so lately, and from the same place, that it will still be there.
    pub(crate) fn is_fresh(&self, parked: &Parked) -> bool {
        parked.age() < FRESH_LINK && parked.generation == self.resolver.network.generation()
    }

    /// Time after which a link that is kept ready is dialled anew, before the one there is grows too old; `None` if links are
    /// not parked.
    pub(crate) fn renewal(&self) -> Option<Duration> {
        let Parking { time, links, links_each } = self.parking;
        (links > 0 && links_each > 0 && !time.is_zero()).then(|| time.mul_f64(RENEWAL))
    }

    /// Whether a link to `name` is there that will not be too old at the next [renewal](Self::renewal).
    pub(crate) fn is_stocked(&self, name: &ServiceName) -> bool {
        let young = self.parking.time.mul_f64(1.0 - RENEWAL);
        let mut services = self.lock();
        let Some(kept) = services.get_mut(name) else { return false };
        kept.links.iter_mut().any(|parked| parked.age() < young && parked.is_useful(&self.parking))
    }

    /// Takes a link to `name` that is not known to have ended.
    pub(crate) fn take(&self, name: &ServiceName) -> Option<Parked> {
        let mut services = self.lock();
        let kept = services.get_mut(name)?;
        kept.wanted = Some(Instant::now());
        std::iter::from_fn(|| kept.links.pop()).find_map(|mut parked| parked.is_useful(&self.parking).then_some(parked))
    }

    /// Parks a link, if there is room.
    pub(crate) fn put(&self, name: &ServiceName, link: LinkStream, candidate: Candidate) {
        let generation = self.resolver.network.generation();
        let mut services = self.lock();
        let all: usize = services.values().map(|kept| kept.links.len()).sum();
        let kept = services.entry(name.clone()).or_default();
        if all < self.parking.links && kept.links.len() < self.parking.links_each {
            kept.links.push(Parked::new(link, candidate, generation));
        }
        kept.wanted = Some(Instant::now());
        self.parked.notify_one();
    }

    /// Notes that no link to `name` is left. Returns whether a spare one should be dialled: the service is used again and
    /// again, and none is on its way. Tell the end of that with [`refilled`](Self::refilled).
    pub(crate) fn should_refill(&self, name: &ServiceName) -> bool {
        let mut services = self.lock();
        let Some(kept) = services.get_mut(name) else { return false };
        let should = kept.links.is_empty() && !kept.is_refilling;
        kept.is_refilling |= should;
        should
    }

    pub(crate) fn refilled(&self, name: &ServiceName, spare: Option<(LinkStream, Candidate)>) {
        if let Some(kept) = self.lock().get_mut(name) {
            kept.is_refilling = false;
        }
        if let Some((link, candidate)) = spare {
            self.put(name, link, candidate);
        }
    }

    /// Drops every link to `name`: they lead nowhere.
    pub(crate) fn forget(&self, name: &ServiceName) {
        if let Some(kept) = self.lock().get_mut(name) {
            kept.links.clear();
        }
    }

    /// Looks after the links until `stop`, then drops them.
    pub(crate) async fn run(&self, stop: CancellationToken) {
        let sweeping = async {
            loop {
                if self.lock().is_empty() {
                    self.parked.notified().await;
                }
                sleep(SWEEP).await;
                self.sweep();
            }
        };
        stop.run_until_cancelled(sweeping).await;
        self.lock().clear();
    }

    fn sweep(&self) {
        let mut services = self.lock();
        for kept in services.values_mut() {
            kept.links.retain_mut(|parked| parked.is_useful(&self.parking));
        }
        services.retain(|_, kept| {
            let is_wanted = kept.wanted.is_some_and(|wanted| wanted.elapsed() < self.parking.time);
            is_wanted || kept.is_refilling || !kept.links.is_empty()
        });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ServiceName, Kept>> {
        self.services.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
