//! TCP connections: made, for diallers and backends; accepted, for peers and browsers.

pub(crate) mod listen; // the P2P port

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Poll, ready};
use std::time::Duration;

use hardline_proto::hosts::{Host, HostPort};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::limits::{KEEPALIVE_IDLE, KEEPALIVE_INTERVAL, KEEPALIVE_RETRIES};
use crate::rarely::Rarely;

/// Most addresses of one name that are tried.
const MAX_ADDRESSES: usize = 8;

/// Time before the next address of a name is tried beside the ones under way (RFC 8305, section 5).
const NEXT_ADDRESS_DELAY: Duration = Duration::from_millis(250);

/// Pause after a failed accept. Out of descriptors, the next try would fail at once, and the next.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// Connections accepted in a row before others have their turn. A flood of them must not hold up who is in.
const ACCEPTED_IN_A_ROW: u32 = 8;

/// Hands every connection to `serve`, which must not wait, until `stop`.
pub(crate) async fn accept_each(
    listener: &TcpListener,
    stop: &CancellationToken,
    mut serve: impl FnMut(TcpStream, SocketAddr),
) {
    let failures = Rarely::default();
    for number in 1_u32.. {
        if number.is_multiple_of(ACCEPTED_IN_A_ROW) {
            tokio::task::yield_now().await;
        }
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, addr)) => serve(stream, addr),
            Err(error) => {
                if let Some(times) = failures.count() {
                    warn!(%error, times, "connections not accepted");
                }
                sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
}

/// Reads what has come, `MOST` bytes at a time, to the end of `bytes`, and returns how many they were; 0 at the end of the
/// stream. While nothing comes no memory is kept for it: most strangers who say little say it slowly.
pub(crate) async fn read_onto<const MOST: usize>(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> io::Result<usize> {
    poll_fn(|cx| {
        let mut room = [MaybeUninit::uninit(); MOST];
        let mut read = ReadBuf::uninit(&mut room);
        ready!(Pin::new(&mut *stream).poll_read(cx, &mut read))?;
        bytes.extend_from_slice(read.filled());
        Poll::Ready(Ok(read.filled().len()))
    })
    .await
}

/// Connects to `at` within `limit`, with `TCP_NODELAY`. A name is resolved anew each time; its addresses, IPv6 and IPv4
/// in turn, are raced. Dropping the future closes everything.
///
/// # Errors
/// The error of the last address that failed, or [`io::ErrorKind::TimedOut`].
pub(crate) async fn connect(at: &HostPort, limit: Duration) -> io::Result<TcpStream> {
    timeout(limit, async {
        match &at.host {
            Host::Ip(ip) => connect_addr(SocketAddr::new(*ip, at.port)).await,
            Host::Name(name) => race(alternate_families(lookup_host((name.as_str(), at.port)).await?)).await,
        }
    })
    .await
    .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {} s", limit.as_secs()))))
}

/// Lets the system ask now and then whether a peer's computer is still there. Who only receives would otherwise not learn
/// that it is gone. (No `TCP_USER_TIMEOUT`: that one also ends connections whose receiver takes a pause.)
pub(crate) fn notice_if_gone(stream: &TcpStream) -> io::Result<()> {
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL);
    SockRef::from(stream).set_tcp_keepalive(&keepalive.with_retries(KEEPALIVE_RETRIES))
}

async fn connect_addr(addr: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(addr).await?;
    stream.set_nodelay(true)?;
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

/// Puts the resolver's first address first and then the families in turn, so that a dead family costs one delay.
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
    use super::*;

    #[test]
    fn families_take_turns_beginning_with_the_resolvers_choice() {
        let addrs = ["[::1]:1", "[::2]:1", "1.1.1.1:1", "[::3]:1"].map(|addr| addr.parse().unwrap());
        let mixed: Vec<_> = alternate_families(addrs.into_iter()).iter().map(ToString::to_string).collect();
        assert_eq!(mixed, ["[::1]:1", "1.1.1.1:1", "[::2]:1", "[::3]:1"]);
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
