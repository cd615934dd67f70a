//! UPnP Internet Gateway Device 1 and 2, by `igd-next`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use hardline_proto::portmap::{self, Inside, LIFETIME, Outside, Transport};
use igd_next::aio::Gateway;
use igd_next::aio::tokio::{Tokio, search_gateway};
use igd_next::{AddPortError, GetExternalIpError, PortMappingProtocol, RequestError, SearchOptions};
use tokio::time::timeout;
use tracing::debug;

use super::{Failure, Opened};
use crate::network::DefaultRoute;

/// Time for a router to be found: three seconds that it may wait before it answers (`MX`), and two
/// for its description.
const SEARCH: Duration = Duration::from_secs(5);

/// Time for one request. It goes to a computer on the same wire.
const REQUEST: Duration = Duration::from_secs(4);

/// Entries of a router's table that are looked at for ours.
const MAX_ENTRIES: u32 = 128;

/// Shown on the router's page.
const DESCRIPTION: &str = "Hardline";

/// A router that speaks UPnP.
#[derive(Debug)]
pub(super) struct Igd {
    gateway: Gateway<Tokio>,
    route: DefaultRoute,
    /// Its address outside, if it tells.
    address: Option<Ipv4Addr>,
    /// Where in the router's table the mapping was found last.
    index: Option<u32>,
    /// Some routers know no other lease than one for ever.
    is_permanent: bool,
}

impl Igd {
    /// Looks for the router, and asks for its address outside.
    pub(super) async fn find(route: DefaultRoute) -> Result<Self, Failure> {
        let mut options = SearchOptions::default();
        options.bind_addr = SocketAddr::from((route.local, 0));
        options.timeout = Some(SEARCH);
        let gateway = search_gateway(options).await.map_err(|error| {
            debug!(%error, "no router found by UPnP");
            Failure::Silent
        })?;
        let address = outside(&gateway).await?;
        Ok(Self { gateway, route, address, index: None, is_permanent: false })
    }

    /// The router's address outside, if it tells.
    pub(super) fn outside(&self) -> Option<Ipv4Addr> {
        self.address
    }

    /// Asks for a port, for a first time or again; takes the next one when it is another
    /// computer's.
    pub(super) async fn map(&mut self, inside: Inside, wanted: u16) -> Result<Opened, Failure> {
        if let Outside::Carrier(address) = Outside::of(self.address) {
            return Err(Failure::NotPublic(Some(address)));
        }
        let local = SocketAddr::from((self.route.local, inside.port));
        for port in portmap::ports_to_try(wanted) {
            match self.add(inside.transport, port, local).await {
                Ok(()) => {
                    self.index = self.find_entry(port, inside).await;
                    let lifetime = if self.is_permanent { Duration::ZERO } else { LIFETIME };
                    return Ok(Opened { port, address: self.address, lifetime });
                }
                Err(AddPortError::PortInUse) => debug!(port, "taken on the router"),
                Err(AddPortError::RequestError(RequestError::ErrorCode(code, text))) => {
                    return Err(Failure::refused(self.address, format!("it says {code} {text}")));
                }
                Err(AddPortError::RequestError(_)) => return Err(Failure::Silent),
                Err(error) => return Err(Failure::refused(self.address, error.to_string())),
            }
        }
        Err(Failure::all_taken(wanted))
    }

    /// Whether the router still has its address and the mapping.
    pub(super) async fn is_unchanged(&mut self, inside: Inside, port: u16) -> bool {
        if !matches!(outside(&self.gateway).await, Ok(address) if address == self.address) {
            return false;
        }
        // A router that does not show its table cannot be asked; its address has to do.
        let Some(index) = self.index else { return true };
        if !self.is_entry(index, port, inside).await {
            self.index = self.find_entry(port, inside).await;
        }
        self.index.is_some()
    }

    /// Gives the port back.
    pub(super) async fn unmap(&self, transport: Transport, port: u16) {
        let _ = timeout(REQUEST, self.gateway.remove_port(protocol(transport), port)).await;
    }

    async fn add(&mut self, transport: Transport, port: u16, local: SocketAddr) -> Result<(), AddPortError> {
        match self.add_for(transport, port, local, self.lease()).await {
            Err(AddPortError::OnlyPermanentLeasesSupported) => {
                self.is_permanent = true;
                self.add_for(transport, port, local, self.lease()).await
            }
            result => result,
        }
    }

    async fn add_for(
        &self,
        transport: Transport,
        port: u16,
        local: SocketAddr,
        lease: u32,
    ) -> Result<(), AddPortError> {
        let adding = self.gateway.add_port(protocol(transport), port, local, lease, DESCRIPTION);
        timeout(REQUEST, adding).await.unwrap_or_else(|late| Err(AddPortError::RequestError(late.into())))
    }

    /// Seconds; zero is for ever.
    fn lease(&self) -> u32 {
        if self.is_permanent { 0 } else { u32::try_from(LIFETIME.as_secs()).unwrap_or(u32::MAX) }
    }

    async fn find_entry(&self, port: u16, inside: Inside) -> Option<u32> {
        for index in 0..MAX_ENTRIES {
            let entry = timeout(REQUEST, self.gateway.get_generic_port_mapping_entry(index)).await.ok()?.ok()?;
            if self.is_ours(&entry, port, inside) {
                return Some(index);
            }
        }
        None
    }

    async fn is_entry(&self, index: u32, port: u16, inside: Inside) -> bool {
        let entry = timeout(REQUEST, self.gateway.get_generic_port_mapping_entry(index)).await;
        matches!(entry, Ok(Ok(entry)) if self.is_ours(&entry, port, inside))
    }

    fn is_ours(&self, entry: &igd_next::PortMappingEntry, port: u16, inside: Inside) -> bool {
        entry.protocol == protocol(inside.transport)
            && (entry.external_port, entry.internal_port) == (port, inside.port)
            && entry.internal_client.parse() == Ok(self.route.local)
    }
}

const fn protocol(transport: Transport) -> PortMappingProtocol {
    match transport {
        Transport::Tcp => PortMappingProtocol::TCP,
        Transport::Udp => PortMappingProtocol::UDP,
    }
}

/// `None` when the router does not tell one: it may open ports all the same.
async fn outside(gateway: &Gateway<Tokio>) -> Result<Option<Ipv4Addr>, Failure> {
    match timeout(REQUEST, gateway.get_external_ip()).await {
        Ok(Ok(IpAddr::V4(address))) if !address.is_unspecified() => Ok(Some(address)),
        // An empty address or an error of its own is how a router says that it has none.
        Ok(
            Ok(_)
            | Err(GetExternalIpError::RequestError(RequestError::InvalidResponse(_) | RequestError::ErrorCode(..))),
        ) => Ok(None),
        Ok(Err(_)) | Err(_) => Err(Failure::Silent),
    }
}
