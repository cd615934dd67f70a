//! The only place that wires the parts together.

use std::sync::Arc;

use hardline_proto::KeyHash;
use hardline_proto::host::ServiceName;
use tokio::sync::watch;

use crate::config::{Bound, NodeConfig};
use crate::drivers::lan::{FoundService, LanInterface};
use crate::store::{RememberedService, StoreNotice};
use crate::tls::identity::IdentityNotice;

/// A running node.
#[derive(Debug)]
pub struct Node {}

/// Why a node cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// To be refined.
    #[error("start")]
    Todo,
}

/// What a person should hear about a start that worked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// Of the store.
    Store(StoreNotice),
    /// Of an identity: the service's number in the configuration, and what about it.
    Identity {
        /// Index in [`NodeConfig::services`].
        service: usize,
        /// What.
        notice: IdentityNotice,
    },
    /// The P2P port was taken.
    PortTaken {
        /// The port asked for.
        wanted: u16,
        /// The port used.
        got: u16,
    },
    /// LAN discovery does not work.
    NoLan {
        /// Why.
        reason: String,
    },
}

/// One published service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Its name.
    pub key: KeyHash,
    /// Its title.
    pub title: String,
    /// Its password.
    pub password: Option<String>,
    /// What it is, for people: `localhost:8080`, `unix:/run/x.sock`, `/home/me/pictures`.
    pub target: String,
}

/// What a node is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Its sockets.
    pub bound: Bound,
    /// Its services, in the order of the configuration.
    pub services: Vec<Published>,
    /// Interfaces of LAN discovery.
    pub lan: Vec<LanInterface>,
    /// Tunnels open now, as listener and as dialler.
    pub tunnels: usize,
}

impl Node {
    /// Starts everything `config` asks for; on return all sockets are bound and all services are announced.
    ///
    /// # Errors
    /// [`StartError`] names what is in the way. Nothing is left running.
    pub async fn start(config: NodeConfig) -> Result<(Self, Vec<Notice>), StartError> {
        let _ = config;
        todo!()
    }

    /// What it is doing now.
    #[must_use]
    pub fn status(&self) -> Status {
        todo!()
    }

    /// Services heard on the LAN, live.
    #[must_use]
    pub fn browse(&self) -> watch::Receiver<Vec<FoundService>> {
        todo!()
    }

    /// Services remembered, the one used last first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn remembered(&self) -> Result<Vec<RememberedService>, crate::store::StoreError> {
        todo!()
    }

    /// Opens a tunnel to a service: no HTTP, bytes as they are.
    ///
    /// # Errors
    /// [`ReachError`] says what was tried.
    pub async fn connect(&self, name: &ServiceName) -> Result<TunnelStream, ReachError> {
        let _ = name;
        todo!()
    }

    /// Stops: no new tunnels, running ones get [`NodeConfig::grace`], then everything is closed and joined. Dropping the
    /// future (a second Ctrl-C) abandons the grace.
    pub async fn shutdown(self) {
        todo!()
    }
}

/// A tunnel's near end. `AsyncRead + AsyncWrite`; shutting down the write side is a half-close.
#[derive(Debug)]
pub struct TunnelStream {}

impl tokio::io::AsyncRead for TunnelStream {
    fn poll_read(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        _: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        todo!()
    }
}

impl tokio::io::AsyncWrite for TunnelStream {
    fn poll_write(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        _: &[u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        todo!()
    }
    fn poll_flush(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        todo!()
    }
    fn poll_shutdown(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        todo!()
    }
}

/// Why a service could not be reached; one display for logs, parts for pages.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ReachError {
    /// To be refined in the dial and resolve modules: not found (with what was tried and how long each took), somebody
    /// else's certificate, reached but closed before its opening line.
    #[error("not reached: {0}")]
    Todo(Arc<str>),
}
