//! Incoming peer → TLS, service by SNI → backend → tunnel.

mod gate; // who may come in
mod idle; // how many sessions are idle
mod peer;
mod serve; // tunnels asked for one after the other
mod sni_index; // ClientHello → service
mod visitors; // who is connected now

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use crate::config::P2pConfig;
use crate::log_throttle::LogThrottle;
use crate::metrics::Metrics;
use crate::network::NetworkMonitor;
use crate::reach::Reach;
use crate::services::{Service, Services};
use crate::session::Connection;
use crate::transport::{Incoming, Listener, accept_each};
use crate::tunnel::Drain;
use crate::visitors::Enrolled;

use self::gate::AdmissionGate;
use self::idle::IdleSessions;
use self::sni_index::SniIndex;
pub use self::visitors::Visitor;
pub(crate) use self::visitors::Visitors;

/// What the tasks of the listening side share.
#[derive(Debug)]
pub(crate) struct Acceptor {
    services: Arc<Services>,
    sni_index: SniIndex,
    reach: Arc<Reach>,
    network: NetworkMonitor,
    visitors: Arc<Visitors>,
    /// Who may come in to private services.
    enrolled: Arc<Enrolled>,
    gate: AdmissionGate,
    idle: IdleSessions,
    /// Time for a peer to finish its handshake and its preamble.
    handshake_timeout: Duration,
    metrics: Metrics,
    drain: Drain,
    /// Backends that were not there when somebody asked.
    missing_backends: LogThrottle,
}

impl Acceptor {
    pub(crate) fn new(
        (services, enrolled): (Arc<Services>, Arc<Enrolled>),
        reach: Arc<Reach>,
        network: NetworkMonitor,
        config: &P2pConfig,
        metrics: Metrics,
        drain: Drain,
    ) -> Self {
        Self {
            sni_index: SniIndex::default(),
            services,
            reach,
            network,
            visitors: Arc::default(),
            enrolled,
            gate: AdmissionGate::new(config.limits.clone(), metrics.clone()),
            idle: IdleSessions::new(config.idle_limits),
            handshake_timeout: config.handshake_timeout,
            metrics,
            drain,
            missing_backends: LogThrottle::default(),
        }
    }

    /// Who is connected to the services.
    pub(crate) fn visitors(&self) -> Arc<Visitors> {
        Arc::clone(&self.visitors)
    }

    /// Tells what was refused, until the node stops.
    pub(crate) async fn report(self: Arc<Self>) {
        self.gate.report(&self.drain.stop).await;
    }

    /// Says, now and then, that a backend was not there.
    fn note_missing_backend(&self, service: &Service, error: &io::Error) {
        if let Some(times) = self.missing_backends.count() {
            warn!(%error, key = %service.key().short(), times, "backend not reached, tunnel refused");
        }
    }

    /// Accepts until the node stops. Each peer has a task of its own from the first byte, so none
    /// delays another.
    pub(crate) async fn run<L>(self: Arc<Self>, listener: L, tasks: TaskTracker)
    where
        L: Listener<Incoming: Incoming<Connection: Connection>>,
    {
        accept_each(&listener, &self.drain.stop, |incoming, addr| match self.gate.handshake(addr.ip()) {
            Ok(slot) => {
                tasks.spawn(Arc::clone(&self).serve(incoming, addr, slot));
            }
            Err(limit) => debug!(%addr, ?limit, "peer refused"),
        })
        .await;
    }
}
