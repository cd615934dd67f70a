//! Calls of diallers that cannot reach this computer → probes towards them, so that they can.
//!
//! A task listens in the DHT where the services of this node are called, and takes what relays
//! carry. A call that the gate admits is followed from the socket where QUIC comes in: what the
//! dialler does then is an ordinary connection.

mod relayed; // calls that relays have carried
mod whereabouts; // whether this computer is still where visitors got through to it

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use hardline_dht::{Event, InfoHash, Value, ValueType};
use hardline_proto::call::{self, Answer, CallGate, CallId, Cookie, CookieSecret, Surroundings};
use hardline_proto::punch::{Attempt, Mapping, Plan, Role};
use hardline_proto::rolling::Day;
use hardline_proto::{KeyHash, dht_key};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};
use tracing::debug;

use crate::clock::unix_time;
use crate::config::ServiceConfig;
use crate::discovery::Resolver;
use crate::drivers::dht::shared::{DhtUse, SharedDht};
use crate::drivers::dht::{Dht, Operation};
use crate::metrics::{Metric, Metrics};
use crate::services::Table;
use crate::transport::quic::QuicSockets;
use crate::transport::relay::publisher::RelayedCall;

/// Longest time before the clock is looked at again, for the day may have changed.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// Pause after the DHT's node has ended, or cannot be had.
const RETRY: Duration = Duration::from_secs(5);

/// Answers that are being stored at once; one takes a second.
const MAX_ANSWERS: usize = 8;

/// What is needed to follow calls.
#[derive(Debug)]
pub(crate) struct Calls {
    pub(crate) table: watch::Receiver<Arc<Table>>,
    pub(crate) dht: Option<Arc<SharedDht>>,
    /// Where QUIC comes in.
    pub(crate) quic: QuicSockets,
    /// Where probes to this computer are to be sent.
    pub(crate) punch: watch::Receiver<Vec<SocketAddr>>,
    /// Knows this computer's networks, and what may be sent to.
    pub(crate) resolver: Arc<Resolver>,
    pub(crate) metrics: Metrics,
    /// How many have come in by answering a call, and are connected.
    pub(crate) punched: watch::Receiver<usize>,
}

/// A place where one is called.
type Place = (KeyHash, Day);

/// A call that is being followed.
struct Followed {
    call: CallId,
    /// To be answered with.
    cookie: Option<Cookie>,
    mapping: Mapping,
}

impl Calls {
    /// Follows calls for ever, in the DHT and those that relays have carried. One gate counts them
    /// all.
    pub(crate) async fn run(self, relayed: mpsc::Receiver<RelayedCall>) {
        let gate = Mutex::new(CallGate::new(now_ms(), CookieSecret::from_bytes(rand::random())));
        tokio::join!(self.listen(&gate), self.take_relayed(relayed, &gate), self.check_address());
    }

    async fn listen(&self, gate: &Mutex<CallGate>) {
        let Some(dht) = &self.dht else { return };
        let mut table = self.table.clone();
        loop {
            // Without a service in the DHT its node is not started.
            while self.places().is_empty() {
                if table.changed().await.is_err() {
                    return;
                }
            }
            match dht.use_now().await {
                Ok(dht) => self.listen_by(&dht, &mut table, gate).await,
                Err(error) => debug!(%error, "no DHT node to be called by"),
            }
            sleep(RETRY).await;
        }
    }

    /// Listens for as long as the node runs and there are services in the DHT.
    async fn listen_by(&self, dht: &DhtUse, table: &mut watch::Receiver<Arc<Table>>, gate: &Mutex<CallGate>) {
        let (mut listening, mut answers) = (Listening::default(), VecDeque::new());
        loop {
            // The oldest are long stored.
            answers.drain(..answers.len().saturating_sub(MAX_ANSWERS));
            let places = self.places();
            if places.is_empty() {
                return;
            }
            listening.follow(dht, &places);
            tokio::select! {
                Ok(()) = table.changed() => {}
                heard = listening.heard() => match heard {
                    Some((place, value)) => {
                        let followed = self.follow(gate, place, value.data(), &self.public());
                        answers.extend(followed.and_then(|followed| answer(dht, place, &followed)));
                    }
                    None => return,
                },
                () = sleep(LOOK_AGAIN) => {}
            }
        }
    }

    /// Where the services of the table are called in the DHT now.
    fn places(&self) -> Vec<Place> {
        self.places_of(|service| service.dht)
    }

    fn places_of(&self, is_wanted: impl Fn(&ServiceConfig) -> bool) -> Vec<Place> {
        let days = dht_key::days_around(unix_time().as_secs());
        let table = self.table.borrow();
        let keys = table.services.iter().filter(|service| is_wanted(&service.config)).map(|service| service.key());
        keys.flat_map(|key| days.iter().map(move |day| (key, *day))).collect()
    }

    /// Where others see this computer.
    fn public(&self) -> Vec<IpAddr> {
        self.dht.as_ref().map(|dht| dht.public_addresses().borrow().clone()).unwrap_or_default()
    }

    /// Sends probes to who has called, if that is in order.
    fn follow(
        &self,
        gate: &Mutex<CallGate>,
        (service, day): Place,
        bytes: &[u8],
        public: &[IpAddr],
    ) -> Option<Followed> {
        let call = call::open(bytes, &service, day);
        let call = call.inspect_err(|error| debug!(%error, key = %service.short(), "not a call")).ok()?;
        let (network, policy) = (self.resolver.network.now(), self.resolver.policy());
        let mapping = self.dht.as_ref().map_or(Mapping::Unknown, |dht| dht.mapping());
        let around = Surroundings { policy: &policy, network: &network, public, mapping };
        let now = Instant::now().into_std();
        let admitted =
            gate.lock().unwrap_or_else(PoisonError::into_inner).admit(now, now_ms(), &service, &call, &around);
        let admitted = match admitted {
            Ok(admitted) => admitted,
            Err(refused) => {
                debug!(key = %service.short(), id = ?call.id, %refused, "call not followed");
                self.metrics.add(Metric::CallsRefused, 1);
                return None;
            }
        };
        debug!(key = %service.short(), id = ?call.id, targets = ?admitted.targets, plan = ?admitted.plan, "called");
        self.metrics.add(Metric::CallsFollowed, 1);
        let (v4, v6): (Vec<_>, Vec<_>) = admitted.targets.iter().partition(|addr| addr.is_ipv4());
        for targets in [v4, v6] {
            self.probe(now, &call.id, &targets, admitted.plan);
        }
        Some(Followed { call: call.id, cookie: admitted.cookie, mapping })
    }

    /// Sends to addresses of one family, from the socket of it.
    fn probe(&self, now: std::time::Instant, id: &CallId, targets: &[SocketAddr], plan: Plan) {
        let Some(first) = targets.first() else { return };
        match self.quic.dialling(*first) {
            Ok(endpoint) => {
                let attempt = Attempt::new(now, Role::Publisher, id, targets, plan, rand::random());
                match plan {
                    Plan::ManySockets(_) => self.quic.serve(endpoint.punch(attempt)),
                    _ => endpoint.answer_probes(attempt),
                }
            }
            Err(error) => debug!(%error, "no socket to answer a call from"),
        }
    }
}

/// Stores the answer to a call, if that needs one.
fn answer(dht: &Dht, (service, day): Place, followed: &Followed) -> Option<Operation> {
    let answer = Answer { call: followed.call, cookie: followed.cookie?, mapping: followed.mapping };
    let sealed = answer.seal(&service, day, rand::random());
    let value = Value::new(rand::random_range(1..=u64::MAX), ValueType::USER_DATA, &sealed, "").ok()?;
    Some(dht.put(InfoHash(dht_key::answer(&answer.call)), value, false))
}

/// The places listened at.
#[derive(Default)]
struct Listening(HashMap<Place, Operation>);

impl Listening {
    /// Listens at `places` and nowhere else.
    fn follow(&mut self, dht: &Dht, places: &[Place]) {
        self.0.retain(|place, _| places.contains(place));
        for (key, day) in places {
            let begin = || dht.listen(InfoHash(dht_key::call(key, *day)));
            self.0.entry((*key, *day)).or_insert_with(begin);
        }
    }

    /// The next value; `None` when the node has ended, or wants to listen at no more places.
    async fn heard(&mut self) -> Option<(Place, Value)> {
        poll_fn(|cx| {
            for (place, operation) in &mut self.0 {
                loop {
                    match operation.poll_next(cx) {
                        Poll::Ready(Some(Event::Heard { value, .. })) => return Poll::Ready(Some((*place, value))),
                        Poll::Ready(Some(_)) => {}
                        Poll::Ready(None) => return Poll::Ready(None),
                        Poll::Pending => break,
                    }
                }
            }
            Poll::Pending
        })
        .await
    }
}

fn now_ms() -> u64 {
    u64::try_from(unix_time().as_millis()).unwrap_or(u64::MAX)
}
