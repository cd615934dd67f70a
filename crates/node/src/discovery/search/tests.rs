//! Searches in simulated time, with a real LAN driver that nobody answers, so that they do not end
//! by themselves.

use std::net::Ipv4Addr;

use hardline_proto::candidate::{DialPolicy, Way};
use hardline_proto::dial::AttemptId;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::*;
use crate::config::{LanConfig, StaticAddress};
use crate::discovery::{LAN, STATIC, SourceContext};
use crate::drivers::lan::Lan;
use crate::network::simulated::Addresses;

const KEY: KeyHash = KeyHash::from_bytes([7; 20]);

/// Longer than any search is waited for.
const LONG: Duration = Duration::from_secs(60);

/// A resolver on a computer whose interfaces the test changes.
struct Fixture {
    resolver: Arc<Resolver>,
    addresses: Addresses,
}

impl Fixture {
    async fn new(given: &[&str]) -> Self {
        let stop = CancellationToken::new();
        let lan = LanConfig { port: 0, bind: vec![Ipv4Addr::LOCALHOST], ..LanConfig::default() };
        let addresses = Addresses::default();
        addresses.set(&["192.168.1.2"]);
        let sources = SourceContext {
            static_addresses: given.iter().map(|at| StaticAddress { key: KEY, at: at.parse().unwrap() }).collect(),
            lan: Some(Lan::start(lan, &addresses.monitor(), stop.clone()).await.unwrap()),
            ..SourceContext::default()
        };
        let (network, policy) = (addresses.monitor(), DialPolicy::default());
        Self { resolver: Resolver::new(sources, network, policy, stop, TaskTracker::new()), addresses }
    }

    fn searches(&self) -> usize {
        self.resolver.searches.lock().len()
    }
}

/// The attempts that may start as soon as `lookup` tells of something to dial.
async fn next_attempts(lookup: &mut Lookup, schedule: &mut DialSchedule) -> Vec<(AttemptId, String)> {
    let attempts = async {
        loop {
            lookup.changed().await;
            lookup.tell(schedule);
            let now = Instant::now().into_std();
            let started = std::iter::from_fn(|| schedule.poll_start(now));
            let started: Vec<_> = started.map(|(id, candidate)| (id, candidate.addr.to_string())).collect();
            if !started.is_empty() {
                break started;
            }
        }
    };
    timeout(LONG, attempts).await.unwrap()
}

/// Waits until `lookup` has been told of the source.
async fn asked(lookup: &mut Lookup, source: SourceInfo) {
    let wait = async {
        while !lookup.report().iter().any(|entry| entry.source == source) {
            lookup.changed().await;
            lookup.state.borrow_and_update();
        }
    };
    timeout(LONG, wait).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn all_who_wait_share_one_search_and_late_comers_hear_what_was_found() {
    let fixture = Fixture::new(&["192.0.2.1:7008"]).await;
    let mut first = fixture.resolver.lookup(KEY);
    let attempts = next_attempts(&mut first, &mut DialSchedule::new()).await;
    assert_eq!(fixture.searches(), 1);
    let mut second = fixture.resolver.lookup(KEY);
    assert!(Arc::ptr_eq(&first.search, &second.search));
    assert_eq!(next_attempts(&mut second, &mut DialSchedule::new()).await, attempts);
    let other = fixture.resolver.lookup(KeyHash::from_bytes([8; 20]));
    assert!(!Arc::ptr_eq(&first.search, &other.search));
}

#[tokio::test(start_paused = true)]
async fn a_search_ends_soon_after_the_last_one_who_waited_has_left() {
    let fixture = Fixture::new(&[]).await;
    let (first, second) = (fixture.resolver.lookup(KEY), fixture.resolver.lookup(KEY));
    drop(first);
    sleep(LONG).await;
    assert_eq!(fixture.searches(), 1, "somebody waits still");
    drop(second);
    sleep(LINGER / 2).await;
    drop(fixture.resolver.lookup(KEY));
    assert_eq!(fixture.searches(), 1, "a page that loads again finds it going on");
    sleep(LONG).await;
    assert_eq!(fixture.searches(), 0);
    fixture.resolver.tasks.close();
    timeout(LONG, fixture.resolver.tasks.wait()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_success_ends_the_search_at_once_and_tells_the_others_where_it_was() {
    let fixture = Fixture::new(&["192.0.2.1:1", "192.0.2.1:2", "192.0.2.1:3"]).await;
    let (first, mut second) = (fixture.resolver.lookup(KEY), fixture.resolver.lookup(KEY));
    let mut schedule = DialSchedule::new();
    let started = next_attempts(&mut second, &mut schedule).await;
    assert_eq!(started[0].1, "192.0.2.1:1");
    first.reached(&TransportAddr::Tcp("192.0.2.1:3".parse().unwrap()));
    assert_eq!(next_attempts(&mut second, &mut schedule).await[0].1, "192.0.2.1:3");
    drop((first, second));
    sleep(LINGER / 2).await;
    assert_eq!(fixture.searches(), 0);
}

#[tokio::test(start_paused = true)]
async fn neighbours_hear_of_a_service_only_when_a_known_address_does_not_answer() {
    let fixture = Fixture::new(&["192.0.2.1:7008"]).await;
    let mut lookup = fixture.resolver.lookup(KEY);
    next_attempts(&mut lookup, &mut DialSchedule::new()).await;
    let static_alone: Vec<_> = lookup.report().into_iter().map(|entry| entry.source).collect();
    assert_eq!(static_alone, [STATIC]);
    let began = Instant::now();
    lookup.all_failed();
    asked(&mut lookup, LAN).await;
    assert!(began.elapsed() < hardline_proto::stages::LOCAL_HEAD_START, "a failure begins the next tier at once");
}

#[tokio::test(start_paused = true)]
async fn in_another_network_everything_is_asked_and_dialled_anew() {
    let fixture = Fixture::new(&["192.0.2.1:7008"]).await;
    let mut lookup = fixture.resolver.lookup(KEY);
    let mut schedule = DialSchedule::new();
    let started = next_attempts(&mut lookup, &mut schedule).await;
    schedule.failed(Instant::now().into_std(), started[0].0);
    asked(&mut lookup, LAN).await;
    fixture.addresses.set(&["10.0.0.2"]);
    let moved = async {
        loop {
            lookup.changed().await;
            if lookup.tell(&mut schedule) {
                break;
            }
        }
    };
    timeout(LONG, moved).await.unwrap();
    while schedule.poll_start(Instant::now().into_std()).is_none() {
        timeout(LONG, lookup.changed()).await.unwrap();
        assert!(!lookup.tell(&mut schedule));
    }
}

#[tokio::test(start_paused = true)]
async fn an_address_reached_last_belongs_to_the_network_it_worked_in() {
    let fixture = Fixture::new(&[]).await;
    let (here, addr) = (fixture.resolver.network.now(), TransportAddr::Tcp("192.168.1.9:7008".parse().unwrap()));
    fixture.resolver.context.last_known_good.note(std::time::Instant::now(), KEY, (addr, Way::Straight), None, here);
    let mut lookup = fixture.resolver.lookup(KEY);
    assert_eq!(next_attempts(&mut lookup, &mut DialSchedule::new()).await[0].1, "192.168.1.9:7008");
    drop(lookup);
    fixture.addresses.set(&["10.0.0.2"]);
    sleep(LONG).await;
    let mut elsewhere = fixture.resolver.lookup(KEY);
    asked(&mut elsewhere, LAN).await;
    assert!(elsewhere.state.borrow().set.is_empty());
}

#[tokio::test(start_paused = true)]
async fn searches_are_bounded_in_number() {
    let fixture = Fixture::new(&[]).await;
    let key = |number: usize| {
        let mut bytes = [0; 20];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        KeyHash::from_bytes(bytes)
    };
    let lookups: Vec<_> = (0..=MAX_SEARCHES).map(|number| fixture.resolver.lookup(key(number))).collect();
    assert_eq!(fixture.searches(), MAX_SEARCHES);
    assert!(lookups[MAX_SEARCHES].state.borrow().is_over);
}
