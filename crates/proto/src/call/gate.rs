//! Which calls are followed: in time, not seen before, not too often, and to which of their
//! addresses.
//!
//! A caller names addresses that nobody has proven. So a call makes a service send a few datagrams
//! at most, fewer bytes than the call had; what one network is sent on behalf of callers is
//! limited, over all services of a node; and many datagrams, as a symmetric NAT takes, are sent
//! only to who has answered, seldom, and to one network at a time.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use super::{Call, CallId, Cookie, CookieSecret, MAX_ADDRESSES, MAX_SKEW_MS};
use crate::candidate::{DialPolicy, TransportAddr, Trust, is_private};
use crate::hosts::HostPort;
use crate::key::KeyHash;
use crate::network::NetworkState;
use crate::punch::{Mapping, Plan, Role, plan};
use crate::rate::{Rate, SharedRate, TokenBucket};

/// Calls to one service that are followed: a page that many open at once, and then two newcomers a
/// second.
const SERVICE_RATE: Rate = Rate { burst: 16, per_second: 2 };

/// Calls followed on behalf of one network (/24 of IPv4, /48 of IPv6).
const NETWORK_RATE: Rate = Rate { burst: 8, per_second: 1 };

/// Calls followed in all, by every service of a node.
const TOTAL_RATE: Rate = Rate { burst: 64, per_second: 16 };

/// Networks counted apart, at about 60 bytes each.
const MAX_NETWORKS: usize = 1024;

/// Calls of one service that are remembered, so that none is followed twice; at 24 bytes each.
const MAX_SEEN: usize = 4096;

// While the clock runs evenly nothing is forgotten before its time.
const _: () =
    assert!(SERVICE_RATE.burst as u64 + SERVICE_RATE.per_second as u64 * 2 * MAX_SKEW_MS / 1000 <= MAX_SEEN as u64);

/// How much older than this program's start a call may be, in milliseconds. The DHT hands out those
/// of the last minutes once more.
const MAX_BEFORE_START_MS: u64 = 30 * 1000;

/// Time between two rounds of many datagrams to the same network, and in which so many may be sent
/// to all of them.
const MANY_INTERVAL: Duration = Duration::from_secs(60);
const MANY_IN_INTERVAL: usize = 4;

/// Ports below this one belong to well-known servers; no router maps an outgoing packet to one.
const MIN_PORT: u16 = 1024;

/// What a service knows of itself when a call comes.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    /// What may be sent to at all.
    pub policy: &'a DialPolicy,
    /// The networks that this computer is in.
    pub network: &'a NetworkState,
    /// Where others see it.
    pub public: &'a [IpAddr],
    /// What its router does.
    pub mapping: Mapping,
}

/// A call that is to be followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    /// Where to send: nowhere if that is hopeless, else to at least one.
    pub targets: Vec<SocketAddr>,
    /// How many datagrams.
    pub plan: Plan,
    /// To be answered with: more datagrams are needed, and the caller has to ask for them; or none
    /// would help, which the caller is to know.
    pub cookie: Option<Cookie>,
}

/// Why a call is not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// Too old, from before the start, or from the future.
    #[error("written at another time")]
    Time,
    /// Followed before.
    #[error("seen before")]
    Seen,
    /// No address may be sent to from here.
    #[error("names no address that may be sent to")]
    NoTarget,
    /// The cookie is another address's, or too old.
    #[error("unknown cookie")]
    UnknownCookie,
    /// A rate is reached.
    #[error("too many calls")]
    TooMany,
}

/// The calls to all services of a node.
#[derive(Debug)]
pub struct CallGate {
    started_ms: u64,
    secret: CookieSecret,
    services: BTreeMap<KeyHash, Service>,
    networks: SharedRate<IpAddr>,
    many: VecDeque<(Instant, IpAddr)>,
}

#[derive(Debug)]
struct Service {
    rate: TokenBucket,
    /// When each may be forgotten, Unix time in milliseconds.
    seen: BTreeMap<CallId, u64>,
}

impl CallGate {
    /// A gate that opens at `now_ms`, Unix time in milliseconds.
    #[must_use]
    pub const fn new(now_ms: u64, secret: CookieSecret) -> Self {
        let networks = SharedRate::new(NETWORK_RATE, TOTAL_RATE, MAX_NETWORKS);
        Self { started_ms: now_ms, secret, services: BTreeMap::new(), networks, many: VecDeque::new() }
    }

    /// Whether `call` to `service`, one of this node's own, is followed; if so it is counted.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn admit(
        &mut self,
        now: Instant,
        now_ms: u64,
        service: &KeyHash,
        call: &Call,
        around: &Surroundings<'_>,
    ) -> Result<Admitted, Refused> {
        self.check_time(call, now_ms)?;
        if self.services.get(service).is_some_and(|service| service.seen.contains_key(&call.id)) {
            return Err(Refused::Seen);
        }
        let mut targets = targets(call, around);
        // Symmetric NATs are those of IPv4.
        let first = targets.iter().find(|addr| addr.is_ipv4()).or(targets.first()).ok_or(Refused::NoTarget)?.ip();
        let mut plan = plan(Role::Publisher, around.mapping, call.mapping);
        let cookie = match (plan, &call.cookie) {
            (Plan::Few, _) => None,
            (Plan::Hopeless, _) => {
                targets.clear();
                Some(self.secret.cookie(service, first, now_ms))
            }
            (_, None) => {
                plan = Plan::Few;
                Some(self.secret.cookie(service, first, now_ms))
            }
            (_, Some(cookie)) if self.secret.knows(cookie, service, first, now_ms) => {
                targets.retain(|addr| addr.ip() == first);
                None
            }
            _ => return Err(Refused::UnknownCookie),
        };
        let is_many = matches!(plan, Plan::ManySockets(_) | Plan::ManyPorts(_));
        self.count(now, now_ms, service, call, first, is_many)?;
        Ok(Admitted { targets, plan, cookie })
    }

    /// Forgets a service that is published no more.
    pub fn forget(&mut self, service: &KeyHash) {
        self.services.remove(service);
    }

    const fn check_time(&self, call: &Call, now_ms: u64) -> Result<(), Refused> {
        let is_near = call.issued_ms.abs_diff(now_ms) <= MAX_SKEW_MS;
        let is_from_before = call.issued_ms.saturating_add(MAX_BEFORE_START_MS) < self.started_ms;
        if is_near && !is_from_before { Ok(()) } else { Err(Refused::Time) }
    }

    fn count(
        &mut self,
        now: Instant,
        now_ms: u64,
        service: &KeyHash,
        call: &Call,
        first: IpAddr,
        is_many: bool,
    ) -> Result<(), Refused> {
        self.many.retain(|(at, _)| now.saturating_duration_since(*at) < MANY_INTERVAL);
        let site = site(first);
        if is_many && (self.many.len() >= MANY_IN_INTERVAL || self.many.iter().any(|(_, other)| *other == site)) {
            return Err(Refused::TooMany);
        }
        let service = self.services.entry(*service).or_insert_with(Service::new);
        service.seen.retain(|_, until| *until >= now_ms);
        // Every network that is named counts, so that four victims do not come for one.
        let sites: std::collections::BTreeSet<IpAddr> =
            call.addresses.iter().map(|addr| self::site(addr.ip())).collect();
        let is_within = service.seen.len() < MAX_SEEN
            && service.rate.take(now)
            && sites.into_iter().all(|site| self.networks.take(now, site));
        if !is_within {
            return Err(Refused::TooMany);
        }
        service.seen.insert(call.id, call.issued_ms.saturating_add(MAX_SKEW_MS));
        if is_many {
            self.many.push_back((now, site));
        }
        Ok(())
    }
}

impl Service {
    const fn new() -> Self {
        Self { rate: TokenBucket::new(SERVICE_RATE), seen: BTreeMap::new() }
    }
}

/// Which of a call's addresses may be sent to.
///
/// A private address means something only in the caller's own home; that this is the same one is
/// taken for granted when others see both at the same address, and this computer is in that range.
fn targets(call: &Call, around: &Surroundings<'_>) -> Vec<SocketAddr> {
    let named =
        || call.addresses.iter().take(MAX_ADDRESSES).map(|addr| SocketAddr::new(addr.ip().to_canonical(), addr.port()));
    let is_neighbour = named().any(|addr| !is_private(addr.ip()) && around.public.contains(&addr.ip()));
    let mut targets = Vec::new();
    for addr in named() {
        let at = TransportAddr::from(HostPort::from(addr));
        let may_be_sent_to = addr.port() >= MIN_PORT
            && (is_neighbour || !is_private(addr.ip()))
            && around.policy.permits(around.network, &at, Trust::KeyHolder);
        if may_be_sent_to && !targets.contains(&addr) {
            targets.push(addr);
        }
    }
    targets
}

/// What a network is given as a whole: the first address of a /24 of IPv4, of a /48 of IPv6.
pub(crate) fn site(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => IpAddr::V4(Ipv4Addr::from_bits(ip.to_bits() >> 8 << 8)),
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() >> 80 << 80)),
    }
}
