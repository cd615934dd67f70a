//! Ports and sockets of this computer that lead to services of others, as they are now.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hardline_proto::KeyHash;
use serde::Serialize;

use crate::config::{ForwardConfig, LocalAddr};
use crate::json::as_text;

/// All of a node, in the order in which they were made.
#[derive(Debug, Default)]
pub(crate) struct Forwards(Mutex<Vec<Arc<ForwardState>>>);

impl Forwards {
    /// Notes another.
    pub(crate) fn add(&self, config: ForwardConfig) -> Arc<ForwardState> {
        let state = ForwardState::new(config);
        self.lock().push(Arc::clone(&state));
        state
    }

    pub(crate) fn configs(&self) -> Vec<ForwardConfig> {
        self.lock().iter().map(|state| state.config.clone()).collect()
    }

    pub(crate) fn status(&self) -> Vec<ForwardStatus> {
        self.lock().iter().map(|state| state.status()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<ForwardState>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A forwarded port as it is now.
#[derive(Debug)]
pub(crate) struct ForwardState {
    /// With the address that it has.
    pub(crate) config: ForwardConfig,
    open: AtomicUsize,
    has_failed: AtomicBool,
    is_udp_over_tcp: AtomicBool,
}

/// A forwarded port, for who asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ForwardStatus {
    /// Where programs of this computer find the service.
    pub local: String,
    /// The service.
    #[serde(serialize_with = "as_text")]
    pub key: KeyHash,
    /// `tcp`, `udp` or `unix`.
    pub kind: &'static str,
    /// Connections of programs, or flows of datagrams, open now.
    pub open: usize,
    /// Whether the service was not reached when it was wanted last.
    pub has_failed: bool,
    /// Whether datagrams went over TCP the last time, where one that is lost holds up the others.
    pub is_udp_over_tcp: bool,
}

/// A connection that is open; over when dropped.
pub(crate) struct OpenHere<'a>(&'a ForwardState);

impl Drop for OpenHere<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl ForwardState {
    pub(crate) fn new(config: ForwardConfig) -> Arc<Self> {
        let (has_failed, is_udp_over_tcp) = (AtomicBool::new(false), AtomicBool::new(false));
        Arc::new(Self { config, open: AtomicUsize::new(0), has_failed, is_udp_over_tcp })
    }

    /// Counts a connection.
    pub(crate) fn enter(&self) -> OpenHere<'_> {
        self.open.fetch_add(1, Ordering::Relaxed);
        OpenHere(self)
    }

    /// Notes whether the service was reached.
    pub(crate) fn tried(&self, has_failed: bool) {
        self.has_failed.store(has_failed, Ordering::Relaxed);
    }

    /// Notes whether datagrams go over TCP. Returns whether that is news.
    pub(crate) fn goes_over_tcp(&self, is_so: bool) -> bool {
        !self.is_udp_over_tcp.swap(is_so, Ordering::Relaxed) && is_so
    }

    pub(crate) fn status(&self) -> ForwardStatus {
        ForwardStatus {
            local: self.config.local.to_string(),
            key: self.config.name.key,
            kind: match self.config.local {
                LocalAddr::Tcp(_) => "tcp",
                LocalAddr::Udp(_) => "udp",
                LocalAddr::Unix(_) => "unix",
            },
            open: self.open.load(Ordering::Relaxed),
            has_failed: self.has_failed.load(Ordering::Relaxed),
            is_udp_over_tcp: self.is_udp_over_tcp.load(Ordering::Relaxed),
        }
    }
}

impl ForwardStatus {
    /// What a person wants to know of it.
    #[must_use]
    pub fn sentence(&self) -> String {
        let what = match (self.kind, self.open) {
            (_, 0) => "nobody uses it now".to_owned(),
            ("udp", 1) => "1 flow is open".to_owned(),
            ("udp", many) => format!("{many} flows are open"),
            (_, 1) => "1 connection is open".to_owned(),
            (_, many) => format!("{many} connections are open"),
        };
        let mut sentence = format!("{} leads to {}: {what}.", self.local, self.key.short());
        if self.has_failed {
            sentence.push_str(" The service was not reached the last time.");
        }
        if self.is_udp_over_tcp {
            sentence.push_str(" UDP over TCP: a lost packet holds up those behind it.");
        }
        sentence
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_forward_does_is_told() {
        let forwards = Forwards::default();
        let name = "e868423731872b8235a0adc9102bb45bb9e8321e".parse().unwrap();
        let name = hardline_proto::host::ServiceName { key: name, password: Some("sesame".into()) };
        let state = forwards.add(ForwardConfig { name, local: "udp:5353".parse().unwrap() });
        let said = || forwards.status().pop().unwrap().sentence();
        assert_eq!(said(), "udp:127.0.0.1:5353 leads to e8684237: nobody uses it now.");
        let flows = (state.enter(), state.enter());
        assert!(state.goes_over_tcp(true) && !state.goes_over_tcp(true), "said once");
        state.tried(true);
        let expected = "udp:127.0.0.1:5353 leads to e8684237: 2 flows are open. \
            The service was not reached the last time. UDP over TCP: a lost packet holds up those behind it.";
        assert_eq!(said(), expected);
        drop(flows);
        state.tried(false);
        assert!(!state.goes_over_tcp(false) && !said().contains("not reached"));
        assert_eq!(said(), "udp:127.0.0.1:5353 leads to e8684237: nobody uses it now.");
    }
}
