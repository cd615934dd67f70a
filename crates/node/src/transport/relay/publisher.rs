//! Being reached through a relay: a control connection that registers names, and a data connection
//! for each client.

use std::future::pending;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hardline_proto::KeyHash;
use hardline_proto::candidate::{TransportAddr, Way};
use hardline_proto::hosts::HostPort;
use hardline_proto::relay::message::{
    CLIENT_ADDRESS, FromPublisher, FromRelay, RefusalReason, data_preamble, read_client_address,
};
use hardline_proto::relay::{ALPN, Id, Name, RelayUrl};
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::server::ClientHello;
use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, Semaphore, mpsc, watch};
use tokio::time::{sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use super::lines::Lines;
use super::verify::{ToVerify, Verifier};
use crate::log_throttle::LogThrottle;
use crate::network::NetworkState;
use crate::tls::config::pinned_client;
use crate::tls::sni::server_name;
use crate::transport::secure::SecureStream;
use crate::transport::{Incoming, Listener, ServiceTls, Unserved, handshake, tcp};

type Tls = SecureStream<TcpStream>;

/// Time between two questions whether the relay is there. Routers forget a TCP connection after
/// minutes at the earliest.
pub(super) const PING_INTERVAL: Duration = Duration::from_secs(15);

/// Time for the answer.
const PONG_LIMIT: Duration = Duration::from_secs(5);

/// Time for a connection and handshake at one address, and for each message.
const REGISTER_LIMIT: Duration = Duration::from_secs(5);

/// Time to find the relay and to connect to it.
const CONNECT_LIMIT: Duration = Duration::from_secs(30);

/// Time for a data connection. The relay forgets that it asked after that.
const DATA_LIMIT: Duration = Duration::from_secs(10);

/// Time until a relay that could not be reached is tried again. A registration is back within
/// three seconds of the relay being back.
const AGAIN: Duration = Duration::from_secs(2);

/// Time until a relay that refused is asked again: only a person can change that.
const AGAIN_AFTER_REFUSAL: Duration = Duration::from_secs(60);

/// Data connections that wait for a client at once. The relay asks for as many as clients wait.
const MAX_WAITING: usize = 4096;

/// Clients that have come through relays and were not accepted yet. Each has had a data connection
/// of its own, so few wait.
const MAX_PENDING: usize = 1024;

/// Where clients come in that relays have joined with this computer.
#[derive(Debug)]
pub(crate) struct RelayedListener(Mutex<mpsc::Receiver<(TcpStream, SocketAddr)>>);

/// Hands clients to a [`RelayedListener`].
pub(crate) type Relayed = mpsc::Sender<(TcpStream, SocketAddr)>;

impl RelayedListener {
    pub(crate) fn new() -> (Relayed, Self) {
        let (sender, receiver) = mpsc::channel(MAX_PENDING);
        (sender, Self(Mutex::new(receiver)))
    }
}

impl Listener for RelayedListener {
    type Incoming = RelayedIncoming;

    async fn accept(&self) -> io::Result<(RelayedIncoming, SocketAddr)> {
        match self.0.lock().await.recv().await {
            Some((client, addr)) => Ok((RelayedIncoming(client), addr)),
            // No relay is left: nobody will come.
            None => pending().await,
        }
    }
}

/// A client that a relay has joined with this computer.
#[derive(Debug)]
pub(crate) struct RelayedIncoming(pub(super) TcpStream);

impl Incoming for RelayedIncoming {
    type Connection = SecureStream<TcpStream>;

    /// The relay.
    fn origin(&self, addr: SocketAddr) -> (TransportAddr, Way) {
        (self.0.peer_addr().unwrap_or(addr).into(), Way::Relayed)
    }

    fn answer<T: Send + 'static>(
        self,
        choose: impl FnOnce(&ClientHello<'_>) -> Result<(ServiceTls, T), Unserved> + Send + 'static,
    ) -> impl Future<Output = Result<(Self::Connection, T), Unserved>> + Send {
        self.0.answer(choose)
    }
}

/// Calls that wait to be looked at, and answers that wait to be sent. Those beyond are lost.
pub(crate) const MAX_CALLS: usize = 16;

/// A call to one of this computer's services that a relay has carried.
#[derive(Debug)]
#[cfg_attr(not(feature = "quic"), allow(dead_code, reason = "calls need QUIC"))]
pub(crate) struct RelayedCall {
    /// The name that was called.
    pub(crate) name: Name,
    /// As it came.
    pub(crate) sealed: Vec<u8>,
    /// Where the relay sees this computer.
    pub(crate) seen: Option<IpAddr>,
    caller: Id,
    answers: mpsc::Sender<FromPublisher>,
}

#[cfg(feature = "quic")]
impl RelayedCall {
    /// Has the relay carry an answer.
    pub(crate) fn answer(self, sealed: Vec<u8>) {
        // A relay that takes none gets none.
        let _ = self.answers.try_send(FromPublisher::Answer { caller: self.caller, sealed });
    }
}

/// How it stands with one relay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum RegistrationStatus {
    /// The relay is being connected to.
    Connecting {
        /// Why the last try failed.
        #[serde(skip_serializing_if = "Option::is_none")]
        problem: Option<String>,
    },
    /// The names are registered: who asks the relay for them gets here.
    Registered {
        /// Names that the relay did not give us: another token holds them.
        names_refused: usize,
    },
    /// The relay refuses us.
    Refused {
        /// Why, for people.
        reason: String,
    },
}

/// What a publisher says to a relay, and where its clients go.
pub(crate) struct Publisher {
    pub(crate) relay: RelayUrl,
    /// Where the relay may listen, as it is found out.
    pub(crate) locate: Box<dyn Fn() -> mpsc::Receiver<HostPort> + Send + Sync>,
    /// Tells this publisher from another one with the same names.
    pub(crate) id: Id,
    /// The names to be registered, as they change: with the services, and with the day.
    pub(crate) names: watch::Receiver<Vec<Name>>,
    /// Changes when this computer has moved to another network.
    pub(crate) network: watch::Receiver<Arc<NetworkState>>,
    pub(crate) relayed: Relayed,
    /// Where calls go, if any are taken.
    pub(crate) calls: Option<mpsc::Sender<RelayedCall>>,
    /// Addresses for the relay to try, and where its answers go.
    pub(crate) to_verify: ToVerify,
    /// Takes word of how it stands; with the relay's address while we are registered.
    pub(crate) tell: Box<dyn Fn(RegistrationStatus, Option<HostPort>) + Send + Sync>,
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
}

impl Publisher {
    /// Keeps the names registered until the node stops.
    pub(crate) async fn run(mut self) {
        let (stop, failures) = (self.stop.clone(), LogThrottle::default());
        let registering = async {
            loop {
                let pause = match self.register().await {
                    Err(Ended::Refused(reason)) => {
                        let reason = refusal(reason);
                        warn!(relay = %self.relay.key.short(), reason, "refused by the relay");
                        (self.tell)(RegistrationStatus::Refused { reason: reason.to_owned() }, None);
                        AGAIN_AFTER_REFUSAL
                    }
                    Err(Ended::Broken(error)) => {
                        if let Some(times) = failures.count() {
                            info!(relay = %self.relay.key.short(), %error, times, "not registered at the relay");
                        }
                        let problem = Some(error.to_string());
                        (self.tell)(RegistrationStatus::Connecting { problem }, None);
                        AGAIN
                    }
                };
                // In another network the next try may go through at once.
                let _ = timeout(pause, self.network.changed()).await;
            }
        };
        stop.run_until_cancelled(registering).await;
    }

    /// Connects, registers, and opens data connections for as long as the control connection lives.
    async fn register(&mut self) -> Result<std::convert::Infallible, Ended> {
        let mut lines = Lines::default();
        self.network.mark_unchanged();
        let (at, mut tls) = timeout(CONNECT_LIMIT, self.connect()).await??;
        self.say_names(&mut tls).await?;
        let answer = timeout(REGISTER_LIMIT, next(&mut lines, &mut tls)).await??;
        let mut verifier = Verifier::new(self.to_verify.clone());
        let (answers, mut to_answer) = mpsc::channel(MAX_CALLS);
        let seen = match &answer {
            FromRelay::Registered { seen, .. } => seen.map(|seen| seen.ip().to_canonical()),
            _ => None,
        };
        if let FromRelay::Registered { seen: Some(seen), dials_back: true, .. } = &answer {
            verifier.registered(seen.ip());
        }
        self.heard(answer, &at)?;
        let data = Arc::new(Semaphore::new(MAX_WAITING));
        // Ends the data connections that wait; those in use go on.
        let waiting = CancellationToken::new();
        let _end = waiting.clone().drop_guard();
        let mut ping_at = Instant::now() + PING_INTERVAL;
        let mut pong_until = None;
        loop {
            let due = verifier.due();
            tokio::select! {
                message = next(&mut lines, &mut tls) => {
                    pong_until = None;
                    match message? {
                        FromRelay::Connect { token } => self.open_data(&at, token, &data, &waiting),
                        FromRelay::DialledBack { nonce, outcome } => verifier.answered(nonce, outcome),
                        FromRelay::Call { caller, name, sealed } => {
                            self.called(RelayedCall { name, sealed, seen, caller, answers: answers.clone() });
                        }
                        other => self.heard(other, &at)?,
                    }
                }
                Ok(()) = self.names.changed() => self.say_names(&mut tls).await?,
                Some(answer) = to_answer.recv() => send(&mut tls, &answer).await?,
                () = verifier.wait_for_addresses() => verifier.addresses_changed(),
                () = when(due) => {
                    if let Some(question) = verifier.question().await {
                        send(&mut tls, &question).await?;
                    }
                }
                // Whether this connection has survived the move shows at once.
                Ok(()) = self.network.changed() => ping_at = Instant::now(),
                () = sleep_until(ping_at.into()) => {
                    send(&mut tls, &FromPublisher::Ping).await?;
                    ping_at = Instant::now() + PING_INTERVAL;
                    pong_until.get_or_insert(Instant::now() + PONG_LIMIT);
                }
                () = when(pong_until) => return Err(io::Error::new(io::ErrorKind::TimedOut, "no answer from the relay").into()),
            }
        }
    }

    /// Connects to the first address at which the relay proves its key.
    async fn connect(&self) -> io::Result<(HostPort, Tls)> {
        let mut addresses = (self.locate)();
        let mut last = io::Error::new(io::ErrorKind::NotFound, "no address found");
        while let Some(at) = addresses.recv().await {
            match timeout(REGISTER_LIMIT, self.connect_to(&at)).await {
                Ok(Ok(tls)) => return Ok((at, tls)),
                Ok(Err(error)) => last = error,
                Err(late) => last = late.into(),
            }
        }
        Err(last)
    }

    async fn connect_to(&self, at: &HostPort) -> io::Result<Tls> {
        let tcp = tcp::connect(at, REGISTER_LIMIT).await?;
        let name = server_name(self.relay.key).map_err(io::Error::other)?;
        handshake::connect(client_tls(self.relay.key), name, tcp).await
    }

    async fn say_names(&mut self, tls: &mut Tls) -> io::Result<()> {
        let names = self.names.borrow_and_update().clone();
        let takes_calls = self.calls.is_some();
        send(tls, &FromPublisher::Register { token: self.relay.token, publisher: self.id, names, takes_calls }).await
    }

    fn called(&self, call: RelayedCall) {
        // More than are looked at wait for nobody.
        let _ = self.calls.as_ref().map(|calls| calls.try_send(call));
    }

    fn heard(&self, message: FromRelay, at: &HostPort) -> Result<(), Ended> {
        match message {
            FromRelay::Registered { refused, .. } => {
                info!(relay = %self.relay.key.short(), refused = refused.len(), "registered at the relay");
                (self.tell)(RegistrationStatus::Registered { names_refused: refused.len() }, Some(at.clone()));
                Ok(())
            }
            FromRelay::Refused { reason } => Err(Ended::Refused(reason)),
            FromRelay::Connect { .. } | FromRelay::DialledBack { .. } | FromRelay::Call { .. } | FromRelay::Pong => {
                Ok(())
            }
        }
    }

    /// Opens a data connection and waits there for a client, in a task of its own.
    fn open_data(&self, at: &HostPort, token: Id, data: &Arc<Semaphore>, waiting: &CancellationToken) {
        let Ok(permit) = Arc::clone(data).try_acquire_owned() else {
            debug!(relay = %self.relay.key.short(), "more data connections are asked for than are opened");
            return;
        };
        let (at, relayed, waiting) = (at.clone(), self.relayed.clone(), waiting.child_token());
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            let client = tokio::select! {
                client = wait_for_client(&at, token) => client,
                () = waiting.cancelled() => return,
                () = stop.cancelled() => return,
            };
            match client {
                Ok(client) => drop(relayed.send(client).await), // fails while the node stops
                Err(error) => debug!(relay = %at, %error, "data connection ended"),
            }
            drop(permit);
        });
    }
}

/// TLS settings for a control connection to the relay `key`.
pub(super) fn client_tls(key: KeyHash) -> Arc<ClientConfig> {
    let mut config = pinned_client(key);
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

async fn wait_for_client(at: &HostPort, token: Id) -> io::Result<(TcpStream, SocketAddr)> {
    let mut tcp = tcp::connect(at, DATA_LIMIT).await?;
    tcp.write_all(&data_preamble(&token)).await?;
    let mut client = [0; CLIENT_ADDRESS];
    tcp.read_exact(&mut client).await?;
    Ok((tcp, read_client_address(&client)))
}

/// Why a registration ended.
enum Ended {
    /// The relay said no.
    Refused(RefusalReason),
    /// The connection ended or broke.
    Broken(io::Error),
}

impl<E: Into<io::Error>> From<E> for Ended {
    fn from(error: E) -> Self {
        Self::Broken(error.into())
    }
}

fn refusal(reason: RefusalReason) -> &'static str {
    match reason {
        RefusalReason::Token => "the relay does not know the token, or it was revoked",
        RefusalReason::Limit => "the token is used by as many computers as the relay allows",
    }
}

/// The next message that is understood. Cancel safe.
async fn next(lines: &mut Lines, tls: &mut Tls) -> io::Result<FromRelay> {
    while let Some(line) = lines.next(tls).await? {
        let message = FromRelay::parse(&line).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        if let Some(message) = message {
            return Ok(message);
        }
    }
    Err(io::ErrorKind::UnexpectedEof.into())
}

async fn send(tls: &mut Tls, message: &FromPublisher) -> io::Result<()> {
    timeout(REGISTER_LIMIT, async {
        tls.write_all(&message.encode()).await?;
        tls.flush().await
    })
    .await?
}

async fn when(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant.into()).await,
        None => pending().await,
    }
}
