//! The admission gate: limits of handshakes and tunnels, in all and per address, asked by every
//! task of the listening side.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use hardline_proto::KeyHash;
use hardline_proto::admission::{Admission, AdmissionLimits, Limit, REPORT_INTERVAL, Refused};
use tokio::time::interval;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// Counts handshakes and tunnels; see [`Admission`].
#[derive(Debug, Clone)]
pub(super) struct AdmissionGate(Arc<Mutex<Admission>>);

impl AdmissionGate {
    pub(super) fn new(limits: AdmissionLimits) -> Self {
        Self(Arc::new(Mutex::new(Admission::new(limits))))
    }

    /// Lets a handshake begin; it counts until the slot is dropped.
    ///
    /// # Errors
    /// The limit that refuses it.
    pub(super) fn handshake(&self, addr: IpAddr) -> Result<HandshakeSlot, Limit> {
        self.lock().handshake(Instant::now(), addr)?;
        Ok(HandshakeSlot { gate: self.clone(), addr })
    }

    /// Lets a tunnel to one of our services begin; it counts until the slot is dropped.
    ///
    /// # Errors
    /// The limit that refuses it.
    pub(super) fn tunnel(&self, addr: IpAddr, service: KeyHash) -> Result<TunnelSlot, Limit> {
        self.lock().tunnel(Instant::now(), addr, service)?;
        Ok(TunnelSlot { gate: self.clone(), addr, service })
    }

    /// Tells what was refused, once a minute at most, until `stop`.
    pub(super) async fn report(&self, stop: &CancellationToken) {
        let mut minutes = interval(REPORT_INTERVAL);
        while stop.run_until_cancelled(minutes.tick()).await.is_some() {
            let refused = {
                let mut admission = self.lock();
                admission.forget_rested(Instant::now());
                admission.poll_report(Instant::now())
            };
            if let Some(refused) = refused {
                warn!(%refused, "peers refused at a limit");
            }
        }
    }

    /// What was refused since the start.
    pub(super) fn refused(&self) -> Refused {
        self.lock().refused().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Admission> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A handshake under way.
#[derive(Debug)]
pub(super) struct HandshakeSlot {
    gate: AdmissionGate,
    addr: IpAddr,
}

impl Drop for HandshakeSlot {
    fn drop(&mut self) {
        self.gate.lock().handshake_ended(self.addr);
    }
}

/// An open tunnel.
#[derive(Debug)]
pub(super) struct TunnelSlot {
    gate: AdmissionGate,
    addr: IpAddr,
    service: KeyHash,
}

impl Drop for TunnelSlot {
    fn drop(&mut self) {
        self.gate.lock().tunnel_ended(self.addr, self.service);
    }
}
