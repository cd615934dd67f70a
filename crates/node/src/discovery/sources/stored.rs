//! What is remembered on disk: addresses that worked, or that the service advertised on a verified
//! connection.

use futures_util::future::BoxFuture;
use hardline_proto::candidate::{SourceInfo, Tier, Trust};
use tracing::warn;

use crate::discovery::source::{AddressSource, Findings};
use crate::store::{Origin, Store, StoreError};

/// The store.
pub const STORE: SourceInfo =
    SourceInfo { tier: Tier::Lan, trust: Trust::Service, name: "remembered", label: "remembered addresses" };

#[derive(Debug)]
pub(super) struct Stored(pub(super) Store);

impl AddressSource for Stored {
    fn info(&self) -> SourceInfo {
        STORE
    }

    fn lookup<'a>(&'a self, findings: &'a Findings<'a>) -> BoxFuture<'a, ()> {
        Box::pin(async {
            let version = self.0.tunnel(findings.key()).await.ok().flatten();
            match self.0.addresses(findings.key()).await {
                Ok(remembered) => {
                    for address in remembered {
                        // What the person gave by hand once may be where no interface is: behind a
                        // router of their own.
                        let is_static = address.origin == Origin::Static;
                        let trust = if is_static { Trust::Person } else { Trust::Service };
                        findings.found_for(SourceInfo { trust, ..STORE }, address.at, version);
                    }
                }
                // The node is stopping.
                Err(StoreError::Closed) => {}
                Err(error) => warn!(%error, remedy = error.remedy(), "remembered addresses not read"),
            }
        })
    }
}
