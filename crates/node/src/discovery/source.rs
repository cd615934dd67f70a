//! What a source of addresses is.

use std::fmt;
use std::time::Duration;

use futures_util::future::BoxFuture;
use hardline_proto::KeyHash;
use hardline_proto::candidate::{Candidate, SourceInfo, TransportAddr, Way};
use hardline_proto::network::NetworkState;

use super::rules::DialRules;
use super::search::Search;

/// Somebody who may know where a service is.
pub(super) trait AddressSource: fmt::Debug + Send + Sync {
    /// Which it is, when it is asked, and how far it is believed.
    fn info(&self) -> SourceInfo;

    /// Asks for addresses until there are no more, or for ever; what comes goes to `findings`.
    /// Dropping the future ends the question.
    fn lookup<'a>(&'a self, findings: &'a Findings<'a>) -> BoxFuture<'a, ()>;

    /// The pause before it is asked again while somebody waits; `None` if it is asked once.
    fn ask_again_after(&self) -> Option<Duration> {
        None
    }

    /// Waits for news beside the answers; what comes goes to `findings`. Dropping the future ends
    /// the wait.
    fn listen<'a>(&'a self, _findings: &'a Findings<'a>) -> BoxFuture<'a, ()> {
        Box::pin(std::future::ready(()))
    }

    /// Does what is slow the first time, before somebody waits for it.
    fn warm_up(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// What a source is asked, and where its answers go.
pub(super) struct Findings<'a> {
    pub(super) search: &'a Search,
    pub(super) source: SourceInfo,
    pub(super) rules: &'a DialRules,
    /// The networks of this computer.
    pub(super) here: &'a NetworkState,
}

impl Findings<'_> {
    /// The service that is looked for.
    pub(super) fn key(&self) -> KeyHash {
        self.search.key
    }

    /// Hands in an address behind which the source itself stands; `version` of the tunnel is spoken
    /// there, as it says.
    pub(super) fn found(&self, addr: impl Into<TransportAddr>, version: Option<u16>) {
        self.found_for(self.source, addr, version);
    }

    /// Hands in an address behind which `source` stands.
    pub(super) fn found_for(&self, source: SourceInfo, addr: impl Into<TransportAddr>, version: Option<u16>) {
        self.found_over(Way::Straight, source, addr, version);
    }

    /// Hands in an address to which this is the way.
    pub(super) fn found_over(
        &self,
        way: Way,
        source: SourceInfo,
        addr: impl Into<TransportAddr>,
        version: Option<u16>,
    ) {
        let candidate = Candidate { addr: addr.into(), source, version, way };
        if self.rules.permits(self.here, &candidate.addr, source.trust) {
            self.search.found(self.source, candidate);
        } else {
            tracing::debug!(addr = %candidate.addr, source = source.name, "address makes no sense here");
        }
    }

    /// Says why the source is of no help, or that it is after all.
    pub(super) fn problem(&self, problem: Option<String>) {
        self.search.problem(self.source, problem);
    }
}
