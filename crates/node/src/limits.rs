//! Every bound in time, size and count, with its reason.

use std::time::Duration;

/// Time for a browser to send its request head. Browsers send it at once; slowloris does not.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Time for a peer to finish the TLS handshake and its preamble, on the listening side.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Time for one candidate to accept a TCP connection. The race goes on meanwhile.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);

/// Time for one candidate to finish its TLS handshake and to send its preamble. The released
/// listeners connect to their backend in between.
pub const DIAL_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(8);

/// Time a lookup goes on while nobody has answered: longer than a sleeping Wi-Fi client takes for a
/// multicast.
pub const LOOKUP_TIMEOUT: Duration = Duration::from_secs(6);

/// The same for programs while the DHT is asked too: they show no page that tries again by itself,
/// and the first question through a network that loses packets takes its time. Most give up after
/// 30 s.
pub const PATIENT_LOOKUP_TIMEOUT: Duration = Duration::from_secs(15);

/// Time after which an address where nobody answered, or somebody who does not know the service, is
/// tried again, while somebody waits still: a router that restarts, or a computer that wakes up, is
/// there again soon.
pub const DIAL_AGAIN: Duration = Duration::from_secs(2);

/// Time to connect to a backend. It is on this computer or on its LAN. Shorter than
/// [`HANDSHAKE_TIMEOUT`]: towards legacy peers it is a part of that.
pub const BACKEND_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Time for a backend to begin its answer, counted from the last byte of the request, where HTTP is
/// understood. Slow reports take minutes, and a program that takes longer has hung more often than
/// not. Raw tunnels know no such limit.
pub const BACKEND_ANSWER_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// Silence after which a tunnel is closed of which one direction has ended: who has said its all
/// and waits for longer has been forgotten by the other side more often than not. A whole tunnel
/// may be silent for as long as TCP's keepalive proves that both computers live.
pub const HALF_CLOSED_IDLE: Duration = Duration::from_secs(15 * 60);

/// Silence after which a tunnel makes room at a limit for one that comes. Longer than the polls and
/// pings of web pages and of ssh.
pub const ROOM_SILENCE: Duration = Duration::from_secs(10 * 60);

/// Silence of a peer's computer after which it is asked whether it is still there. Not more often,
/// for the batteries of phones; often enough that a router does not forget the connection
/// meanwhile.
pub const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);

/// Time between two such questions when there is no answer.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// Such questions without an answer after which the computer counts as gone, and with it the
/// tunnel. With the two times above: two minutes. A cable that was out for a minute and a half
/// breaks no tunnel that was silent meanwhile.
pub const KEEPALIVE_RETRIES: u32 = 4;

/// The same three times for a tunnel in which something moved just now: somebody waits for the
/// rest, and who only receives has nothing to be acknowledged. Ten seconds together, as
/// [`GONE`](hardline_proto::liveness::GONE). Asked and answered once, a silent tunnel goes back to
/// the longer times.
pub const BRISK_IDLE: Duration = Duration::from_secs(4);
/// See [`BRISK_IDLE`].
pub const BRISK_INTERVAL: Duration = Duration::from_secs(1);
/// See [`BRISK_IDLE`].
pub const BRISK_RETRIES: u32 = 6;

/// Browser connections open at once at the gateway.
pub const MAX_GATEWAY_CONNECTIONS: usize = 20_000;

/// Connections open at once at a forwarded port. Each costs two sockets; a port for people has a
/// handful.
pub const MAX_FORWARDED: usize = 1000;

/// Silence in both directions after which a flow of datagrams ends: what NATs are to keep one for
/// (RFC 4787, section 4.3).
pub const FLOW_IDLE: Duration = Duration::from_secs(120);

/// The same for flows to port 53: a name is asked for from a new port each time, and answered once
/// (RFC 4787, section 4.3, lets ports below 1024 have less).
pub const DNS_FLOW_IDLE: Duration = Duration::from_secs(10);

/// Flows of datagrams at one forwarded port, each of a program's own port.
pub const MAX_FLOWS: usize = 1000;

/// Silence after which a flow makes room at that limit. Longer than the pauses of games and calls,
/// short enough that a program which asks from a new port each time is served.
pub const FLOW_ROOM: Duration = Duration::from_secs(5);

/// Time for which datagrams of a program are dropped after its service was not reached.
pub const FLOW_PAUSE: Duration = Duration::from_secs(2);

/// Datagrams of a flow that wait, each way. Beyond them the oldest are dropped: they are stale.
pub const DATAGRAMS_WAITING: usize = 256;

/// Bytes of those that wait.
pub const DATAGRAM_BYTES_WAITING: usize = 256 * 1024;

/// Time for which a session over QUIC is tried alone where datagrams are to be carried and TCP
/// would do too: a first packet that was lost is sent again twice by then.
pub const QUIC_AHEAD: Duration = Duration::from_secs(1);

/// Time a session stays idle on the dialling side. The next page of the same site comes sooner, or
/// later than a handshake matters.
pub const IDLE_LIMIT: Duration = Duration::from_secs(60);

/// Time a session stays idle on the listening side. Longer than [`IDLE_LIMIT`], so that the
/// dialler lets go first and a question never meets a closing session.
pub const LISTENER_IDLE_LIMIT: Duration = Duration::from_secs(120);

/// Time after which an idle session is no longer trusted to lead anywhere: one of the computers may
/// be gone. What a page asks for comes within it; after it a question costs a round trip more.
pub const FRESH_SESSION: Duration = Duration::from_secs(1);

/// Time for the answer over an idle session before another connection is dialled beside it. The
/// listener answers when it has its backend: a round trip and a connection on its own computer. A
/// packet that was lost was sent again by then.
pub const FIRST_ANSWER: Duration = Duration::from_millis(300);

/// The same for a request that may be sent twice, where the system does not tell whether it has
/// arrived. Longer than a round trip around the world.
pub const STALE_ANSWER: Duration = Duration::from_secs(1);

/// Longest time until a service that is kept ready, and was not reached, is looked for again. Who
/// opens it meanwhile does not wait for that.
pub const READY_AGAIN: Duration = Duration::from_secs(600);

/// Idle sessions on the dialling side, per service and password: as many as a browser's connections
/// to one site, twice over.
pub const MAX_IDLE_PER_SERVICE: usize = 16;

/// Idle sessions on the dialling side. A page can ask for as many services as it likes.
pub const MAX_IDLE: usize = 256;

/// The same for a session beyond those that may be idle: a question that is on its way still
/// arrives.
pub const CROWDED_IDLE_LIMIT: Duration = Duration::from_secs(1);

/// Idle sessions on the listening side; the next one has [`CROWDED_IDLE_LIMIT`].
pub const MAX_LISTENER_IDLE: usize = 4096;

/// Idle sessions on the listening side, per address they came from.
pub const MAX_LISTENER_IDLE_PER_ADDRESS: usize = 256;

const _: () = assert!(BACKEND_CONNECT_TIMEOUT.as_secs() < HANDSHAKE_TIMEOUT.as_secs());
const _: () = assert!(LISTENER_IDLE_LIMIT.as_secs() < ROOM_SILENCE.as_secs());
const _: () = assert!(IDLE_LIMIT.as_secs() < LISTENER_IDLE_LIMIT.as_secs());
const _: () = assert!(FRESH_SESSION.as_secs() < IDLE_LIMIT.as_secs());
const _: () = assert!(CONNECT_TIMEOUT.as_secs() < LOOKUP_TIMEOUT.as_secs());
