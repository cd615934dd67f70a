//! What is asked far away: our own node of the DHT, and proxies of it.

use std::future::poll_fn;
use std::task::Poll;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hardline_dht::{Event, InfoHash, Value};
use hardline_proto::candidate::Source;
use hardline_proto::hosts::{HostList, HostPort};
use hardline_proto::rolling::Day;
use hardline_proto::sealed::SealedRecord;
use hardline_proto::stages::Stage;
use tokio::time::{Instant, sleep, timeout_at};

use super::records::{self, Kind};
use super::sources::Asking;
use crate::drivers::dht::proxy::client::ProxyError;
use crate::drivers::dht::{Dht, Operation};

/// Pause before the DHT is asked again while somebody waits: the service may have just come up.
const ASK_AGAIN: Duration = Duration::from_secs(4);

/// How long unsigned values are collected after the first before some are taken by chance: those of
/// a stranger may come first. The nodes nearest to a key answer within a round trip of each other.
const COLLECT: Duration = Duration::from_millis(300);

/// Values looked at per key, in one question. More are a flood.
const MAX_VALUES: usize = 1024;

/// Addresses of one sealed record that are taken before those of another publisher have had their
/// turn.
const FIRST_ADDRESSES: usize = 4;

/// Time for proxies to answer.
const PROXY_LIMIT: Duration = Duration::from_secs(10);

impl Asking<'_> {
    /// Asks our node of the DHT for as long as somebody waits.
    pub(super) async fn dht(&self) {
        let Some(shared) = &self.resolver.dht else { return };
        self.search.stage(Stage::Far).await;
        let dht = match shared.use_now().await {
            Ok(dht) => dht,
            Err(error) => {
                let _source = self.search.asked(Source::Sealed);
                return self.search.problem(Source::Sealed, Some(error.to_string()));
            }
        };
        if self.search.has_moved() {
            dht.network_changed();
        }
        loop {
            self.ask_dht(&dht).await;
            sleep(ASK_AGAIN).await;
        }
    }

    async fn ask_dht(&self, dht: &Dht) {
        let keys = records::keys(&self.search.key, unix_time().as_secs());
        let of = |wanted: fn(&Kind) -> bool| keys.iter().filter(move |(kind, _)| wanted(kind)).map(|(_, hash)| *hash);
        let sealed = keys.iter().filter_map(|(kind, hash)| match kind {
            Kind::Sealed(day) => Some((*day, *hash)),
            _ => None,
        });
        tokio::join!(
            self.sealed(dht, sealed.collect()),
            self.unsigned(dht, Source::Rolling, of(|kind| *kind == Kind::Rolling).collect()),
            self.unsigned(dht, Source::Plain, of(|kind| *kind == Kind::Plain).collect()),
        );
    }

    async fn sealed(&self, dht: &Dht, keys: Vec<(Day, InfoHash)>) {
        let _source = self.search.asked(Source::Sealed);
        let mut rest = Rest::default();
        let mut gets = Gets(keys.iter().map(|(day, hash)| (*day, dht.get(*hash))).collect());
        for _ in 0..MAX_VALUES {
            let Some((day, value)) = gets.next().await else { break };
            if let Some(record) = self.open(value.data(), day) {
                self.take(Source::Sealed, &record, &mut rest);
            }
        }
        self.take_rest(Source::Sealed, rest);
        self.search.problem(Source::Sealed, not_connected(dht));
    }

    async fn unsigned(&self, dht: &Dht, source: Source, keys: Vec<InfoHash>) {
        let _source = self.search.asked(source);
        let mut lists = Vec::new();
        let mut gets = Gets(keys.iter().map(|hash| ((), dht.get(*hash))).collect());
        let mut until: Option<Instant> = None;
        while lists.len() < MAX_VALUES {
            let next = match until {
                None => gets.next().await,
                Some(until) => timeout_at(until, gets.next()).await.unwrap_or(None),
            };
            let Some(((), value)) = next else { break };
            lists.extend(records::read_text(value.data()));
            until.get_or_insert(Instant::now() + COLLECT);
        }
        self.take_fairly(source, lists);
        self.search.problem(source, not_connected(dht));
    }

    /// Asks a proxy, once per search: proxies are other people's machines.
    pub(super) async fn proxy(&self) {
        let Some(proxies) = self.resolver.dht.as_ref().map(|dht| dht.proxies()).filter(|proxies| !proxies.is_empty())
        else {
            return;
        };
        self.search.stage(Stage::Far).await;
        let _source = self.search.asked(Source::Proxy);
        let keys = records::keys(&self.search.key, unix_time().as_secs());
        let hashes: Vec<_> = keys.iter().map(|(_, hash)| *hash).collect();
        let (mut rest, mut lists) = (Rest::default(), Vec::new());
        let asked = proxies.collect(*self.search.key.as_bytes(), &hashes, PROXY_LIMIT, |index, value| {
            match keys.get(index) {
                Some((Kind::Sealed(day), _)) => match self.open(value.data(), *day) {
                    Some(record) => self.take(Source::Proxy, &record, &mut rest),
                    None => return false,
                },
                _ if lists.len() < MAX_VALUES => match records::read_text(value.data()) {
                    Some(list) => lists.push(list),
                    None => return false,
                },
                _ => {}
            }
            true
        });
        let problem = asked.await.err().map(|error| match error {
            ProxyError::AskedJustNow => "asked less than a minute ago".to_owned(),
            other => other.to_string(),
        });
        self.take_rest(Source::Proxy, rest);
        self.take_fairly(Source::Proxy, lists);
        self.search.problem(Source::Proxy, problem);
    }

    fn open(&self, bytes: &[u8], day: Day) -> Option<SealedRecord> {
        let now_ms = u64::try_from(unix_time().as_millis()).unwrap_or(u64::MAX);
        records::open(bytes, &self.search.key, day, now_ms, &self.resolver.newest)
    }

    /// Takes a record's first addresses and leaves the others for when every publisher has had a
    /// turn.
    fn take(&self, asked: Source, record: &SealedRecord, rest: &mut Rest) {
        let (addresses, relays) = (record.addresses.as_slice(), record.relays.as_slice());
        if record.tunnels.contains(&2) {
            addresses.iter().chain(relays).for_each(|at| self.search.hint_v2(at));
        }
        let (first, others) = addresses.split_at(addresses.len().min(FIRST_ADDRESSES));
        for at in first {
            self.offer(asked, Source::Sealed, at.clone());
        }
        // Behind what may be a shorter way, and before addresses that are left when those are dead.
        for at in relays {
            self.offer(asked, Source::Sealed, at.clone());
        }
        rest.0.extend_from_slice(others);
    }

    fn take_rest(&self, asked: Source, rest: Rest) {
        for at in rest.0 {
            self.offer(asked, Source::Sealed, at);
        }
    }

    fn take_fairly(&self, source: Source, lists: Vec<HostList>) {
        let sensible = |list: HostList| -> HostList {
            list.as_slice().iter().filter(|at| self.permits(at, source)).cloned().collect()
        };
        let lists = lists.into_iter().map(sensible).collect();
        for at in records::fair_order(lists, &mut rand::rng()) {
            self.offer(source, source, at);
        }
    }
}

/// Addresses of sealed records that wait for their turn.
#[derive(Default)]
struct Rest(Vec<HostPort>);

/// Several `get`s at once, each with what it is for.
struct Gets<T>(Vec<(T, Operation)>);

impl<T: Copy> Gets<T> {
    /// The next value of any; `None` when all are over. Cancel safe.
    async fn next(&mut self) -> Option<(T, Value)> {
        poll_fn(|cx| {
            let mut found = None;
            self.0.retain_mut(|(purpose, get)| {
                while found.is_none() {
                    match get.poll_next(cx) {
                        Poll::Ready(Some(Event::Found { value, .. })) => found = Some((*purpose, value)),
                        Poll::Ready(Some(Event::GetDone { .. }) | None) => return false,
                        Poll::Ready(Some(_)) => {}
                        Poll::Pending => break,
                    }
                }
                true
            });
            if found.is_some() || self.0.is_empty() { Poll::Ready(found) } else { Poll::Pending }
        })
        .await
    }
}

fn not_connected(dht: &Dht) -> Option<String> {
    (!dht.status().is_connected()).then(|| "no node of the DHT answers".to_owned())
}

/// Time since 1970. A clock before that is wrong by more than a day either way.
fn unix_time() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
