//! Where the service was reached last, by this process and in this network.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use hardline_proto::candidate::{SourceInfo, Tier, Trust};

use crate::discovery::LastKnownGood;
use crate::discovery::source::{AddressSource, Findings};

/// What was reached lately. It was dialled from here before, so that it may be dialled again is not
/// in question; but a neighbour who answers now goes before it.
pub const RECENT: SourceInfo =
    SourceInfo { tier: Tier::Lan, trust: Trust::Person, name: "recent", label: "the address reached last" };

#[derive(Debug)]
pub(super) struct Recent(pub(super) Arc<LastKnownGood>);

impl AddressSource for Recent {
    fn info(&self) -> SourceInfo {
        SourceInfo { tier: Tier::Local, ..RECENT }
    }

    fn lookup<'a>(&'a self, findings: &'a Findings<'a>) -> BoxFuture<'a, ()> {
        if let Some((addr, way)) = self.0.address(&findings.key(), findings.here) {
            findings.found_over(way, RECENT, addr, None);
        }
        Box::pin(std::future::ready(()))
    }
}
