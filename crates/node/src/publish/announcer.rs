//! One service's task: when to publish what.

use std::time::Duration;

use hardline_dht::{Event, Value};
use hardline_proto::dht_key;
use hardline_proto::hosts::HostList;
use hardline_proto::publish::Pace;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::status::{Copy, Kind, PublishState};
use super::values::{RecordBuilder, Slot, slots};
use super::{Announced, PublishContext};
use crate::drivers::dht::shared::DhtUse;
use crate::drivers::dht::{Dht, Operation};

/// Time after which everything is looked at again and sealed records are made anew, in
/// milliseconds.
const RENEW_MS: u64 = 20 * 60 * 1000;

/// Time between two values given to a proxy, in milliseconds: values live for ten minutes.
const PROXY_RENEW_MS: u64 = 8 * 60 * 1000;

/// First pause after a failure, in milliseconds; it doubles up to [`RETRY_MAX_MS`].
const RETRY_MIN_MS: u64 = 15 * 1000;

/// Longest pause after a failure, in milliseconds.
const RETRY_MAX_MS: u64 = 5 * 60 * 1000;

/// Time to enter the network before proxies are asked instead.
pub(super) const ENTER_LIMIT: Duration = Duration::from_secs(20);

/// Time for nodes to take the values.
const PUT_LIMIT: Duration = Duration::from_secs(60);

/// Time for the network to give one value back.
const READ_BACK_LIMIT: Duration = Duration::from_secs(20);

/// Longest sleep before the clock is looked at again: it goes on while the computer sleeps, and
/// timers do not; and a computer without a battery for it begins in 1970, until NTP sets it.
const MAX_SLEEP: Duration = Duration::from_secs(5);

/// Publishes one service for as long as it runs.
pub(super) struct Announcer {
    service: Announced,
    context: PublishContext,
    status: watch::Sender<PublishState>,
    active: Vec<ActivePut>,
    retry_ms: u64,
    pace: Pace,
}

/// A value that our node keeps alive.
struct ActivePut {
    slot: Slot,
    hosts: HostList,
    value: Value,
    nodes: usize,
    operation: Operation,
}

/// How a round went.
struct Round {
    state: PublishState,
    /// When to look again at the latest, in milliseconds from now.
    next_ms: u64,
}

impl Announcer {
    pub(super) fn new(service: Announced, context: PublishContext, status: watch::Sender<PublishState>) -> Self {
        let (active, pace) = (Vec::new(), Pace::default());
        Self { service, context, status, active, retry_ms: RETRY_MIN_MS, pace }
    }

    pub(super) async fn run(mut self, shutdown: CancellationToken) {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = self.publish_for_ever() => {}
        }
    }

    async fn publish_for_ever(&mut self) {
        let mut hosts = self.context.hosts.clone();
        let dht = self.context.dht.use_now().await.inspect_err(|error| info!(%error, "no DHT node")).ok();
        loop {
            let latest = hosts.borrow_and_update().clone();
            if !self.is_nowhere(&latest) {
                self.pace.begin(Instant::now().into_std());
            }
            let round = tokio::select! {
                round = self.round(dht.as_ref(), &latest) => Some(round),
                Ok(()) = hosts.changed() => None, // what is under way is old
            };
            if let Some(Round { state, next_ms }) = round {
                let is_by_node = matches!(state, PublishState::Stored { .. } | PublishState::NoAddresses);
                self.tell(state);
                tokio::select! {
                    () = self.sleep(next_ms) => {}
                    Ok(()) = hosts.changed() => {}
                    () = entered(dht.as_ref()), if !is_by_node => {}
                }
            }
            sleep_until(self.pace.earliest(Instant::now().into_std()).into()).await;
        }
    }

    /// Publishes everything that is not published, and reads it back.
    async fn round(&mut self, dht: Option<&DhtUse>, hosts: &HostList) -> Round {
        if self.is_nowhere(hosts) {
            self.active.clear();
            return Round { state: PublishState::NoAddresses, next_ms: RENEW_MS };
        }
        let outcome = if timeout(ENTER_LIMIT, entered(dht)).await.is_ok()
            && let Some(dht) = dht
        {
            self.publish(dht, hosts).await
        } else {
            self.publish_by_proxy(hosts).await
        };
        match outcome {
            Ok(state) if state.is_published() => {
                self.retry_ms = RETRY_MIN_MS;
                let is_by_proxy = matches!(state, PublishState::ByProxy { .. });
                let renew_ms = if is_by_proxy { PROXY_RENEW_MS } else { RENEW_MS };
                Round { state, next_ms: renew_ms.min(self.days_change_in_ms()) }
            }
            Ok(state) => Round { state, next_ms: self.back_off() },
            Err(reason) => Round { state: PublishState::Failed { reason }, next_ms: self.back_off() },
        }
    }

    async fn publish(&mut self, dht: &Dht, hosts: &HostList) -> Result<PublishState, String> {
        let slots = self.slots(hosts);
        let mut active = std::mem::take(&mut self.active);
        // Texts of released clients stay as they are; a sealed record would expire.
        active.retain(|it| {
            it.slot.kind != Kind::Sealed && slots.contains(&it.slot) && it.hosts == *hosts && it.nodes > 0
        });
        for slot in slots {
            if !active.iter().any(|it| it.slot == slot) {
                let value = self.value(&slot, hosts).await?;
                let operation = dht.put(slot.hash, value.clone(), true);
                active.push(ActivePut { slot, hosts: hosts.clone(), value, nodes: 0, operation });
            }
        }
        active.sort_by_key(|it| it.slot.kind as u8);
        self.active = active;
        let deadline = Instant::now() + PUT_LIMIT;
        for put in self.active.iter_mut().filter(|put| put.nodes == 0) {
            put.nodes = timeout_at(deadline, acknowledged(&mut put.operation)).await.unwrap_or(0);
        }
        if self.active.iter().all(|put| put.nodes == 0) {
            return Err("no node of it took the addresses".to_owned());
        }
        let mut copies = Vec::new();
        for put in &self.active {
            copies.push(Copy {
                kind: put.slot.kind,
                dht_key: put.slot.hash.to_string(),
                nodes: put.nodes,
                read_back_ms: read_back(dht, put).await,
            });
        }
        Ok(PublishState::Stored { copies, at_ms: (self.context.clock)() })
    }

    /// Gives the values to a proxy, for once: what a proxy keeps alive for a day could not be taken
    /// back.
    async fn publish_by_proxy(&mut self, hosts: &HostList) -> Result<PublishState, String> {
        self.active.clear();
        let slots = self.slots(hosts);
        let (mut values, mut reason) = (0, String::new());
        for slot in slots {
            let value = self.value(&slot, hosts).await?;
            match self.context.dht.proxies().put(slot.hash, &value, false).await {
                Ok(()) => values += 1,
                Err(error) => reason = format!("no node of it answers, and no proxy: {error}"),
            }
        }
        if values == 0 { Err(reason) } else { Ok(PublishState::ByProxy { values, at_ms: (self.context.clock)() }) }
    }

    /// Whether there is no address at which one is reached or called.
    fn is_nowhere(&self, hosts: &HostList) -> bool {
        hosts.as_slice().is_empty() && self.context.punch.borrow().is_empty()
    }

    /// Where to publish. What released clients read is addresses alone.
    fn slots(&self, hosts: &HostList) -> Vec<Slot> {
        let plain = self.context.plain && self.service.is_plain && !hosts.as_slice().is_empty();
        slots(&self.service, self.unix_seconds(), plain)
    }

    async fn value(&self, slot: &Slot, hosts: &HostList) -> Result<Value, String> {
        let (store, clock) = (&self.context.store, self.context.clock);
        let (relays, unproven) = (self.context.relays.borrow().clone(), self.context.unproven.borrow().clone());
        let (quic, punch) = (self.context.quic.borrow().clone(), self.context.punch.borrow().clone());
        let home = self.context.home.borrow().clone();
        RecordBuilder { service: &self.service, hosts, relays, unproven, quic, home, punch, store, clock }
            .value(slot)
            .await
    }

    fn tell(&self, state: PublishState) {
        debug!(key = %self.service.key.short(), ?state, "published");
        self.status.send_replace(state);
    }

    fn back_off(&mut self) -> u64 {
        let pause = self.retry_ms;
        self.retry_ms = (pause * 2).min(RETRY_MAX_MS);
        pause
    }

    fn unix_seconds(&self) -> u64 {
        (self.context.clock)() / 1000
    }

    fn days_change_in_ms(&self) -> u64 {
        (dht_key::days_change_after(self.unix_seconds()) * 1000).saturating_sub((self.context.clock)())
    }

    /// Sleeps until the clock has gone on by `ms`.
    async fn sleep(&self, ms: u64) {
        let due = (self.context.clock)().saturating_add(ms);
        loop {
            let left = due.saturating_sub((self.context.clock)());
            // A clock that is set back does not make the sleep longer.
            if left == 0 || left > ms {
                return;
            }
            sleep(MAX_SLEEP.min(Duration::from_millis(left))).await;
        }
    }
}

/// Waits until the node has entered the network; without a node, for ever.
async fn entered(dht: Option<&DhtUse>) {
    match dht {
        Some(dht) => dht.connected().await,
        None => std::future::pending().await,
    }
}

/// Nodes that have taken the value.
async fn acknowledged(operation: &mut Operation) -> usize {
    while let Some(event) = operation.next().await {
        if let Event::PutDone { acknowledged, .. } = event {
            return acknowledged;
        }
    }
    0
}

/// Time until the network gives the value back, in milliseconds. Our own node is not asked.
async fn read_back(dht: &Dht, put: &ActivePut) -> Option<u64> {
    let started = Instant::now();
    let mut get = dht.get(put.slot.hash);
    let found = async {
        while let Some(event) = get.next().await {
            match event {
                Event::Found { value, .. } if value.id() == put.value.id() && value.same_content(&put.value) => {
                    return true;
                }
                Event::GetDone { .. } => return false,
                _ => {}
            }
        }
        false
    };
    let is_found = timeout(READ_BACK_LIMIT, found).await.unwrap_or(false);
    is_found.then(|| u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX))
}
