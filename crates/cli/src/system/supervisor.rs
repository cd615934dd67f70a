//! What starts and stops programs here, told how this one is doing: systemd.

/// Everything is ready.
pub(crate) fn ready() {
    #[cfg(unix)]
    if let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::Ready]) {
        tracing::warn!(%error, "systemd not told");
    }
}

/// The program stops.
pub(crate) fn stopping() {
    #[cfg(unix)]
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
}
