//! The relay: clients and data connections come in, and are joined by server name.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hardline_proto::KeyHash;
use hardline_proto::host::parse_service_name;
use hardline_proto::relay::callers::Callers;
use hardline_proto::relay::dial_back::DialBackLog;
use hardline_proto::relay::message::{DATA_PREAMBLE, client_address, read_data_preamble};
use hardline_proto::relay::registry::{Arrival, DataArrival, Place, Registration, Registry, RelayLimit};
use hardline_proto::relay::{ALPN, Id, Name};
use rustls::ServerConfig;
use serde::Serialize;
use tokio::net::TcpStream;
use tokio::sync::{Notify, oneshot};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use super::callers::{Answers, CallsTo};
use super::join::{Pace, join, write_all};
use super::tokens::{TokenError, TokenFile};
use crate::config::RelayConfig;
use crate::log_throttle::LogThrottle;
use crate::metrics::{Metric, Metrics};
use crate::tls::config::server;
use crate::tls::identity::Identity;
use crate::transport::Unserved;
use crate::transport::handshake::Hello;

/// How often the file of tokens is looked at. A token that was revoked admits nobody after that.
const LOOK_AT_TOKENS: Duration = Duration::from_secs(1);

/// What a relay has done and does.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RelayStatus {
    /// Publishers registered now.
    pub publishers: usize,
    /// Clients joined, or waiting to be, now.
    pub clients: usize,
    /// Clients joined since the start.
    pub joined: u64,
    /// Bytes copied since the start, in both directions, of connections that have ended.
    pub bytes: u64,
    /// Clients refused at a limit since the start.
    pub refused: u64,
    /// Clients whose publisher opened no data connection in time.
    pub unanswered: u64,
}

impl RelayStatus {
    /// For people.
    pub(crate) fn sentence(&self) -> String {
        let publishers =
            if self.publishers == 1 { "1 computer".into() } else { format!("{} computers", self.publishers) };
        let clients = if self.clients == 1 { "1 connection".into() } else { format!("{} connections", self.clients) };
        format!("This computer is a relay for {publishers}; {clients} through it now, {} since the start.", self.joined)
    }
}

/// A relay, shared by the tasks of all its connections.
#[derive(Debug)]
pub(crate) struct Relay {
    /// Its own name.
    pub(crate) key: KeyHash,
    /// For control connections.
    pub(super) tls: Arc<ServerConfig>,
    pub(crate) config: RelayConfig,
    tokens: TokenFile,
    /// Names of tokens, by what publishers say.
    admitted: Mutex<HashMap<Id, String>>,
    books: Mutex<Registry<TcpStream, oneshot::Sender<Slot>>>,
    controls: Mutex<HashMap<Registration, Control>>,
    /// Who has asked to be dialled back.
    pub(super) dial_backs: Arc<Mutex<DialBackLog>>,
    /// Who calls publishers.
    callers: Mutex<Callers>,
    answers: Mutex<Answers>,
    total: Arc<Pace>,
    paces: Mutex<HashMap<String, Arc<Pace>>>,
    pub(super) metrics: Metrics,
    refusals: LogThrottle,
    pub(super) tasks: TaskTracker,
    pub(super) stop: CancellationToken,
}

/// What other tasks want of a control connection's.
#[derive(Debug, Clone)]
pub(super) struct Control {
    /// To look how many data connections are wanted.
    pub(super) wake: Arc<Notify>,
    /// To end it, and everything joined by it.
    pub(super) end: CancellationToken,
    /// Calls for its publisher, if that takes any.
    pub(super) calls: Option<CallsTo>,
}

/// A data connection for one client.
#[derive(Debug)]
pub(super) struct Slot {
    data: TcpStream,
    end: CancellationToken,
    paces: Vec<Arc<Pace>>,
    _place: HeldPlace,
}

/// A place among the joined connections, given back when dropped.
#[derive(Debug)]
struct HeldPlace {
    relay: Arc<Relay>,
    place: Option<Place>,
}

impl Drop for HeldPlace {
    fn drop(&mut self) {
        if let Some(place) = self.place.take() {
            self.relay.books().ended(place);
        }
    }
}

/// Why a client is not joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoSlot {
    /// Nobody registered the name.
    #[error("nobody registered this name")]
    Unknown,
    /// There are too many.
    #[error("a limit is reached: {0:?}")]
    Limit(RelayLimit),
    /// The publisher opened no data connection in time, or is gone.
    #[error("the publisher opened no data connection")]
    Unanswered,
}

impl Relay {
    /// A relay as `identity`, whose tokens are in `tokens`. Its connections are tasks of `tasks`
    /// and end on `stop`.
    ///
    /// # Errors
    /// [`TokenError`].
    pub(crate) fn new(
        identity: &Identity,
        config: RelayConfig,
        tokens: TokenFile,
        metrics: Metrics,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Result<Arc<Self>, TokenError> {
        let total = Arc::new(Pace::new(config.bytes_per_second));
        let relay = Self {
            key: identity.key,
            tls: server_tls(identity),
            books: Mutex::new(Registry::new(config.limits)),
            config,
            tokens,
            admitted: Mutex::default(),
            controls: Mutex::default(),
            dial_backs: Arc::default(),
            callers: Mutex::default(),
            answers: Mutex::default(),
            total,
            paces: Mutex::default(),
            metrics,
            refusals: LogThrottle::default(),
            tasks,
            stop,
        };
        relay.read_tokens()?;
        let relay = Arc::new(relay);
        relay.tasks.spawn(Arc::clone(&relay).watch_tokens());
        Ok(relay)
    }

    /// Takes somebody who says `hello` to none of this computer's services: a publisher that
    /// registers, or a client of one that has.
    pub(super) async fn take(self: &Arc<Self>, hello: Hello<TcpStream>, addr: SocketAddr) -> Unserved {
        let client_hello = hello.client_hello();
        let name = client_hello.server_name().and_then(|name| parse_service_name(name).ok());
        let is_control = client_hello.alpn().is_some_and(|mut offered| offered.any(|protocol| protocol == ALPN));
        let Some(name) = name else { return hello.refuse().await };
        let relay = Arc::clone(self);
        if is_control && name.key == self.key {
            self.tasks.spawn(async move { relay.control(hello, addr).await });
        } else if self.books().is_known(name.key.as_bytes()) {
            self.tasks.spawn(async move { relay.serve_client(*name.key.as_bytes(), hello, addr).await });
        } else {
            return hello.refuse().await;
        }
        Unserved::Relayed
    }

    async fn serve_client(self: Arc<Self>, name: Name, hello: Hello<TcpStream>, addr: SocketAddr) {
        let serving = async {
            match self.slot(name, addr.ip()).await {
                Ok(slot) => {
                    let (client, hello) = hello.into_parts();
                    let ended = self.join(client, addr, &hello, slot).await;
                    debug!(%addr, ?ended, "relayed connection ended");
                }
                Err(reason) => {
                    debug!(%addr, %reason, "client not relayed");
                    hello.refuse().await;
                }
            }
        };
        self.stop.run_until_cancelled(serving).await;
    }

    /// Follows the file of tokens until the node stops.
    async fn watch_tokens(self: Arc<Self>) {
        let mut looks = interval(LOOK_AT_TOKENS);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut version = self.tokens.version();
        while self.stop.run_until_cancelled(looks.tick()).await.is_some() {
            let now = self.tokens.version();
            if now != version {
                match self.read_tokens() {
                    Ok(()) => version = now,
                    // Written at this moment, or broken: those that were admitted stay.
                    Err(error) => warn!(%error, "tokens of the relay not read"),
                }
            }
        }
    }

    /// Admits who is in the file, and ends what the tokens that are gone have admitted.
    fn read_tokens(&self) -> Result<(), TokenError> {
        let listed = self.tokens.list()?;
        let fresh: HashMap<Id, String> = listed.into_iter().map(|token| (token.secret, token.name)).collect();
        let before = std::mem::replace(&mut *lock(&self.admitted), fresh);
        let admitted = lock(&self.admitted).clone();
        for (secret, name) in before {
            if admitted.get(&secret) != Some(&name) {
                let revoked: Vec<_> = self.books().of_token(&name).collect();
                info!(token = name, publishers = revoked.len(), "token revoked");
                revoked.iter().for_each(|registration| self.end(*registration));
                lock(&self.paces).remove(&name);
            }
        }
        Ok(())
    }

    /// What the token is called that admits whoever says `secret`.
    pub(super) fn admits(&self, secret: &Id) -> Option<String> {
        lock(&self.admitted).get(secret).cloned()
    }

    /// A client from `addr` asks for `name`. Waits for a data connection of its publisher, for as
    /// long as [`RelayConfig::first_byte_timeout`] says.
    ///
    /// # Errors
    /// [`NoSlot`].
    async fn slot(self: &Arc<Self>, name: Name, addr: IpAddr) -> Result<Slot, NoSlot> {
        let (send, receive) = oneshot::channel();
        let arrival = self.books().client(Instant::now(), name, addr, send, is_alive);
        match arrival {
            Arrival::Joined { slot, place, registration, .. } => {
                self.wake(registration);
                self.slot_of(slot, place, registration).ok_or(NoSlot::Unanswered)
            }
            Arrival::Waiting { wait, registration } => {
                self.wake(registration);
                let slot = timeout(self.config.first_byte_timeout, receive).await;
                self.books().take_back(registration, wait);
                slot.ok().and_then(Result::ok).ok_or_else(|| {
                    self.metrics.add(Metric::RelayUnanswered, 1);
                    NoSlot::Unanswered
                })
            }
            Arrival::Unknown(_) => Err(NoSlot::Unknown),
            Arrival::Refused(_, limit) => {
                self.note_refusal(limit);
                Err(NoSlot::Limit(limit))
            }
        }
    }

    pub(super) fn note_refusal(&self, limit: RelayLimit) {
        self.metrics.add(Metric::RelayRefused, 1);
        if let Some(times) = self.refusals.count() {
            warn!(?limit, times, "refused at a limit of the relay");
        }
    }

    /// Joins `client`, whose `hello` has been read, with its data connection.
    ///
    /// # Errors
    /// That of the connection that broke.
    async fn join(&self, client: TcpStream, addr: SocketAddr, hello: &[u8], slot: Slot) -> io::Result<(u64, u64)> {
        let Slot { data, end, paces, _place } = slot;
        write_all(&data, &[&client_address(addr)[..], hello].concat()).await?;
        self.metrics.add(Metric::RelayJoined, 1);
        let joined = end.run_until_cancelled(join(client, data, &paces)).await;
        let (up, down) = joined.unwrap_or_else(|| Err(io::ErrorKind::ConnectionAborted.into()))?;
        self.metrics.add(Metric::RelayBytes, up + down);
        Ok((up, down))
    }

    /// Keeps a data connection, which began with `bytes`, for a client.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] when nobody asked for it.
    pub(super) fn data(self: &Arc<Self>, bytes: &[u8; DATA_PREAMBLE], tcp: TcpStream) -> io::Result<()> {
        let unknown = || io::Error::new(io::ErrorKind::InvalidData, "no data connection that was asked for");
        let token = read_data_preamble(bytes).ok_or_else(unknown)?;
        let arrival = self.books().data(&token, tcp);
        match arrival {
            DataArrival::Idle => Ok(()),
            DataArrival::Unknown(_) => Err(unknown()),
            DataArrival::Joined { slot, client, place, registration } => {
                if let Some(slot) = self.slot_of(slot, place, registration) {
                    // A client that has just given up: the publisher is asked for another.
                    let _ = client.send(slot);
                }
                self.wake(registration);
                Ok(())
            }
        }
    }

    fn slot_of(self: &Arc<Self>, data: TcpStream, place: Place, registration: Registration) -> Option<Slot> {
        let place = HeldPlace { relay: Arc::clone(self), place: Some(place) };
        let end = lock(&self.controls).get(&registration)?.end.clone();
        let token = self.books().token(registration)?.to_owned();
        let per_token = self.config.bytes_per_second_per_token;
        let pace = Arc::clone(lock(&self.paces).entry(token).or_insert_with(|| Arc::new(Pace::new(per_token))));
        Some(Slot { data, end, paces: vec![pace, Arc::clone(&self.total)], _place: place })
    }

    pub(super) fn books(&self) -> MutexGuard<'_, Registry<TcpStream, oneshot::Sender<Slot>>> {
        lock(&self.books)
    }

    pub(super) fn callers(&self) -> MutexGuard<'_, Callers> {
        lock(&self.callers)
    }

    pub(super) fn answers(&self) -> MutexGuard<'_, Answers> {
        lock(&self.answers)
    }

    /// Where calls for whoever holds `name` go, if that takes any.
    pub(super) fn calls_to(&self, name: &Name) -> Option<(Registration, CallsTo)> {
        let holder = self.books().holder(name)?;
        let calls = lock(&self.controls).get(&holder)?.calls.clone()?;
        Some((holder, calls))
    }

    pub(super) fn began(&self, registration: Registration, control: Control) {
        lock(&self.controls).insert(registration, control);
    }

    /// Ends a publisher's control connection and everything joined by it.
    pub(super) fn end(&self, registration: Registration) {
        self.books().leave(registration);
        if let Some(control) = lock(&self.controls).remove(&registration) {
            control.end.cancel();
        }
    }

    /// Forgets a publisher whose control connection has ended. What is joined goes on.
    pub(super) fn leave(&self, registration: Registration) {
        self.books().leave(registration);
        lock(&self.controls).remove(&registration);
    }

    fn wake(&self, registration: Registration) {
        if let Some(control) = lock(&self.controls).get(&registration) {
            control.wake.notify_one();
        }
    }

    /// What it has done and does.
    pub(crate) fn status(&self) -> RelayStatus {
        let books = self.books();
        RelayStatus {
            publishers: books.publishers(),
            clients: books.clients(),
            joined: self.metrics.get(Metric::RelayJoined),
            bytes: self.metrics.get(Metric::RelayBytes),
            refused: self.metrics.get(Metric::RelayRefused),
            unanswered: self.metrics.get(Metric::RelayUnanswered),
        }
    }
}

/// TLS settings for control connections.
fn server_tls(identity: &Identity) -> Arc<ServerConfig> {
    let mut config = server(identity.into(), &[&rustls::version::TLS13]);
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.send_tls13_tickets = 0;
    Arc::new(config)
}

/// Whether a data connection that waits is still there: nothing has come, not even its end.
fn is_alive(data: &mut TcpStream) -> bool {
    let mut byte = [0];
    let is_quiet = matches!(data.try_read(&mut byte), Err(error) if error.kind() == io::ErrorKind::WouldBlock);
    if !is_quiet {
        debug!("a data connection that waited has ended");
    }
    is_quiet
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
