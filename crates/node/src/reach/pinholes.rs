//! Has the router let others in to this computer's IPv6 addresses, which its firewall keeps from
//! them: by PCP (RFC 6887), or by UPnP's `WANIPv6FirewallControl`.
//!
//! Nothing is translated, so nothing is to be told to others that they are not told already. That
//! somebody gets in, [`proofs`](super::proofs) show.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use futures_util::future::join_all;
use hardline_proto::portmap::{Inside, LIFETIME, SERVER_PORT, Transport, pcp};
use igd_next::aio::Ipv6FirewallGateway;
use igd_next::aio::tokio::{Tokio, search_ipv6_firewall_gateway};
use igd_next::{PortMappingProtocol, SearchOptions};
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::router::{Failure, exchange};
use crate::network::{RouterV6, default_router_v6};

/// Addresses that are asked for. A computer has one or two that last.
const MAX_ADDRESSES: usize = 4;

/// Time after which the same is asked again: a router that has restarted has forgotten it.
const RENEW: Duration = Duration::from_secs(120);

/// First and longest pause after a router that opens nothing; each is twice the one before.
const FIRST_PAUSE: Duration = Duration::from_secs(60);
const LONGEST_PAUSE: Duration = Duration::from_secs(16 * 60);

/// Time to find a router by UPnP, and for one request to it.
const SEARCH: Duration = Duration::from_secs(5);
const REQUEST: Duration = Duration::from_secs(4);

/// Time that a stop waits for the router to close what it has opened.
const RELEASE: Duration = Duration::from_secs(1);

/// Task that has the router let others in.
pub(super) struct Pinholes {
    ports: Vec<Inside>,
    open: Vec<Pinhole>,
    pause: Duration,
}

/// An address and a port where others are to be let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Hole {
    address: Ipv6Addr,
    inside: Inside,
}

/// One that the router has opened.
struct Pinhole {
    hole: Hole,
    router: RouterV6,
    by: Protocol,
}

#[derive(Clone)]
enum Protocol {
    Pcp(pcp::Nonce),
    Upnp(Igd, u16),
}

type Igd = Ipv6FirewallGateway<Tokio>;

/// What is known in one round of the protocols that a router speaks.
#[derive(Default)]
struct Round {
    /// It does not answer by PCP.
    has_no_pcp: bool,
    /// Found by UPnP, or looked for in vain.
    igd: Option<Option<Igd>>,
}

impl Pinholes {
    /// For these ports.
    pub(super) fn new(ports: Vec<Inside>) -> Self {
        Self { ports, open: Vec::new(), pause: FIRST_PAUSE }
    }

    /// Has others let in to `wanted`, until `shutdown`; then has the router close that.
    pub(super) async fn run(mut self, mut wanted: watch::Receiver<Vec<Ipv6Addr>>, shutdown: CancellationToken) {
        loop {
            let addresses = wanted.borrow_and_update().clone();
            let again = tokio::select! {
                () = shutdown.cancelled() => break,
                again = self.keep(&addresses) => again,
            };
            tokio::select! {
                () = shutdown.cancelled() => break,
                changed = wanted.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    self.pause = FIRST_PAUSE;
                }
                () = sleep_until(Instant::now() + again) => {}
            }
        }
        let _ = timeout(RELEASE, join_all(self.open.drain(..).map(Pinhole::close))).await;
    }

    /// Asks for `addresses`, one after the other. Returns when to ask again.
    async fn keep(&mut self, addresses: &[Ipv6Addr]) -> Duration {
        let Some(router) = default_router_v6().filter(|_| !addresses.is_empty()) else {
            self.open.clear();
            return LONGEST_PAUSE;
        };
        let ports = &self.ports;
        let of = |address: Ipv6Addr| ports.iter().map(move |inside| Hole { address, inside: *inside });
        let holes: Vec<Hole> = addresses.iter().copied().take(MAX_ADDRESSES).flat_map(of).collect();
        self.open.retain(|pinhole| pinhole.router == router && holes.contains(&pinhole.hole));
        let mut round = Round::default();
        for hole in &holes {
            self.keep_one(*hole, router, &mut round).await;
        }
        if self.open.len() == holes.len() {
            self.pause = FIRST_PAUSE;
            return RENEW;
        }
        let pause = self.pause;
        self.pause = (pause * 2).min(LONGEST_PAUSE);
        pause
    }

    /// Asks for `hole`, for a first time or again. Cancelled in between, what is open stays known.
    async fn keep_one(&mut self, hole: Hole, router: RouterV6, round: &mut Round) {
        let known = self.open.iter().position(|pinhole| pinhole.hole == hole);
        if let Some(index) = known {
            let by = self.open[index].by.clone();
            if renewed(&by, hole, router).await {
                return;
            }
            self.open.remove(index);
        }
        let Some(by) = round.open(hole, router).await else { return };
        if known.is_none() {
            let Inside { transport, port } = hole.inside;
            info!(?transport, port, "the router lets others in by IPv6");
            debug!(address = %hole.address, router = %router.address, "where others are let in");
        }
        self.open.push(Pinhole { hole, router, by });
    }
}

impl Pinhole {
    async fn close(self) {
        match self.by {
            Protocol::Pcp(nonce) => drop(map(self.hole, self.router, nonce, Duration::ZERO).await),
            Protocol::Upnp(igd, id) => drop(igd.remove_pinhole(id).await),
        }
    }
}

async fn renewed(by: &Protocol, hole: Hole, router: RouterV6) -> bool {
    match by {
        Protocol::Pcp(nonce) => map(hole, router, *nonce, LIFETIME).await.is_ok(),
        Protocol::Upnp(igd, id) => matches!(timeout(REQUEST, igd.update_pinhole(*id, lease())).await, Ok(Ok(()))),
    }
}

impl Round {
    /// Asks by PCP first, which is one datagram.
    async fn open(&mut self, hole: Hole, router: RouterV6) -> Option<Protocol> {
        if !self.has_no_pcp {
            let nonce = rand::random();
            match map(hole, router, nonce, LIFETIME).await {
                Ok(()) => return Some(Protocol::Pcp(nonce)),
                Err(error) => {
                    debug!(?error, "no pinhole by PCP");
                    self.has_no_pcp = error == Failure::Silent;
                }
            }
        }
        let igd = self.igd(hole.address, router).await?;
        let protocol = match hole.inside.transport {
            Transport::Tcp => PortMappingProtocol::TCP,
            Transport::Udp => PortMappingProtocol::UDP,
        };
        let adding = igd.add_pinhole(protocol, SocketAddrV6::new(hole.address, hole.inside.port, 0, 0), lease());
        match timeout(REQUEST, adding).await {
            Ok(Ok(id)) => Some(Protocol::Upnp(igd, id)),
            refused => {
                debug!(?refused, "no pinhole by UPnP");
                None
            }
        }
    }

    /// The router, if it speaks UPnP over IPv6.
    async fn igd(&mut self, own: Ipv6Addr, router: RouterV6) -> Option<Igd> {
        if self.igd.is_none() {
            let mut options = SearchOptions::ipv6(router.scope);
            // From an address of the internet, so that the router answers from such a one, at which
            // it is then to be asked: no other answer is believed.
            options.bind_addr = SocketAddr::from((own, 0));
            options.timeout = Some(SEARCH);
            let found = search_ipv6_firewall_gateway(options).await;
            self.igd = Some(found.inspect_err(|error| debug!(%error, "no router by UPnP over IPv6")).ok());
        }
        self.igd.clone().flatten()
    }
}

/// Asks by PCP; a lifetime of zero closes.
async fn map(hole: Hole, router: RouterV6, nonce: pcp::Nonce, lifetime: Duration) -> Result<(), Failure> {
    let Hole { address, inside: Inside { transport, port } } = hole;
    let connect = async || {
        let socket = UdpSocket::bind(SocketAddr::from((address, 0))).await?;
        socket.connect(SocketAddrV6::new(router.address, SERVER_PORT, 0, router.scope)).await?;
        Ok::<_, io::Error>(socket)
    };
    let socket = connect().await.map_err(|_| Failure::Silent)?;
    let request = pcp::map_request(transport, IpAddr::V6(address), nonce, (port, port), lifetime);
    let answer = exchange(&socket, &request, |bytes| match pcp::read(bytes)? {
        pcp::Answer::Announce(_) => None,
        pcp::Answer::Mapped { nonce: other, .. } if other != nonce => None,
        answer => Some(answer),
    });
    match answer.await? {
        // Nothing is translated: anywhere else others would look in vain.
        pcp::Answer::Mapped { external, address: outside, .. }
            if (external, outside) == (port, IpAddr::V6(address)) || lifetime.is_zero() =>
        {
            Ok(())
        }
        answer => Err(Failure::Refused(format!("it says {answer:?}"))),
    }
}

/// Seconds.
fn lease() -> u32 {
    u32::try_from(LIFETIME.as_secs()).unwrap_or(u32::MAX)
}
