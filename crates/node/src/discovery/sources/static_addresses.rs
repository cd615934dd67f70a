//! Addresses that the person gave by hand.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::time::Duration;

use futures_util::future::BoxFuture;
use hardline_proto::KeyHash;
use hardline_proto::candidate::{SourceInfo, Tier, Trust};
use tokio::time::timeout;

use crate::config::StaticAddress;
use crate::discovery::source::{AddressSource, Findings};
use crate::store::Store;

/// The configuration and the command line.
pub const STATIC: SourceInfo =
    SourceInfo { tier: Tier::Local, trust: Trust::Person, name: "given", label: "addresses given by hand" };

/// Time for the store to tell a version before these addresses are dialled. It takes a fraction of
/// a millisecond, unless another process is writing.
const VERSION_LIMIT: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(super) struct Static {
    addresses: Vec<StaticAddress>,
    /// Knows which version was spoken last.
    store: Option<Store>,
    /// The version of the tunnel that each service spoke when it was reached last; once that is
    /// read.
    versions: OnceLock<HashMap<KeyHash, u16>>,
}

impl Static {
    pub(super) fn new(addresses: Vec<StaticAddress>, store: Option<Store>) -> Self {
        Self { addresses, store, versions: OnceLock::new() }
    }

    /// The version of the tunnel that the service spoke when it was reached last. What this process
    /// has learned since its start its dialler knows.
    async fn version(&self, key: KeyHash) -> Option<u16> {
        match (self.versions.get(), &self.store) {
            (Some(versions), _) => versions.get(&key).copied(),
            (None, Some(store)) => timeout(VERSION_LIMIT, store.tunnel(key)).await.ok()?.ok()?,
            (None, None) => None,
        }
    }

    async fn recall(&self) {
        let Some(store) = &self.store else { return };
        let mut versions = HashMap::new();
        for StaticAddress { key, .. } in &self.addresses {
            if let Ok(Some(version)) = store.tunnel(*key).await {
                versions.insert(*key, version);
            }
        }
        // Set once: there is one start.
        let _ = self.versions.set(versions);
    }
}

impl AddressSource for Static {
    fn info(&self) -> SourceInfo {
        STATIC
    }

    fn lookup<'a>(&'a self, findings: &'a Findings<'a>) -> BoxFuture<'a, ()> {
        Box::pin(async {
            let key = findings.key();
            let addresses: Vec<_> = self.addresses.iter().filter(|address| address.key == key).collect();
            if addresses.is_empty() {
                return;
            }
            let version = self.version(key).await;
            for address in addresses {
                findings.found(address.at.clone(), version);
            }
        })
    }

    /// Looks up the versions.
    fn warm_up(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.recall())
    }
}
