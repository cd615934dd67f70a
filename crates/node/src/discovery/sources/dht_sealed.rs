//! The DHT: records that the service signed and sealed for who has its link.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use hardline_dht::InfoHash;
use hardline_proto::KeyHash;
use hardline_proto::candidate::{SourceInfo, Tier, Trust};
use hardline_proto::rolling::Day;

use super::asked::{Asked, not_connected};
use super::records::{self, Kind, NewestRecords, RecordReader};
use super::{MAX_VALUES, ask_again, unix_time};
use crate::discovery::source::{AddressSource, Findings};
use crate::drivers::dht::Operation;
use crate::drivers::dht::shared::SharedDht;

/// What the service signed, wherever it was found.
pub const DHT_SEALED: SourceInfo =
    SourceInfo { tier: Tier::Wan, trust: Trust::Service, name: "sealed", label: "the DHT for what the service signed" };

#[derive(Debug)]
pub(super) struct DhtSealed {
    pub(super) dht: Arc<SharedDht>,
    pub(super) newest: NewestRecords,
}

impl AddressSource for DhtSealed {
    fn info(&self) -> SourceInfo {
        DHT_SEALED
    }

    fn lookup<'a>(&'a self, findings: &'a Findings<'a>) -> BoxFuture<'a, ()> {
        Box::pin(async {
            let dht = match self.dht.use_now().await {
                Ok(dht) => dht,
                Err(error) => return findings.problem(Some(error.to_string())),
            };
            let mut gets = asked(&findings.key(), |hash| dht.get(hash));
            let mut reader = RecordReader::new(findings, &self.newest, &self.dht);
            for _ in 0..MAX_VALUES {
                let Some((day, value)) = gets.next().await else { break };
                reader.read(value.data(), day);
            }
            findings.problem(not_connected(&dht));
            reader.finish().await;
        })
    }

    fn ask_again_after(&self) -> Option<Duration> {
        Some(ask_again(&self.dht))
    }

    fn listen<'a>(&'a self, findings: &'a Findings<'a>) -> BoxFuture<'a, ()> {
        Box::pin(async {
            // Why not was said by the question.
            let Ok(dht) = self.dht.use_now().await else { return };
            let mut listening = asked(&findings.key(), |hash| dht.listen(hash));
            for _ in 0..MAX_VALUES {
                let Some((day, value)) = listening.next().await else { return };
                let mut reader = RecordReader::new(findings, &self.newest, &self.dht);
                reader.read(value.data(), day);
                reader.finish().await;
            }
        })
    }
}

/// Asks at each place where a record of `key` may be.
fn asked(key: &KeyHash, ask: impl Fn(InfoHash) -> Operation) -> Asked<Day> {
    let keys = records::keys(key, unix_time().as_secs()).into_iter();
    let asked = keys.filter_map(|(kind, hash)| match kind {
        Kind::Sealed(day) => Some((day, ask(hash))),
        _ => None,
    });
    Asked(asked.collect())
}
