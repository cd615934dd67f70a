//! Proxies of the DHT, for who cannot reach it by UDP.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use hardline_dht::{InfoHash, Value};
use hardline_proto::candidate::{SourceInfo, Tier, Trust};
use tokio::time::{Instant, timeout_at};

use super::dht_text::{COLLECT, offer_fairly};
use super::records::{self, Kind, NewestRecords, RecordReader};
use super::{MAX_VALUES, unix_time};
use crate::discovery::rules::DialRules;
use crate::discovery::source::{AddressSource, Findings};
use crate::drivers::dht::proxy::client::{Listening, ProxyError};
use crate::drivers::dht::shared::SharedDht;

/// What a proxy handed out that is not signed.
pub const DHT_PROXY: SourceInfo =
    SourceInfo { tier: Tier::Wan, trust: Trust::Stranger, name: "proxy", label: "a proxy of the DHT" };

/// Time for proxies to answer.
const PROXY_LIMIT: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct DhtProxy {
    pub(super) dht: Arc<SharedDht>,
    pub(super) newest: NewestRecords,
    pub(super) rules: DialRules,
}

impl AddressSource for DhtProxy {
    fn info(&self) -> SourceInfo {
        DHT_PROXY
    }

    /// Asks once per search: proxies are other people's machines. Who waits is told what is new.
    fn lookup<'a>(&'a self, findings: &'a Findings<'a>) -> BoxFuture<'a, ()> {
        Box::pin(async {
            let keys = records::keys(&findings.key(), unix_time().as_secs());
            let hashes: Vec<_> = keys.iter().map(|(_, hash)| *hash).collect();
            let (mut reader, mut lists) = (RecordReader::new(findings, &self.newest, &self.dht), Vec::new());
            let read = |index: usize, value: &Value| match keys.get(index) {
                Some((Kind::Sealed(day), _)) => reader.read(value.data(), *day),
                _ if lists.len() < MAX_VALUES => {
                    let list = records::read_text(value.data());
                    let is_read = list.is_some();
                    lists.extend(list);
                    is_read
                }
                _ => true,
            };
            let asked = self.dht.proxies().collect(*findings.key().as_bytes(), &hashes, PROXY_LIMIT, read).await;
            offer_fairly(findings, &self.rules, lists);
            findings.problem(asked.err().map(|error| match error {
                ProxyError::AskedJustNow => "asked less than a minute ago".to_owned(),
                other => other.to_string(),
            }));
            reader.finish().await;
        })
    }

    fn listen<'a>(&'a self, findings: &'a Findings<'a>) -> BoxFuture<'a, ()> {
        Box::pin(async {
            let keys = records::keys(&findings.key(), unix_time().as_secs());
            let hashes: Vec<_> = keys.iter().map(|(_, hash)| *hash).collect();
            // Why not was said by the question, or is to be had by the next.
            let Ok(mut listening) = self.dht.proxies().listen(&hashes).await else { return };
            let mut room = MAX_VALUES;
            while room > 0 {
                let come = together(&mut listening, room).await;
                if come.is_empty() {
                    return;
                }
                room -= come.len();
                self.take(findings, &keys, &come).await;
            }
        })
    }
}

impl DhtProxy {
    /// Takes values, each with the place of its key.
    async fn take(&self, findings: &Findings<'_>, keys: &[(Kind, InfoHash)], come: &[(usize, Value)]) {
        let (mut reader, mut lists) = (RecordReader::new(findings, &self.newest, &self.dht), Vec::new());
        for (index, value) in come {
            match keys.get(*index) {
                Some((Kind::Sealed(day), _)) => drop(reader.read(value.data(), *day)),
                _ => lists.extend(records::read_text(value.data())),
            }
        }
        offer_fairly(findings, &self.rules, lists);
        reader.finish().await;
    }
}

/// The values that come within [`COLLECT`] of the next one, `most` at most; none at the end.
async fn together(listening: &mut Listening, most: usize) -> Vec<(usize, Value)> {
    let mut come: Vec<_> = listening.next().await.into_iter().collect();
    let until = Instant::now() + COLLECT;
    while !come.is_empty() && come.len() < most {
        let Ok(Some(next)) = timeout_at(until, listening.next()).await else { break };
        come.push(next);
    }
    come
}
