//! Services behind routers that open no port: they are called in the DHT, and both sides send
//! probes until a way is open.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use hardline_dht::{InfoHash, Value, ValueType};
use hardline_proto::call::{self, Call, CallId, MAX_ADDRESSES};
use hardline_proto::candidate::{SourceInfo, Tier, TransportAddr, Trust, Way};
use hardline_proto::dht_key;
use hardline_proto::network::NetworkState;
use hardline_proto::punch::{Attempt, Mapping, Plan, Role};
use hardline_proto::rolling::Day;
use tokio::time::{Instant, sleep, timeout};
use tracing::debug;

use super::records::NewestRecords;
use super::unix_time;
use crate::discovery::source::{AddressSource, Findings};
use crate::drivers::dht::shared::SharedDht;
use crate::transport::quic::QuicSockets;

/// Calling the service.
pub const CALL: SourceInfo = SourceInfo {
    tier: Tier::Wan,
    trust: Trust::Service,
    name: "call",
    label: "the service, which was called in the DHT",
};

/// Head start of addresses that may be reached without a call.
const HEAD_START: Duration = Duration::from_millis(200);

/// Time for nodes of the DHT to agree on where this computer is.
const OWN_ADDRESS_LIMIT: Duration = Duration::from_secs(4);

/// Pause before the service is called again while somebody waits.
const CALL_AGAIN: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct Called {
    pub(super) dht: Arc<SharedDht>,
    pub(super) quic: QuicSockets,
    pub(super) newest: NewestRecords,
}

impl AddressSource for Called {
    fn info(&self) -> SourceInfo {
        CALL
    }

    fn lookup<'a>(&'a self, findings: &'a Findings<'a>) -> BoxFuture<'a, ()> {
        Box::pin(async {
            let dht = match self.dht.use_now().await {
                Ok(dht) => dht,
                Err(error) => return findings.problem(Some(error.to_string())),
            };
            let targets = self.newest.punch(&findings.key()).await;
            if findings.search.has_candidates() {
                sleep(HEAD_START).await;
            }
            let Some((attempt, to, value)) = self.prepare(findings, &targets).await else {
                return findings.problem(Some("nobody tells where this computer is seen".to_owned()));
            };
            let mut punch = match self.quic.dialling(to) {
                Ok(endpoint) => endpoint.punch(attempt),
                Err(error) => return findings.problem(Some(error.to_string())),
            };
            let (day, value) = value;
            let _put = dht.put(InfoHash(dht_key::call(&findings.key(), day)), value, false);
            let mut is_answered = false;
            while let Some(remote) = punch.opened().await {
                is_answered = true;
                findings.found_over(Way::Punched, CALL, TransportAddr::Quic(remote), Some(2));
            }
            findings.problem((!is_answered).then(|| "it does not answer the call".to_owned()));
        })
    }

    fn ask_again_after(&self) -> Option<Duration> {
        Some(CALL_AGAIN)
    }
}

impl Called {
    /// An attempt towards `targets` of one family, the first of them, and the call for it.
    async fn prepare(
        &self,
        findings: &Findings<'_>,
        targets: &[SocketAddr],
    ) -> Option<(Attempt, SocketAddr, (Day, Value))> {
        let public = self.public_addresses().await?;
        let has_family = |to: &&SocketAddr| public.iter().any(|ip| ip.is_ipv4() == to.is_ipv4());
        let first = *targets.iter().find(has_family)?;
        let targets: Vec<_> = targets.iter().copied().filter(|to| to.is_ipv4() == first.is_ipv4()).collect();
        let port = self.quic.dialling(first).ok()?.local_addr().ok()?.port();
        let addresses = addresses(&public, findings.here, first, port);
        let id = CallId::from_bytes(rand::random());
        debug!(?id, ?targets, ?addresses, "calling");
        let now = unix_time();
        let issued_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let call = Call { id, issued_ms, mapping: Mapping::Unknown, addresses, cookie: None };
        let day = Day::from_unix_seconds(now.as_secs());
        let sealed = call::seal(&call, &findings.key(), day, rand::random());
        let value = Value::new(rand::random_range(1..=u64::MAX), ValueType::USER_DATA, &sealed, "").ok()?;
        let now = Instant::now().into_std();
        let attempt = Attempt::new(now, Role::Dialler, &id, &targets, Plan::Few, rand::random());
        Some((attempt, first, (day, value)))
    }

    async fn public_addresses(&self) -> Option<Vec<IpAddr>> {
        let mut public = self.dht.public_addresses();
        let known = timeout(OWN_ADDRESS_LIMIT, public.wait_for(|public| !public.is_empty())).await;
        Some(known.ok()?.ok()?.clone())
    }
}

/// Where this computer is to be sent probes, for an attempt towards `to`: at the address that
/// others see, with the port that most routers keep, and in its own network, for a neighbour that
/// cannot be found there.
fn addresses(public: &[IpAddr], here: &NetworkState, to: SocketAddr, port: u16) -> Vec<SocketAddr> {
    let seen = public.iter().copied().filter(|ip| ip.is_ipv4() == to.is_ipv4());
    let inside = here.default_route.map(|route| IpAddr::V4(route.local)).filter(|_| to.is_ipv4());
    let mut addresses: Vec<_> = seen.chain(inside).map(|ip| SocketAddr::new(ip, port)).collect();
    addresses.dedup();
    addresses.truncate(MAX_ADDRESSES);
    addresses
}

#[cfg(test)]
mod tests {
    use hardline_proto::network::DefaultRoute;

    use super::*;

    #[test]
    fn a_caller_names_the_address_that_others_see_and_its_own() {
        let public = ["203.0.113.5", "2001:db8::1"].map(|ip| ip.parse().unwrap());
        let route = DefaultRoute { gateway: [192, 168, 1, 1].into(), local: [192, 168, 1, 2].into() };
        let here = NetworkState { default_route: Some(route), ..NetworkState::default() };
        let named = |to: &str, here| {
            let addresses = addresses(&public, here, to.parse().unwrap(), 7);
            addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
        };
        assert_eq!(named("198.51.100.1:1", &here), "203.0.113.5:7,192.168.1.2:7");
        assert_eq!(named("[2001:db8::2]:1", &here), "[2001:db8::1]:7");
        assert_eq!(named("198.51.100.1:1", &NetworkState::default()), "203.0.113.5:7");
    }
}
