//! The DHT: records that the service signed and sealed for who has its link.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use hardline_proto::candidate::{SourceInfo, Tier, Trust};

use super::gets::{Gets, not_connected};
use super::records::{self, Kind, NewestRecords, RecordReader};
use super::{ASK_AGAIN, MAX_VALUES, unix_time};
use crate::discovery::source::{AddressSource, Findings};
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
            let keys = records::keys(&findings.key(), unix_time().as_secs());
            let gets = keys.into_iter().filter_map(|(kind, hash)| match kind {
                Kind::Sealed(day) => Some((day, dht.get(hash))),
                _ => None,
            });
            let mut gets = Gets(gets.collect());
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
        Some(ASK_AGAIN)
    }
}
