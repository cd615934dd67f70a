//! Sockets beside the one that everybody knows, for one attempt through a symmetric NAT.
//!
//! They are opened as probes are to leave by them, and closed with the attempt. One by which the
//! other side was heard is kept for QUIC.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::task::{Context, Poll, ready};

use hardline_proto::punch::PROBE_LEN;
use tokio::io::ReadBuf;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tracing::debug;

use super::QuicEndpoint;
use super::shared::Received;
use super::tasks::QuicTasks;

/// Most of them for one attempt: as many as the plan of a dialler has.
const MAX_EXTRA: usize = 512;

/// The sockets of one attempt.
#[derive(Debug)]
pub(super) struct ExtraSockets {
    /// From number 1 on.
    sockets: Vec<Extra>,
    /// Where probes go that come to one that was kept.
    probes: mpsc::Sender<Received>,
    tasks: QuicTasks,
}

#[derive(Debug)]
enum Extra {
    /// Not opened yet, or it could not be.
    None,
    Open(UdpSocket),
    Kept(QuicEndpoint),
}

impl ExtraSockets {
    /// None yet.
    pub(super) const fn new(probes: mpsc::Sender<Received>, tasks: QuicTasks) -> Self {
        Self { sockets: Vec::new(), probes, tasks }
    }

    /// Sends from socket `number`.
    ///
    /// # Errors
    /// That of the system, of which a descriptor may be missing.
    pub(super) fn send(&mut self, number: u16, to: SocketAddr, datagram: &[u8]) -> io::Result<()> {
        let index = usize::from(number).checked_sub(1).filter(|index| *index < MAX_EXTRA);
        let index = index.ok_or(io::ErrorKind::InvalidInput)?;
        if index >= self.sockets.len() {
            self.sockets.resize_with(index + 1, || Extra::None);
        }
        let extra = &mut self.sockets[index];
        match extra {
            Extra::None => {
                *extra = Extra::Open(open_with(to, datagram)?);
                Ok(())
            }
            Extra::Open(socket) => socket.try_send_to(datagram, to).map(drop),
            Extra::Kept(endpoint) => endpoint.try_send_to(to, datagram),
        }
    }

    /// The next probe to one that is not kept.
    pub(super) fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Received> {
        for (index, extra) in self.sockets.iter().enumerate() {
            if let Extra::Open(socket) = extra
                && let Poll::Ready((from, probe)) = poll_probe(socket, cx)
            {
                let socket = u16::try_from(index + 1).expect("there are few");
                return Poll::Ready(Received { socket, from, probe });
            }
        }
        Poll::Pending
    }

    /// Keeps socket `number` for QUIC, and gives it; `None` if that cannot be.
    pub(super) fn keep(&mut self, number: u16) -> Option<QuicEndpoint> {
        let extra = self.sockets.get_mut(usize::from(number).checked_sub(1)?)?;
        match std::mem::replace(extra, Extra::None) {
            Extra::Open(socket) => {
                let socket = socket.into_std();
                let kept = socket
                    .and_then(|socket| QuicEndpoint::beside(socket, number, self.probes.clone(), self.tasks.clone()));
                match kept {
                    Ok(endpoint) => *extra = Extra::Kept(endpoint),
                    Err(error) => debug!(%error, "the socket of a way through NATs is lost"),
                }
            }
            other => *extra = other,
        }
        match extra {
            Extra::Kept(endpoint) => Some(endpoint.clone()),
            _ => None,
        }
    }
}

/// One that has sent. Symmetric NATs are those of IPv4.
fn open_with(to: SocketAddr, datagram: &[u8]) -> io::Result<UdpSocket> {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.set_nonblocking(true)?;
    // Before the runtime has it, which does not know at once that it can be written to.
    socket.send_to(datagram, to)?;
    UdpSocket::from_std(socket)
}

/// A probe; everything else is dropped, for nobody has been told of this socket.
fn poll_probe(socket: &UdpSocket, cx: &mut Context<'_>) -> Poll<(SocketAddr, [u8; PROBE_LEN])> {
    loop {
        let mut bytes = [0; PROBE_LEN + 1];
        let mut buffer = ReadBuf::new(&mut bytes);
        // After an error the system has the next one, or nothing.
        let Ok(from) = ready!(socket.poll_recv_from(cx, &mut buffer)) else { continue };
        if let Ok(probe) = buffer.filled().try_into() {
            return Poll::Ready((from, probe));
        }
    }
}
