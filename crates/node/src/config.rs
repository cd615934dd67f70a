//! What an embedder may set.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use hardline_dht::Rates;
use hardline_proto::admission::AdmissionLimits;
use hardline_proto::candidate::TransportAddr;
use hardline_proto::host::ServiceName;
use hardline_proto::hosts::HostPort;
use hardline_proto::lan;
use hardline_proto::network::InterfaceAddr;
use hardline_proto::relay::RelayUrl;
use hardline_proto::relay::registry::RelayLimits;

use crate::access::Access;
use crate::limits::{
    BACKEND_ANSWER_TIMEOUT, BACKEND_CONNECT_TIMEOUT, HANDSHAKE_TIMEOUT, IDLE_LIMIT, LISTENER_IDLE_LIMIT,
    MAX_GATEWAY_CONNECTIONS, MAX_IDLE, MAX_IDLE_PER_SERVICE, MAX_LISTENER_IDLE, MAX_LISTENER_IDLE_PER_ADDRESS,
};

mod forward; // services of other computers at an address of this one
mod http_settings; // what is done to the HTTP of a service

pub use forward::{ForwardConfig, LocalAddr};
pub use http_settings::{BackendCertificate, HostHeader, HttpSettings};

/// UDP port of a DHT node that takes part and shares no socket with QUIC: that of released nodes.
pub const DEFAULT_DHT_PORT: u16 = 4222;

/// Where to enter the public DHT.
pub const PUBLIC_BOOTSTRAP: &str = "bootstrap.jami.net:4222";

/// A proxy of the public DHT.
pub const PUBLIC_PROXY: &str = "http://dhtproxy.jami.net";

/// Port other computers' daemons connect to.
pub const DEFAULT_P2P_PORT: u16 = 7008;

/// Port browsers on this computer connect to.
pub const DEFAULT_GATEWAY_PORT: u16 = 7009;

/// UDP port of the DNS server for names below `localhost`: 53 needs privileges, and is taken.
pub const DEFAULT_DNS_PORT: u16 = 7053;

/// Everything a node can be told. `NodeConfig::new(data_dir)` gives a gateway on the default port
/// and no services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeConfig {
    /// Folder for the store and the identities; made when absent.
    pub data_dir: PathBuf,
    /// The Python program's `peers.db`, taken over once when it is there.
    pub import_from: Option<PathBuf>,
    /// Port for browsers, on 127.0.0.1 and ::1 both; 0 takes a free one. `None`: no gateway.
    pub gateway_port: Option<u16>,
    /// Where other daemons connect. Nothing listens while there is neither a service nor a relay.
    pub p2p: P2pConfig,
    /// Services of this computer.
    pub services: Vec<ServiceConfig>,
    /// Relays through which the services are reached where no port can be opened.
    pub relays: Vec<RelayUrl>,
    /// A relay to be run beside the services.
    pub relay: Option<RelayConfig>,
    /// This computer's addresses where the system does not tell them, as on Android; told anew with
    /// [`Node::set_networks`](crate::node::Node::set_networks). `None`: the system is asked.
    pub networks: Option<Vec<InterfaceAddr>>,
    /// LAN discovery.
    pub lan: LanConfig,
    /// The DHT.
    pub dht: DhtSettings,
    /// Addresses given by hand, tried for every service asked for beside what discovery finds.
    pub static_addresses: Vec<StaticAddress>,
    /// Services to which a link is dialled before anybody asks, and kept: the first request costs
    /// no handshake. It tells the network that they are wanted here.
    pub ready: Vec<ServiceName>,
    /// UDP port of a DNS server for names below `localhost`, on 127.0.0.1 and ::1; 0 takes a free
    /// one. `None`: none.
    pub dns_port: Option<u16>,
    /// Services of other computers that have a port or a socket of this one.
    pub forwards: Vec<ForwardConfig>,
    /// Services of other computers whose answers reach the browser as they are. The pages of all
    /// others are kept away from this computer and its network, by a policy that the gateway adds.
    pub trusted: Vec<hardline_proto::KeyHash>,
    /// Whether addresses on loopback that others tell are dialled. Only test networks that live on
    /// one computer turn it on.
    pub is_loopback_shared: bool,
    /// How long running tunnels may go on after a stop was asked for. Default 30 s.
    pub grace: Duration,
    /// Silence in both directions after which a tunnel is closed. Default: `None`, as long as both
    /// computers live.
    pub tunnel_idle: Option<Duration>,
    /// Connections of browsers open at once. Default [`MAX_GATEWAY_CONNECTIONS`].
    pub gateway_connections: usize,
    /// Sessions with other computers that wait for their next tunnel. Default
    /// [`IdleLimits::DIALLER`].
    pub idle_limits: IdleLimits,
    /// Whether TLS records between peers of version 2 are made by `hardline-record`. Without,
    /// rustls makes them, at more cost.
    pub own_records: bool,
}

/// How many sessions may wait for their next tunnel, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdleLimits {
    /// Time a session stays idle.
    pub time: Duration,
    /// Sessions idle at once.
    pub sessions: usize,
    /// Of them, to one service and password (dialling side) or from one address (listening side).
    pub sessions_each: usize,
}

impl IdleLimits {
    /// The dialling side's, if nothing else is set.
    pub const DIALLER: Self = Self { time: IDLE_LIMIT, sessions: MAX_IDLE, sessions_each: MAX_IDLE_PER_SERVICE };

    /// The listening side's, if nothing else is set.
    pub const LISTENER: Self =
        Self { time: LISTENER_IDLE_LIMIT, sessions: MAX_LISTENER_IDLE, sessions_each: MAX_LISTENER_IDLE_PER_ADDRESS };
}

impl NodeConfig {
    /// A gateway on the default port, LAN discovery, and no services.
    #[must_use]
    pub fn new(data_dir: PathBuf) -> Self {
        Self {
            data_dir,
            import_from: None,
            gateway_port: Some(DEFAULT_GATEWAY_PORT),
            p2p: P2pConfig::default(),
            services: Vec::new(),
            relays: Vec::new(),
            relay: None,
            networks: None,
            lan: LanConfig::default(),
            dht: DhtSettings::default(),
            static_addresses: Vec::new(),
            ready: Vec::new(),
            dns_port: None,
            forwards: Vec::new(),
            trusted: Vec::new(),
            is_loopback_shared: false,
            grace: Duration::from_secs(30),
            tunnel_idle: None,
            gateway_connections: MAX_GATEWAY_CONNECTIONS,
            own_records: true,
            idle_limits: IdleLimits::DIALLER,
        }
    }
}

/// Where other daemons connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct P2pConfig {
    /// TCP port. 0 takes a free one. When it is taken by another program the next free one is used,
    /// and said.
    pub port: u16,
    /// Addresses to listen at instead of every one; for tests and unusual machines.
    pub bind: Vec<std::net::IpAddr>,
    /// Where this computer is reached from outside, set by hand: told to diallers before the
    /// addresses it knows itself.
    pub public_addresses: Vec<HostPort>,
    /// Whether the router is asked to open the port, by UPnP, NAT-PMP or PCP, and where it does the
    /// UDP port of QUIC. Nobody is asked while `services` is empty.
    pub port_mapping: bool,
    /// Whether others come in over QUIC as well, at the UDP port of the same number, or at another
    /// where that is taken. A build without the feature `quic` never does.
    pub quic: bool,
    /// Whether a way through NATs is made over QUIC: those who call in the DHT are answered, and
    /// services that cannot be reached are called. Needs [`quic`](Self::quic).
    pub punching: bool,
    /// How many may come in, at once and from one address.
    pub limits: AdmissionLimits,
    /// Time for a peer to finish its handshake and its preamble. Default [`HANDSHAKE_TIMEOUT`].
    pub handshake_timeout: Duration,
    /// Time to connect to a backend. Default [`BACKEND_CONNECT_TIMEOUT`].
    pub backend_timeout: Duration,
    /// Time for a backend to answer a request, where HTTP is understood. Default
    /// [`BACKEND_ANSWER_TIMEOUT`].
    pub answer_timeout: Duration,
    /// Sessions of other computers that wait for their next tunnel. Default
    /// [`IdleLimits::LISTENER`].
    pub idle_limits: IdleLimits,
}

impl Default for P2pConfig {
    fn default() -> Self {
        Self {
            port: DEFAULT_P2P_PORT,
            bind: Vec::new(),
            public_addresses: Vec::new(),
            port_mapping: true,
            quic: true,
            punching: true,
            limits: AdmissionLimits::default(),
            handshake_timeout: HANDSHAKE_TIMEOUT,
            backend_timeout: BACKEND_CONNECT_TIMEOUT,
            answer_timeout: BACKEND_ANSWER_TIMEOUT,
            idle_limits: IdleLimits::LISTENER,
        }
    }
}

/// How a relay is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayConfig {
    /// Its name: publishers verify it.
    pub identity: IdentityConfig,
    /// How many may register, wait and be joined.
    pub limits: RelayLimits,
    /// Bytes a second to and from the publishers of one token; 0 for no limit.
    pub bytes_per_second_per_token: u64,
    /// Bytes a second in all; 0 for no limit.
    pub bytes_per_second: u64,
    /// How long a client waits for its publisher's data connection.
    pub first_byte_timeout: Duration,
}

impl RelayConfig {
    /// The defaults, under the name `identity`.
    #[must_use]
    pub fn new(identity: IdentityConfig) -> Self {
        Self {
            identity,
            limits: RelayLimits::default(),
            // A quarter of a gigabit line: one household does not take all of it.
            bytes_per_second_per_token: 32 * 1024 * 1024,
            bytes_per_second: 0,
            // A publisher answers within a round trip, or is gone; then another path should win.
            first_byte_timeout: Duration::from_secs(5),
        }
    }
}

/// LAN discovery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LanConfig {
    /// Whether to search, answer and announce on the LAN at all.
    pub enabled: bool,
    /// Whether to search by the plain key hash when nobody answered the rolling code. Older peers
    /// need it; it tells neighbours which service is looked for.
    pub plain_search: bool,
    /// What neighbours may cost in a second.
    pub rates: lan::Rates,
    /// Whether the groups are joined only while somebody searches or browses. A member answers the
    /// router's questions about the group (RFC 9776, section 6.2): a phone at rest sends nothing.
    /// Announcements of others are then heard during searches alone, and nobody finds services of
    /// this computer. Default: `false`.
    pub only_while_searching: bool,
    /// UDP port, 6771 for everybody; others are for tests. 0 takes a free one.
    pub port: u16,
    /// IPv4 addresses of the interfaces to use instead of every one; for tests and unusual
    /// machines.
    pub bind: Vec<std::net::Ipv4Addr>,
}

impl Default for LanConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            plain_search: true,
            rates: lan::Rates::DEFAULT,
            only_while_searching: false,
            port: 6771,
            bind: Vec::new(),
        }
    }
}

/// How the DHT is used: to publish the services of this computer, and to look for those of others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DhtSettings {
    /// Whether it is used at all, proxies included.
    pub enabled: bool,
    /// Whether a node of our own looks there. Without, proxies are asked alone, and nothing is
    /// published: what costs a phone's battery least.
    pub node: bool,
    /// UDP port of a node that publishes; 0 takes a free one, and so does one that only looks for
    /// services. When it is taken by another program a free one is used.
    ///
    /// Default: `None`, the socket of QUIC, so that what other nodes see of the one is true of the
    /// other: its port behind a router, by which hole punching finds it. One port is also all that
    /// a router or a firewall has to let in. Without QUIC on all addresses, or where
    /// [`bind`](Self::bind) names others, it is [`DEFAULT_DHT_PORT`].
    pub port: Option<u16>,
    /// Addresses to use instead of every one, at most one of each family; for tests and unusual
    /// machines.
    pub bind: Vec<std::net::IpAddr>,
    /// Where to enter the network, `host:port`. Without any, nodes met earlier still lead into it.
    pub bootstrap: Vec<String>,
    /// The network's number; 0 is the public one.
    pub network: u32,
    /// Proxies to ask beside our own node, `http://host:port`.
    pub proxies: Vec<String>,
    /// Whether services are also published under the keys where released clients look: anybody who
    /// knows a link, or a released client's question for it, can read the addresses there.
    pub publish_plain: bool,
    /// What strangers may cost in a second.
    pub rates: Rates,
}

impl Default for DhtSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            node: true,
            port: None,
            bind: Vec::new(),
            bootstrap: vec![PUBLIC_BOOTSTRAP.to_owned()],
            network: 0,
            proxies: vec![PUBLIC_PROXY.to_owned()],
            publish_plain: true,
            rates: Rates::default(),
        }
    }
}

/// One service of this computer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceConfig {
    /// What the service is.
    pub target: Target,
    /// Whose name it carries.
    pub identity: IdentityConfig,
    /// Shown to people who browse the LAN. At most 256 bytes.
    pub title: String,
    /// Who may use it; `None` leaves that to its `.hash` file.
    pub access: Option<Access>,
    /// Whether browsing the LAN does not show it. Who knows its name finds it all the same.
    pub unlisted: bool,
    /// Whether only visitors come in who were invited. To everybody else it is as if no service had
    /// its name; where it is announced, nothing but an address is told of it.
    pub private: bool,
    /// Whether its addresses are published in the DHT.
    pub dht: bool,
    /// What is done to its HTTP. As long as this asks for nothing, and its target is not
    /// [`Target::Https`], bytes are carried as they come.
    pub http: HttpSettings,
}

impl ServiceConfig {
    /// Whether whoever answers in the place of its program is believed.
    #[must_use]
    pub fn believes_anybody(&self) -> bool {
        matches!(self.target, Target::Https(_)) && self.http.backend_certificate == Some(BackendCertificate::Any)
    }
}

/// What a service is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A TCP port; a name is resolved anew for each tunnel.
    Tcp(HostPort),
    /// The same, where TLS is spoken.
    Https(HostPort),
    /// A UDP port; a name is resolved anew for each flow.
    Udp(HostPort),
    /// A Unix socket.
    Unix(PathBuf),
    /// A folder, shown by the built-in file server.
    Folder(PathBuf),
}

impl std::fmt::Display for Target {
    /// As people write it for `hardline share`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(at) => at.fmt(f),
            Self::Https(at) => write!(f, "https://{at}"),
            Self::Udp(at) => write!(f, "udp://{at}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Folder(path) => path.display().fmt(f),
        }
    }
}

/// Where an identity comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdentityConfig {
    /// `NAME`, `NAME.private` and `NAME.hash`, made when absent.
    File(PathBuf),
    /// Made for this run and never written.
    Ephemeral,
}

/// An address given by hand for a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaticAddress {
    /// The service.
    pub key: hardline_proto::KeyHash,
    /// Where to try, and how.
    pub at: TransportAddr,
}

/// Sockets a running node has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bound {
    /// Addresses for browsers.
    pub gateway: Vec<SocketAddr>,
    /// Addresses for other daemons.
    pub p2p: Vec<SocketAddr>,
    /// The same over UDP, for QUIC.
    pub quic: Vec<SocketAddr>,
}
