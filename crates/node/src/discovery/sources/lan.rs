//! Neighbours who answer for the service.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use hardline_proto::candidate::{SourceInfo, Tier, Trust};
use hardline_proto::hosts::HostPort;
use tokio::time::{Instant, sleep_until};

use crate::discovery::source::{AddressSource, Findings};
use crate::drivers::lan::Lan;

/// Head start of other addresses over link-local ones (as long as RFC 8305, section 5, has it).
/// Those mean nothing on another network, so they are not remembered, and a service that was
/// reached by one would not be found again when nobody answers.
const HEAD_START: Duration = Duration::from_millis(250);

/// Multicast on every interface.
pub const LAN: SourceInfo =
    SourceInfo { tier: Tier::Lan, trust: Trust::Neighbour, name: "lan", label: "the local network" };

#[derive(Debug)]
pub(super) struct Neighbours(pub(super) Arc<Lan>);

impl AddressSource for Neighbours {
    fn info(&self) -> SourceInfo {
        LAN
    }

    /// Searches for as long as somebody waits. A link-local address is told a moment later than it
    /// was heard.
    fn lookup<'a>(&'a self, findings: &'a Findings<'a>) -> BoxFuture<'a, ()> {
        Box::pin(async {
            let (mut heard, mut held) = (self.0.search(findings.key()), VecDeque::new());
            loop {
                let due = held.front().map(|(due, _)| *due);
                let addr = tokio::select! {
                    addr = heard.recv() => match addr {
                        Some(addr) if is_link_local(&addr) => {
                            held.push_back((Instant::now() + HEAD_START, addr));
                            continue;
                        }
                        Some(addr) => addr,
                        None => return,
                    },
                    () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => match held.pop_front() {
                        Some((_, addr)) => addr,
                        None => continue,
                    },
                };
                findings.found(HostPort::scoped(addr), self.0.speaks_v2(findings.key(), addr).then_some(2));
            }
        })
    }
}

fn is_link_local(addr: &SocketAddr) -> bool {
    matches!(addr.ip(), IpAddr::V6(ip) if ip.is_unicast_link_local())
}
