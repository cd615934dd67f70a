//! The gateway as a proxy: for services, and for nothing else.

use hardline_proto::head::RequestHead;
use hardline_proto::host::ServiceName;
use hardline_proto::proxy::{may_pass, to_origin};
use hardline_proto::socks::Reply;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tracing::{Instrument, debug, info_span};

use super::http::Followed;
use super::opened::Opened;
use super::{Gateway, answer, errors, socks};
use crate::dial::{Early, ReachError, Waiting};
use crate::limits::HEAD_TIMEOUT;
use crate::tunnel::Prefixed;

/// What opens a tunnel for a client that sent `CONNECT` (RFC 9110, section 9.3.6).
const CONNECTED: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";

/// Who asked for a tunnel, and so how it is answered.
pub(super) enum Client<'a> {
    /// By `CONNECT`.
    Http(&'a RequestHead),
    /// By SOCKS5.
    Socks,
}

impl Client<'_> {
    const fn connected(&self) -> &[u8] {
        match self {
            Self::Http(_) => CONNECTED,
            Self::Socks => &SUCCEEDED,
        }
    }

    async fn refuse(&self, client: TcpStream, error: &ReachError) {
        match self {
            Self::Http(head) => errors::not_reached(error).send(client, head.accept, true).await,
            Self::Socks => answer::send_bytes(client, &socks::reply_to(error).encode()).await,
        }
    }
}

const SUCCEEDED: [u8; 10] = Reply::Succeeded.encode();

impl Gateway {
    /// Whether a request may pass. One that was sent as to a proxy becomes one as the service
    /// itself is asked.
    pub(super) fn admit(&self, head: &mut RequestHead, bytes: &mut Vec<u8>) -> bool {
        if !may_pass(head.form, &head.authority, self.port) {
            return false;
        }
        if let Some(origin) = bytes.get(..head.len).and_then(to_origin) {
            bytes.splice(..head.len, origin.iter().copied());
            head.len = origin.len();
        }
        true
    }

    /// Opens a tunnel of raw bytes, which is followed where they are HTTP of an isolated service;
    /// `rest` was sent ahead of the answer.
    pub(super) async fn tunnel(
        &self,
        mut client: TcpStream,
        rest: Vec<u8>,
        name: &ServiceName,
        asked: Client<'_>,
    ) -> Option<Box<Opened>> {
        let open = self.metrics.tunnel();
        let span = info_span!("proxied", id = open.id, key = %name.key.short());
        // Nothing is sent before the service is reached: what is sent to nobody is lost.
        let mut nothing = Early::default();
        let reached = self.dialler.reach(name, Waiting::Program, &mut nothing).instrument(span.clone()).await;
        match reached {
            Ok(tunnel) => {
                timeout(HEAD_TIMEOUT, client.write_all(asked.connected())).await.ok()?.ok()?;
                let stream = Prefixed::new(rest, client);
                let application = match self.isolation.follow_if_http(name) {
                    Some(exchange) => Followed::new(stream, exchange, 0),
                    None => Followed::raw(stream),
                };
                Some(Box::new(Opened { application, tunnel, open, span }))
            }
            Err(error) => {
                span.in_scope(|| debug!(%error, "service not reached"));
                asked.refuse(client, &error).await;
                None
            }
        }
    }
}
