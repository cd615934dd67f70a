//! UDP multicast on every interface ⇄ [`hardline_proto::lan`].

use std::net::SocketAddr;
use std::sync::Arc;

use hardline_proto::KeyHash;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::config::LanConfig;

/// A service of this computer, as the LAN hears of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LanService {
    /// Its name.
    pub key: KeyHash,
    /// Its P2P port.
    pub port: u16,
    /// Its title.
    pub title: String,
    /// Whether it answers searches for itself only.
    pub unlisted: bool,
}

/// A service heard on the LAN. Unauthenticated: a hint for dialling and a line in a list, no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundService {
    /// The key hash it claims.
    pub key: KeyHash,
    /// The title it claims: at most 256 bytes, no control characters. Not markup.
    pub title: String,
    /// Addresses it was heard from, the latest first.
    pub addrs: Vec<SocketAddr>,
}

/// State of one interface address, for `doctor` and `status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LanInterface {
    /// The interface's own address.
    pub addr: std::net::Ipv4Addr,
    /// Its name where the system tells.
    pub name: Option<String>,
    /// Why multicast does not work there, if it does not.
    pub error: Option<String>,
}

/// Handle of the running driver. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Lan {}

impl Lan {
    /// Opens the sockets and starts the driver's task, which ends on `shutdown`. An interface that cannot multicast is
    /// noted, not an error.
    ///
    /// # Errors
    /// When no UDP socket can be opened at all.
    pub async fn start(config: LanConfig, shutdown: CancellationToken) -> std::io::Result<Arc<Self>> {
        let _ = (config, shutdown);
        todo!()
    }

    /// Replaces the services this computer answers for and announces.
    pub fn set_services(&self, services: Vec<LanService>) {
        let _ = services;
        todo!()
    }

    /// Searches for `key`: addresses arrive as they are heard, those heard of already (announcements) at once. The search
    /// is repeated with back-off until the receiver is dropped.
    #[must_use]
    pub fn search(&self, key: KeyHash) -> mpsc::Receiver<SocketAddr> {
        let _ = key;
        todo!()
    }

    /// Asks every service to answer, and shows who has been heard in the last 90 s. Asks again now and then for as long
    /// as somebody holds the receiver.
    #[must_use]
    pub fn browse(&self) -> watch::Receiver<Vec<FoundService>> {
        todo!()
    }

    /// What has been heard so far, without asking.
    #[must_use]
    pub fn heard(&self) -> Vec<FoundService> {
        todo!()
    }

    /// The interfaces in use.
    #[must_use]
    pub fn interfaces(&self) -> Vec<LanInterface> {
        todo!()
    }
}
