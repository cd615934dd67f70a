//! The DHT: text that is not signed, so that others than the service may have written it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use hardline_dht::InfoHash;
use hardline_proto::KeyHash;
use hardline_proto::candidate::{SourceInfo, Tier, Trust};
use hardline_proto::hosts::HostList;
use tokio::time::{Instant, timeout_at};

use super::asked::{Asked, not_connected};
use super::records::{self, Kind};
use super::{MAX_VALUES, ask_again, unix_time};
use crate::discovery::rules::DialRules;
use crate::discovery::source::{AddressSource, Findings};
use crate::drivers::dht::Operation;
use crate::drivers::dht::shared::SharedDht;

/// Text under the day's key, which is made of the key hash.
pub const DHT_ROLLING: SourceInfo = SourceInfo {
    tier: Tier::Wan,
    trust: Trust::KeyHolder,
    name: "rolling",
    label: "the DHT for what may be written by who knows the link",
};

/// Text under the key hash itself, which every node on the way has seen.
pub const DHT_PLAIN: SourceInfo =
    SourceInfo { tier: Tier::Wan, trust: Trust::Stranger, name: "plain", label: "the DHT for what anybody may write" };

/// How long values are collected after the first before some are taken by chance: those of a
/// stranger may come first. The nodes nearest to a key answer within a round trip of each other.
pub(super) const COLLECT: Duration = Duration::from_millis(300);

#[derive(Debug)]
pub(super) struct DhtText {
    /// [`DHT_ROLLING`] or [`DHT_PLAIN`].
    pub(super) info: SourceInfo,
    pub(super) dht: Arc<SharedDht>,
    pub(super) rules: DialRules,
}

impl AddressSource for DhtText {
    fn info(&self) -> SourceInfo {
        self.info
    }

    fn lookup<'a>(&'a self, findings: &'a Findings<'a>) -> BoxFuture<'a, ()> {
        Box::pin(async {
            let dht = match self.dht.use_now().await {
                Ok(dht) => dht,
                Err(error) => return findings.problem(Some(error.to_string())),
            };
            let mut gets = self.asked(&findings.key(), |hash| dht.get(hash));
            offer_fairly(findings, &self.rules, collect(&mut gets, MAX_VALUES).await);
            findings.problem(not_connected(&dht));
        })
    }

    fn ask_again_after(&self) -> Option<Duration> {
        Some(ask_again(&self.dht))
    }

    fn listen<'a>(&'a self, findings: &'a Findings<'a>) -> BoxFuture<'a, ()> {
        Box::pin(async {
            // Why not was said by the question.
            let Ok(dht) = self.dht.use_now().await else { return };
            let mut listening = self.asked(&findings.key(), |hash| dht.listen(hash));
            let mut room = MAX_VALUES;
            while room > 0 && !listening.0.is_empty() {
                let lists = collect(&mut listening, room).await;
                room = room.saturating_sub(lists.len().max(1));
                offer_fairly(findings, &self.rules, lists);
            }
        })
    }
}

impl DhtText {
    /// Asks at each place where text about `key` may be.
    fn asked(&self, key: &KeyHash, ask: impl Fn(InfoHash) -> Operation) -> Asked<()> {
        let kind = if self.info == DHT_PLAIN { Kind::Plain } else { Kind::Rolling };
        let keys = records::keys(key, unix_time().as_secs()).into_iter().filter(|(of, _)| *of == kind);
        Asked(keys.map(|(_, hash)| ((), ask(hash))).collect())
    }
}

/// The lists of addresses that come within [`COLLECT`] of the first, `most` at most.
async fn collect(asked: &mut Asked<()>, most: usize) -> Vec<HostList> {
    let mut lists = Vec::new();
    let mut until: Option<Instant> = None;
    while lists.len() < most {
        let next = match until {
            None => asked.next().await,
            Some(until) => timeout_at(until, asked.next()).await.unwrap_or(None),
        };
        let Some(((), value)) = next else { break };
        lists.extend(records::read_text(value.data()));
        until.get_or_insert(Instant::now() + COLLECT);
    }
    lists
}

/// Hands in what is in `lists`, so that none is preferred for its place or its length. An address
/// that may not be dialled takes nobody's turn.
pub(super) fn offer_fairly(findings: &Findings<'_>, rules: &DialRules, lists: Vec<HostList>) {
    let permits = |addr| rules.permits(findings.here, &addr, findings.source.trust);
    let sensible = |list: HostList| -> HostList {
        list.as_slice().iter().filter(|at| permits((*at).clone().into())).cloned().collect()
    };
    let lists = lists.into_iter().map(sensible).collect();
    for at in records::fair_order(lists, &mut rand::rng()) {
        findings.found(at, None);
    }
}
