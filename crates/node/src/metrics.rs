//! Every counter of a node. A metric is declared once, in the table below: its name, unit and
//! meaning. `status --json` shows all of them, and documentation is generated from the table.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use serde_json::{Map, Value};

/// What a metric is called and means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Description {
    /// Its key in `hardline status --json`, under `metrics`.
    pub name: &'static str,
    /// What it counts, as a unit.
    pub unit: &'static str,
    /// What it means, for people.
    pub help: &'static str,
}

/// Declares metrics: a variant of [`Metric`] and its [`Description`] each.
macro_rules! metrics {
    ($($variant:ident $name:literal $unit:literal $help:literal)+) => {
        /// A number that only rises while the node runs.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[cfg_attr(not(feature = "quic"), allow(dead_code, reason = "calls need QUIC"))]
        pub(crate) enum Metric {
            $(#[doc = $help] $variant,)+
        }

        /// Every metric, in the order of [`Metric`].
        pub const DESCRIPTIONS: &[Description] =
            &[$(Description { name: $name, unit: $unit, help: $help },)+];
    };
}

metrics! {
    TunnelsOpened "tunnels_opened" "tunnels" "Tunnels opened, as listener and as dialler."
    TunnelsClean "tunnels_clean" "tunnels" "Tunnels whose both directions were closed by their senders."
    TunnelsIdle "tunnels_idle" "tunnels" "Tunnels closed because nothing moved for `limits.tunnel_idle`, or for a quarter of an hour after one direction had ended."
    TunnelsMadeRoom "tunnels_made_room" "tunnels" "Silent tunnels closed because at a limit another needed their place."
    TunnelsStopped "tunnels_stopped" "tunnels" "Tunnels closed because this program stopped."
    TunnelsRemoved "tunnels_removed" "tunnels" "Tunnels closed because their service was removed."
    TunnelsAddressLost "tunnels_address_lost" "tunnels" "Tunnels closed because this computer lost their local address."
    TunnelsPeerGone "tunnels_peer_gone" "tunnels" "Tunnels closed because the other computer acknowledged nothing for ten seconds."
    TunnelsBroken "tunnels_broken" "tunnels" "Tunnels of which a connection broke; both ends were reset."
    TunnelsUnfinished "tunnels_unfinished" "tunnels" "Tunnels given up by whoever had them opened, and requests that reached no service."
    TunnelMilliseconds "tunnel_milliseconds" "ms" "Time that tunnels were open, added up when they end."
    BytesToServices "bytes_to_services" "bytes" "Payload towards services, of tunnels that have ended."
    BytesToDiallers "bytes_to_diallers" "bytes" "Payload from services, of tunnels that have ended."
    DatagramsDropped "datagrams_dropped" "datagrams" "Datagrams of UDP services that were dropped because older ones waited, of tunnels that have ended."
    RefusedHandshakes "refused_handshakes" "peers" "Peers refused: as many handshakes under way as `limits.handshakes`."
    RefusedHandshakesPerAddress "refused_handshakes_per_address" "peers" "Peers refused: as many handshakes of one address under way as `limits.handshakes_per_address`."
    RefusedHandshakeRate "refused_handshake_rate" "peers" "Peers refused: more handshakes of one address in a second than `limits.handshakes_per_second` allows."
    RefusedTunnels "refused_tunnels" "peers" "Peers refused: as many tunnels open as `limits.tunnels`."
    RefusedTunnelsPerAddress "refused_tunnels_per_address" "peers" "Peers refused: as many tunnels of one address as `limits.tunnels_per_address`."
    RefusedTunnelsPerService "refused_tunnels_per_service" "peers" "Peers refused: as many tunnels to one service as `limits.tunnels_per_service`."
    LanDroppedDatagrams "lan_dropped_datagrams" "datagrams" "Datagrams of neighbours that were not read, being over `limits.lan_datagrams_per_second` or its share of one address."
    LanDroppedAnswers "lan_dropped_answers" "datagrams" "Answers to neighbours that were not sent, being over `limits.lan_answers_per_second` or its share of one address."
    CallsFollowed "calls_followed" "calls" "Calls of diallers behind NATs that were answered with probes."
    CallsRefused "calls_refused" "calls" "Calls that were not followed: seen before, from another time, for addresses that nothing is sent to, or too many."
    RelayJoined "relay_joined" "connections" "Connections joined by the relay that runs here."
    RelayBytes "relay_bytes" "bytes" "Bytes copied by the relay, in both directions, of connections that have ended."
    RelayRefused "relay_refused" "connections" "Connections and publishers refused at a limit of the relay."
    RelayCalls "relay_calls" "calls" "Calls of diallers behind NATs that the relay passed on to publishers."
    RelayUnanswered "relay_unanswered" "connections" "Connections whose publisher opened none towards the relay in time."
}

/// The numbers of a node. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Metrics(Arc<[AtomicU64]>);

impl Default for Metrics {
    fn default() -> Self {
        Self(DESCRIPTIONS.iter().map(|_| AtomicU64::new(0)).collect())
    }
}

/// How a tunnel ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TunnelResult {
    /// Both directions were closed by their senders.
    Clean,
    /// Nothing moved for too long.
    Idle,
    /// It was silent, and another needed its place.
    MadeRoom,
    /// The node stops.
    Stopped,
    /// The service was removed.
    Removed,
    /// Its local address is gone.
    AddressLost,
    /// The other computer acknowledges nothing.
    PeerGone,
    /// One of its connections broke.
    Broken,
}

/// One open tunnel; dropping it ends it.
#[derive(Debug)]
pub(crate) struct OpenTunnel {
    /// Its number, from 1, unique within this process.
    pub(crate) id: u64,
    began: Instant,
    /// Payload so far, towards the service.
    pub(crate) to_service: u64,
    /// Payload so far, from the service.
    pub(crate) to_dialler: u64,
    /// Datagrams that had no room.
    pub(crate) datagrams_dropped: u64,
    /// `None` while it is open.
    pub(crate) result: Option<TunnelResult>,
    metrics: Metrics,
}

impl Metrics {
    /// Adds to a metric.
    pub(crate) fn add(&self, metric: Metric, amount: u64) {
        self.0[metric as usize].fetch_add(amount, Ordering::Relaxed);
    }

    /// What a metric has come to.
    pub(crate) fn get(&self, metric: Metric) -> u64 {
        self.0[metric as usize].load(Ordering::Relaxed)
    }

    /// Counts a tunnel, whoever opens it, until the guard is dropped.
    pub(crate) fn tunnel(&self) -> OpenTunnel {
        let id = self.0[Metric::TunnelsOpened as usize].fetch_add(1, Ordering::Relaxed) + 1;
        let (began, metrics) = (Instant::now(), self.clone());
        OpenTunnel { id, began, to_service: 0, to_dialler: 0, datagrams_dropped: 0, result: None, metrics }
    }

    /// Tunnels open now.
    pub(crate) fn open_tunnels(&self) -> u64 {
        let ended: u64 = RESULTS.iter().map(|metric| self.get(*metric)).sum();
        self.get(Metric::TunnelsOpened).saturating_sub(ended)
    }

    /// All of them, by name.
    pub(crate) fn to_json(&self) -> Value {
        let number = |(description, value): (&Description, &AtomicU64)| {
            (description.name.to_owned(), value.load(Ordering::Relaxed).into())
        };
        Value::Object(DESCRIPTIONS.iter().zip(&*self.0).map(number).collect::<Map<_, _>>())
    }
}

/// The metrics of which every tunnel counts in one.
const RESULTS: [Metric; 9] = [
    Metric::TunnelsClean,
    Metric::TunnelsIdle,
    Metric::TunnelsMadeRoom,
    Metric::TunnelsStopped,
    Metric::TunnelsRemoved,
    Metric::TunnelsAddressLost,
    Metric::TunnelsPeerGone,
    Metric::TunnelsBroken,
    Metric::TunnelsUnfinished,
];

impl Drop for OpenTunnel {
    fn drop(&mut self) {
        let milliseconds = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.metrics.add(Metric::TunnelMilliseconds, milliseconds);
        self.metrics.add(Metric::BytesToServices, self.to_service);
        self.metrics.add(Metric::BytesToDiallers, self.to_dialler);
        self.metrics.add(Metric::DatagramsDropped, self.datagrams_dropped);
        // Last, so that whoever sees that it has ended sees all of it.
        let result = match self.result {
            Some(TunnelResult::Clean) => Metric::TunnelsClean,
            Some(TunnelResult::Idle) => Metric::TunnelsIdle,
            Some(TunnelResult::MadeRoom) => Metric::TunnelsMadeRoom,
            Some(TunnelResult::Stopped) => Metric::TunnelsStopped,
            Some(TunnelResult::Removed) => Metric::TunnelsRemoved,
            Some(TunnelResult::AddressLost) => Metric::TunnelsAddressLost,
            Some(TunnelResult::PeerGone) => Metric::TunnelsPeerGone,
            Some(TunnelResult::Broken) => Metric::TunnelsBroken,
            None => Metric::TunnelsUnfinished,
        };
        self.metrics.add(result, 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tunnel_is_open_until_it_is_dropped_and_then_counts_in_one_result() {
        let metrics = Metrics::default();
        let mut clean = metrics.tunnel();
        let unfinished = metrics.tunnel();
        assert_eq!((clean.id, unfinished.id, metrics.open_tunnels()), (1, 2, 2));
        (clean.to_service, clean.to_dialler, clean.result) = (3, 4, Some(TunnelResult::Clean));
        drop(clean);
        drop(unfinished);
        let all = metrics.to_json();
        assert_eq!((metrics.open_tunnels(), metrics.get(Metric::TunnelsOpened)), (0, 2));
        assert_eq!((&all["tunnels_clean"], &all["tunnels_unfinished"]), (&1.into(), &1.into()));
        assert_eq!((&all["bytes_to_services"], &all["bytes_to_diallers"]), (&3.into(), &4.into()));
    }

    #[test]
    fn names_are_unique_and_plain() {
        for (number, description) in DESCRIPTIONS.iter().enumerate() {
            assert!(description.name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'));
            assert!(!DESCRIPTIONS[..number].iter().any(|other| other.name == description.name));
        }
    }
}
