//! The sockets of one node.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::tasks::QuicTasks;
use super::{Punch, QuicEndpoint, QuicListener};
use crate::transport::udp::LentSocket;

/// Ways through NATs by sockets of their own that are known at once.
const MAX_WAYS: usize = 16;

/// Time in which such a way is dialled, or comes in. Routers forget it soon if nobody does.
pub(crate) const WAY_LIFETIME: Duration = Duration::from_secs(20);

/// Every socket that a node has for QUIC. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct QuicSockets {
    open: Arc<Mutex<Open>>,
    tasks: QuicTasks,
}

#[derive(Debug)]
struct Open {
    /// QUIC is spoken, and the node is not stopping.
    is_wanted: bool,
    /// Where others come in, which is used for dialling too.
    listening: Vec<QuicEndpoint>,
    /// For dialling alone: opened by the first who needs it.
    dialling: Option<QuicEndpoint>,
    /// Ways through NATs by sockets of their own, the newest last.
    ways: VecDeque<Way>,
    /// Takes sockets at which others come in later.
    newcomers: Option<mpsc::Sender<QuicListener>>,
}

/// A way to `remote`, by a socket that was opened for it.
#[derive(Debug)]
struct Way {
    remote: SocketAddr,
    by: QuicEndpoint,
    since: Instant,
}

/// Where others come in.
#[derive(Debug)]
pub(crate) struct QuicListening {
    listeners: Vec<QuicListener>,
    newcomers: mpsc::Receiver<QuicListener>,
}

impl QuicSockets {
    /// None yet; if it `is_wanted`, what connections need beside their users will be a task of
    /// `tasks`.
    pub(crate) fn new(is_wanted: bool, tasks: TaskTracker) -> Self {
        Self { open: Arc::new(Mutex::new(Open::new(is_wanted))), tasks: QuicTasks::new(tasks) }
    }

    /// Whether QUIC is spoken.
    pub(crate) fn is_there(&self) -> bool {
        self.lock().is_wanted
    }

    /// Lets others in at `addrs` over UDP, at another port where that one is taken. Without a
    /// socket TCP is all there is.
    pub(crate) fn listen(&self, addrs: &[SocketAddr]) -> QuicListening {
        let bind = |addr: &SocketAddr| {
            let next = |error| {
                debug!(%addr, %error, "another UDP port is used");
                QuicEndpoint::bind(Some(SocketAddr::new(addr.ip(), 0)), self.tasks.clone())
            };
            let bound = QuicEndpoint::bind(Some(*addr), self.tasks.clone()).or_else(next);
            bound.inspect_err(|error| warn!(%addr, %error, "no UDP socket: not reached over QUIC")).ok()
        };
        let mut open = self.lock();
        let endpoints: Vec<_> = addrs.iter().filter(|_| open.is_wanted).filter_map(bind).collect();
        open.listening.extend(endpoints.iter().cloned());
        let (sender, newcomers) = mpsc::channel(MAX_WAYS);
        open.newcomers = Some(sender);
        QuicListening { listeners: endpoints.into_iter().map(QuicListener::new).collect(), newcomers }
    }

    /// Lets in who is heard by `punch` at a socket that was opened for it.
    pub(crate) fn serve(&self, mut punch: Punch) {
        let open = Arc::downgrade(&self.open);
        self.tasks.node.spawn(async move {
            while let Some(opened) = punch.opened().await {
                let Some(by) = opened.by else { continue };
                let newcomers = open.upgrade().and_then(|open| lock(&open).newcomers.clone());
                // Full when nobody accepts; then the caller tries again.
                if let Some(Ok(place)) = newcomers.as_ref().map(mpsc::Sender::try_reserve) {
                    place.send(QuicListener::new(by));
                }
            }
        });
    }

    /// Notes that a way to `remote` is open by a socket of its own, from which it is dialled then.
    pub(crate) fn way(&self, remote: SocketAddr, by: QuicEndpoint) {
        let mut open = self.lock();
        if open.is_wanted {
            open.ways.retain(|way| way.remote != remote);
            open.ways.push_back(Way { remote, by, since: Instant::now() });
            if open.ways.len() > MAX_WAYS {
                open.ways.pop_front();
            }
        }
    }

    /// The socket from which `to` is dialled.
    ///
    /// # Errors
    /// That of the system; or QUIC is not spoken.
    pub(crate) fn dialling(&self, to: SocketAddr) -> io::Result<QuicEndpoint> {
        let mut open = self.lock();
        if !open.is_wanted {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let reaches = |endpoint: &&QuicEndpoint| endpoint.local_addr().is_ok_and(|at| can_reach(at, to));
        if let Some(endpoint) = open.listening.iter().chain(&open.dialling).find(reaches) {
            return Ok(endpoint.clone());
        }
        let endpoint = QuicEndpoint::bind(None, self.tasks.clone())?;
        open.dialling = Some(endpoint.clone());
        Ok(endpoint)
    }

    /// The same, or the socket by which a way there was just made.
    ///
    /// # Errors
    /// As [`dialling`](Self::dialling).
    pub(crate) fn towards(&self, to: SocketAddr) -> io::Result<QuicEndpoint> {
        let way = {
            let mut open = self.lock();
            open.ways.retain(|way| way.since.elapsed() < WAY_LIFETIME);
            open.ways.iter().find(|way| way.remote == to).map(|way| way.by.clone())
        };
        way.map_or_else(|| self.dialling(to), Ok)
    }

    /// Sockets that the DHT may use: those where others come in from anywhere. One on a chosen
    /// address serves a part of the network, and is left to QUIC.
    pub(crate) fn lent(&self) -> Vec<Arc<dyn LentSocket>> {
        let is_everywhere = |endpoint: &&QuicEndpoint| endpoint.local_addr().is_ok_and(|at| at.ip().is_unspecified());
        let open = self.lock();
        open.listening.iter().filter(is_everywhere).map(|endpoint| Arc::new(endpoint.clone()) as _).collect()
    }

    /// Notes that this computer has moved to another network.
    pub(crate) fn moved(&self) {
        let open = self.lock();
        open.listening.iter().chain(&open.dialling).for_each(QuicEndpoint::moved);
    }

    /// Lets go of the sockets. Each is closed when its last connection has ended.
    pub(crate) fn close(&self) {
        *self.lock() = Open::new(false);
    }

    /// Returns, behind [`close`](Self::close), when connections that have ended have said so.
    pub(crate) async fn said_goodbye(&self) {
        self.tasks.said_goodbye().await;
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        lock(&self.open)
    }
}

fn lock(open: &Mutex<Open>) -> MutexGuard<'_, Open> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Open {
    const fn new(is_wanted: bool) -> Self {
        Self { is_wanted, listening: Vec::new(), dialling: None, ways: VecDeque::new(), newcomers: None }
    }
}

impl QuicListening {
    /// Where that is.
    pub(crate) fn addrs(&self) -> Vec<SocketAddr> {
        self.listeners.iter().flat_map(QuicListener::local_addr).collect()
    }

    /// Where others come in from now on, and what brings more such places. The latter are for those
    /// who were called: who comes there does so within [`WAY_LIFETIME`].
    pub(crate) fn into_parts(self) -> (Vec<QuicListener>, mpsc::Receiver<QuicListener>) {
        (self.listeners, self.newcomers)
    }
}

/// Whether a socket that is bound to `at` reaches `to`, wherever that is.
fn can_reach(at: SocketAddr, to: SocketAddr) -> bool {
    at.ip().is_unspecified() && (at.is_ipv6() || to.is_ipv4())
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;
    use crate::session::v2;
    use crate::tls::identity::Identity;
    use crate::tls::sni;
    use crate::transport::{Target, Transport};

    #[tokio::test]
    async fn who_listens_everywhere_dials_from_there_and_others_from_a_socket_of_their_own() {
        let (everywhere, here) =
            (QuicSockets::new(true, TaskTracker::new()), QuicSockets::new(true, TaskTracker::new()));
        let at = everywhere.listen(&["0.0.0.0:0".parse().unwrap()]);
        let to = "192.0.2.1:7008".parse().unwrap();
        assert_eq!(everywhere.dialling(to).unwrap().local_addr().unwrap(), at.addrs()[0]);
        let at = here.listen(&["127.0.0.1:0".parse().unwrap()]);
        let dialling = here.dialling(to).unwrap().local_addr().unwrap();
        assert_ne!(dialling, at.addrs()[0]);
        assert_eq!(here.dialling(to).unwrap().local_addr().unwrap(), dialling, "the same for all");
    }

    #[tokio::test]
    async fn where_quic_is_not_spoken_and_behind_the_end_there_is_no_socket() {
        let (off, over) = (QuicSockets::new(false, TaskTracker::new()), QuicSockets::new(true, TaskTracker::new()));
        over.close();
        for sockets in [off, over] {
            assert!(sockets.listen(&["127.0.0.1:0".parse().unwrap()]).addrs().is_empty());
            assert!(sockets.dialling("192.0.2.1:7008".parse().unwrap()).is_err() && !sockets.is_there());
        }
    }

    #[tokio::test]
    async fn a_stop_waits_for_no_connection_that_is_over_and_has_said_so() {
        let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let sockets = QuicSockets::new(true, TaskTracker::new());
        let at = silent.local_addr().unwrap();
        let endpoint = sockets.dialling(at).unwrap();
        let identity = Identity::ephemeral().unwrap();
        let name = sni::server_name(identity.key).unwrap();
        let tls = v2::client_tls(identity.key, true);
        let target = Target { key: identity.key, tls, name, pseudonym: None, pass: None };
        let dialling = endpoint.connect(&at, &target);
        assert!(timeout(Duration::from_millis(50), dialling).await.is_err());
        drop(endpoint);
        sockets.close();
        sockets.tasks.node.close();
        timeout(Duration::from_millis(400), sockets.tasks.node.wait()).await.expect("the node's own tasks end at once");
        assert!(!sockets.tasks.drivers.is_empty(), "it goes on for three timeouts of 300 ms");
        sockets.said_goodbye().await;
    }

    #[tokio::test]
    async fn a_taken_port_gives_another_one() {
        let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let _held = std::net::UdpSocket::bind(taken).unwrap();
        let at = QuicSockets::new(true, TaskTracker::new()).listen(&[taken]).addrs();
        assert!(at.len() == 1 && at[0].port() != taken.port());
    }
}
