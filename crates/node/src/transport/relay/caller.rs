//! Calling a service through a relay at which it is registered, at the dialler.
//!
//! No TLS: calls and answers are sealed, and the name is said in the clear to a relay by every
//! client's first TLS message, too.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use hardline_proto::call::RELAYED_ANSWER_LEN;
use hardline_proto::hosts::HostPort;
use hardline_proto::relay::Name;
use hardline_proto::relay::message::{CLIENT_ADDRESS, caller_preamble, read_client_address};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::transport::tcp;

/// Time to connect and to hear where the relay sees this computer.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// Time for an answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// A connection by which one name is called.
#[derive(Debug)]
pub(crate) struct Caller {
    tcp: TcpStream,
    /// Where the relay sees this computer.
    pub(crate) seen: SocketAddr,
}

impl Caller {
    /// Connects to the relay at `at`.
    ///
    /// # Errors
    /// That of the connection, also where nobody can be called by `name`: a relay of an earlier
    /// version, or a publisher that takes no calls.
    pub(crate) async fn connect(at: &HostPort, name: &Name) -> io::Result<Self> {
        timeout(CONNECT_LIMIT, async {
            let mut tcp = tcp::connect(at, CONNECT_LIMIT).await?;
            tcp.write_all(&caller_preamble(name)).await?;
            let mut seen = [0; CLIENT_ADDRESS];
            tcp.read_exact(&mut seen).await?;
            Ok(Self { tcp, seen: read_client_address(&seen) })
        })
        .await?
    }

    /// Passes a sealed call on, and waits for the sealed answer.
    ///
    /// # Errors
    /// That of the connection.
    pub(crate) async fn call(&mut self, sealed: &[u8]) -> io::Result<[u8; RELAYED_ANSWER_LEN]> {
        timeout(ANSWER_LIMIT, async {
            self.tcp.write_all(sealed).await?;
            let mut answer = [0; RELAYED_ANSWER_LEN];
            self.tcp.read_exact(&mut answer).await?;
            Ok(answer)
        })
        .await?
    }
}
