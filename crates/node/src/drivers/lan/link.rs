//! Sockets: one shared by the group, one for each interface.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hardline_proto::lan::{GROUP, GROUP_V6, LanAddr, MAX_DATAGRAM};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use tracing::{debug, trace};

use super::interfaces::NamedInterface;
use crate::system::sockets::share_port;
use crate::tuning::Tunable;

/// Datagrams received and not yet looked at, by all sockets together.
pub(super) const QUEUE: usize = 256;

/// Pause after a failed receive, so that a socket that keeps failing does not keep the processor
/// busy.
const RECEIVE_PAUSE: Duration = Duration::from_millis(100);

/// First pause before an interface that could not send is tried again. It doubles each time.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// Longest pause before an interface that could not send is tried again.
const MAX_RETRY: Duration = Duration::from_secs(60);

/// A datagram and where it came from.
pub(super) type Received = (SocketAddr, Vec<u8>);

/// The socket of the group that is joined at interfaces with an address like `any`, on a port
/// shared with other programs of this computer.
pub(super) fn open_group(any: IpAddr, port: u16) -> io::Result<Arc<UdpSocket>> {
    let at = SocketAddr::new(any, port);
    let socket = Socket::new(Domain::for_address(at), Type::DGRAM, Some(Protocol::UDP))?;
    if at.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    share_port(&(&socket).into());
    into_tokio(socket, at)
}

/// The sockets of the groups.
#[derive(Debug, Clone)]
pub(super) struct Groups {
    pub(super) v4: Arc<UdpSocket>,
    /// `None` on a computer without IPv6.
    pub(super) v6: Option<Arc<UdpSocket>>,
}

impl Groups {
    /// # Errors
    /// When the port cannot be had.
    pub(super) fn open(port: u16) -> io::Result<Self> {
        let v4 = open_group(Ipv4Addr::UNSPECIFIED.into(), port)?;
        let port = v4.local_addr()?.port();
        let v6 = open_group(Ipv6Addr::UNSPECIFIED.into(), port);
        let v6 = v6.inspect_err(|error| debug!(%error, "no discovery over IPv6")).ok();
        Ok(Self { v4, v6 })
    }

    /// All of them.
    pub(super) fn sockets(&self) -> impl Iterator<Item = &Arc<UdpSocket>> {
        std::iter::once(&self.v4).chain(&self.v6)
    }

    /// That for interfaces with an address like `addr`.
    fn of(&self, addr: LanAddr) -> io::Result<&Arc<UdpSocket>> {
        match addr.ip {
            IpAddr::V4(_) => Ok(&self.v4),
            IpAddr::V6(_) => self.v6.as_ref().ok_or_else(|| io::ErrorKind::AddrNotAvailable.into()),
        }
    }
}

/// One interface in use.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) at: NamedInterface,
    /// Why it cannot hear the group.
    join_error: Option<String>,
    /// Why it could not send the last time.
    send_error: Option<String>,
    retry_at: Option<Instant>,
    retry_pause: Duration,
    socket: Arc<UdpSocket>,
    group: Arc<UdpSocket>,
    _reader: AbortOnDropHandle<()>,
}

impl Link {
    /// Joins the group on an interface, and opens its socket, which sends there and receives the
    /// answers.
    pub(super) fn open(
        at: NamedInterface,
        groups: &Groups,
        received: &mpsc::Sender<Received>,
        tasks: &TaskTracker,
    ) -> io::Result<Self> {
        let addr = at.interface.addr;
        let (group, socket) = (groups.of(addr)?, open_sender(addr)?);
        let join_error = join(group, &socket, addr).err().map(|error| error.to_string());
        let reader = AbortOnDropHandle::new(tasks.spawn(read(Arc::clone(&socket), received.clone())));
        Ok(Self {
            at,
            join_error,
            send_error: None,
            retry_at: None,
            retry_pause: FIRST_RETRY,
            socket,
            group: Arc::clone(group),
            _reader: reader,
        })
    }

    /// Why it cannot multicast, if it cannot.
    pub(super) fn error(&self) -> Option<&String> {
        self.join_error.as_ref().or(self.send_error.as_ref())
    }

    /// When to try again to send, after it failed.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Whether it is time to try again; says so once.
    pub(super) fn take_retry(&mut self, now: Instant) -> bool {
        self.retry_at.take_if(|at| *at <= now).is_some()
    }

    /// Sends a datagram at once, or loses it when there is no room, as any network does.
    pub(super) fn send(&mut self, to: SocketAddr, payload: &[u8]) {
        let sent = SockRef::from(&*self.socket).send_to(payload, &to.into());
        match sent {
            // Whether one computer can be reached says nothing of the interface.
            _ if !to.ip().is_multicast() => {}
            Ok(_) => {
                self.retry_pause = FIRST_RETRY;
                self.send_error = None;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => trace!(%to, "no room to send"),
            Err(error) => self.failed(&error),
        }
    }

    fn failed(&mut self, error: &io::Error) {
        trace!(%error, interface = self.at.name, "multicast not sent");
        self.send_error = Some(error.to_string());
        if self.retry_at.is_none() {
            self.retry_at = Some(Instant::now() + self.retry_pause);
            self.retry_pause = (self.retry_pause * 2).min(MAX_RETRY);
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // Fails when the interface took the membership with it.
        let group = SockRef::from(&*self.group);
        let _ = match self.at.interface.addr.ip {
            IpAddr::V4(addr) => group.leave_multicast_v4(&GROUP, &addr),
            IpAddr::V6(_) => group.leave_multicast_v6(&GROUP_V6, self.at.interface.addr.scope),
        };
    }
}

/// Receives datagrams for as long as somebody takes them.
pub(super) async fn read(socket: Arc<UdpSocket>, received: mpsc::Sender<Received>) {
    let mut buffer = vec![0; MAX_DATAGRAM + 1]; // one more, so that what was cut off is seen to be too long
    loop {
        match socket.recv_from(&mut buffer).await {
            Ok((len, from)) => {
                if received.send((from, buffer[..len].to_vec())).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                trace!(%error, "receive failed");
                sleep(RECEIVE_PAUSE).await;
            }
        }
    }
}

/// Both kinds, for a test of their options.
#[cfg(test)]
pub(crate) fn opens_sockets(addr: Ipv4Addr) -> io::Result<()> {
    Groups::open(0).and(open_sender(LanAddr::v4(addr)).map(drop))
}

fn open_sender(addr: LanAddr) -> io::Result<Arc<UdpSocket>> {
    let at = addr.at(0);
    let socket = Socket::new(Domain::for_address(at), Type::DGRAM, Some(Protocol::UDP))?;
    match addr.ip {
        IpAddr::V4(ip) => {
            socket.set_multicast_if_v4(&ip)?;
            Tunable::MulticastLoop.try_set(|| socket.set_multicast_loop_v4(true));
            Tunable::MulticastTtl.try_set(|| socket.set_multicast_ttl_v4(1));
        }
        IpAddr::V6(_) => {
            socket.set_only_v6(true)?;
            socket.set_multicast_if_v6(addr.scope)?;
            Tunable::MulticastLoop.try_set(|| socket.set_multicast_loop_v6(true));
            Tunable::MulticastTtl.try_set(|| socket.set_multicast_hops_v6(1));
        }
    }
    into_tokio(socket, at)
}

/// Joins the group on the interface that has `addr`.
///
/// Systems bound the memberships of one socket (Linux: 20 with IPv4, and container hosts have more
/// interfaces). The interface's own socket holds the membership then: on Linux that lets the
/// group's socket hear too.
fn join(group: &UdpSocket, own: &UdpSocket, addr: LanAddr) -> io::Result<()> {
    let joined = |socket: &UdpSocket| {
        let socket = SockRef::from(socket);
        let joined = match addr.ip {
            IpAddr::V4(ip) => socket.join_multicast_v4(&GROUP, &ip),
            IpAddr::V6(_) => socket.join_multicast_v6(&GROUP_V6, addr.scope),
        };
        match joined {
            // Another address of the same interface has joined.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(()),
            other => other,
        }
    };
    joined(group).or_else(|error| joined(own).map_err(|_| error))
}

fn into_tokio(socket: Socket, bind: SocketAddr) -> io::Result<Arc<UdpSocket>> {
    socket.set_nonblocking(true)?;
    socket.bind(&bind.into())?;
    UdpSocket::from_std(socket.into()).map(Arc::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hardline_proto::lan::Interface;

    /// More than a datagram can hold, so that sending fails.
    const TOO_MUCH: &[u8] = &[0; 70_000];

    #[tokio::test]
    async fn an_interface_that_could_not_send_is_tried_again_with_growing_pauses_until_it_can() {
        let mut link = loopback().await;
        assert_eq!(link.error(), None);
        for pause in [1, 2, 4, 8, 16, 32, 60, 60].map(Duration::from_secs) {
            let failed_at = Instant::now();
            link.send(group_addr(), TOO_MUCH);
            assert!(link.error().is_some());
            let retry_at = link.retry_at().unwrap();
            assert!(retry_at >= failed_at + pause && retry_at <= Instant::now() + pause);
            link.send(group_addr(), TOO_MUCH);
            assert_eq!(link.retry_at(), Some(retry_at), "another failure does not put it off");
            assert!(!link.take_retry(failed_at));
            assert!(link.take_retry(retry_at));
            assert!(!link.take_retry(retry_at), "once");
        }
        link.send(group_addr(), b"");
        assert_eq!(link.error(), None);
        link.send(group_addr(), TOO_MUCH);
        assert!(link.retry_at().unwrap() <= Instant::now() + FIRST_RETRY, "the next failure begins anew");
    }

    #[tokio::test]
    async fn one_computer_out_of_reach_says_nothing_of_the_interface() {
        let mut link = loopback().await;
        link.send(LanAddr::v4(Ipv4Addr::LOCALHOST).at(9), TOO_MUCH);
        assert_eq!((link.error(), link.retry_at()), (None, None));
    }

    async fn loopback() -> Link {
        let interface = Interface { addr: LanAddr::v4(Ipv4Addr::LOCALHOST), prefix_len: 8 };
        let (received, _) = mpsc::channel(1);
        let at = NamedInterface { interface, name: "lo".into() };
        Link::open(at, &Groups::open(0).unwrap(), &received, &TaskTracker::new()).unwrap()
    }

    fn group_addr() -> SocketAddr {
        LanAddr::v4(GROUP).at(9)
    }
}
