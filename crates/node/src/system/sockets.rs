//! Options of sockets whose meaning differs between the systems.

use std::io;

use socket2::SockRef;

use crate::tuning::Tunable;

/// Lets a restart listen while the old connections' TIME_WAIT lasts. On Windows nobody waits for
/// it, and the option means that another program may take the port away.
pub(crate) fn reuse_after_restart(socket: &SockRef<'_>) {
    if cfg!(unix) {
        Tunable::ReuseAddress.try_set(|| socket.set_reuse_address(true));
    }
}

/// Shares a UDP port with other programs of this computer.
pub(crate) fn share_port(socket: &SockRef<'_>) {
    Tunable::ReuseAddress.try_set(|| socket.set_reuse_address(true));
    Tunable::ReusePort.try_set(|| reuse_port(socket));
}

#[cfg(all(unix, not(any(target_os = "solaris", target_os = "illumos"))))]
fn reuse_port(socket: &SockRef<'_>) -> io::Result<()> {
    socket.set_reuse_port(true)
}

/// On Windows the option before says both.
#[cfg(not(all(unix, not(any(target_os = "solaris", target_os = "illumos")))))]
fn reuse_port(_socket: &SockRef<'_>) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
