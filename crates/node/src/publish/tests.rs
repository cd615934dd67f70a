//! Publishing into a network of our own nodes on loopback.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hardline_dht::{InfoHash, Value};
use hardline_proto::dht_key;
use hardline_proto::rolling::Day;
use hardline_proto::sealed::{Home, Newest, SealedRecord, open};
use tempfile::TempDir;
use tokio_util::sync::DropGuard;

use super::announcer::ENTER_LIMIT;
use super::*;
use crate::config::DhtSettings;
use crate::drivers::dht::proxy::server::ProxyServer;
use crate::drivers::dht::{Dht, DhtConfig};
use crate::network::NetworkMonitor;
use crate::tls::identity::Identity;
use crate::tls::sealed::verify;

/// Noon of day 20,779.
const NOON: u64 = (20_779 * 86_400 + 43_200) * 1000;
const TODAY: Day = Day(20_779);
const LIMIT: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_service_is_stored_under_every_key_and_read_back() {
    let network = Network::start().await;
    let it = Publishing::start(&network, &[], "203.0.113.5:7008,[200:1::2]:7008", true, || NOON).await;
    let PublishState::Stored { copies, at_ms } = it.settled().await else { panic!("not stored") };
    assert_eq!(copies.iter().map(|copy| copy.kind).collect::<Vec<_>>(), [Kind::Sealed, Kind::Rolling, Kind::Plain]);
    assert!(copies.iter().all(|copy| copy.nodes >= 4 && copy.read_back_ms.is_some()), "{copies:?}");
    assert_eq!(at_ms, NOON);
    let [record] = &network.sealed(&it.key, TODAY).await[..] else { panic!("not one record") };
    assert_eq!(record.addresses.to_string(), "203.0.113.5:7008,[200:1::2]:7008");
    assert_eq!((record.issued_ms, record.tunnels.as_slice()), (NOON, &[1, 2][..]));
    for hash in [dht_key::rolling(&it.key, TODAY), dht_key::plain(&it.key)] {
        assert_eq!(network.texts(hash).await, ["203.0.113.5:7008,[200:1::2]:7008"]);
    }
}

#[tokio::test]
async fn without_the_plain_keys_only_who_knows_the_link_can_read_where_it_is() {
    let network = Network::start().await;
    let it = Publishing::start(&network, &[], "203.0.113.5:7008", false, || NOON).await;
    it.settled().await;
    assert_eq!(network.sealed(&it.key, TODAY).await.len(), 1);
    for hash in [dht_key::rolling(&it.key, TODAY), dht_key::plain(&it.key)] {
        assert_eq!(network.texts(hash).await, [""; 0]);
    }
}

#[tokio::test]
async fn new_addresses_are_published_at_once() {
    let network = Network::start().await;
    let it = Publishing::start(&network, &[], "203.0.113.5:7008", true, || NOON).await;
    it.settled().await;
    it.hosts.send_replace(HostList::parse_lenient("198.51.100.7:7008"));
    let newest = loop {
        let records = network.sealed(&it.key, TODAY).await;
        if let Some(record) = records.into_iter().max_by_key(|record| record.sequence)
            && record.addresses.to_string() == "198.51.100.7:7008"
        {
            break record;
        }
    };
    assert_eq!(newest.sequence, NOON + 1, "the clock stands, the sequence does not");
}

/// Who would try it first would wait in vain.
#[tokio::test]
async fn beside_a_relay_what_is_not_known_to_lead_here_is_left_out_of_the_record() {
    let (network, hosts) = (Network::start().await, "203.0.113.5:7008,203.0.113.6:7008,198.51.100.20:7008");
    let it = Publishing::start(&network, &[], hosts, true, || NOON).await;
    it.settled().await;
    it.relays.send_replace(HostList::parse_lenient("198.51.100.20:7008"));
    it.unproven.send_replace(HostList::parse_lenient("203.0.113.5:7008"));
    it.hosts.send_modify(|_| ());
    let newest = loop {
        let records = network.sealed(&it.key, TODAY).await;
        if let Some(record) = records.into_iter().max_by_key(|record| record.sequence)
            && !record.relays.as_slice().is_empty()
        {
            break record;
        }
    };
    assert_eq!(newest.addresses.to_string(), "203.0.113.6:7008");
    assert_eq!(newest.relays.to_string(), "198.51.100.20:7008");
}

#[tokio::test]
async fn without_addresses_nothing_is_published_until_there_are_some() {
    let network = Network::start().await;
    let it = Publishing::start(&network, &[], "", true, || NOON).await;
    assert_eq!(it.next(|state| *state != PublishState::Starting).await, PublishState::NoAddresses);
    assert_eq!(network.sealed(&it.key, TODAY).await, []);
    let known = Instant::now();
    it.hosts.send_replace(HostList::parse_lenient("203.0.113.5:7008"));
    it.settled().await;
    // Some milliseconds; the rest is for a busy machine.
    assert!(known.elapsed() < Duration::from_secs(1), "{:?}", known.elapsed());
    assert_eq!(network.sealed(&it.key, TODAY).await.len(), 1);
}

#[tokio::test]
async fn two_publishers_of_one_identity_do_not_hide_each_other() {
    let network = Network::start().await;
    let one = Publishing::start(&network, &[], "203.0.113.5:7008", true, || NOON).await;
    let other = Publishing::start_as(&one.identity, &network, &[], "198.51.100.7:7008", true, || NOON).await;
    one.settled().await;
    other.settled().await;
    let records = network.sealed(&one.key, TODAY).await;
    let mut newest = Newest::default();
    let mut addresses: Vec<String> = records
        .iter()
        .filter(|record| newest.admit(&one.key, record, NOON))
        .map(|record| record.addresses.to_string())
        .collect();
    addresses.sort();
    assert_eq!(addresses, ["198.51.100.7:7008", "203.0.113.5:7008"]);
    assert_eq!(network.texts(dht_key::plain(&one.key)).await.len(), 2);
}

#[tokio::test]
async fn near_midnight_both_days_lead_to_the_service() {
    static NOW: AtomicU64 = AtomicU64::new((20_780 * 86_400 - 3600) * 1000);
    let network = Network::start().await;
    let it = Publishing::start(&network, &[], "203.0.113.5:7008", true, || NOW.load(Ordering::Relaxed)).await;
    it.settled().await;
    assert_eq!(network.values(dht_key::sealed(&it.key, Day(20_780))).await, []);
    NOW.fetch_add(30 * 60 * 1000, Ordering::Relaxed);
    it.pass(Duration::from_secs(61)).await;
    let state = it.next(|state| matches!(state, PublishState::Stored { copies, .. } if copies.len() == 5)).await;
    let PublishState::Stored { copies, .. } = state else { unreachable!() };
    assert!(copies.iter().all(|copy| copy.read_back_ms.is_some()), "{copies:?}");
    for day in [Day(20_779), Day(20_780)] {
        assert!(!network.values(dht_key::sealed(&it.key, day)).await.is_empty());
        assert_eq!(network.texts(dht_key::rolling(&it.key, day)).await, ["203.0.113.5:7008"]);
    }
    assert_eq!(network.texts(dht_key::plain(&it.key)).await.len(), 1, "what has not changed is not put anew");
}

#[tokio::test]
async fn a_sealed_record_is_made_anew_before_it_expires() {
    static NOW: AtomicU64 = AtomicU64::new(NOON);
    let network = Network::start().await;
    let it = Publishing::start(&network, &[], "203.0.113.5:7008", true, || NOW.load(Ordering::Relaxed)).await;
    it.settled().await;
    let later = NOW.fetch_add(20 * 60 * 1000, Ordering::Relaxed) + 20 * 60 * 1000;
    it.pass(Duration::from_secs(61)).await;
    it.next(|state| matches!(state, PublishState::Stored { at_ms, .. } if *at_ms == later)).await;
    let records = network.sealed(&it.key, TODAY).await;
    assert!(records.iter().any(|record| record.issued_ms == later && record.expires_ms == later + 3_600_000));
}

#[tokio::test]
async fn where_no_node_answers_a_proxy_stores_it() {
    let network = Network::start().await;
    let stop = CancellationToken::new();
    let _stop = stop.clone().drop_guard();
    let proxy = ProxyServer::start("127.0.0.1:0".parse().unwrap(), Arc::clone(&network.nodes[0]), stop).await.unwrap();
    let nowhere = Network { nodes: Vec::new(), entrance: "127.0.0.1:9".to_owned(), _stop: network_stop() };
    let proxies = [format!("http://{}", proxy.addr())];
    let it = Publishing::start(&nowhere, &proxies, "203.0.113.5:7008", true, || NOON).await;
    it.give_up_on_nodes().await;
    assert_eq!(it.settled().await, PublishState::ByProxy { values: 3, at_ms: NOON });
    assert_eq!(network.sealed(&it.key, TODAY).await.len(), 1);
}

#[tokio::test]
async fn where_nobody_answers_the_status_says_so() {
    let nowhere = Network { nodes: Vec::new(), entrance: "127.0.0.1:9".to_owned(), _stop: network_stop() };
    let it = Publishing::start(&nowhere, &[], "203.0.113.5:7008", true, || NOON).await;
    it.give_up_on_nodes().await;
    let state = it.next(|state| *state != PublishState::Starting).await;
    assert!(matches!(&state, PublishState::Failed { reason } if reason.contains("no node")), "{state:?}");
}

/// Nodes that store what is published.
struct Network {
    nodes: Vec<Arc<Dht>>,
    entrance: String,
    _stop: DropGuard,
}

fn network_stop() -> DropGuard {
    CancellationToken::new().drop_guard()
}

impl Network {
    async fn start() -> Self {
        let stop = CancellationToken::new();
        let mut nodes: Vec<Arc<Dht>> = Vec::new();
        let mut entrance = String::new();
        for _ in 0..6 {
            let config = DhtConfig {
                port: 0,
                bind: vec!["127.0.0.1".parse().unwrap()],
                bootstrap: Some(entrance.clone()).filter(|at| !at.is_empty()).into_iter().collect(),
                rates: hardline_dht::Rates::UNLIMITED,
                ..DhtConfig::default()
            };
            let node = Dht::start(config, None, stop.clone()).await.unwrap();
            if entrance.is_empty() {
                entrance = node.status().bound[0].to_string();
            } else {
                node.connected().await;
            }
            nodes.push(node);
        }
        Self { nodes, entrance, _stop: stop.drop_guard() }
    }

    async fn values(&self, key: [u8; 20]) -> Vec<Value> {
        self.nodes[1].get_all(InfoHash(key), LIMIT).await.0
    }

    async fn texts(&self, key: [u8; 20]) -> Vec<String> {
        self.values(key).await.iter().map(|value| String::from_utf8_lossy(value.data()).into_owned()).collect()
    }

    /// Sealed records that are genuine, whatever the time.
    async fn sealed(&self, key: &KeyHash, day: Day) -> Vec<SealedRecord> {
        let values = self.values(dht_key::sealed(key, day)).await;
        values.iter().map(|value| open(value.data(), key, day, NOON, verify).unwrap()).collect()
    }
}

/// A service that is being published.
struct Publishing {
    identity: Identity,
    key: KeyHash,
    hosts: watch::Sender<HostList>,
    relays: watch::Sender<HostList>,
    unproven: watch::Sender<HostList>,
    publisher: Arc<Publisher>,
    dht: Arc<SharedDht>,
    _dir: TempDir,
    _stop: DropGuard,
}

impl Publishing {
    async fn start(network: &Network, proxies: &[String], hosts: &str, plain: bool, clock: Clock) -> Self {
        Self::start_as(&Identity::ephemeral().unwrap(), network, proxies, hosts, plain, clock).await
    }

    async fn start_as(
        identity: &Identity,
        network: &Network,
        proxies: &[String],
        hosts: &str,
        plain: bool,
        clock: Clock,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let stop = CancellationToken::new();
        let (store, _) = Store::open(dir.path(), None).await.unwrap();
        let settings = DhtSettings {
            port: Some(0),
            bind: vec!["127.0.0.1".parse().unwrap()],
            bootstrap: vec![network.entrance.clone()],
            proxies: proxies.to_vec(),
            rates: hardline_dht::Rates::UNLIMITED,
            ..DhtSettings::default()
        };
        let own_network = NetworkMonitor::start(stop.clone(), &TaskTracker::new());
        let dht = SharedDht::new(&settings, true, None, own_network, stop.clone()).unwrap();
        let (hosts, watched) = watch::channel(HostList::parse_lenient(hosts));
        let [(relays, relays_watched), (unproven, unproven_watched)] =
            [(); 2].map(|()| watch::channel(HostList::default()));
        let (quic, punch) = (watch::channel(Vec::new()).1, watch::channel(Vec::new()).1);
        let home = watch::channel(Home::default()).1;
        let context = PublishContext {
            dht: Arc::clone(&dht),
            hosts: watched,
            relays: relays_watched,
            unproven: unproven_watched,
            quic,
            home,
            punch,
            store,
            plain,
            clock,
        };
        let service = Announced { key: identity.key, certified: Arc::clone(&identity.certified), is_plain: true };
        let publisher =
            Publisher::start(vec![service], watch::channel(Arc::default()).1, context, &stop, &TaskTracker::new());
        let (identity, key) = (identity.clone(), identity.key);
        Self { identity, key, hosts, relays, unproven, publisher, dht, _dir: dir, _stop: stop.drop_guard() }
    }

    /// The first state that satisfies `is_it`.
    async fn next(&self, is_it: impl Fn(&PublishState) -> bool) -> PublishState {
        let mut status = self.publisher.lock()[0].state.clone();
        let state = tokio::time::timeout(LIMIT, status.wait_for(is_it)).await;
        state.unwrap_or_else(|_| panic!("still {:?}", self.publisher.status())).unwrap().clone()
    }

    /// The first state in which it is published.
    async fn settled(&self) -> PublishState {
        self.next(PublishState::is_published).await
    }

    /// Lets the time go by in which nodes might have answered.
    async fn give_up_on_nodes(&self) {
        while self.dht.status().is_none() {
            tokio::task::yield_now().await;
        }
        self.pass(ENTER_LIMIT).await;
    }

    /// Lets the timers go on by `time`, and only them.
    async fn pass(&self, time: Duration) {
        tokio::time::pause();
        tokio::time::advance(time).await;
        tokio::time::resume();
    }
}
