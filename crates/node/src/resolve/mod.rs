//! Key hash → stream of candidates, from all sources at the same time.

mod recent;
mod report;

pub(crate) use recent::Recent;
pub(crate) use report::Journal;
pub use report::{AttemptReport, Outcome, Report, SourceReport};

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use hardline_proto::KeyHash;
use hardline_proto::candidate::{Candidate, MAX_CANDIDATES_PER_SOURCE, Source, is_dialable};
use hardline_proto::hosts::HostPort;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use tracing::warn;

use crate::config::GivenAddress;
use crate::drivers::lan::Lan;
use crate::limits::LOOKUP_TIMEOUT;
use crate::store::Store;

/// Everything that may know where a service is.
#[derive(Debug)]
pub(crate) struct Resolver {
    /// Services of this process and where they listen.
    pub(crate) own: HashMap<KeyHash, SocketAddr>,
    pub(crate) given: Vec<GivenAddress>,
    pub(crate) recent: Recent,
    pub(crate) store: Option<Store>,
    pub(crate) lan: Option<Arc<Lan>>,
    /// Writing down what was learned goes on behind the tunnel's back.
    pub(crate) tasks: TaskTracker,
}

/// A running lookup. Dropping it ends the search.
pub(crate) struct Lookup {
    /// Candidates as they are found; closed when no source will name another.
    pub(crate) candidates: mpsc::Receiver<Candidate>,
    _task: AbortOnDropHandle<()>,
}

impl Resolver {
    /// Asks every source for `key`. Each is noted in `journal` when it has ended.
    pub(crate) fn lookup(self: &Arc<Self>, key: KeyHash, journal: &Journal) -> Lookup {
        let (found, candidates) = mpsc::channel(MAX_CANDIDATES_PER_SOURCE);
        let search = Search { resolver: Arc::clone(self), key, found, journal: journal.clone() };
        Lookup { candidates, _task: AbortOnDropHandle::new(tokio::spawn(search.run())) }
    }
}

struct Search {
    resolver: Arc<Resolver>,
    key: KeyHash,
    found: mpsc::Sender<Candidate>,
    journal: Journal,
}

impl Search {
    async fn run(self) {
        tokio::join!(self.own(), self.given(), self.remembered(), self.lan());
    }

    async fn own(&self) {
        if let Some(addr) = self.resolver.own.get(&self.key) {
            let _source = self.journal.source(Source::Own);
            self.offer(Source::Own, (*addr).into()).await;
        }
    }

    async fn given(&self) {
        let given: Vec<_> = self.resolver.given.iter().filter(|given| given.key == self.key).collect();
        let _source = given.first().map(|_| self.journal.source(Source::Given));
        for given in given {
            self.offer(Source::Given, given.at.clone()).await;
        }
    }

    async fn remembered(&self) {
        let _source = self.journal.source(Source::Remembered);
        if let Some(at) = self.resolver.recent.address(&self.key) {
            self.offer(Source::Remembered, at).await;
        }
        if let Some(store) = &self.resolver.store {
            match store.addresses(self.key).await {
                Ok(remembered) => {
                    for address in remembered {
                        self.offer(Source::Remembered, address.at).await;
                    }
                }
                Err(error) => warn!(%error, remedy = error.remedy(), "remembered addresses not read"),
            }
        }
    }

    async fn lan(&self) {
        let Some(lan) = &self.resolver.lan else { return };
        let _source = self.journal.source(Source::Lan);
        let mut heard = lan.search(self.key);
        let _ = timeout(LOOKUP_TIMEOUT, async {
            while let Some(addr) = heard.recv().await {
                self.offer(Source::Lan, addr.into()).await;
            }
        })
        .await;
    }

    async fn offer(&self, source: Source, at: HostPort) {
        if is_dialable(&at, source) {
            self.journal.found(source);
            // Fails when the lookup was dropped, which also ends this task.
            let _ = self.found.send(Candidate { at, source }).await;
        }
    }
}
