//! Values of the DHT → addresses, of which strangers may have written most.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hardline_dht::InfoHash;
use hardline_proto::candidate::{SourceInfo, Tier, TransportAddr, Way};
use hardline_proto::hosts::{Host, HostList, HostPort};
use hardline_proto::rolling::Day;
use hardline_proto::sealed::{self, Home, MAX_PUNCH, Newest, SealedRecord};
use hardline_proto::{KeyHash, dht_key};
use rand::Rng;
use rand::seq::SliceRandom as _;
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::debug;

use super::{DHT_SEALED, unix_time};
use crate::discovery::source::Findings;
use crate::drivers::dht::shared::SharedDht;
use crate::tls;

/// Addresses of one sealed record that are taken before those of another publisher have had their
/// turn.
const FIRST_ADDRESSES: usize = 4;

/// Networks of publishers that are looked at in one question.
const MAX_HOMES: usize = 16;

/// Time for nodes of the DHT to agree where they see this computer, after they have answered.
const SEEN_LIMIT: Duration = Duration::from_secs(2);

/// What a publisher behind the same router signed.
const SAME_HOME: SourceInfo = SourceInfo { tier: Tier::Lan, ..DHT_SEALED };

/// Longest `WANHosts` text read from the DHT, in bytes: sixteen long host names.
const MAX_TEXT: usize = 4096;

/// What values at a key are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Signed by the service, and encrypted for this day.
    Sealed(Day),
    /// Text that whoever knows the key hash can write.
    Rolling,
    /// Text that anybody can write.
    Plain,
}

/// Under which keys of the DHT `key` is looked for at `unix_seconds`, the most trusted first.
pub(super) fn keys(key: &KeyHash, unix_seconds: u64) -> Vec<(Kind, InfoHash)> {
    let days = dht_key::days_around(unix_seconds);
    let sealed = days.iter().map(|day| (Kind::Sealed(*day), InfoHash(dht_key::sealed(key, *day))));
    let rolling = days.iter().map(|day| (Kind::Rolling, InfoHash(dht_key::rolling(key, *day))));
    sealed.chain(rolling).chain([(Kind::Plain, InfoHash(dht_key::plain(key)))]).collect()
}

/// Services whose addresses for probes are kept.
const MAX_PUNCHED: usize = 128;

/// Which sealed records are not to be believed because there was a newer one; and where their
/// services are to be called.
#[derive(Debug, Clone, Default)]
pub(super) struct NewestRecords {
    newest: Arc<Mutex<Newest>>,
    punch: Arc<watch::Sender<HashMap<KeyHash, Vec<SocketAddr>>>>,
}

impl NewestRecords {
    /// Where probes to `key` are to be sent, those named last first, as soon as a record says so.
    /// Cancel safe.
    #[cfg(feature = "quic")]
    pub(super) async fn punch(&self, key: &KeyHash) -> Vec<SocketAddr> {
        let mut known = self.punch.subscribe();
        // The sender is our own.
        let known = known.wait_for(|known| known.contains_key(key)).await;
        known.ok().and_then(|known| known.get(key).cloned()).unwrap_or_default()
    }

    /// Returns when they are to be sent to another place than those `known`. Cancel safe.
    #[cfg(feature = "quic")]
    pub(super) async fn punch_moved(&self, key: &KeyHash, known: &[SocketAddr]) {
        let mut now = self.punch.subscribe();
        // The sender is our own.
        let _ =
            now.wait_for(|now| now.get(key).is_some_and(|places| places.iter().any(|at| !known.contains(at)))).await;
    }

    /// Notes what a record says. Two publishers of one service are called at once.
    fn note_punch(&self, key: KeyHash, named: &[SocketAddr]) {
        if named.is_empty() {
            return;
        }
        self.punch.send_modify(|known| {
            if known.len() >= MAX_PUNCHED && !known.contains_key(&key) {
                known.clear();
            }
            let places = known.entry(key).or_default();
            places.retain(|place| !named.contains(place));
            places.splice(0..0, named.iter().copied());
            places.truncate(2 * MAX_PUNCH);
        });
    }
}

/// Opens sealed records and hands in their addresses.
pub(super) struct RecordReader<'a> {
    findings: &'a Findings<'a>,
    newest: &'a NewestRecords,
    /// Addresses that wait until every publisher has had a turn.
    rest: Vec<(HostPort, Option<u16>)>,
    /// Where others see this computer.
    seen: watch::Receiver<Vec<IpAddr>>,
    /// Publishers' own networks, until it is known where others see this computer.
    homes: Vec<(Home, Option<u16>)>,
}

impl<'a> RecordReader<'a> {
    pub(super) fn new(findings: &'a Findings<'a>, newest: &'a NewestRecords, dht: &SharedDht) -> Self {
        Self { findings, newest, rest: Vec::new(), seen: dht.public_addresses(), homes: Vec::new() }
    }

    /// Takes the first addresses of a record that is genuine. Returns whether it is.
    pub(super) fn read(&mut self, bytes: &[u8], day: Day) -> bool {
        let Some(record) = self.open(bytes, day) else { return false };
        let version = record.tunnels.contains(&2).then_some(2);
        let (first, others) =
            record.addresses.as_slice().split_at_checked(FIRST_ADDRESSES).unwrap_or((record.addresses.as_slice(), &[]));
        // QUIC behind TCP, which costs less CPU; relays behind what may be a shorter way, and
        // before addresses that are left when those are dead.
        for at in first {
            self.findings.found_for(DHT_SEALED, at.clone(), version);
        }
        for addr in record.quic {
            self.findings.found_for(DHT_SEALED, TransportAddr::Quic(addr), version);
        }
        for at in record.relays.as_slice() {
            self.findings.found_over(Way::Relayed, DHT_SEALED, at.clone(), version);
        }
        // Behind the others: who would call hears of what has a head start.
        self.newest.note_punch(self.findings.key(), &record.punch);
        self.rest.extend(others.iter().map(|at| (at.clone(), version)));
        if !record.home.is_empty() && self.homes.len() < MAX_HOMES {
            self.homes.push((record.home, version));
            self.take_neighbours();
        }
        true
    }

    /// Takes the addresses that are left; those in a publisher's own network once it is known
    /// whether this computer is in it.
    pub(super) async fn finish(mut self) {
        for (at, version) in std::mem::take(&mut self.rest) {
            self.findings.found_for(DHT_SEALED, at, version);
        }
        if !self.homes.is_empty() {
            let mut seen = self.seen.clone();
            let _ = timeout(SEEN_LIMIT, seen.wait_for(|seen| !seen.is_empty())).await;
            self.take_neighbours();
        }
    }

    /// Takes the addresses in networks where this computer is too, if it is known where that is.
    fn take_neighbours(&mut self) {
        let seen = self.seen.borrow().clone();
        if seen.is_empty() {
            return;
        }
        for (home, version) in self.homes.drain(..) {
            for at in home.addresses_for(&seen) {
                self.findings.found_for(SAME_HOME, at.clone(), version);
            }
        }
    }

    /// Opens a sealed record that is genuine, has not expired, and is not an older one that
    /// somebody put again.
    fn open(&self, bytes: &[u8], day: Day) -> Option<SealedRecord> {
        let key = self.findings.key();
        let now_ms = u64::try_from(unix_time().as_millis()).unwrap_or(u64::MAX);
        let record = sealed::open(bytes, &key, day, now_ms, tls::sealed::verify)
            .inspect_err(|error| debug!(%error, key = %key.short(), "sealed record refused"))
            .ok()?;
        let is_newest = self.newest.newest.lock().unwrap_or_else(PoisonError::into_inner).admit(&key, &record, now_ms);
        if !is_newest {
            debug!(key = %key.short(), sequence = record.sequence, "sealed record refused: there was a newer one");
        }
        is_newest.then_some(record)
    }
}

/// Reads the text of a value that is not signed. `None` when there is no address in it.
pub(super) fn read_text(bytes: &[u8]) -> Option<HostList> {
    let text = bytes.get(..bytes.len().min(MAX_TEXT)).and_then(|bytes| std::str::from_utf8(bytes).ok())?;
    Some(HostList::parse_lenient(text)).filter(|list| !list.as_slice().is_empty())
}

/// The order in which to try what anybody may have written: by chance, so that nobody can be first
/// by writing much; the first address of each list before the second of any; and every network once
/// before any of them twice, since one stranger writes many values more easily than many networks.
pub(super) fn fair_order(mut lists: Vec<HostList>, rng: &mut impl Rng) -> Vec<HostPort> {
    lists.shuffle(rng);
    let longest = lists.iter().map(|list| list.as_slice().len()).max().unwrap_or(0);
    let in_turns = (0..longest).flat_map(|turn| lists.iter().filter_map(move |list| list.as_slice().get(turn)));
    let mut of_network: HashMap<Network, usize> = HashMap::new();
    let mut ordered: Vec<(usize, &HostPort)> = Vec::new();
    for at in in_turns {
        let before = of_network.entry(Network::of(at)).or_default();
        ordered.push((*before, at));
        *before += 1;
    }
    ordered.sort_by_key(|(before, _)| *before);
    ordered.into_iter().map(|(_, at)| at.clone()).collect()
}

/// The part of an address that a network is given as a whole: /24 of IPv4, /48 of IPv6.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Network {
    V4(u32),
    V6(u128),
    Named,
}

impl Network {
    fn of(at: &HostPort) -> Self {
        match &at.host {
            Host::Ip(IpAddr::V4(ip)) => Self::V4(ip.to_bits() >> 8),
            Host::Ip(IpAddr::V6(ip)) => Self::V6(ip.to_bits() >> 80),
            Host::LinkLocal(ip, _) => Self::V6(ip.to_bits() >> 80),
            Host::Name(_) => Self::Named,
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;
    use rand::rngs::StdRng;

    use super::*;

    fn list(text: &str) -> HostList {
        HostList::parse_lenient(text)
    }

    fn order(lists: &[&str], seed: u64) -> Vec<String> {
        let lists = lists.iter().map(|text| list(text)).collect();
        fair_order(lists, &mut StdRng::seed_from_u64(seed)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn one_list_keeps_its_order() {
        assert_eq!(order(&["192.0.2.1:1,[200::1]:1"], 1), ["192.0.2.1:1", "[200::1]:1"]);
        assert_eq!(order(&[], 1), [""; 0]);
    }

    #[test]
    fn the_first_of_each_list_comes_before_the_second_of_any() {
        for seed in 0..20 {
            let order = order(&["192.0.2.1:1,198.51.100.1:1", "203.0.113.1:1"], seed);
            assert_eq!(order[2], "198.51.100.1:1");
        }
    }

    #[test]
    fn many_values_of_one_network_hide_another_network_not_at_all() {
        let mut lists: Vec<String> = (1..=200).map(|n| format!("198.51.100.{n}:7008")).collect();
        lists.push("203.0.113.5:7008".into());
        for seed in 0..20 {
            let order = order(&lists.iter().map(String::as_str).collect::<Vec<_>>(), seed);
            assert!(order[..2].contains(&"203.0.113.5:7008".to_owned()), "{:?}", &order[..3]);
        }
    }

    #[test]
    fn whoever_writes_first_is_not_first_because_of_that() {
        let lists: Vec<String> = (1..=50).map(|n| format!("198.51.{n}.1:7008")).collect();
        let texts: Vec<_> = lists.iter().map(String::as_str).collect();
        let firsts: std::collections::BTreeSet<_> = (0..50).map(|seed| order(&texts, seed).remove(0)).collect();
        assert!(firsts.len() > 10, "{firsts:?}");
    }

    #[test]
    fn what_is_no_text_or_too_much_of_it_is_no_list() {
        assert_eq!(read_text(b"\xff203.0.113.5:7008"), None);
        assert_eq!(read_text(b""), None);
        assert_eq!(read_text(b"203.0.113.5:7008"), Some(list("203.0.113.5:7008")));
        let long = "203.0.113.5:7008,".repeat(10_000);
        assert_eq!(read_text(long.as_bytes()), Some(list("203.0.113.5:7008")));
    }

    #[test]
    fn sealed_values_are_looked_for_first_and_near_midnight_under_both_days() {
        let key = KeyHash::from_bytes([7; 20]);
        let kinds: Vec<_> = keys(&key, 86_400 * 10 - 60).into_iter().map(|(kind, _)| kind).collect();
        let sealed = [Kind::Sealed(Day(9)), Kind::Sealed(Day(10))];
        assert_eq!(kinds, [&sealed[..], &[Kind::Rolling, Kind::Rolling, Kind::Plain]].concat());
        assert_eq!(keys(&key, 86_400 * 10 + 40_000).len(), 3);
    }
}
