//! A program that speaks UDP: a socket of its own for each flow, so that the program tells flows
//! apart as it would without us.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hardline_proto::hosts::HostPort;
use tokio::net::UdpSocket;
use tokio::time::timeout;
use tracing::{debug, warn};

use crate::limits::{DNS_FLOW_IDLE, FLOW_IDLE};
use crate::log_throttle::LogThrottle;
use crate::transport::datagrams::{DatagramEnd, DatagramStream, is_told, poll_socket};
use crate::transport::tcp;

/// DNS (RFC 1035).
const DNS: u16 = 53;

/// Where the program is.
#[derive(Debug, Clone)]
pub(super) struct UdpPlace {
    at: HostPort,
    /// Datagrams that nobody was there for.
    unheard: Arc<LogThrottle>,
}

/// A flow towards the program.
pub(crate) type UdpStream = DatagramStream<Flow>;

impl UdpPlace {
    pub(super) fn new(at: HostPort) -> Self {
        Self { at, unheard: Arc::default() }
    }

    /// Makes a socket for one flow. Nothing is sent: whether the program runs shows later.
    pub(super) async fn connect(&self, limit: Duration) -> io::Result<UdpStream> {
        let late = |_| Err(io::Error::new(io::ErrorKind::TimedOut, "its name is not resolved"));
        let addrs = timeout(limit, tcp::addresses(&self.at)).await.unwrap_or_else(late)?;
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for addr in addrs {
            match socket(addr).await {
                Ok(socket) => {
                    let flow = Flow { socket, place: self.clone() };
                    return Ok(DatagramStream::new(flow, idle(self.at.port)));
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

/// Silence after which a flow to this port ends.
fn idle(port: u16) -> Duration {
    if port == DNS { DNS_FLOW_IDLE } else { FLOW_IDLE }
}

async fn socket(to: SocketAddr) -> io::Result<UdpSocket> {
    let any = if to.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
    let socket = UdpSocket::bind::<SocketAddr>(any).await?;
    socket.connect(to).await?;
    // Until the runtime has heard that there is room, it takes the socket for full, and the first
    // datagram would be lost.
    socket.writable().await?;
    Ok(socket)
}

/// One flow.
pub(crate) struct Flow {
    socket: UdpSocket,
    place: UdpPlace,
}

impl fmt::Debug for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Flow").field(&self.place.at).finish()
    }
}

impl Flow {
    /// Says, now and then, that nobody was there. The flow goes on: the program may start later.
    fn note(&self, error: &io::Error) {
        if is_told(error)
            && let Some(times) = self.place.unheard.count()
        {
            warn!(%error, target = %self.place.at, times, "no program takes the datagrams");
        }
    }
}

impl DatagramEnd for Flow {
    fn poll_receive(&mut self, cx: &mut Context<'_>, frame: &mut Vec<u8>) -> Poll<io::Result<bool>> {
        poll_socket(&self.socket, cx, frame)
            .map(|received| received.map(|()| true).inspect_err(|error| self.note(error)))
    }

    fn send(&mut self, datagram: &[u8]) {
        let sent = self.socket.try_send(datagram).or_else(|error| {
            self.note(&error);
            // An error of an earlier one is no reason to lose this one.
            if is_told(&error) { self.socket.try_send(datagram) } else { Err(error) }
        });
        if let Err(error) = sent {
            debug!(%error, "datagram not sent");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_sent_as_soon_as_there_is_a_socket_arrives() {
        let program = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let socket = socket(program.local_addr().unwrap()).await.unwrap();
        let place = UdpPlace::new(program.local_addr().unwrap().into());
        let mut flow = Flow { socket, place };
        flow.send(b"first");
        let mut bytes = [0; 8];
        let received = timeout(Duration::from_secs(5), program.recv(&mut bytes)).await;
        assert_eq!(&bytes[..received.unwrap().unwrap()], b"first");
    }
}
