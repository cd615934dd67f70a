//! Addresses → a value for every key under which a service is to be found.

use std::net::SocketAddr;

use hardline_dht::{InfoHash, Value, ValueType};
use hardline_proto::dht_key;
use hardline_proto::hosts::{HostList, HostPort};
use hardline_proto::rolling::Day;
use hardline_proto::sealed::{Home, SealedRecord, seal};

use super::status::Kind;
use super::{Announced, Clock};
use crate::store::Store;
use crate::tls::sealed::sign;

/// Life of a sealed record, in milliseconds: with three renewals in it, and short enough that an
/// old address is soon no bother.
const LIFETIME_MS: u64 = 60 * 60 * 1000;

/// Versions of the tunnel that a listener speaks.
const TUNNELS: [u16; 2] = [1, 2];

/// A place in the DHT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) kind: Kind,
    pub(super) day: Day,
    pub(super) hash: InfoHash,
}

/// Where `service` is to be found at `unix_seconds`; sealed places first, and those of released
/// clients with `plain`.
pub(super) fn slots(service: &Announced, unix_seconds: u64, plain: bool) -> Vec<Slot> {
    let key = &service.key;
    let days = dht_key::days_around(unix_seconds);
    let slot = |kind, day, hash| Slot { kind, day, hash: InfoHash(hash) };
    let mut slots: Vec<Slot> = days.iter().map(|day| slot(Kind::Sealed, *day, dht_key::sealed(key, *day))).collect();
    if plain {
        slots.extend(days.iter().map(|day| slot(Kind::Rolling, *day, dht_key::rolling(key, *day))));
        slots.push(slot(Kind::Plain, Day(0), dht_key::plain(key)));
    }
    slots
}

/// Makes values, each with a random id: content under an id cannot be changed, and another
/// publisher of the same service has ids of its own.
pub(super) struct RecordBuilder<'a> {
    pub(super) service: &'a Announced,
    pub(super) hosts: &'a HostList,
    /// Those of the hosts that are relays.
    pub(super) relays: HostList,
    /// Those of the hosts of which nobody knows that they lead here. Beside relays they are left
    /// out of the record: who tried them first would most often wait in vain. On a connection they
    /// are told all the same, and tried by who looks for a better path.
    pub(super) unproven: HostList,
    pub(super) quic: Vec<SocketAddr>,
    pub(super) home: Home,
    pub(super) punch: Vec<SocketAddr>,
    pub(super) store: &'a Store,
    pub(super) clock: Clock,
}

impl RecordBuilder<'_> {
    /// The value for one place.
    ///
    /// # Errors
    /// Why there is none, in words.
    pub(super) async fn value(&self, slot: &Slot) -> Result<Value, String> {
        let data = match slot.kind {
            Kind::Sealed => self.sealed(slot.day).await?,
            Kind::Rolling | Kind::Plain => self.hosts.to_string().into_bytes(),
        };
        let id = rand::random_range(1..=u64::MAX);
        Value::new(id, ValueType::USER_DATA, &data, "").map_err(|error| error.to_string())
    }

    async fn sealed(&self, day: Day) -> Result<Vec<u8>, String> {
        let now_ms = (self.clock)();
        let number = self.store.next_sequence(now_ms, rand::random()).await.map_err(|error| error.to_string())?;
        let is_relay = |at: &&HostPort| self.relays.as_slice().contains(at);
        let (relays, direct): (Vec<_>, Vec<_>) = self.hosts.as_slice().iter().partition(is_relay);
        let is_worth_it = |at: &&HostPort| relays.is_empty() || !self.unproven.as_slice().contains(at);
        let record = SealedRecord {
            addresses: direct.into_iter().filter(is_worth_it).cloned().collect(),
            relays: relays.into_iter().cloned().collect(),
            quic: self.quic.clone(),
            home: self.home.clone(),
            punch: self.punch.clone(),
            issued_ms: now_ms,
            expires_ms: now_ms.saturating_add(LIFETIME_MS),
            sequence: number.sequence,
            publisher: number.publisher,
            tunnels: TUNNELS.to_vec(),
        };
        let certified = &self.service.certified;
        let certificate = certified.cert.first().ok_or("the identity has no certificate")?;
        seal(&record, certificate, day, rand::random(), |message| sign(certified, message))
            .map_err(|error| error.to_string())
    }
}
