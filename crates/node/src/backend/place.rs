//! Where the program behind a service is, and how it is reached.

use std::io;
use std::time::Duration;

use hardline_proto::tunnel::Kind;

use super::BackendStream;
use super::folder::FolderServer;
use super::udp::UdpPlace;
use crate::config::Target;
use crate::system::unix_socket;
use crate::transport::tcp;

/// Where the tunnels of one service end, and how long connecting there may take.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    at: At,
    timeout: Duration,
}

#[derive(Debug, Clone)]
enum At {
    /// A program's TCP port.
    Tcp(hardline_proto::hosts::HostPort),
    /// A program's UDP port.
    Udp(UdpPlace),
    /// A program's Unix socket.
    Unix(std::path::PathBuf),
    /// The built-in file server.
    Folder(FolderServer),
}

impl Place {
    /// A program need not run yet; a folder must be there.
    pub(super) fn new(target: &Target, timeout: Duration) -> io::Result<Self> {
        let at = match target {
            Target::Tcp(at) | Target::Https(at) => At::Tcp(at.clone()),
            Target::Udp(at) => At::Udp(UdpPlace::new(at.clone())),
            Target::Unix(path) => {
                unix_socket::require()?;
                At::Unix(path.clone())
            }
            Target::Folder(root) => At::Folder(FolderServer::new(root.clone())?),
        };
        Ok(Self { at, timeout })
    }

    /// What is carried there.
    pub(super) fn kind(&self) -> Kind {
        if matches!(self.at, At::Udp(_)) { Kind::Datagrams } else { Kind::Stream }
    }

    /// Opens a connection in time.
    pub(super) async fn connect(&self) -> io::Result<BackendStream> {
        match &self.at {
            At::Tcp(at) => Ok(BackendStream::Tcp(tcp::connect(at, self.timeout).await?)),
            At::Udp(place) => Ok(BackendStream::Udp(Box::new(place.connect(self.timeout).await?))),
            At::Unix(path) => {
                let connecting = unix_socket::connect(path);
                let connected = tokio::time::timeout(self.timeout, connecting).await;
                Ok(BackendStream::Unix(connected.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??))
            }
            At::Folder(server) => Ok(BackendStream::Inside(server.connect())),
        }
    }
}
