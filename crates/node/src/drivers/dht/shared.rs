//! One DHT node for all parts of a program, started by its first use and stopped some time after
//! its last.

use std::io;
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info};

use super::proxy::client::{ProxyClient, ProxyError};
use super::{Dht, DhtConfig, DhtStatus};
use crate::config::DhtSettings;
use crate::network::NetworkMonitor;
use crate::store::Store;

/// Time without use after which the node is stopped. Somebody who opens one service often opens
/// another soon, and finds the network entered.
pub const IDLE: Duration = Duration::from_secs(3 * 60);

/// The DHT node of this program, if it runs, and how to start it.
///
/// Nothing is sent before the first use, and nothing some minutes after the last: see
/// [`SharedDht::use_now`].
#[derive(Debug)]
pub struct SharedDht {
    config: DhtConfig,
    /// The port of a node that takes part in the network.
    port: u16,
    takes_part: AtomicBool,
    store: Option<Store>,
    network: NetworkMonitor,
    proxies: ProxyClient,
    public: watch::Sender<Vec<IpAddr>>,
    state: Mutex<State>,
    /// Held while the node is being started.
    starting: tokio::sync::Mutex<()>,
    shutdown: CancellationToken,
    tasks: TaskTracker,
}

#[derive(Debug)]
struct State {
    running: Option<Arc<Dht>>,
    uses: usize,
    last_use: Instant,
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
            port: settings.port,
            takes_part: AtomicBool::new(publishes),
            proxies: ProxyClient::new(&settings.proxies)?,
            public: watch::Sender::default(),
            state: Mutex::new(State { running: None, uses: 0, last_use: Instant::now() }),
            starting: tokio::sync::Mutex::default(),
            shutdown,
            tasks: TaskTracker::new(),
        }))
    }

    /// The node, started if it does not run. It goes on at least as long as what this returns is
    /// kept. Cancel safe.
    ///
    /// # Errors
    /// When no UDP socket can be had, or the program is stopping.
    pub async fn use_now(self: &Arc<Self>) -> io::Result<DhtUse> {
        if let Some(running) = self.join() {
            return Ok(running);
        }
        let _starting = self.starting.lock().await;
        if let Some(running) = self.join() {
            return Ok(running);
        }
        if self.shutdown.is_cancelled() {
            return Err(io::Error::other("stopping"));
        }
        let stop = self.shutdown.child_token();
        let mut config = self.config.clone();
        if self.takes_part.load(Ordering::Relaxed) {
            (config.port, config.client) = (self.port, false);
        }
        let client = config.client;
        let dht = Dht::start(config, self.store.clone(), stop.clone()).await?;
        info!(addrs = ?dht.status().bound, client, "DHT node started");
        self.tasks.spawn(Arc::clone(self).look_after(Arc::clone(&dht), stop));
        let mut state = self.state();
        state.running = Some(Arc::clone(&dht));
        state.uses += 1;
        Ok(DhtUse { dht, shared: Arc::clone(self) })
    }

    /// Lets the node take part in the network, for something is to be published now. One that runs
    /// as a mere client goes on as one, and publishes all the same, until it has been idle.
    pub fn take_part(&self) {
        self.takes_part.store(true, Ordering::Relaxed);
    }

    /// Proxies that answer in the node's place.
    #[must_use]
    pub fn proxies(&self) -> &ProxyClient {
        &self.proxies
    }

    /// What the node is doing; `None` when it does not run.
    #[must_use]
    pub fn status(&self) -> Option<DhtStatus> {
        self.state().running.as_ref().map(|dht| dht.status())
    }

    /// Public addresses of this computer as other nodes agree, live. They are kept when the node
    /// stops.
    #[must_use]
    pub fn public_addresses(&self) -> watch::Receiver<Vec<IpAddr>> {
        self.public.subscribe()
    }

    /// Waits until everything has ended, after `shutdown`. Cancel safe.
    pub async fn stopped(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The node, if it runs.
    fn join(self: &Arc<Self>) -> Option<DhtUse> {
        let mut state = self.state();
        let dht = Arc::clone(state.running.as_ref()?);
        state.uses += 1;
        Some(DhtUse { dht, shared: Arc::clone(self) })
    }

    /// Passes on what the node learns, and stops it when nobody has used it for a while.
    async fn look_after(self: Arc<Self>, dht: Arc<Dht>, stop: CancellationToken) {
        let mut status = dht.watch();
        let mut network = self.network.watch();
        let mut generation = network.borrow_and_update().generation;
        while !stop.is_cancelled() {
            tokio::select! {
                () = stop.cancelled() => {}
                // Fails when the driver has ended; that is on `stop`.
                Ok(()) = status.changed() => {
                    let public = status.borrow_and_update().public.clone();
                    self.public.send_if_modified(|known| {
                        let is_news = !public.is_empty() && *known != public;
                        if is_news { *known = public; }
                        is_news
                    });
                }
                Ok(()) = network.changed() => {
                    let now = network.borrow_and_update().generation;
                    if now != generation {
                        generation = now;
                        dht.network_changed();
                    }
                }
                () = sleep_until(self.idle_at()) => {
                    if self.retire() {
                        stop.cancel();
                        debug!("DHT node stopped, nobody uses it");
                    }
                }
            }
        }
        self.forget(&dht);
        dht.stopped().await;
    }

    /// Takes an ended node away from those to come.
    fn forget(&self, ended: &Arc<Dht>) {
        self.state().running.take_if(|dht| Arc::ptr_eq(dht, ended));
    }

    /// When the node has been idle for long enough, if nobody uses it until then.
    fn idle_at(&self) -> Instant {
        let state = self.state();
        if state.uses > 0 { Instant::now() + IDLE } else { state.last_use + IDLE }
    }

    /// Takes the node away from those to come, unless somebody uses it or just has.
    fn retire(&self) -> bool {
        let mut state = self.state();
        let is_idle = state.uses == 0 && state.last_use + IDLE <= Instant::now();
        if is_idle {
            state.running = None;
        }
        is_idle
    }
}

/// Somebody's use of the node, which goes on as long as this is kept.
#[derive(Debug)]
pub struct DhtUse {
    dht: Arc<Dht>,
    shared: Arc<SharedDht>,
}

impl Deref for DhtUse {
    type Target = Dht;

    fn deref(&self) -> &Dht {
        &self.dht
    }
}

impl Drop for DhtUse {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.uses -= 1;
        state.last_use = Instant::now();
    }
}
