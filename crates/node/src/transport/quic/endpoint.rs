//! The UDP socket of QUIC's connections, made and accepted, which is lent to the DHT.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use hardline_proto::punch::Attempt;
use quinn::{AsyncTimer, AsyncUdpSocket, ClientConfig, ConnectError as NotBegun, ConnectionError, Endpoint};
use quinn::{EndpointConfig, IdleTimeout, Runtime, TokioRuntime, TransportConfig, VarInt};
use rustls::pki_types::ServerName;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tracing::debug;

use super::connection::{MOST_SENT, QuicConnection};
use super::datagrams::WAITING;
use super::probing::{self, Probing, Punch};
use super::shared::{Received, SharedSocket};
use super::system::SystemSocket;
use super::tasks::QuicTasks;
use super::tls::{self, Proof};
use crate::limits::{CONNECT_TIMEOUT, DIAL_HANDSHAKE_TIMEOUT};
use crate::transport::udp::{Datagram, LentSocket};
use crate::transport::{ConnectError, Connected, Target, Transport};
use crate::tuning::Tunable;

/// Time without a packet after which a connection counts as gone: as long as TCP's keepalive takes.
const MAX_IDLE: Duration = Duration::from_secs(120);

/// What a round trip is taken for before one was measured. A first packet that is lost is sent
/// again after three of them; the default of a third of a second is that of a satellite.
const INITIAL_RTT: Duration = Duration::from_millis(100);

/// Bytes of one stream that may come before they are read. On the dialling side as much as a
/// gigabit line has under way at 60 ms.
const DIALLER_STREAM: u32 = 8 * 1024 * 1024;

/// Bytes of all streams of a connection that may come before they are read, on the dialling side.
const DIALLER_WINDOW: u32 = 2 * DIALLER_STREAM;

/// Room in the system's buffers, in bytes: a few milliseconds of a fast line.
const BUFFER: usize = 2 * 1024 * 1024;

/// A UDP socket for QUIC. Clones share it; it is closed when the last one is dropped.
#[derive(Debug, Clone)]
pub(crate) struct QuicEndpoint {
    pub(super) endpoint: Endpoint,
    socket: Arc<SharedSocket>,
    pub(super) tasks: QuicTasks,
    dialling: Arc<TransportConfig>,
    probing: Probing,
}

impl QuicEndpoint {
    /// Binds `at`, or any free port of both families. What runs for it is among `tasks`.
    ///
    /// # Errors
    /// That of the system.
    pub(crate) fn bind(at: Option<SocketAddr>, tasks: QuicTasks) -> io::Result<Self> {
        let any = || socket((Ipv6Addr::UNSPECIFIED, 0).into()).or_else(|_| socket((Ipv4Addr::UNSPECIFIED, 0).into()));
        let (probing, probes, work) = Probing::new();
        let endpoint = Self::over(at.map_or_else(any, socket)?, 0, probes, probing, tasks.clone())?;
        tasks.node.spawn(probing::run(Arc::clone(&endpoint.socket), work, tasks.clone()));
        Ok(endpoint)
    }

    /// For a socket that was opened beside another one, for an attempt of that, as number `number`
    /// of it; probes go to `probes`.
    ///
    /// # Errors
    /// That of the system.
    pub(super) fn beside(
        socket: std::net::UdpSocket,
        number: u16,
        probes: mpsc::Sender<Received>,
        tasks: QuicTasks,
    ) -> io::Result<Self> {
        Self::over(socket, number, probes, Probing::nothing(), tasks)
    }

    fn over(
        socket: std::net::UdpSocket,
        number: u16,
        probes: mpsc::Sender<Received>,
        probing: Probing,
        tasks: QuicTasks,
    ) -> io::Result<Self> {
        let runtime = Arc::new(Tracked { tasks: tasks.clone() });
        let socket = SharedSocket::new(runtime.wrap_udp_socket(socket)?, number, probes);
        let mut config = EndpointConfig::default();
        // The bit tells QUIC from everything else that comes here (RFC 9000, section 17.2).
        config.grease_quic_bit(false);
        let endpoint = Endpoint::new_with_abstract_socket(config, None, Arc::clone(&socket) as _, runtime)?;
        Ok(Self { endpoint, socket, tasks, dialling: Arc::new(dialling()), probing })
    }

    /// Sends a probe, or loses it where the system has no room.
    pub(super) fn try_send_to(&self, to: SocketAddr, probe: &[u8]) -> io::Result<()> {
        self.socket.try_send_to(to, probe)
    }

    /// Makes a way through NATs to who is dialled from here then.
    pub(crate) fn punch(&self, attempt: Attempt) -> Punch {
        self.probing.punch(attempt)
    }

    /// The same, for who will come in here.
    pub(crate) fn answer_probes(&self, attempt: Attempt) {
        self.probing.answer(attempt);
    }

    /// Whether a probe was sent from here to `addr` lately, for who comes in by a way through NATs.
    pub(super) fn has_probed(&self, addr: SocketAddr) -> bool {
        self.socket.has_probed(addr)
    }

    /// Where it is bound.
    ///
    /// # Errors
    /// That of the system.
    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }

    /// Notes that this computer has moved to another network: what was dialled tells its peers so
    /// at once (RFC 9000, section 9), and goes on from the new address.
    pub(crate) fn moved(&self) {
        // The socket is bound to no address that could be lost. Fails only where it has none at
        // all.
        if let Err(error) = self.endpoint.rebind_abstract(Arc::clone(&self.socket) as _) {
            debug!(%error, "connections over QUIC not moved");
        }
    }

    async fn verify(
        &self,
        at: SocketAddr,
        target: &Target,
        name: &ServerName<'static>,
    ) -> Result<QuicConnection, ConnectError> {
        let proof = Proof::default();
        let mut config = ClientConfig::new(tls::client(target, &proof));
        config.transport_config(Arc::clone(&self.dialling));
        let connecting = self.endpoint.connect_with(config, at, &name.to_str()).map_err(not_begun)?;
        let connection = match timeout(CONNECT_TIMEOUT, connecting).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => return Err(failed(&error, &proof)),
            Err(_) => return Err(unanswered()),
        };
        match tls::proven_key(&connection) {
            Some(key) if key == target.key => {
                Ok(QuicConnection::new(connection, DIALLER_WINDOW, self.tasks.node.clone()))
            }
            Some(got) => Err(ConnectError::WrongKey(got)),
            None => Err(ConnectError::Handshake("no certificate".to_owned())),
        }
    }
}

impl Transport for QuicEndpoint {
    type Address = SocketAddr;
    type Connection = QuicConnection;

    async fn connect(&self, at: &SocketAddr, target: &Target) -> Result<Connected<QuicConnection>, ConnectError> {
        let verifying = async {
            let Some(pseudonym) = &target.pseudonym else { return self.verify(*at, target, &target.name).await };
            match self.verify(*at, target, pseudonym).await {
                Err(ConnectError::Handshake(_) | ConnectError::WrongKey(_)) => {
                    self.verify(*at, target, &target.name).await
                }
                verified => verified,
            }
        };
        let verified = timeout(DIAL_HANDSHAKE_TIMEOUT, Box::pin(verifying)).await;
        let connection = verified.unwrap_or(Err(ConnectError::Silent))?;
        Ok(Connected { connection, remote: *at, answered: Instant::now() })
    }
}

/// As long as the borrower keeps it the socket stays open.
impl LentSocket for QuicEndpoint {
    fn bound(&self) -> io::Result<Vec<SocketAddr>> {
        let at = self.local_addr()?;
        let is_both = at.is_ipv6() && at.ip().is_unspecified();
        let v4 = is_both.then(|| SocketAddr::from((Ipv4Addr::UNSPECIFIED, at.port())));
        Ok([at].into_iter().chain(v4).collect())
    }

    fn deliver(&self, to: mpsc::Sender<Datagram>) {
        self.socket.deliver_dht(to);
    }

    fn lost(&self) -> u64 {
        self.socket.lost()
    }

    fn send<'a>(&'a self, to: SocketAddr, payload: &'a [u8]) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(self.socket.send(to, payload))
    }
}

fn socket(at: SocketAddr) -> io::Result<std::net::UdpSocket> {
    let socket = Socket::new(Domain::for_address(at), Type::DGRAM, Some(Protocol::UDP))?;
    if at.is_ipv6() {
        socket.set_only_v6(!at.ip().is_unspecified())?;
    }
    // The kernel may give less; then a burst loses packets.
    Tunable::ReceiveBuffer.try_set(|| socket.set_recv_buffer_size(BUFFER));
    Tunable::SendBuffer.try_set(|| socket.set_send_buffer_size(BUFFER));
    socket.set_nonblocking(true)?;
    socket.bind(&at.into())?;
    Ok(socket.into())
}

fn dialling() -> TransportConfig {
    let mut config = bounded(DIALLER_STREAM, DIALLER_WINDOW);
    config.max_concurrent_bidi_streams(VarInt::from_u32(0));
    config
}

/// Settings of either side. Nobody opens more than one stream of one direction, which is for the
/// preamble.
pub(super) fn bounded(stream: u32, window: u32) -> TransportConfig {
    let mut config = TransportConfig::default();
    config.max_idle_timeout(IdleTimeout::try_from(MAX_IDLE).ok());
    config.initial_rtt(INITIAL_RTT);
    config.stream_receive_window(VarInt::from_u32(stream));
    config.receive_window(VarInt::from_u32(window));
    config.send_window(MOST_SENT);
    config.max_concurrent_uni_streams(VarInt::from_u32(1));
    config.datagram_receive_buffer_size(Some(WAITING)).datagram_send_buffer_size(WAITING);
    config
}

fn not_begun(error: NotBegun) -> ConnectError {
    ConnectError::Unreachable(io::Error::other(error))
}

fn unanswered() -> ConnectError {
    let told = format!("no answer within {} s", CONNECT_TIMEOUT.as_secs());
    ConnectError::Unreachable(io::Error::new(io::ErrorKind::TimedOut, told))
}

fn failed(error: &ConnectionError, proof: &Proof) -> ConnectError {
    if let Some(got) = proof.wrong_key() {
        return ConnectError::WrongKey(got);
    }
    match error {
        ConnectionError::TimedOut => unanswered(),
        // Whoever came first has taken all places.
        ConnectionError::ConnectionClosed(close)
            if close.error_code == quinn::TransportErrorCode::CONNECTION_REFUSED =>
        {
            ConnectError::Unreachable(io::ErrorKind::ConnectionRefused.into())
        }
        ConnectionError::ConnectionClosed(close) if tls::is_refusal(close.error_code) => {
            ConnectError::Handshake("refused: no service of this name, or too many connections".to_owned())
        }
        other => ConnectError::Handshake(other.to_string()),
    }
}

/// Tokio, with quinn's tasks counted, and a socket of ours.
#[derive(Debug)]
struct Tracked {
    tasks: QuicTasks,
}

impl Runtime for Tracked {
    fn new_timer(&self, at: std::time::Instant) -> Pin<Box<dyn AsyncTimer>> {
        TokioRuntime.new_timer(at)
    }

    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) {
        self.tasks.drivers.spawn(future);
    }

    fn wrap_udp_socket(&self, socket: std::net::UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        Ok(Arc::new(SystemSocket::new(socket)?))
    }

    fn now(&self) -> std::time::Instant {
        TokioRuntime.now()
    }
}
