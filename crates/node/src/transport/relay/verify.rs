//! A publisher that has a relay try its addresses.

use std::collections::VecDeque;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hardline_proto::hosts::{Host, HostList, HostPort};
use hardline_proto::relay::Id;
use hardline_proto::relay::dial_back::{LIMIT, PER_WINDOW, WINDOW};
use hardline_proto::relay::message::{DialBackOutcome, FromPublisher};
use tokio::net::lookup_host;
use tokio::sync::watch;
use tokio::time::timeout;

use super::dial_back::{DialBacks, Expected};

/// Addresses tried in one round. One address has more than one port by hand alone.
const PER_ROUND: usize = 2;

/// Least time between two rounds, so that no relay has reason to refuse.
const NEXT_ROUND: Duration = Duration::from_secs(WINDOW.as_secs() * PER_ROUND as u64 / PER_WINDOW as u64);

/// Time after which all is tried again: a router may have been changed by hand.
const AGAIN: Duration = Duration::from_secs(600);

/// Time for an answer: the relay's own, and the way.
const ANSWER_LIMIT: Duration = Duration::from_secs(LIMIT.as_secs() + 5);

/// Time to look up a name that was set by hand.
const NAME_LIMIT: Duration = Duration::from_secs(1);

/// What an address came to: where the relay came in from, or `None` when it could not.
type Tell = Arc<dyn Fn(HostPort, Option<IpAddr>) + Send + Sync>;

/// What relays are to try, and where the answers go.
#[derive(Clone)]
pub(crate) struct ToVerify {
    /// Addresses of this computer that others are told.
    pub(crate) wanted: watch::Receiver<HostList>,
    pub(crate) dial_backs: Arc<DialBacks>,
    pub(crate) tell: Tell,
}

impl fmt::Debug for ToVerify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToVerify").field("wanted", &self.wanted).finish_non_exhaustive()
    }
}

/// Asks one relay, one address after the other.
pub(super) struct Verifier {
    to_verify: ToVerify,
    /// Where the relay sees this computer; `None` while it is not to be asked.
    seen: Option<IpAddr>,
    queue: VecDeque<HostPort>,
    asked: Option<(HostPort, Expected, Instant)>,
    last_round: Option<Instant>,
    next_round: Instant,
}

impl Verifier {
    pub(super) fn new(to_verify: ToVerify) -> Self {
        let (queue, now) = (VecDeque::new(), Instant::now());
        Self { to_verify, seen: None, queue, asked: None, last_round: None, next_round: now }
    }

    /// The relay sees this computer at `seen`, and can be asked.
    pub(super) fn registered(&mut self, seen: IpAddr) {
        self.seen = Some(seen.to_canonical());
        self.addresses_changed();
    }

    /// Waits until the addresses to try are others. Cancel safe.
    pub(super) async fn wait_for_addresses(&mut self) {
        if self.to_verify.wanted.changed().await.is_err() {
            std::future::pending().await
        }
    }

    /// All is to be tried again, as soon as that is polite.
    pub(super) fn addresses_changed(&mut self) {
        let earliest = self.last_round.map(|last| last + NEXT_ROUND);
        self.next_round = earliest.map_or_else(Instant::now, |earliest| earliest.max(Instant::now()));
    }

    /// When [`Self::question`] has something to do.
    pub(super) fn due(&self) -> Option<Instant> {
        self.seen?;
        Some(match &self.asked {
            Some((_, _, until)) => *until,
            None if self.queue.is_empty() => self.next_round,
            None => Instant::now(),
        })
    }

    /// What to ask now, if anything.
    pub(super) async fn question(&mut self) -> Option<FromPublisher> {
        let (seen, now) = (self.seen?, Instant::now());
        // Not answered: it says nothing.
        self.asked.take_if(|(_, _, until)| *until <= now);
        if self.asked.is_none() && self.queue.is_empty() && self.next_round <= now {
            let wanted = self.to_verify.wanted.borrow_and_update().clone();
            self.queue = of_address(seen, &wanted).await;
            self.next_round = now + AGAIN;
            self.last_round = if self.queue.is_empty() { self.last_round } else { Some(now) };
        }
        if self.asked.is_some() {
            return None;
        }
        let at = self.queue.pop_front()?;
        let (nonce, port) = (Id::from_bytes(rand::random()), at.port);
        self.asked = Some((at, self.to_verify.dial_backs.expect(nonce), now + ANSWER_LIMIT));
        Some(FromPublisher::DialBack { nonce, port })
    }

    /// The relay has answered. What counts is that the connection has come here: who else is at the
    /// address may open one as well.
    pub(super) fn answered(&mut self, nonce: Id, outcome: DialBackOutcome) {
        let Some((at, expected, _)) = self.asked.take_if(|(_, expected, _)| expected.nonce == nonce) else { return };
        match (expected.from(), outcome) {
            (Some(from), _) => (self.to_verify.tell)(at, Some(from)),
            (None, DialBackOutcome::Refused) => self.next_round = Instant::now() + WINDOW,
            (None, DialBackOutcome::Opened | DialBackOutcome::Closed) => (self.to_verify.tell)(at, None),
        }
    }
}

/// Those of `wanted` that a relay can try that sees this computer at `seen`.
async fn of_address(seen: IpAddr, wanted: &HostList) -> VecDeque<HostPort> {
    let mut found: VecDeque<HostPort> = VecDeque::new();
    for at in wanted.as_slice() {
        let is_there = match &at.host {
            Host::Ip(ip) => ip.to_canonical() == seen,
            Host::LinkLocal(..) => false,
            Host::Name(name) => {
                let looked_up = timeout(NAME_LIMIT, lookup_host((name.as_str(), at.port))).await;
                looked_up
                    .is_ok_and(|addrs| addrs.is_ok_and(|mut addrs| addrs.any(|addr| addr.ip().to_canonical() == seen)))
            }
        };
        if is_there && !found.iter().any(|other| other.port == at.port) {
            found.push_back(at.clone());
        }
        if found.len() == PER_ROUND {
            break;
        }
    }
    found
}
