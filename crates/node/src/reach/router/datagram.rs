//! NAT-PMP and PCP: datagrams to the router's port 5351.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use hardline_proto::portmap::{self, Epoch, Inside, LIFETIME, Outside, SERVER_PORT, natpmp, pcp};
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};

use super::{Failure, Opened};
use crate::network::DefaultRoute;

/// Times to wait for an answer before asking again (RFC 6886, section 3.1, cut short: a home router
/// is a millisecond away).
const PATIENCE: [Duration; 3] = [Duration::from_millis(250), Duration::from_millis(500), Duration::from_millis(1000)];

/// Longest datagram of the protocols, in bytes (RFC 6887, section 7).
const MAX_DATAGRAM: usize = 1100;

/// A router that answers one of the two protocols.
#[derive(Debug)]
pub(super) struct Server {
    socket: UdpSocket,
    route: DefaultRoute,
    epoch: Epoch,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Pcp(pcp::Nonce),
    /// The router's address outside, if it tells.
    NatPmp(Option<Ipv4Addr>),
}

impl Server {
    /// Asks for a PCP server.
    pub(super) async fn knock_pcp(route: DefaultRoute) -> Result<Self, Failure> {
        let socket = connect(route).await?;
        let announce = |bytes: &[u8]| match pcp::read(bytes)? {
            pcp::Answer::Announce(epoch) => Some(epoch),
            _ => None,
        };
        let epoch = exchange(&socket, &pcp::announce_request(route.local.into()), announce).await?;
        Ok(Self { socket, route, epoch: epoch_now(epoch), kind: Kind::Pcp(rand::random()) })
    }

    /// Asks for a NAT-PMP server, and its address outside.
    pub(super) async fn knock_natpmp(route: DefaultRoute) -> Result<Self, Failure> {
        let socket = connect(route).await?;
        let (address, epoch) = outside(&socket).await?;
        Ok(Self { socket, route, epoch: epoch_now(epoch), kind: Kind::NatPmp(address) })
    }

    pub(super) fn protocol(&self) -> super::Protocol {
        match self.kind {
            Kind::Pcp(_) => super::Protocol::Pcp,
            Kind::NatPmp(_) => super::Protocol::NatPmp,
        }
    }

    /// The router's address outside, where the protocol tells without opening a port.
    pub(super) fn outside(&self) -> Option<Ipv4Addr> {
        match self.kind {
            Kind::Pcp(_) => None,
            Kind::NatPmp(address) => address,
        }
    }

    /// Asks for a port, for a first time or again; takes the one that the router gives.
    pub(super) async fn map(&mut self, inside: Inside, wanted: u16) -> Result<Opened, Failure> {
        let (opened, epoch) = match self.kind {
            Kind::Pcp(nonce) => self.map_by_pcp(nonce, inside, wanted).await?,
            Kind::NatPmp(address) => match Outside::of(address) {
                Outside::Carrier(address) => return Err(Failure::NotPublic(Some(address))),
                Outside::Public(_) | Outside::Unknown => self.map_by_natpmp(address, inside, wanted).await?,
            },
        };
        self.epoch = epoch_now(epoch);
        Ok(opened)
    }

    /// Whether another restart of the router might not show: see [`Epoch::is_young`].
    pub(super) fn is_young(&self) -> bool {
        self.epoch.is_young()
    }

    /// Whether the router still is as it was.
    pub(super) async fn is_unchanged(&self) -> bool {
        let told = match self.kind {
            Kind::Pcp(_) => self.announced().await.ok(),
            Kind::NatPmp(known) => {
                outside(&self.socket).await.ok().filter(|(address, _)| *address == known).map(|(_, epoch)| epoch)
            }
        };
        // Against that of the mapping, not of the last look: what was missed once shows again.
        told.is_some_and(|epoch| !self.epoch.is_broken_by(epoch_now(epoch)))
    }

    /// Gives the port back. One datagram and no second one: who stops does not wait for a router.
    pub(super) async fn unmap(&self, inside: Inside) {
        let (local, none) = (self.route.local, Duration::ZERO);
        let request = match self.kind {
            Kind::Pcp(nonce) => pcp::map_request(inside.transport, local.into(), nonce, (inside.port, 0), none),
            Kind::NatPmp(_) => natpmp::map_request(inside.transport, inside.port, 0, none).to_vec(),
        };
        let _ = exchange(&self.socket, &request, |_| Some(())).await;
    }

    async fn announced(&self) -> Result<u32, Failure> {
        exchange(&self.socket, &pcp::announce_request(self.route.local.into()), |bytes| match pcp::read(bytes)? {
            pcp::Answer::Announce(epoch) => Some(epoch),
            _ => None,
        })
        .await
    }

    async fn map_by_pcp(&self, nonce: pcp::Nonce, inside: Inside, wanted: u16) -> Result<(Opened, u32), Failure> {
        for external in portmap::ports_to_try(wanted) {
            let ports = (inside.port, external);
            let request = pcp::map_request(inside.transport, self.route.local.into(), nonce, ports, LIFETIME);
            let answer = exchange(&self.socket, &request, |bytes| match pcp::read(bytes)? {
                pcp::Answer::Announce(_) => None,
                pcp::Answer::Mapped { nonce: other, .. } if other != nonce => None,
                answer => Some(answer),
            });
            match answer.await? {
                pcp::Answer::Mapped { external, address, lifetime, epoch, .. } => {
                    let IpAddr::V4(address) = address else {
                        return Err(Failure::Refused("it opens a port at an IPv6 address alone".into()));
                    };
                    let address = Some(address).filter(|address| !address.is_unspecified());
                    if let Outside::Carrier(address) = Outside::of(address) {
                        self.unmap(inside).await;
                        return Err(Failure::NotPublic(Some(address)));
                    }
                    return Ok((Opened { port: external, address, lifetime }, epoch));
                }
                pcp::Answer::PortTaken => {}
                pcp::Answer::NetworkFailure => return Err(Failure::NotPublic(None)),
                answer => return Err(Failure::Refused(format!("it says {answer:?}"))),
            }
        }
        Err(Failure::all_taken(wanted))
    }

    async fn map_by_natpmp(
        &self,
        address: Option<Ipv4Addr>,
        inside: Inside,
        wanted: u16,
    ) -> Result<(Opened, u32), Failure> {
        let request = natpmp::map_request(inside.transport, inside.port, wanted, LIFETIME);
        let answer = exchange(&self.socket, &request, |bytes| match natpmp::read(bytes)? {
            natpmp::Answer::Address(..) => None,
            natpmp::Answer::Mapped { transport, internal, .. } if (Inside { transport, port: internal }) != inside => {
                None
            }
            answer => Some(answer),
        });
        match answer.await? {
            natpmp::Answer::Mapped { external, lifetime, epoch, .. } => {
                Ok((Opened { port: external, address, lifetime }, epoch))
            }
            natpmp::Answer::NetworkFailure(_) => Err(Failure::NotPublic(None)),
            answer => Err(Failure::refused(address, format!("it says {answer:?}"))),
        }
    }
}

fn epoch_now(seconds: u32) -> Epoch {
    Epoch::new(seconds, Instant::now().into_std())
}

async fn connect(route: DefaultRoute) -> Result<UdpSocket, Failure> {
    let open = async || {
        let socket = UdpSocket::bind((route.local, 0)).await?;
        socket.connect((route.gateway, SERVER_PORT)).await?;
        Ok::<_, io::Error>(socket)
    };
    open().await.map_err(|_| Failure::Silent)
}

/// The router's address outside by NAT-PMP, if it tells one, and its epoch.
async fn outside(socket: &UdpSocket) -> Result<(Option<Ipv4Addr>, u32), Failure> {
    let answer = exchange(socket, &natpmp::ADDRESS_REQUEST, |bytes| match natpmp::read(bytes)? {
        natpmp::Answer::Mapped { .. } => None,
        answer => Some(answer),
    });
    match answer.await? {
        natpmp::Answer::Address(address, epoch) => {
            Ok((Some(address).filter(|address| !address.is_unspecified()), epoch))
        }
        natpmp::Answer::NetworkFailure(Some(epoch)) => Ok((None, epoch)),
        natpmp::Answer::NetworkFailure(None) => Err(Failure::NotPublic(None)),
        // "Unsupported version" is how a PCP server that does not speak NAT-PMP answers.
        _ => Err(Failure::Silent),
    }
}

/// Sends `request` until an answer comes that `read` takes. The socket is connected, so only the
/// router is heard.
pub(in crate::reach) async fn exchange<T>(
    socket: &UdpSocket,
    request: &[u8],
    read: impl Fn(&[u8]) -> Option<T>,
) -> Result<T, Failure> {
    let mut buffer = [0; MAX_DATAGRAM];
    for patience in PATIENCE {
        let until = Instant::now() + patience;
        // Fails also for an "unreachable" that came in answer to the request before. A restarting
        // router says so.
        let _ = socket.send(request).await;
        while let Ok(received) = timeout_at(until, socket.recv(&mut buffer)).await {
            match received {
                Ok(len) => {
                    if let Some(answer) = read(&buffer[..len]) {
                        return Ok(answer);
                    }
                }
                Err(_nobody_listens) => return Err(Failure::Silent),
            }
        }
    }
    Err(Failure::Silent)
}
