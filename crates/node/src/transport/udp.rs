//! A UDP socket that has several users.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use futures_util::future::BoxFuture;
use tokio::sync::mpsc;

/// A datagram as it came, and from where.
pub(crate) type Datagram = (SocketAddr, Box<[u8]>);

/// Lends a socket to the DHT, whose nodes then see where QUIC is.
pub(crate) trait LentSocket: fmt::Debug + Send + Sync {
    /// Where it is bound, once for each family that it serves.
    ///
    /// # Errors
    /// That of the system.
    fn bound(&self) -> io::Result<Vec<SocketAddr>>;

    /// Hands what comes for the DHT to `to` from now on, and to nobody else. What finds no room is
    /// lost.
    fn deliver(&self, to: mpsc::Sender<Datagram>);

    /// How many datagrams for the DHT were lost for want of room.
    fn lost(&self) -> u64;

    /// Sends, as soon as the system's buffer has room.
    fn send<'a>(&'a self, to: SocketAddr, payload: &'a [u8]) -> BoxFuture<'a, io::Result<()>>;
}
