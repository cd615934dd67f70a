//! TCP connections: made, for diallers and backends; accepted, from peers and browsers.

pub(crate) mod listen; // the P2P port

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use hardline_proto::hosts::{Host, HostPort};
use rustls::server::ClientHello;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream, ToSocketAddrs, lookup_host};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

pub(super) use crate::system::path_state::path_state;

use super::dial::over_streams;
use super::secure::SecureStream;
use super::{
    Asking, ByteStream, ConnectError, Connected, Incoming, Listener, ServiceTls, Target, Transport, Unserved,
    handshake, look_up,
};
use crate::limits::{
    BRISK_IDLE, BRISK_INTERVAL, BRISK_RETRIES, CONNECT_TIMEOUT, KEEPALIVE_IDLE, KEEPALIVE_INTERVAL, KEEPALIVE_RETRIES,
};
use crate::tuning::Tunable;

/// Most addresses of one name that are tried.
const MAX_ADDRESSES: usize = 8;

/// Time before the next address of a name is tried beside the ones under way (RFC 8305, section 5).
const NEXT_ADDRESS_DELAY: Duration = Duration::from_millis(250);

/// The transport of every computer there is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tcp;

impl Transport for Tcp {
    type Address = HostPort;
    type Connection = SecureStream<TcpStream>;

    async fn connect(&self, at: &HostPort, target: &Target) -> Result<Connected<Self::Connection>, ConnectError> {
        let open = || async move {
            let stream = connect(at, CONNECT_TIMEOUT).await?;
            let remote = stream.peer_addr()?;
            Ok((stream, remote))
        };
        over_streams(target, open).await
    }
}

impl Listener for TcpListener {
    type Incoming = TcpStream;

    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.accept().await
    }
}

impl Incoming for TcpStream {
    type Connection = SecureStream<Self>;

    async fn answer<T: Send + 'static>(
        self,
        choose: impl FnOnce(&ClientHello<'_>) -> Result<(ServiceTls, T), Unserved> + Send + 'static,
    ) -> Result<(Self::Connection, T), Unserved> {
        handshake::answer(self, tune, choose).await
    }
}

/// Opens a stream to a program, whoever that is: nobody is verified.
///
/// # Errors
/// That of the last address of `at` that was tried.
pub async fn open_stream(at: impl ToSocketAddrs) -> io::Result<impl ByteStream + fmt::Debug> {
    TcpStream::connect(at).await
}

/// Connects to `at` within `limit`, with `TCP_NODELAY`. A name is resolved anew each time; its
/// addresses, IPv6 and IPv4 in turn, are raced. Dropping the future closes everything.
///
/// # Errors
/// The error of the last address that failed, or [`io::ErrorKind::TimedOut`].
pub(crate) async fn connect(at: &HostPort, limit: Duration) -> io::Result<TcpStream> {
    timeout(limit, async {
        match &at.host {
            Host::Ip(ip) => connect_addr(SocketAddr::new(*ip, at.port)).await,
            // The resolver knows the interfaces by name and by number.
            Host::LinkLocal(ip, zone) => race(lookup_host((format!("{ip}%{zone}"), at.port)).await?.collect()).await,
            Host::Name(name) => race(alternate_families(look_up(name, at.port).await?.into_iter())).await,
        }
    })
    .await
    .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {} s", limit.as_secs()))))
}

/// The addresses that `at` stands for, those of a name in the order in which they are tried.
///
/// # Errors
/// That of the resolver.
pub(crate) async fn addresses(at: &HostPort) -> io::Result<Vec<SocketAddr>> {
    Ok(match &at.host {
        Host::Ip(ip) => vec![SocketAddr::new(*ip, at.port)],
        Host::LinkLocal(ip, zone) => lookup_host((format!("{ip}%{zone}"), at.port)).await?.collect(),
        Host::Name(name) => alternate_families(look_up(name, at.port).await?.into_iter()),
    })
}

/// Sets what only tunes: segments leave at once, and the system asks now and then whether the
/// peer's computer is still there. Who only receives would otherwise not learn that it is gone. (No
/// `TCP_USER_TIMEOUT`: see [`hardline_proto::liveness`].)
pub(crate) fn tune(stream: &TcpStream) {
    tune_local(stream);
    set_keepalive(stream, KeepaliveTimes::USUAL);
}

/// The same of a stream within this computer, which does not outlive it: nobody need be asked for.
pub(crate) fn tune_local(stream: &TcpStream) {
    Tunable::NoDelay.try_set(|| stream.set_nodelay(true));
}

/// When the system asks whether a silent computer is still there.
#[derive(Debug, Clone, Copy)]
struct KeepaliveTimes {
    time: Duration,
    interval: Duration,
    retries: u32,
}

impl KeepaliveTimes {
    const USUAL: Self = Self { time: KEEPALIVE_IDLE, interval: KEEPALIVE_INTERVAL, retries: KEEPALIVE_RETRIES };
    const BRISK: Self = Self { time: BRISK_IDLE, interval: BRISK_INTERVAL, retries: BRISK_RETRIES };
}

/// Says when the peer's computer is asked whether it is there.
pub(super) fn ask(stream: &TcpStream, asking: Asking) {
    let times = match asking {
        Asking::Rarely => KeepaliveTimes::USUAL,
        Asking::Soon => KeepaliveTimes::BRISK,
        Asking::Now => KeepaliveTimes { time: BRISK_INTERVAL, ..KeepaliveTimes::BRISK },
    };
    set_keepalive(stream, times);
}

fn set_keepalive(stream: &TcpStream, times: KeepaliveTimes) {
    let (socket, none) = (SockRef::from(stream), TcpKeepalive::new);
    let all = none().with_time(times.time).with_interval(times.interval).with_retries(times.retries);
    if Tunable::Keepalive.try_set(|| socket.set_tcp_keepalive(&all)) {
        return;
    }
    // A system may lack one of them, and have the others.
    Tunable::KeepaliveTime.try_set(|| socket.set_tcp_keepalive(&none().with_time(times.time)));
    Tunable::KeepaliveInterval.try_set(|| socket.set_tcp_keepalive(&none().with_interval(times.interval)));
    Tunable::KeepaliveRetries.try_set(|| socket.set_tcp_keepalive(&none().with_retries(times.retries)));
}

async fn connect_addr(addr: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(addr).await?;
    if addr.ip().is_loopback() {
        tune_local(&stream)
    } else {
        tune(&stream)
    }
    Ok(stream)
}

async fn race(addrs: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    let mut waiting = addrs.into_iter();
    let mut attempts = JoinSet::new();
    loop {
        if let Some(addr) = waiting.next() {
            attempts.spawn(connect_addr(addr));
        }
        let more = waiting.len() > 0;
        tokio::select! {
            ended = attempts.join_next() => match ended {
                Some(Ok(Ok(stream))) => return Ok(stream),
                Some(Ok(Err(error))) => last = error,
                Some(Err(panicked)) => last = io::Error::other(panicked),
                None => return Err(last),
            },
            () = sleep(NEXT_ADDRESS_DELAY), if more => {}
        }
    }
}

/// Puts the resolver's first address first and then the families in turn, so that a dead family
/// costs one delay.
fn alternate_families(addrs: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let all: Vec<_> = addrs.take(MAX_ADDRESSES).collect();
    let first_is_v6 = all.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) = all.into_iter().partition(|addr| addr.is_ipv6() == first_is_v6);
    let mut second = second.into_iter();
    let mut mixed = Vec::new();
    for addr in first {
        mixed.push(addr);
        mixed.extend(second.next());
    }
    mixed.extend(second);
    mixed
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[test]
    fn families_take_turns_beginning_with_the_resolvers_choice() {
        let addrs = ["[::1]:1", "[::2]:1", "1.1.1.1:1", "[::3]:1"].map(|addr| addr.parse().unwrap());
        let mixed: Vec<_> = alternate_families(addrs.into_iter()).iter().map(ToString::to_string).collect();
        assert_eq!(mixed, ["[::1]:1", "1.1.1.1:1", "[::2]:1", "[::3]:1"]);
    }

    /// A Unix socket, which has none of TCP's options, in the place of a connection.
    #[cfg(unix)]
    #[tokio::test]
    async fn a_system_without_the_options_that_tune_keeps_its_connections() {
        let (near, mut far) = tokio::net::UnixStream::pair().unwrap();
        let near = std::os::fd::OwnedFd::from(near.into_std().unwrap());
        let mut near = TcpStream::from_std(near.into()).unwrap();
        assert!(near.set_nodelay(true).is_err(), "the option is refused");
        tune(&near);
        assert_eq!(near.path_state(), None);
        near.write_all(b"on").await.unwrap();
        let mut got = [0; 2];
        far.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"on");
    }

    #[tokio::test]
    async fn a_name_is_tried_at_both_families() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = HostPort { host: Host::Name("localhost".into()), port: listener.local_addr().unwrap().port() };
        connect(&at, Duration::from_secs(5)).await.unwrap();
    }

    #[tokio::test]
    async fn a_dead_address_does_not_hide_a_live_one() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let dead = SocketAddr::from(([127, 0, 0, 1], 1));
        assert!(race(vec![dead, listener.local_addr().unwrap()]).await.is_ok());
        assert_eq!(race(vec![dead]).await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }
}
