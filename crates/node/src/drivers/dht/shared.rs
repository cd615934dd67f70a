//! One DHT node for all parts of a program, started by its first use and stopped some time after
//! its last.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use hardline_proto::punch::Mapping;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info};

use super::proxy::client::{ProxyClient, ProxyError};
use super::{Dht, DhtConfig, DhtStatus};
use crate::config::{DEFAULT_DHT_PORT, DhtSettings};
use crate::network::NetworkMonitor;
use crate::store::Store;
use crate::transport::udp::LentSocket;

/// Time without use after which the node is stopped. Somebody who opens one service often opens
/// another soon, and finds the network entered.
pub const IDLE: Duration = Duration::from_secs(3 * 60);

/// Gives sockets of QUIC.
type Lender = Box<dyn Fn() -> Vec<Arc<dyn LentSocket>> + Send + Sync>;

/// The DHT node of this program, if it runs, and how to start it.
///
/// Nothing is sent before the first use, and nothing some minutes after the last: see
/// [`SharedDht::use_now`].
pub struct SharedDht {
    config: DhtConfig,
    /// Whether there may be a node at all, beside proxies.
    has_node: bool,
    /// The port of a node that takes part in the network, if it is to have one of its own.
    port: Option<u16>,
    /// Sockets of QUIC, as far as there are some when the node starts.
    lender: OnceLock<Lender>,
    takes_part: AtomicBool,
    store: Option<Store>,
    network: NetworkMonitor,
    proxies: ProxyClient,
    public: watch::Sender<Vec<IpAddr>>,
    sighted: watch::Sender<Vec<SocketAddr>>,
    running: Mutex<Option<Arc<Running>>>,
    /// Held while the node is being started.
    starting: tokio::sync::Mutex<()>,
    shutdown: CancellationToken,
    tasks: TaskTracker,
}

/// A node that runs, with who uses it.
#[derive(Debug)]
struct Running {
    dht: Arc<Dht>,
    /// Whether it only asks.
    is_client: bool,
    uses: Mutex<Uses>,
    stop: CancellationToken,
}

#[derive(Debug)]
struct Uses {
    now: usize,
    last: Instant,
    /// Whether another node has taken its place: it ends with its last use.
    is_replaced: bool,
}

impl fmt::Debug for SharedDht {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedDht").field("running", &self.running).finish_non_exhaustive()
    }
}

impl SharedDht {
    /// Prepares a node; nothing is sent. One that `publishes` takes part in the network and uses
    /// the port of the settings; another one only asks. Good nodes are remembered in `store`, for
    /// the public network only. Everything ends on `shutdown`.
    ///
    /// # Errors
    /// [`ProxyError::BadUrl`].
    pub fn new(
        settings: &DhtSettings,
        publishes: bool,
        store: Option<Store>,
        network: NetworkMonitor,
        shutdown: CancellationToken,
    ) -> Result<Arc<Self>, ProxyError> {
        let config = DhtConfig {
            port: 0,
            bind: settings.bind.clone(),
            bootstrap: settings.bootstrap.clone(),
            network: settings.network,
            client: true,
            rates: settings.rates,
        };
        Ok(Arc::new(Self {
            store: store.filter(|_| settings.network == 0),
            network,
            config,
            has_node: settings.node,
            port: settings.port,
            lender: OnceLock::new(),
            takes_part: AtomicBool::new(publishes),
            proxies: ProxyClient::new(&settings.proxies)?,
            public: watch::Sender::default(),
            sighted: watch::Sender::default(),
            running: Mutex::default(),
            starting: tokio::sync::Mutex::default(),
            shutdown,
            tasks: TaskTracker::new(),
        }))
    }

    /// The node, started if it does not run. It goes on at least as long as what this returns is
    /// kept. Where a node takes part now and only a client runs, one that takes part is started in
    /// its place; the client goes on until its last use is over. Cancel safe.
    ///
    /// # Errors
    /// When no UDP socket can be had, the settings want no node, or the program is stopping.
    pub async fn use_now(self: &Arc<Self>) -> io::Result<DhtUse> {
        if let Some(running) = self.join() {
            return Ok(running);
        }
        let _starting = self.starting.lock().await;
        if let Some(running) = self.join() {
            return Ok(running);
        }
        if !self.has_node {
            return Err(io::Error::other("proxies alone are asked, as set"));
        }
        if self.shutdown.is_cancelled() {
            return Err(io::Error::other("stopping"));
        }
        let (stop, mut config) = (self.shutdown.child_token(), self.config.clone());
        config.client = !self.takes_part.load(Ordering::Relaxed);
        if !config.client {
            config.port = self.port.unwrap_or(DEFAULT_DHT_PORT);
        }
        let is_client = config.client;
        let dht = Dht::start_at(self.borrowed(is_client), config, self.store.clone(), stop.clone()).await?;
        info!(addrs = ?dht.status().bound, client = is_client, "DHT node started");
        let uses = Mutex::new(Uses { now: 0, last: Instant::now(), is_replaced: false });
        let running = Arc::new(Running { dht, is_client, uses, stop });
        let first = running.enter();
        if let Some(replaced) = self.running().replace(Arc::clone(&running)) {
            replaced.replace();
        }
        self.tasks.spawn(Arc::clone(self).look_after(running));
        Ok(first)
    }

    /// Has a node that takes part use the sockets that `lender` gives when it starts, unless the
    /// settings name a port or addresses for it. Only the first lender counts.
    pub(crate) fn borrow_from(&self, lender: impl Fn() -> Vec<Arc<dyn LentSocket>> + Send + Sync + 'static) {
        let _ = self.lender.set(Box::new(lender));
    }

    /// The sockets that a node is to use instead of its own. One that only asks has no use for
    /// them: nobody names it, so nobody would tell it where QUIC is seen.
    fn borrowed(&self, is_client: bool) -> Vec<Arc<dyn LentSocket>> {
        let has_own = is_client || self.port.is_some() || !self.config.bind.is_empty();
        self.lender.get().filter(|_| !has_own).map(|lender| lender()).unwrap_or_default()
    }

    /// Lets the node take part in the network, for something is to be published now.
    pub fn take_part(&self) {
        self.takes_part.store(true, Ordering::Relaxed);
    }

    /// Whether there may be a node at all, beside proxies.
    #[must_use]
    pub fn has_node(&self) -> bool {
        self.has_node
    }

    /// Proxies that answer in the node's place.
    #[must_use]
    pub fn proxies(&self) -> &ProxyClient {
        &self.proxies
    }

    /// What the node is doing; `None` when it does not run.
    #[must_use]
    pub fn status(&self) -> Option<DhtStatus> {
        self.running().as_ref().map(|running| running.dht.status())
    }

    /// Public addresses of this computer as other nodes agree, live. They are kept when the node
    /// stops.
    #[must_use]
    pub fn public_addresses(&self) -> watch::Receiver<Vec<IpAddr>> {
        self.public.subscribe()
    }

    /// Where other nodes see the socket of QUIC, port and all, live. Only a node that takes part,
    /// by that socket, learns it.
    #[must_use]
    pub fn sighted(&self) -> watch::Receiver<Vec<SocketAddr>> {
        self.sighted.subscribe()
    }

    /// What the router in front of this computer does, as far as other nodes have shown. Nobody
    /// shows a node that only asks.
    #[must_use]
    pub fn mapping(&self) -> Mapping {
        self.status().map(|status| status.mapping_v4).unwrap_or_default()
    }

    /// Asks a node of the network where it sees this computer, if our node runs.
    pub fn check_address(&self) {
        if let Some(running) = &*self.running() {
            running.dht.check_address();
        }
    }

    /// Waits until everything has ended, after `shutdown`. Cancel safe.
    pub async fn stopped(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn running(&self) -> MutexGuard<'_, Option<Arc<Running>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The node, if it runs and is of the kind that is wanted.
    fn join(&self) -> Option<DhtUse> {
        let running = self.running();
        let fits = |running: &&Arc<Running>| !(running.is_client && self.takes_part.load(Ordering::Relaxed));
        running.as_ref().filter(fits).map(Running::enter)
    }

    /// Passes on what the node learns, and stops it when nobody has used it for a while.
    async fn look_after(self: Arc<Self>, running: Arc<Running>) {
        let Running { dht, stop, .. } = &*running;
        let mut status = dht.watch();
        let mut network = self.network.watch();
        let mut generation = network.borrow_and_update().generation;
        while !stop.is_cancelled() {
            tokio::select! {
                () = stop.cancelled() => {}
                // Fails when the driver has ended; that is on `stop`.
                Ok(()) = status.changed() => self.pass_on(&status.borrow_and_update()),
                Ok(()) = network.changed() => {
                    let now = network.borrow_and_update().generation;
                    if now != generation {
                        generation = now;
                        dht.network_changed();
                    }
                }
                () = sleep_until(running.idle_at()) => {
                    if self.retire(&running) {
                        stop.cancel();
                        debug!("DHT node stopped, nobody uses it");
                    }
                }
            }
        }
        self.forget(&running);
        dht.stopped().await;
    }

    /// Passes on what a node has learned of this computer.
    fn pass_on(&self, status: &DhtStatus) {
        self.public.send_if_modified(|known| {
            let is_news = !status.public.is_empty() && *known != status.public;
            if is_news {
                known.clone_from(&status.public);
            }
            is_news
        });
        if status.is_at_quic {
            self.sighted.send_if_modified(|known| {
                let is_news = *known != status.agreed;
                known.clone_from(&status.agreed);
                is_news
            });
        }
    }

    /// Takes an ended node away from those to come.
    fn forget(&self, ended: &Arc<Running>) {
        self.running().take_if(|running| Arc::ptr_eq(running, ended));
    }

    /// Takes the node away from those to come, unless somebody uses it or just has.
    fn retire(&self, node: &Arc<Running>) -> bool {
        // Held meanwhile: nobody enters by it.
        let mut running = self.running();
        let is_idle = node.uses().now == 0 && node.idle_at() <= Instant::now();
        if is_idle {
            running.take_if(|running| Arc::ptr_eq(running, node));
        }
        is_idle
    }
}

impl Running {
    fn enter(self: &Arc<Self>) -> DhtUse {
        self.uses().now += 1;
        DhtUse(Arc::clone(self))
    }

    /// Another node has taken its place; what is under way here goes on.
    fn replace(&self) {
        let mut uses = self.uses();
        uses.is_replaced = true;
        if uses.now == 0 {
            self.stop.cancel();
        }
    }

    /// When it has been idle for long enough, if nobody uses it until then.
    fn idle_at(&self) -> Instant {
        let uses = self.uses();
        if uses.now > 0 { Instant::now() + IDLE } else { uses.last + IDLE }
    }

    fn uses(&self) -> MutexGuard<'_, Uses> {
        self.uses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody's use of the node, which goes on as long as this is kept.
#[derive(Debug)]
pub struct DhtUse(Arc<Running>);

impl Deref for DhtUse {
    type Target = Dht;

    fn deref(&self) -> &Dht {
        &self.0.dht
    }
}

impl Drop for DhtUse {
    fn drop(&mut self) {
        let mut uses = self.0.uses();
        uses.now -= 1;
        uses.last = Instant::now();
        if uses.is_replaced && uses.now == 0 {
            self.0.stop.cancel();
        }
    }
}
