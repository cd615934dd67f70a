//! Services behind routers that open no port: they are called in the DHT, and both sides send
//! probes until a way is open.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use hardline_dht::{Event, InfoHash, Value, ValueType};
use hardline_proto::call::{self, Answer, Call, CallId, Cookie, MAX_ADDRESSES};
use hardline_proto::candidate::{SourceInfo, Tier, TransportAddr, Trust, Way};
use hardline_proto::network::NetworkState;
use hardline_proto::punch::{Attempt, Conversation, Mapping, Role, Said, Verdict};
use hardline_proto::rolling::Day;
use hardline_proto::{KeyHash, dht_key};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::debug;

use super::records::NewestRecords;
use super::unix_time;
use crate::discovery::source::{AddressSource, Findings};
use crate::drivers::dht::shared::SharedDht;
use crate::drivers::dht::{Dht, Operation};
use crate::transport::quic::{Opened, Punch, QuicEndpoint, QuicSockets};

/// Calling the service.
pub const CALL: SourceInfo = SourceInfo {
    tier: Tier::Wan,
    trust: Trust::Service,
    name: "call",
    label: "the service, which was called in the DHT",
};

/// Time for nodes of the DHT to agree on where this computer is.
const OWN_ADDRESS_LIMIT: Duration = Duration::from_secs(4);

/// Pause before the service is called again while somebody waits.
const CALL_AGAIN: Duration = Duration::from_secs(2);

/// Time between two attempts with many datagrams to one service, and how many such there may be in
/// it: a service follows no more either.
const MANY_INTERVAL: Duration = Duration::from_secs(60);
const MANY_IN_INTERVAL: usize = 4;

#[derive(Debug)]
pub(super) struct Called {
    dht: Arc<SharedDht>,
    quic: QuicSockets,
    newest: NewestRecords,
    rounds: Mutex<Rounds>,
}

/// Attempts with many datagrams, of late.
#[derive(Debug, Default)]
struct Rounds(VecDeque<(KeyHash, Instant)>);

impl Rounds {
    /// Whether there may be one towards `key` now; if so it is counted.
    fn take(&mut self, now: Instant, key: KeyHash) -> bool {
        self.0.retain(|(_, at)| now.duration_since(*at) < MANY_INTERVAL);
        let may = self.0.len() < MANY_IN_INTERVAL && !self.0.iter().any(|(of, _)| *of == key);
        if may {
            self.0.push_back((key, now));
        }
        may
    }
}

/// Who is called, from where.
struct Sides {
    key: KeyHash,
    /// Of one family.
    targets: Vec<SocketAddr>,
    /// Where this computer is.
    addresses: Vec<SocketAddr>,
    endpoint: QuicEndpoint,
}

/// A call, sealed for who knows the service's link.
pub(super) struct SealedCall {
    pub(super) id: CallId,
    /// Whose code sealed it.
    pub(super) day: Day,
    pub(super) sealed: Vec<u8>,
}

impl SealedCall {
    /// One of this moment, from this computer, which is at `addresses`.
    pub(super) fn now(key: &KeyHash, mapping: Mapping, addresses: Vec<SocketAddr>, cookie: Option<Cookie>) -> Self {
        let (id, now) = (CallId::from_bytes(rand::random()), unix_time());
        let day = Day::from_unix_seconds(now.as_secs());
        let issued_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let call = Call { id, issued_ms, mapping, addresses, cookie };
        Self { id, day, sealed: call::seal(&call, key, day, rand::random()) }
    }
}

/// A call that was made.
struct Made {
    attempt: Punch,
    /// What is stored where it is answered.
    answers: Operation,
    day: Day,
    _put: Operation,
}

/// What comes of calls.
enum News {
    Opened(Opened),
    Answered(Answer),
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
            let key = findings.key();
            loop {
                let targets = self.newest.punch(&key).await;
                findings.search.turn_to_call().await;
                match self.sides(findings, &targets).await {
                    // Where it has moved to, no probe has gone.
                    Ok(Some(sides)) => tokio::select! {
                        () = self.converse(findings, &dht, &sides) => return,
                        () = self.newest.punch_moved(&key, &targets) => {}
                    },
                    Ok(None) => return findings.problem(Some("nobody tells where this computer is seen".to_owned())),
                    Err(error) => return findings.problem(Some(error.to_string())),
                }
            }
        })
    }

    fn ask_again_after(&self) -> Option<Duration> {
        Some(CALL_AGAIN)
    }
}

impl Called {
    pub(super) fn new(dht: Arc<SharedDht>, quic: QuicSockets, newest: NewestRecords) -> Self {
        Self { dht, quic, newest, rounds: Mutex::default() }
    }

    /// Calls, and calls again as the answers say, until every attempt is over.
    async fn converse(&self, findings: &Findings<'_>, dht: &Dht, sides: &Sides) {
        let mut calls = Conversation::new(Instant::now().into_std(), self.dht.mapping());
        let mut made: Vec<Made> = Vec::new();
        let mut is_answered = false;
        loop {
            if let Some(said) = calls.poll_call() {
                made.extend(sides.call(dht, &said));
            }
            tokio::select! {
                news = news(&mut made, &sides.key) => match news {
                    Some(News::Opened(opened)) => {
                        is_answered = true;
                        calls.heard();
                        self.found(findings, opened);
                    }
                    Some(News::Answered(answer)) => {
                        debug!(call = ?answer.call, mapping = ?answer.mapping, "call answered");
                        let now = Instant::now();
                        calls.answered(now.into_std(), &answer, || self.rounds().take(now, sides.key));
                    }
                    None => break,
                },
                () = at(calls.poll_timeout()) => calls.handle_timeout(Instant::now().into_std()),
            }
            if let Some(verdict) = calls.verdict() {
                findings.problem(Some(sentence(verdict).to_owned()));
            }
        }
        if !is_answered && calls.verdict().is_none() {
            findings.problem(Some("it does not answer the call".to_owned()));
        }
    }

    fn found(&self, findings: &Findings<'_>, Opened { remote, by }: Opened) {
        if let Some(by) = by {
            self.quic.way(remote, by);
        }
        findings.problem(None);
        findings.found_over(Way::Punched, CALL, TransportAddr::Quic(remote), Some(2));
    }

    fn rounds(&self) -> MutexGuard<'_, Rounds> {
        self.rounds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who is called at which of `targets`, as soon as it is known where this computer is.
    async fn sides(&self, findings: &Findings<'_>, targets: &[SocketAddr]) -> io::Result<Option<Sides>> {
        let public = self.seen_as(targets).await;
        let has_family = |to: &&SocketAddr| public.iter().any(|ip| ip.is_ipv4() == to.is_ipv4());
        let Some(first) = targets.iter().copied().find(|to| has_family(&to)) else { return Ok(None) };
        let targets = targets.iter().copied().filter(|to| to.is_ipv4() == first.is_ipv4()).collect();
        let endpoint = self.quic.dialling(first)?;
        let port = endpoint.local_addr()?.port();
        let mut addresses = addresses(&public, findings.here, first, port);
        // Known to who publishes, too, and so takes part in the DHT by this socket.
        for seen in self.dht.sighted().borrow().iter() {
            addresses.iter_mut().filter(|addr| addr.ip() == seen.ip()).for_each(|addr| *addr = *seen);
        }
        Ok(Some(Sides { key: findings.key(), targets, addresses, endpoint }))
    }

    /// Where this computer is, as those of `targets` see it. IPv6 is not translated: what the
    /// system sends from is what others see.
    async fn seen_as(&self, targets: &[SocketAddr]) -> Vec<IpAddr> {
        let own = targets.iter().find(|to| to.is_ipv6()).and_then(|to| source(*to));
        if own.is_some() && !targets.iter().any(SocketAddr::is_ipv4) {
            return own.into_iter().collect();
        }
        let public = self.public_addresses().await.unwrap_or_default();
        public.into_iter().filter(|ip| ip.is_ipv4() || own.is_none()).chain(own).collect()
    }

    async fn public_addresses(&self) -> Option<Vec<IpAddr>> {
        let mut public = self.dht.public_addresses();
        let known = timeout(OWN_ADDRESS_LIMIT, public.wait_for(|public| !public.is_empty())).await;
        Some(known.ok()?.ok()?.clone())
    }
}

impl Sides {
    /// Makes a call, and begins what follows it.
    fn call(&self, dht: &Dht, said: &Said) -> Option<Made> {
        let Said { mapping, cookie, plan } = *said;
        let SealedCall { id, day, sealed } = SealedCall::now(&self.key, mapping, self.addresses.clone(), cookie);
        debug!(?id, targets = ?self.targets, addresses = ?self.addresses, ?plan, "calling");
        let value = Value::new(rand::random_range(1..=u64::MAX), ValueType::USER_DATA, &sealed, "").ok()?;
        let now = Instant::now().into_std();
        let attempt = Attempt::new(now, Role::Dialler, &id, &self.targets, plan, rand::random());
        Some(Made {
            attempt: self.endpoint.punch(attempt),
            answers: dht.listen(InfoHash(dht_key::answer(&id))),
            day,
            _put: dht.put(InfoHash(dht_key::call(&self.key, day)), value, false),
        })
    }
}

impl Made {
    /// What comes of it; `None` when its attempt is over.
    fn poll(&mut self, cx: &mut Context<'_>, key: &KeyHash) -> Poll<Option<News>> {
        while let Poll::Ready(Some(event)) = self.answers.poll_next(cx) {
            if let Event::Heard { value, .. } = event
                && let Ok(answer) = Answer::open(value.data(), key, self.day)
            {
                return Poll::Ready(Some(News::Answered(answer)));
            }
        }
        self.attempt.poll_opened(cx).map(|opened| opened.map(News::Opened))
    }
}

/// What comes next of the calls that were made; `None` when all are over. Cancel safe.
async fn news(made: &mut Vec<Made>, key: &KeyHash) -> Option<News> {
    poll_fn(|cx| {
        let mut index = 0;
        while let Some(call) = made.get_mut(index) {
            match call.poll(cx, key) {
                Poll::Ready(Some(news)) => return Poll::Ready(Some(news)),
                Poll::Ready(None) => drop(made.remove(index)),
                Poll::Pending => index += 1,
            }
        }
        if made.is_empty() { Poll::Ready(None) } else { Poll::Pending }
    })
    .await
}

async fn at(when: Option<std::time::Instant>) {
    match when {
        Some(when) => sleep_until(when.into()).await,
        None => std::future::pending().await,
    }
}

/// For the page and programs, behind the source's name.
const fn sentence(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::BothSymmetric => "both routers give each destination another port; use a relay",
        Verdict::BothSeemSymmetric => "it seems that both routers give each destination another port; use a relay",
        Verdict::NotMet => {
            "it answers, and a router gives each destination another port; none that was tried met, the next try is in a minute"
        }
    }
}

/// The address from which the system sends to `to`, over IPv6. Nothing is sent.
fn source(to: SocketAddr) -> Option<IpAddr> {
    let socket = std::net::UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect(to).ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|ip| !ip.is_unspecified())
}

/// Where this computer is to be sent probes, for an attempt towards `to`: at the address that
/// others see, with the port that most routers keep, and in its own network, for a neighbour that
/// cannot be found there.
pub(super) fn addresses(public: &[IpAddr], here: &NetworkState, to: SocketAddr, port: u16) -> Vec<SocketAddr> {
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
    fn many_datagrams_are_sent_once_a_minute_to_one_service_and_to_few_in_all() {
        let (mut rounds, now) = (Rounds::default(), Instant::now());
        let key = |number| KeyHash::from_bytes([number; 20]);
        assert!(rounds.take(now, key(1)) && !rounds.take(now + MANY_INTERVAL / 2, key(1)));
        let others = (2..20).filter(|number| rounds.take(now, key(*number))).count();
        assert_eq!(others, MANY_IN_INTERVAL - 1);
        assert!(rounds.take(now + MANY_INTERVAL, key(1)));
    }

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
