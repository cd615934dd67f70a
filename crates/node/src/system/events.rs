//! The system's word that something has changed, for a task that waits for it.

use std::sync::Arc;

use tracing::debug;

use super::netlink::Netlink;

/// Linux: the socket, as the runtime sees it.
#[cfg(target_os = "linux")]
pub(crate) struct Events(Option<tokio::io::unix::AsyncFd<Arc<Netlink>>>);

#[cfg(target_os = "linux")]
impl Events {
    #[expect(deprecated, reason = "its successor is unsafe; ours owns its descriptor, which never changes")]
    pub(crate) fn new(netlink: Option<&Arc<Netlink>>) -> Self {
        use tokio::io::Interest;
        use tokio::io::unix::AsyncFd;

        let listen = |netlink| AsyncFd::with_interest(netlink, Interest::READABLE);
        let socket = netlink.cloned().map(listen).transpose();
        Self(socket.inspect_err(|error| debug!(%error, "networks are looked at now and then only")).ok().flatten())
    }

    /// Waits for the next word; for ever where none can come. Cancel safe.
    pub(crate) async fn next(&mut self) {
        let Some(socket) = &self.0 else { return std::future::pending().await };
        match socket.readable().await {
            // Before the messages are read: what comes meanwhile makes it ready again.
            Ok(mut ready) => ready.clear_ready(),
            Err(error) => {
                debug!(%error, "networks are looked at now and then only");
                self.0 = None;
            }
        }
    }
}

/// Elsewhere: `if-watch`.
#[cfg(not(target_os = "linux"))]
pub(crate) struct Events(Option<if_watch::tokio::IfWatcher>);

#[cfg(not(target_os = "linux"))]
impl Events {
    pub(crate) fn new(_netlink: Option<&Arc<Netlink>>) -> Self {
        let watcher = if_watch::tokio::IfWatcher::new();
        Self(watcher.inspect_err(|error| debug!(%error, "networks are looked at now and then only")).ok())
    }

    /// Waits for the next word; for ever where none can come. Cancel safe.
    pub(crate) async fn next(&mut self) {
        let Some(watcher) = &mut self.0 else { return std::future::pending().await };
        let told = std::future::poll_fn(|cx| watcher.poll_if_event(cx)).await;
        if let Err(error) = told {
            debug!(%error, "networks are looked at now and then only");
            self.0 = None;
        }
    }
}
