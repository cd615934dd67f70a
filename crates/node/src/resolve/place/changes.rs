//! Whether the system's list of addresses has changed: the kernel says so, and to hear it costs one system call.

use std::io;

/// Linux: a socket that the kernel tells.
#[cfg(target_os = "linux")]
pub(super) struct AddressChanges(std::os::fd::OwnedFd);

/// Elsewhere nobody tells.
#[cfg(not(target_os = "linux"))]
pub(super) struct AddressChanges;

#[cfg(target_os = "linux")]
impl AddressChanges {
    /// Messages about IPv4 and IPv6 addresses (`RTMGRP_IPV4_IFADDR` and `RTMGRP_IPV6_IFADDR` of rtnetlink(7)).
    const GROUPS: u32 = 0x10 | 0x100;

    /// Messages read at once. Who sends more than that will be heard the next time, and is a change anyway.
    const MOST: usize = 64;

    /// Listens from now on.
    ///
    /// # Errors
    /// Where the system does not tell: a sandbox without netlink, say.
    pub(super) fn listen() -> io::Result<Self> {
        use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, netlink, socket_with};

        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        // No protocol is protocol 0: `NETLINK_ROUTE`.
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
        bind(&socket, &netlink::SocketAddrNetlink::new(0, Self::GROUPS))?;
        Ok(Self(socket))
    }

    /// Whether something may have changed since the last call.
    pub(super) fn any(&self) -> bool {
        use rustix::io::Errno;
        use rustix::net::{RecvFlags, recv};

        // What was said does not matter, and so not whether all of it fits.
        let mut message = [0_u8; 64];
        let mut news = (0..Self::MOST).map(|_| recv(&self.0, &mut message, RecvFlags::empty()));
        // Anything but an empty queue is news, also one that has overflown.
        news.position(|received| matches!(received, Err(Errno::AGAIN))) != Some(0)
    }
}

#[cfg(not(target_os = "linux"))]
impl AddressChanges {
    pub(super) fn listen() -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn any(&self) -> bool {
        true
    }
}
