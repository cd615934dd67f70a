//! One socket for QUIC, for probes of those who make a way through NATs, and for the DHT.
//!
//! What comes is sorted by its first byte ([`owner`]). Probes go to a task that runs the attempts,
//! messages of the DHT to whoever drives our node of it.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use hardline_proto::punch::{Owner, PROBE_LEN, owner};
use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use crate::transport::udp::Datagram;

/// Longest datagram taken for the DHT, in bytes. Its nodes send 1,280 at most.
const MAX_DHT_DATAGRAM: usize = 1500;

/// Addresses kept of those that probes were sent to: two attempts with many datagrams.
const MAX_PROBED: usize = 2048;

/// A probe as it came.
#[derive(Debug)]
pub(super) struct Received {
    /// The socket it came to: 0 is the one that everybody knows.
    pub(super) socket: u16,
    pub(super) from: SocketAddr,
    pub(super) probe: [u8; PROBE_LEN],
}

/// Shows QUIC what is for QUIC.
pub(super) struct SharedSocket {
    inner: Arc<dyn AsyncUdpSocket>,
    /// Its number among those of an attempt.
    number: u16,
    probes: mpsc::Sender<Received>,
    dht: Mutex<Option<mpsc::Sender<Datagram>>>,
    /// Datagrams for the DHT that found no room.
    lost: AtomicU64,
    /// Where probes were sent that answer calls, the last at the end.
    probed: Mutex<VecDeque<SocketAddr>>,
}

fn is_v6(socket: &dyn AsyncUdpSocket) -> bool {
    socket.local_addr().is_ok_and(|at| at.is_ipv6())
}

fn transmission(is_v6: bool, to: SocketAddr, contents: &[u8]) -> Transmit<'_> {
    let destination = if is_v6 { mapped(to) } else { to };
    Transmit { destination, ecn: None, contents, segment_size: None, src_ip: None }
}

/// As a socket of both families wants it.
fn mapped(addr: SocketAddr) -> SocketAddr {
    match addr.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), addr.port()),
        IpAddr::V6(_) => addr,
    }
}

impl AsyncUdpSocket for SharedSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Arc::clone(&self.inner).create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.inner.try_send(transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let received = self.inner.poll_recv(cx, buffers, metas);
        if let Poll::Ready(Ok(count)) = received {
            for (buffer, meta) in buffers.iter_mut().zip(metas).take(count) {
                meta.len = sort(buffer, meta.len, meta.stride, |datagram| self.pass_on(meta.addr, datagram));
            }
        }
        received
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.inner.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.inner.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.inner.may_fragment()
    }
}

impl SharedSocket {
    /// Shares `inner`, which is socket `number` of attempts; their probes go to `probes`.
    pub(super) fn new(inner: Arc<dyn AsyncUdpSocket>, number: u16, probes: mpsc::Sender<Received>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            number,
            probes,
            dht: Mutex::default(),
            lost: AtomicU64::new(0),
            probed: Mutex::default(),
        })
    }

    /// Sends, or loses it where the system has no room.
    pub(super) fn try_send_to(&self, to: SocketAddr, payload: &[u8]) -> io::Result<()> {
        self.inner.try_send(&transmission(is_v6(&*self.inner), to, payload))
    }

    /// Notes that who has called is sent a probe at `to`.
    pub(super) fn note_probed(&self, to: SocketAddr) {
        let mut probed = self.probed.lock().unwrap_or_else(PoisonError::into_inner);
        if probed.contains(&to) {
            return;
        }
        if probed.len() >= MAX_PROBED {
            probed.pop_front();
        }
        probed.push_back(to);
    }

    /// Whether a probe went there that answers a call, by this socket or because of it.
    pub(super) fn has_probed(&self, addr: SocketAddr) -> bool {
        let addr = SocketAddr::new(addr.ip().to_canonical(), addr.port());
        self.number != 0 || self.probed.lock().unwrap_or_else(PoisonError::into_inner).contains(&addr)
    }

    /// Hands over what comes for the DHT from now on.
    pub(super) fn deliver_dht(&self, to: mpsc::Sender<Datagram>) {
        *self.dht.lock().unwrap_or_else(PoisonError::into_inner) = Some(to);
    }

    /// Datagrams for the DHT that found no room.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Sends as soon as the system's buffer has room.
    pub(super) async fn send(&self, to: SocketAddr, payload: &[u8]) -> io::Result<()> {
        let transmit = transmission(is_v6(&*self.inner), to, payload);
        loop {
            match self.inner.try_send(&transmit) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable().await?,
                sent => return sent,
            }
        }
    }

    /// Waits until there is room in the system's buffer. The runtime does not know so of a socket
    /// that was just opened.
    pub(super) async fn writable(&self) -> io::Result<()> {
        let mut poller = Arc::clone(&self.inner).create_io_poller();
        poll_fn(|cx| poller.as_mut().poll_writable(cx)).await
    }

    fn pass_on(&self, from: SocketAddr, datagram: &[u8]) {
        let from = SocketAddr::new(from.ip().to_canonical(), from.port());
        match owner(datagram) {
            Owner::Probe => {
                if let Ok(probe) = datagram.try_into() {
                    // Full when the task does not keep up.
                    let _ = self.probes.try_send(Received { socket: self.number, from, probe });
                }
            }
            Owner::Dht => self.pass_to_dht(from, datagram),
            Owner::Quic | Owner::Nobody => {}
        }
    }

    fn pass_to_dht(&self, from: SocketAddr, datagram: &[u8]) {
        let dht = self.dht.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(to) = &*dht else { return };
        let is_taken = datagram.len() <= MAX_DHT_DATAGRAM;
        match to.try_reserve() {
            Ok(place) if is_taken => place.send((from, datagram.into())),
            // The node has ended.
            Err(TrySendError::Closed(())) => {}
            Ok(_) | Err(TrySendError::Full(())) => {
                self.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

impl fmt::Debug for SharedSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedSocket")
    }
}

/// Takes what is not QUIC's out of `len` bytes, which are datagrams of `stride` bytes, the last of
/// them maybe shorter. Returns how many bytes are left, at the front.
fn sort(bytes: &mut [u8], len: usize, stride: usize, mut other: impl FnMut(&[u8])) -> usize {
    let (mut kept, mut start) = (0, 0);
    while start < len {
        let end = len.min(start + stride.max(1));
        let datagram = bytes.get(start..end).unwrap_or_default();
        if owner(datagram) == Owner::Quic {
            if kept != start {
                bytes.copy_within(start..end, kept);
            }
            kept += end - start;
        } else {
            other(datagram);
        }
        start = end;
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is kept of datagrams of `stride` bytes, and what is not.
    fn sorted(mut bytes: Vec<u8>, stride: usize) -> (Vec<u8>, Vec<Vec<u8>>) {
        let mut others = Vec::new();
        let len = bytes.len();
        let kept = sort(&mut bytes, len, stride, |datagram| others.push(datagram.to_vec()));
        bytes.truncate(kept);
        (bytes, others)
    }

    /// The kernel joins datagrams of one source, and a probe may come with packets of QUIC.
    #[test]
    fn what_is_not_quic_is_taken_out_wherever_it_stands() {
        let (quic, other) = (vec![0x40, 1, 2], vec![0x0b, 1, 2]);
        assert_eq!(sorted(quic.clone(), 3), (quic.clone(), vec![]));
        assert_eq!(sorted(other.clone(), 3), (vec![], vec![other.clone()]));
        let mixed = [other.clone(), vec![0xc0, 3, 4], other.clone(), quic.clone(), vec![0x0b]].concat();
        let (kept, others) = sorted(mixed, 3);
        assert_eq!(kept, [vec![0xc0, 3, 4], quic].concat());
        assert_eq!(others, [other.clone(), other, vec![0x0b]]);
        assert_eq!(sorted(vec![], 0), (vec![], vec![]));
    }
}
