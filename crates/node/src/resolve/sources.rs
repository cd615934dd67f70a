//! What is asked nearby: this process, the person, the store, the LAN.

use std::sync::Arc;

use hardline_proto::candidate::{Candidate, Source, Surroundings};
use hardline_proto::hosts::HostPort;
use hardline_proto::stages::Stage;
use tracing::{debug, warn};

use super::Resolver;
use super::search::Search;
use crate::store::{Origin, StoreError};

/// A search at one place.
pub(super) struct Asking<'a> {
    pub(super) search: &'a Search,
    pub(super) resolver: &'a Arc<Resolver>,
    pub(super) here: &'a Surroundings,
}

impl Asking<'_> {
    /// What is known without asking anybody.
    pub(super) async fn at_hand(&self) {
        let key = self.search.key;
        if let Some(addr) = self.resolver.own.get(&key) {
            let _source = self.search.asked(Source::Own);
            self.offer(Source::Own, Source::Own, (*addr).into());
        }
        let mut given = self.resolver.given.iter().filter(|given| given.key == key).peekable();
        let _source = given.peek().map(|_| self.search.asked(Source::Given));
        for given in given {
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
        match store.addresses(self.search.key).await {
            Ok(remembered) => {
                for address in remembered {
                    // What the person gave by hand once may be where no interface is: behind a router of their own.
                    let as_told_by = if address.origin == Origin::Given { Source::Given } else { Source::Remembered };
                    if self.here.permit(&address.at, as_told_by) {
                        self.search.found(Source::Remembered, Candidate { at: address.at, source: Source::Remembered });
                    }
                }
            }
            // The node is stopping.
            Err(StoreError::Closed) => {}
            Err(error) => warn!(%error, remedy = error.remedy(), "remembered addresses not read"),
        }
    }

    /// Searches for as long as somebody waits.
    pub(super) async fn lan(&self) {
        let Some(lan) = &self.resolver.lan else { return };
        self.search.stage(Stage::Near).await;
        let _source = self.search.asked(Source::Lan);
        let mut heard = lan.search(self.search.key);
        while let Some(addr) = heard.recv().await {
            self.offer(Source::Lan, Source::Lan, addr.into());
        }
    }

    /// Notes an address that `asked` named, if it makes sense to dial it from here. `source` is who stands behind it.
    pub(super) fn offer(&self, asked: Source, source: Source, at: HostPort) {
        if self.here.permit(&at, source) {
            self.search.found(asked, Candidate { at, source });
        } else {
            debug!(%at, ?source, "address makes no sense here");
        }
    }
}
