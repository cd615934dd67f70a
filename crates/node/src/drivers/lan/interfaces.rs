//! Which IPv4 addresses this computer has, and when to look again.

use std::future::poll_fn;
use std::io;
use std::net::Ipv4Addr;
use std::task::{Context, Poll};
use std::time::Duration;

use hardline_proto::lan::Interface;
use if_addrs::IfAddr;
use if_watch::tokio::IfWatcher;
use tokio::time::{MissedTickBehavior, interval};
use tracing::debug;

/// Time between two looks without being told of a change. A cable plugged in changes no address, so nothing tells of it.
const LOOK_INTERVAL: Duration = Duration::from_secs(3);

/// An address in use by an interface that is up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NamedInterface {
    pub(super) interface: Interface,
    pub(super) name: String,
}

/// The IPv4 addresses of all interfaces that are up; only those in `wanted` unless that is empty.
pub(super) fn current(wanted: &[Ipv4Addr]) -> io::Result<Vec<NamedInterface>> {
    let found = if_addrs::get_if_addrs()?.into_iter().filter_map(usable);
    Ok(found.filter(|found| wanted.is_empty() || wanted.contains(&found.interface.addr)).collect())
}

fn usable(found: if_addrs::Interface) -> Option<NamedInterface> {
    let IfAddr::V4(addr) = &found.addr else { return None };
    let interface = Interface { addr: addr.ip, prefix_len: addr.prefixlen };
    (found.is_oper_up() && !addr.ip.is_unspecified()).then_some(NamedInterface { interface, name: found.name })
}

/// Tells when to look at the interfaces again: the system says so, or some time has passed.
pub(super) struct Changes {
    watcher: Option<IfWatcher>,
    looks: tokio::time::Interval,
}

impl Changes {
    /// Where the system does not tell, only time does.
    pub(super) fn new() -> Self {
        let watcher =
            IfWatcher::new().inspect_err(|error| debug!(%error, "interfaces are looked at now and then only"));
        let mut looks = interval(LOOK_INTERVAL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { watcher: watcher.ok(), looks }
    }

    /// Waits for the next reason to look. Cancel safe.
    pub(super) async fn next(&mut self) {
        poll_fn(|cx| self.poll_next(cx)).await;
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut is_changed = self.looks.poll_tick(cx).is_ready();
        // Many changes at once, as at the start, are one reason to look.
        while let Some(watcher) = &mut self.watcher {
            match watcher.poll_if_event(cx) {
                Poll::Ready(Ok(_)) => is_changed = true,
                Poll::Ready(Err(error)) => {
                    debug!(%error, "interfaces are looked at now and then only");
                    self.watcher = None;
                }
                Poll::Pending => break,
            }
        }
        if is_changed { Poll::Ready(()) } else { Poll::Pending }
    }
}
