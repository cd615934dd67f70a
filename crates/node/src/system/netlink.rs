//! Linux's messages about addresses, links and routes (rtnetlink(7)): whether there are any costs
//! one system call, and what they say does not matter.

#[cfg(target_os = "linux")]
pub(crate) use linux::Netlink;

/// Elsewhere there is none.
#[cfg(not(target_os = "linux"))]
#[derive(Debug)]
pub(crate) enum Netlink {}

#[cfg(not(target_os = "linux"))]
impl Netlink {
    pub(crate) const GROUPS: u32 = 0;

    pub(crate) fn listen(_groups: u32) -> std::io::Result<Self> {
        Err(std::io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn has_news(&self) -> bool {
        match *self {}
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::io;
    use std::os::fd::{AsRawFd, OwnedFd, RawFd};

    use rustix::io::Errno;
    use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, netlink, recv, socket_with};

    /// `RTM_NEWROUTE` and `RTM_DELROUTE` of the kernel's `rtnetlink.h`.
    const ROUTE: [u16; 2] = [24, 25];

    /// A socket that the kernel tells.
    #[derive(Debug)]
    pub(crate) struct Netlink(OwnedFd);

    impl Netlink {
        /// `RTMGRP_LINK`, which tells of carriers too, `RTMGRP_IPV4_IFADDR`, `RTMGRP_IPV4_ROUTE`
        /// and `RTMGRP_IPV6_IFADDR`.
        pub(crate) const GROUPS: u32 = 0x1 | 0x10 | 0x40 | 0x100;

        /// Messages read at once. What is left was sent before the look that follows, and so is
        /// seen by it.
        const MOST: usize = 64;

        /// Listens from now on.
        ///
        /// # Errors
        /// Where the system does not tell: a sandbox without netlink, say.
        pub(crate) fn listen(groups: u32) -> io::Result<Self> {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            // No protocol is protocol 0: `NETLINK_ROUTE`.
            let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
            bind(&socket, &netlink::SocketAddrNetlink::new(0, groups))?;
            Ok(Self(socket))
        }

        /// Whether something that matters may have changed since the last call. Does not wait.
        pub(crate) fn has_news(&self) -> bool {
            // Enough of a message to see whether it matters.
            let mut message = [0_u8; 64];
            let mut has_news = false;
            for _ in 0..Self::MOST {
                match recv(&self.0, &mut message, RecvFlags::empty()) {
                    Ok((len, _)) => has_news |= matters(&message[..len]),
                    Err(Errno::AGAIN) => return has_news,
                    // A queue that has overflown is news too.
                    Err(_) => has_news = true,
                }
            }
            true
        }
    }

    impl AsRawFd for Netlink {
        fn as_raw_fd(&self) -> RawFd {
            self.0.as_raw_fd()
        }
    }

    /// All but the routes to single networks: a router that speaks BGP has a hundred thousand of
    /// them, which come and go all the time. In front is a `nlmsghdr`, behind it a `rtmsg`, whose
    /// second byte is the length of the network's prefix.
    fn matters(message: &[u8]) -> bool {
        let is_route = message.get(4..6).is_some_and(|kind| ROUTE.iter().any(|route| kind == route.to_ne_bytes()));
        !is_route || message.get(17) == Some(&0)
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn of_all_routes_the_default_one_matters() {
            let message = |kind: u16, prefix_len: u8| {
                let mut message = [0; 64];
                message[4..6].copy_from_slice(&kind.to_ne_bytes());
                message[17] = prefix_len;
                matters(&message)
            };
            assert!(message(ROUTE[0], 0) && message(ROUTE[1], 0));
            assert!(!message(ROUTE[0], 24) && !message(ROUTE[1], 8));
            assert!(message(16, 24), "RTM_NEWLINK");
            assert!(message(20, 24), "RTM_NEWADDR");
            assert!(matters(&[]));
        }
    }
}
