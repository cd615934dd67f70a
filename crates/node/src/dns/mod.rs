//! A DNS server for names below `localhost`, on this computer and for it alone.

mod answer; // a question → its answer

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{Name, RData, RecordType};
use tokio::net::UdpSocket;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::debug;

/// Longest question, in bytes: a name takes 255, and clients add little to it. What is longer is
/// cut, and so cannot be read.
const MAX_QUESTION: usize = 1232;

/// Time for a server of this computer to answer.
const ANSWER: Duration = Duration::from_secs(1);

/// Asks the server at `at` for `name`. Returns the addresses that it says, as far as they are IPv4;
/// `None` if it says nothing that makes sense.
pub async fn ask(at: SocketAddr, name: &str) -> Option<Vec<IpAddr>> {
    let mut question = Message::query();
    question.add_query(Query::query(Name::from_ascii(name).ok()?, RecordType::A));
    let any = if at.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
    let socket = UdpSocket::bind::<SocketAddr>(any).await.ok()?;
    socket.connect(at).await.ok()?;
    socket.send(&question.to_vec().ok()?).await.ok()?;
    let mut bytes = [0; MAX_QUESTION];
    let length = timeout(ANSWER, socket.recv(&mut bytes)).await.ok()?.ok()?;
    let answer = Message::from_vec(&bytes[..length]).ok()?;
    let address = |data: &RData| if let RData::A(ip) = data { Some(IpAddr::V4(ip.0)) } else { None };
    (answer.metadata.id == question.metadata.id)
        .then(|| answer.answers.iter().filter_map(|record| address(&record.data)).collect())
}

/// Binds `port` of both loopback addresses, 0 takes a free one. A computer without IPv6 has one.
pub(crate) fn bind(port: u16) -> io::Result<Vec<UdpSocket>> {
    let v4 = bind_one(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    let port = v4.local_addr()?.port();
    match bind_one(SocketAddr::from((Ipv6Addr::LOCALHOST, port))) {
        Ok(v6) => Ok(vec![v4, v6]),
        Err(error) if matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported) => {
            Ok(vec![v4])
        }
        Err(error) => Err(error),
    }
}

fn bind_one(at: SocketAddr) -> io::Result<UdpSocket> {
    let socket = std::net::UdpSocket::bind(at)?;
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket)
}

/// Answers until the node stops, one question after the other.
pub(crate) async fn run(socket: UdpSocket, stop: CancellationToken) {
    let mut bytes = vec![0; MAX_QUESTION];
    while let Some(received) = stop.run_until_cancelled(socket.recv_from(&mut bytes)).await {
        // A failure tells of an earlier answer whose client was gone.
        let Ok((length, from)) = received else { continue };
        if let Some(answer) = answer::answer(&bytes[..length])
            && let Err(error) = socket.send_to(&answer, from).await
        {
            debug!(%from, %error, "answer not sent");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_asks_hears_what_the_server_says_or_that_there_is_none() {
        let sockets = bind(0).unwrap();
        let at = sockets[0].local_addr().unwrap();
        let stop = CancellationToken::new();
        let servers: Vec<_> = sockets.into_iter().map(|socket| tokio::spawn(run(socket, stop.clone()))).collect();
        assert_eq!(ask(at, "a.localhost.").await, Some(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)]));
        assert_eq!(ask(at, "example.org.").await, Some(Vec::new()));
        stop.cancel();
        for server in servers {
            server.await.unwrap();
        }
        assert_eq!(ask(at, "a.localhost.").await, None);
    }
}
