//! What may be dialled from here.

use std::sync::{Arc, PoisonError, RwLock};

use hardline_proto::candidate::{DialPolicy, TransportAddr, Trust};
use hardline_proto::network::NetworkState;

/// The [`DialPolicy`] of this process, for all who ask.
#[derive(Debug, Clone)]
pub(super) struct DialRules(Arc<RwLock<DialPolicy>>);

impl DialRules {
    pub(super) fn new(policy: DialPolicy) -> Self {
        Self(Arc::new(RwLock::new(policy)))
    }

    /// Notes a TCP port at which this process listens.
    pub(super) fn add_own_port(&self, port: u16) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).own_ports.push(port);
    }

    /// The policy now.
    #[cfg(feature = "quic")]
    pub(super) fn now(&self) -> DialPolicy {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether `addr`, behind which `trust` stands, may be dialled from `here`.
    pub(super) fn permits(&self, here: &NetworkState, addr: &TransportAddr, trust: Trust) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).permits(here, addr, trust)
    }
}
