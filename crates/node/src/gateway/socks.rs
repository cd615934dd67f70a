//! SOCKS5 at the gateway's port.

use hardline_proto::host::ServiceName;
use hardline_proto::socks::{METHOD_NONE, NO_METHOD, Reply, read_greeting, read_request};
use hardline_proto::tunnel::Reason;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::opened::Opened;
use super::proxy::Client;
use super::{Gateway, READ_CHUNK, answer};
use crate::dial::{Cause, ReachError};
use crate::limits::HEAD_TIMEOUT;
use crate::transport::read_onto;

/// Why a client gets no tunnel.
enum Refused {
    /// It is gone, or too slow, or no client of SOCKS5.
    Silently,
    /// It cannot do without authentication.
    NoMethod,
    /// It asks for something else than a service.
    With(Reply),
}

impl Gateway {
    /// Serves a client that began with SOCKS5.
    pub(super) async fn socks(&self, mut client: TcpStream, mut bytes: Vec<u8>) -> Option<Box<Opened>> {
        let asked = timeout(HEAD_TIMEOUT, negotiate(&mut client, &mut bytes)).await.unwrap_or(Err(Refused::Silently));
        match asked {
            Ok(name) => return Box::pin(self.tunnel(client, bytes, &name, Client::Socks)).await,
            Err(Refused::With(reply)) => answer::send_bytes(client, &reply.encode()).await,
            Err(Refused::NoMethod) => answer::send_bytes(client, &NO_METHOD).await,
            Err(Refused::Silently) => {}
        }
        None
    }
}

/// Learns which service is asked for. `bytes` holds what has been read, and then what the client
/// sent ahead for the service.
async fn negotiate(client: &mut TcpStream, bytes: &mut Vec<u8>) -> Result<ServiceName, Refused> {
    let greeting = loop {
        match read_greeting(bytes).map_err(|_| Refused::Silently)? {
            Some(greeting) => break greeting,
            None => more(client, bytes).await?,
        }
    };
    if !greeting.is_open {
        return Err(Refused::NoMethod);
    }
    bytes.drain(..greeting.len);
    client.write_all(&METHOD_NONE).await.map_err(|_| Refused::Silently)?;
    loop {
        match read_request(bytes).map_err(Refused::With)? {
            Some(request) => {
                bytes.drain(..request.len);
                return Ok(request.name);
            }
            None => more(client, bytes).await?,
        }
    }
}

/// Reads on. What is not whole yet is shorter than the longest message.
async fn more(client: &mut TcpStream, bytes: &mut Vec<u8>) -> Result<(), Refused> {
    match read_onto::<READ_CHUNK>(client, bytes).await {
        Ok(0) | Err(_) => Err(Refused::Silently),
        Ok(_) => Ok(()),
    }
}

/// The reply that says why a service was not reached.
pub(super) fn reply_to(error: &ReachError) -> Reply {
    match &error.cause {
        Cause::Refused { refusal, .. } if refusal.reason == Reason::Backend => Reply::Refused,
        Cause::Refused { .. } | Cause::WrongKey { .. } => Reply::NotAllowed,
        Cause::Closed { .. } => Reply::Refused,
        Cause::Unnameable => Reply::Failed,
        _ => Reply::HostUnreachable,
    }
}
