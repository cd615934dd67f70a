//! Services behind routers that open no port, which are reached through a relay: they are called
//! through it, and both sides send probes until a way is open that needs no relay. Nobody but the
//! relay is asked, so it works without the DHT.
//!
//! What answers is not signed, and the relay says where this computer is: so a few datagrams are
//! all that follows. Where a router gives each destination another port, calls in the DHT do more.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use hardline_proto::call::{CallId, RelayedAnswer};
use hardline_proto::candidate::{SourceInfo, Tier, TransportAddr, Trust, Way, is_private};
use hardline_proto::hosts::HostPort;
use hardline_proto::punch::{Attempt, Mapping, Plan, Role};
use hardline_proto::rolling::RollingCode;
use tokio::time::Instant;
use tracing::debug;

use super::calls::{SealedCall, addresses};
use crate::clock::today;
use crate::discovery::source::{AddressSource, Findings};
use crate::drivers::dht::shared::SharedDht;
use crate::transport::quic::{Opened, QuicEndpoint, QuicSockets};
use crate::transport::relay::caller::Caller;

/// Calling the service through its relay.
pub const RELAYED_CALL: SourceInfo = SourceInfo {
    tier: Tier::Wan,
    trust: Trust::Service,
    name: "relayed_call",
    label: "the service, which was called through its relay",
};

/// Pause before the service is called again while somebody waits.
const CALL_AGAIN: Duration = Duration::from_secs(4);

/// Relays that are tried at once.
const MAX_RELAYS: usize = 2;

#[derive(Debug)]
pub(super) struct CalledThroughRelay {
    /// Knows where others see the socket of QUIC, if it takes part by that.
    dht: Option<Arc<SharedDht>>,
    quic: QuicSockets,
}

impl AddressSource for CalledThroughRelay {
    fn info(&self) -> SourceInfo {
        RELAYED_CALL
    }

    fn lookup<'a>(&'a self, findings: &'a Findings<'a>) -> BoxFuture<'a, ()> {
        Box::pin(async {
            let relays = findings.search.relays().await;
            findings.search.turn_to_call().await;
            let calling = relays.iter().take(MAX_RELAYS).map(async |at| {
                if let Err(error) = self.call(findings, at).await {
                    debug!(relay = %at, %error, "not called through the relay");
                }
            });
            join_all(calling).await;
        })
    }

    fn ask_again_after(&self) -> Option<Duration> {
        Some(CALL_AGAIN)
    }
}

impl CalledThroughRelay {
    pub(super) fn new(dht: Option<Arc<SharedDht>>, quic: QuicSockets) -> Self {
        Self { dht, quic }
    }

    /// Calls the service through the relay at `at`, and follows the call to its end.
    async fn call(&self, findings: &Findings<'_>, at: &HostPort) -> io::Result<()> {
        let key = findings.key();
        let mut caller = Caller::connect(at, RollingCode::of(&key, today()).as_bytes()).await?;
        let endpoint = self.quic.dialling(caller.seen)?;
        let mapping = self.dht.as_ref().map_or(Mapping::Unknown, |dht| dht.mapping());
        let addresses = self.own_addresses(findings, caller.seen, endpoint.local_addr()?.port());
        debug!(relay = %at, ?addresses, "calling through a relay");
        let SealedCall { id, day, sealed } = SealedCall::now(&key, mapping, addresses, None);
        let answer = caller.call(&sealed).await?;
        let answer = RelayedAnswer::open(&answer, &key, day).map_err(io::Error::other)?;
        let targets = targets(findings, &answer, caller.seen);
        debug!(call = ?answer.call, ?targets, mapping = ?answer.mapping, "call answered through a relay");
        if answer.call == id && !targets.is_empty() {
            self.punch(findings, &endpoint, &id, &targets).await;
        }
        Ok(())
    }

    async fn punch(&self, findings: &Findings<'_>, endpoint: &QuicEndpoint, id: &CallId, targets: &[SocketAddr]) {
        let now = Instant::now().into_std();
        let attempt = Attempt::new(now, Role::Dialler, id, targets, Plan::Few, rand::random());
        let mut attempt = endpoint.punch(attempt);
        while let Some(Opened { remote, by }) = attempt.opened().await {
            if let Some(by) = by {
                self.quic.way(remote, by);
            }
            findings.found_over(Way::Punched, RELAYED_CALL, TransportAddr::Quic(remote), Some(2));
        }
    }

    /// Where this computer is: the relay sees its address, the DHT's nodes perhaps the port, too.
    fn own_addresses(&self, findings: &Findings<'_>, seen: SocketAddr, port: u16) -> Vec<SocketAddr> {
        let mut addresses = addresses(&[seen.ip()], findings.here, seen, port);
        if let Some(dht) = &self.dht {
            for sighted in dht.sighted().borrow().iter() {
                addresses.iter_mut().filter(|addr| addr.ip() == sighted.ip()).for_each(|addr| *addr = *sighted);
            }
        }
        addresses
    }
}

/// Where probes may be sent to of what is named: hosts on the internet, or in the own home when the
/// relay sees both at one address.
fn targets(findings: &Findings<'_>, answer: &RelayedAnswer, seen: SocketAddr) -> Vec<SocketAddr> {
    let is_neighbour = |addr: &SocketAddr| addr.ip() == seen.ip();
    let may_be_sent_to = |addr: &SocketAddr| {
        addr.is_ipv4() == seen.is_ipv4()
            && addr.port() >= MIN_PORT
            && (!is_private(addr.ip()) || is_neighbour(addr))
            && findings.rules.permits(findings.here, &TransportAddr::Quic(*addr), RELAYED_CALL.trust)
    };
    answer.addresses.iter().copied().filter(may_be_sent_to).collect()
}

/// Ports below this one belong to well-known servers; no router maps an outgoing packet to one.
const MIN_PORT: u16 = 1024;
