//! Neighbours who answer for the service.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use hardline_proto::candidate::{SourceInfo, Tier, Trust};
use hardline_proto::hosts::HostPort;

use crate::discovery::source::{AddressSource, Findings};
use crate::drivers::lan::Lan;

/// Multicast on every interface.
pub const LAN: SourceInfo =
    SourceInfo { tier: Tier::Lan, trust: Trust::Neighbour, name: "lan", label: "the local network" };

#[derive(Debug)]
pub(super) struct Neighbours(pub(super) Arc<Lan>);

impl AddressSource for Neighbours {
    fn info(&self) -> SourceInfo {
        LAN
    }

    /// Searches for as long as somebody waits.
    fn lookup<'a>(&'a self, findings: &'a Findings<'a>) -> BoxFuture<'a, ()> {
        Box::pin(async {
            let mut heard = self.0.search(findings.key());
            while let Some(addr) = heard.recv().await {
                findings.found(HostPort::scoped(addr), self.0.speaks_v2(findings.key(), addr).then_some(2));
            }
        })
    }
}
