//! One socket for QUIC, for probes of those who make a way through NATs, and for the DHT.
//!
//! What comes is sorted by its first byte ([`owner`]). Probes go to a task that runs the attempts,
//! messages of the DHT to whoever drives our node of it.

use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use hardline_proto::punch::{Attempt, Attempts, Event, MAX_OPENED, Owner, PROBE_LEN, owner};
use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, trace};

use crate::transport::udp::Datagram;

/// Longest datagram taken for the DHT, in bytes. Its nodes send 1,280 at most.
const MAX_DHT_DATAGRAM: usize = 1500;

/// Probes that wait to be looked at. Those beyond are lost, as on any network.
const MAX_WAITING: usize = 64;

/// Attempts that wait to be begun.
const MAX_BEGUN: usize = 16;

/// A probe as it came, and from where.
type Received = (SocketAddr, [u8; PROBE_LEN]);

/// An attempt, and who is told what it opens. Without anybody it goes on to its end.
type Begun = (Attempt, Option<mpsc::Sender<SocketAddr>>);

/// Shows QUIC what is for QUIC.
pub(super) struct SharedSocket {
    inner: Arc<dyn AsyncUdpSocket>,
    probes: mpsc::Sender<Received>,
    dht: Mutex<Option<mpsc::Sender<Datagram>>>,
    /// Datagrams for the DHT that found no room.
    lost: AtomicU64,
}

/// Hands attempts to the task of a socket, which ends with the last of these.
#[derive(Debug, Clone)]
pub(super) struct Probing(mpsc::Sender<Begun>);

/// An attempt under way. Dropping it ends the attempt.
#[derive(Debug)]
pub(crate) struct Punch(mpsc::Receiver<SocketAddr>);

impl Punch {
    /// The next address at which the other side was heard; `None` when the time is over, or too
    /// many attempts are under way. Cancel safe.
    pub(crate) async fn opened(&mut self) -> Option<SocketAddr> {
        self.0.recv().await
    }
}

impl Probing {
    /// Shares `socket`: QUIC gets what the first part shows, and the last part is the task.
    pub(super) fn share(socket: Arc<dyn AsyncUdpSocket>) -> (Arc<SharedSocket>, Self, impl Future<Output = ()>) {
        let (probes, received) = mpsc::channel(MAX_WAITING);
        let (begun, begin) = mpsc::channel(MAX_BEGUN);
        let (dht, lost) = (Mutex::default(), AtomicU64::new(0));
        let shared = Arc::new(SharedSocket { inner: Arc::clone(&socket), probes, dht, lost });
        (shared, Self(begun), run(socket, received, begin))
    }

    /// Begins an attempt.
    pub(super) fn punch(&self, attempt: Attempt) -> Punch {
        let (sender, opened) = mpsc::channel(MAX_OPENED);
        self.begin((attempt, Some(sender)));
        Punch(opened)
    }

    /// Begins an attempt whose outcome shows elsewhere.
    pub(super) fn answer(&self, attempt: Attempt) {
        self.begin((attempt, None));
    }

    fn begin(&self, begun: Begun) {
        if self.0.try_send(begun).is_err() {
            debug!("too many attempts to get through NATs at once");
        }
    }
}

/// Runs attempts until nobody can begin another.
async fn run(
    socket: Arc<dyn AsyncUdpSocket>,
    mut received: mpsc::Receiver<Received>,
    mut begin: mpsc::Receiver<Begun>,
) {
    let mut attempts = Attempts::default();
    loop {
        let deadline = attempts.poll_timeout().map(Instant::from_std);
        tokio::select! {
            begun = begin.recv() => match begun {
                Some((attempt, told)) => {
                    if attempts.add(attempt, told).is_err() {
                        debug!("too many attempts to get through NATs under way");
                    }
                }
                None => return,
            },
            Some((from, probe)) = received.recv() => {
                attempts.handle_datagram(0, from, &probe);
            }
            () = at(deadline) => attempts.handle_timeout(Instant::now().into_std()),
        }
        attempts.remove(|told| told.as_ref().is_some_and(mpsc::Sender::is_closed));
        flush(&socket, &mut attempts);
    }
}

/// Sends what is to be sent and tells what is to be told.
fn flush(socket: &Arc<dyn AsyncUdpSocket>, attempts: &mut Attempts<Option<mpsc::Sender<SocketAddr>>>) {
    let is_v6 = is_v6(&**socket);
    while let Some((transmit, _)) = attempts.poll_transmit() {
        let probe = transmission(is_v6, transmit.to, &transmit.datagram);
        // A failure is a lost datagram, which is repeated.
        if let Err(error) = socket.try_send(&probe) {
            trace!(to = %transmit.to, %error, "probe not sent");
        }
    }
    while let Some((event, told)) = attempts.poll_event() {
        match event {
            Event::Open { remote, .. } => {
                debug!(%remote, "a way through NATs");
                // Has room for all that there can be.
                let _ = told.as_ref().map(|told| told.try_send(remote));
            }
            Event::GaveUp => debug!("no way through NATs"),
        }
    }
}

async fn at(when: Option<Instant>) {
    match when {
        Some(when) => sleep_until(when).await,
        None => std::future::pending().await,
    }
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
        let mut poller = None;
        loop {
            match self.inner.try_send(&transmit) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                sent => return sent,
            }
            let poller = poller.get_or_insert_with(|| Arc::clone(&self.inner).create_io_poller());
            poll_fn(|cx| poller.as_mut().poll_writable(cx)).await?;
        }
    }

    fn pass_on(&self, from: SocketAddr, datagram: &[u8]) {
        let from = SocketAddr::new(from.ip().to_canonical(), from.port());
        match owner(datagram) {
            Owner::Probe => {
                if let Ok(probe) = datagram.try_into() {
                    // Full when the task does not keep up.
                    let _ = self.probes.try_send((from, probe));
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
