//! Relays through which this computer is reached.

use std::fmt::Display;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hardline_proto::KeyHash;
use hardline_proto::candidate::TransportAddr;
use hardline_proto::dial::{DialSchedule, MAX_CANDIDATES};
use hardline_proto::hosts::{HostList, HostPort};
use hardline_proto::relay::message::MAX_NAMES;
use hardline_proto::relay::{Id, Name, RelayUrl};
use hardline_proto::rolling::{Day, RollingCode};
use serde::{Serialize, Serializer};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::clock;
use crate::discovery::Resolver;
use crate::limits::LOOKUP_TIMEOUT;
use crate::services::Table;
use crate::transport::relay::publisher::{Publisher, RegistrationStatus, Relayed, RelayedCall};
use crate::transport::relay::verify::ToVerify;

/// How it stands with a relay through which this computer is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RelayedThrough {
    /// Where the relay listens; `None` until it is found.
    #[serde(rename = "at", serialize_with = "optional_text")]
    pub host: Option<HostPort>,
    /// Its name.
    #[serde(serialize_with = "text")]
    pub key: KeyHash,
    /// Whether our names are registered there.
    #[serde(flatten)]
    pub registration: RegistrationStatus,
}

fn text<S: Serializer>(value: &impl Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

fn optional_text<S: Serializer>(value: &Option<impl Display>, serializer: S) -> Result<S::Ok, S::Error> {
    value.as_ref().map(ToString::to_string).serialize(serializer)
}

impl RelayedThrough {
    /// For people.
    pub(crate) fn sentence(&self) -> String {
        let at = self.host.as_ref().map_or_else(|| self.key.short(), ToString::to_string);
        match &self.registration {
            RegistrationStatus::Registered { names_refused: 0 } => {
                format!("Others reach this computer through the relay {at}.")
            }
            RegistrationStatus::Registered { names_refused } => format!(
                "Registered at the relay {at}, but {names_refused} names are held there with another token: another computer \
                 publishes the same services."
            ),
            RegistrationStatus::Connecting { problem: None } => format!("Connecting to the relay {at}."),
            RegistrationStatus::Connecting { problem: Some(problem) } => {
                format!("The relay {at} does not answer ({problem}); it is tried again every few seconds.")
            }
            RegistrationStatus::Refused { reason } => format!("Refused by the relay {at}: {reason}."),
        }
    }
}

/// Handle of the tasks that keep this computer registered at relays.
#[derive(Debug)]
pub(crate) struct Relays {
    statuses: watch::Receiver<Vec<RelayedThrough>>,
    hosts: watch::Receiver<HostList>,
}

/// What all registrations share.
pub(crate) struct RelaysContext {
    /// The services that are reached through the relays.
    pub(crate) services: watch::Receiver<Arc<Table>>,
    /// Whether clients of the legacy protocol are served, who ask by the plain key hash.
    pub(crate) plain: bool,
    /// Finds relays whose address is not given.
    pub(crate) resolver: Arc<Resolver>,
    pub(crate) relayed: Relayed,
    /// Where calls go that relays carry, if any are taken.
    pub(crate) calls: Option<mpsc::Sender<RelayedCall>>,
    pub(crate) to_verify: ToVerify,
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
}

impl Relays {
    /// Starts a task for each relay; they belong to the context's tracker and end on its `stop`.
    pub(crate) fn start(relays: Vec<RelayUrl>, context: RelaysContext) -> Arc<Self> {
        let RelaysContext { mut services, plain, resolver, relayed, calls, to_verify, tasks, stop } = context;
        let network = resolver.network.watch();
        let id = Id::from_bytes(rand::random());
        let (names_sender, names) = {
            let keys = asked_for(&services.borrow_and_update(), plain);
            watch::channel(names(&keys, clock::today()))
        };
        tasks.spawn({
            let stop = stop.clone();
            async move { stop.run_until_cancelled(follow_names(services, plain, names_sender)).await }
        });
        let (statuses, receiver) = watch::channel(Vec::new());
        for (index, relay) in relays.into_iter().enumerate() {
            let registration = RegistrationStatus::Connecting { problem: None };
            let entry = RelayedThrough { host: relay.at.clone(), key: relay.key, registration };
            statuses.send_modify(|all| all.push(entry));
            let (statuses, at) = (statuses.clone(), relay.at.clone());
            let tell = move |registration, found: Option<HostPort>| {
                let host = found.or_else(|| at.clone());
                statuses.send_modify(|all| all[index] = RelayedThrough { host, registration, ..all[index].clone() });
            };
            let (resolver, at, key) = (Arc::clone(&resolver), relay.at.clone(), relay.key);
            let publisher = Publisher {
                relay,
                locate: Box::new(move || locate(&resolver, at.as_ref(), key)),
                id,
                names: names.clone(),
                network: network.clone(),
                relayed: relayed.clone(),
                calls: calls.clone(),
                to_verify: to_verify.clone(),
                tell: Box::new(tell),
                tasks: tasks.clone(),
                stop: stop.clone(),
            };
            tasks.spawn(publisher.run());
        }
        let (hosts_sender, hosts) = watch::channel(HostList::default());
        let following = follow_registrations(receiver.clone(), hosts_sender);
        tasks.spawn(async move { stop.run_until_cancelled(following).await });
        Arc::new(Self { statuses: receiver, hosts })
    }

    /// The relays at which this computer is registered now, in the order of the configuration.
    pub(crate) fn hosts(&self) -> watch::Receiver<HostList> {
        self.hosts.clone()
    }

    pub(crate) fn status(&self) -> Vec<RelayedThrough> {
        self.statuses.borrow().clone()
    }
}

/// Tells where the relay `key` may listen: at `at`, or where a service of that key would be found.
fn locate(resolver: &Arc<Resolver>, at: Option<&HostPort>, key: KeyHash) -> mpsc::Receiver<HostPort> {
    let (sender, receiver) = mpsc::channel(MAX_CANDIDATES);
    if let Some(at) = at {
        // There is room for one.
        let _ = sender.try_send(at.clone());
        return receiver;
    }
    let tasks = resolver.tasks.clone();
    let resolver = Arc::clone(resolver);
    tasks.spawn(async move {
        let mut lookup = resolver.lookup(key);
        let mut schedule = DialSchedule::new();
        let looking = async {
            while !schedule.is_exhausted() {
                lookup.changed().await;
                lookup.tell(&mut schedule);
                while let Some((id, candidate)) = schedule.poll_start(Instant::now()) {
                    if let TransportAddr::Tcp(at) = candidate.addr
                        && sender.send(at).await.is_err()
                    {
                        return; // it has been reached
                    }
                    // Whether it answers is seen by who gets it; the next source is asked
                    // meanwhile.
                    schedule.failed(Instant::now(), id);
                    lookup.all_failed();
                }
            }
        };
        tokio::select! {
            _ = timeout(LOOKUP_TIMEOUT, looking) => {}
            () = sender.closed() => {}
        }
    });
    receiver
}

/// The services, each with whether clients of the legacy protocol ask for it.
fn asked_for(table: &Table, plain: bool) -> Vec<(KeyHash, bool)> {
    table.services.iter().map(|service| (service.key(), plain && !service.config.private)).collect()
}

/// What clients ask for on the days around `today`, as far as it fits into a registration: services
/// first that come first.
fn names(services: &[(KeyHash, bool)], today: Day) -> Vec<Name> {
    let of = |(key, plain): &(KeyHash, bool)| {
        let codes = today.with_neighbours().map(|day| *RollingCode::of(key, day).as_bytes());
        codes.into_iter().chain(plain.then_some(*key.as_bytes()))
    };
    let per_service = if services.iter().any(|(_, plain)| *plain) { 4 } else { 3 };
    let most = MAX_NAMES / per_service;
    if services.len() > most {
        warn!(services = services.len(), most, "more services than are registered at a relay");
    }
    services.iter().take(most).flat_map(of).collect()
}

/// Keeps the names up with the days and the table.
async fn follow_names(mut services: watch::Receiver<Arc<Table>>, plain: bool, sender: watch::Sender<Vec<Name>>) {
    loop {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        // Tomorrow's names are registered already: an hour's delay by a clock that is set hurts
        // nobody.
        let rest = (Day::SECONDS - now % Day::SECONDS).min(3600);
        tokio::select! {
            () = sleep(Duration::from_secs(rest + 1)) => {}
            Ok(()) = services.changed() => {}
        }
        let keys = asked_for(&services.borrow_and_update(), plain);
        let fresh = names(&keys, clock::today());
        sender.send_if_modified(|known| {
            let is_news = *known != fresh;
            *known = fresh;
            is_news
        });
    }
}

/// Tells at which relays this computer is registered.
async fn follow_registrations(mut relays: watch::Receiver<Vec<RelayedThrough>>, sender: watch::Sender<HostList>) {
    loop {
        let is_registered =
            |relay: &&RelayedThrough| matches!(relay.registration, RegistrationStatus::Registered { .. });
        let hosts =
            relays.borrow_and_update().iter().filter(is_registered).filter_map(|relay| relay.host.clone()).collect();
        sender.send_if_modified(|known| {
            let is_news = *known != hosts;
            *known = hosts;
            is_news
        });
        if relays.changed().await.is_err() {
            return; // the node stops
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_registered_for_three_days_and_by_its_key_hash_for_legacy_clients_alone() {
        let key = KeyHash::from_bytes([7; 20]);
        let hidden = names(&[(key, false)], Day(20_000));
        assert_eq!(hidden.len(), 3);
        assert!(!hidden.contains(key.as_bytes()), "the relay does not learn it");
        let plain = names(&[(key, true)], Day(20_000));
        assert_eq!((plain.len(), plain[3]), (4, *key.as_bytes()));
        assert_eq!(names(&[(key, false)], Day(20_001))[0], hidden[1], "tomorrow's names were known today");
    }

    #[test]
    fn a_registration_holds_whole_services_and_no_more_than_fit() {
        let many = |plain| (0..=255).map(|n| (KeyHash::from_bytes([n; 20]), plain)).collect::<Vec<_>>();
        assert_eq!(names(&many(true), Day(20_000)).len(), MAX_NAMES / 4 * 4);
        assert_eq!(names(&many(false), Day(20_000)).len(), MAX_NAMES / 3 * 3);
    }
}
