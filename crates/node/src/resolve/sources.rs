//! What is asked nearby: this process, the person, the store, the LAN.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use hardline_proto::candidate::{Candidate, Source};
use hardline_proto::hosts::HostPort;
use hardline_proto::network::NetworkState;
use hardline_proto::stages::Stage;
use tokio::time::timeout;
use tracing::{debug, warn};

use super::Resolver;
use super::search::Search;
use crate::store::{Origin, StoreError};

/// Time for the store to tell a version before addresses given by hand are dialled. It takes a
/// fraction of a millisecond, unless another process is writing.
const VERSION_LIMIT: Duration = Duration::from_millis(20);

/// A search from one network.
pub(super) struct Asking<'a> {
    pub(super) search: &'a Search,
    pub(super) resolver: &'a Arc<Resolver>,
    pub(super) here: &'a NetworkState,
}

impl Asking<'_> {
    /// What is known without asking anybody.
    pub(super) async fn at_hand(&self) {
        let key = self.search.key;
        if let Some(addr) = self.resolver.own.get(&key) {
            let _source = self.search.asked(Source::Own);
            self.offer(Source::Own, Source::Own, addr.into());
        }
        let given: Vec<_> = self.resolver.given.iter().filter(|given| given.key == key).collect();
        let _source = given.first().map(|_| self.search.asked(Source::Given));
        let is_v2 = !given.is_empty() && self.given_was_v2().await;
        for given in given {
            if is_v2 {
                self.search.hint_v2(&given.at);
            }
            self.offer(Source::Given, Source::Given, given.at.clone());
        }
        if let Some(at) = self.resolver.recent.address(&key, self.here) {
            let _source = self.search.asked(Source::Remembered);
            // It was dialled from here before, so it is not asked about again.
            self.search.found(Source::Remembered, Candidate { at, source: Source::Remembered });
        }
    }

    pub(super) async fn remembered(&self) {
        let Some(store) = &self.resolver.store else { return };
        self.search.stage(Stage::Near).await;
        let _source = self.search.asked(Source::Remembered);
        let is_v2 = self.resolver.was_v2(self.search.key).await;
        match store.addresses(self.search.key).await {
            Ok(remembered) => {
                for address in remembered {
                    if is_v2 {
                        self.search.hint_v2(&address.at);
                    }
                    // What the person gave by hand once may be where no interface is: behind a
                    // router of their own.
                    let as_told_by = if address.origin == Origin::Given { Source::Given } else { Source::Remembered };
                    if self.permits(&address.at, as_told_by) {
                        self.search.found(Source::Remembered, Candidate { at: address.at, source: Source::Remembered });
                    }
                }
            }
            // The node is stopping.
            Err(StoreError::Closed) => {}
            Err(error) => warn!(%error, remedy = error.remedy(), "remembered addresses not read"),
        }
    }

    /// Whether the service, of which addresses are given, spoke version 2 when it was reached last.
    /// What this process has learned since then its dialler knows.
    async fn given_was_v2(&self) -> bool {
        match self.resolver.given_v2.get() {
            Some(spoke_v2) => spoke_v2.contains(&self.search.key),
            None => timeout(VERSION_LIMIT, self.resolver.was_v2(self.search.key)).await.unwrap_or(false),
        }
    }

    /// Searches for as long as somebody waits.
    pub(super) async fn lan(&self) {
        let Some(lan) = &self.resolver.lan else { return };
        self.search.stage(Stage::Near).await;
        let _source = self.search.asked(Source::Lan);
        let mut heard = lan.search(self.search.key);
        while let Some(addr) = heard.recv().await {
            if lan.speaks_v2(self.search.key, addr) {
                self.search.hint_v2(&addr.into());
            }
            self.offer(Source::Lan, Source::Lan, addr.into());
        }
    }

    /// Whether `at`, told by `source`, may be dialled from here.
    pub(super) fn permits(&self, at: &HostPort, source: Source) -> bool {
        self.resolver.policy.read().unwrap_or_else(PoisonError::into_inner).permits(self.here, at, source)
    }

    /// Notes an address that `asked` named, if it makes sense to dial it from here. `source` is who
    /// stands behind it.
    pub(super) fn offer(&self, asked: Source, source: Source, at: HostPort) {
        if self.permits(&at, source) {
            self.search.found(asked, Candidate { at, source });
        } else {
            debug!(%at, ?source, "address makes no sense here");
        }
    }
}
