//! One incoming peer, from its first byte to the end of its tunnel.

use std::io;
use std::net::SocketAddr;

use hardline_proto::admission::Limit;
use hardline_proto::host::parse_service_name;
use hardline_proto::opening::Opening;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::{LazyConfigAcceptor, TlsStream};
use tracing::{Instrument, debug, info_span, warn};

use super::door::{HandshakeSlot, TunnelSlot};
use super::{Acceptor, Service};
use crate::backend::BackendStream;
use crate::limits::HANDSHAKE_TIMEOUT;
use crate::tls::sni::refuse_unknown_name;
use crate::tunnel::{OpeningFailure, TunnelStream, read_opening, relay, send_opening};

/// Why a peer got no tunnel.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("nothing whole within {} s", HANDSHAKE_TIMEOUT.as_secs())]
    Slow,
    #[error("TLS handshake")]
    Handshake(#[source] io::Error),
    #[error("asked for no service of ours")]
    UnknownName,
    #[error("a limit is reached: {0:?}")]
    Limit(Limit),
    #[error("opening line")]
    Opening(#[from] OpeningFailure),
    #[error("wrong password")]
    Password,
    #[error("backend not reached")]
    Backend(#[source] io::Error),
}

impl Acceptor {
    /// Serves one peer. `handshake_slot` is given back when the tunnel begins.
    pub(super) async fn serve(&self, tcp: TcpStream, addr: SocketAddr, handshake_slot: HandshakeSlot) {
        let opened = tokio::select! {
            () = self.drain.stop.cancelled() => return,
            opened = timeout(HANDSHAKE_TIMEOUT, self.open(tcp, addr)) => opened.unwrap_or(Err(Refusal::Slow)),
        };
        drop(handshake_slot);
        match opened {
            Ok((service, _slot, tunnel, backend)) => self.carry(service, tunnel, backend, addr).await,
            Err(Refusal::Backend(error)) => warn!(%error, "backend not reached, tunnel closed"),
            Err(refusal) => debug!(%addr, error = %chain(&refusal), "peer refused"),
        }
    }

    async fn carry(&self, service: &Service, tunnel: TunnelStream, backend: BackendStream, addr: SocketAddr) {
        let open = self.open.begin();
        let span = info_span!("tunnel", side = "listener", id = open.id, key = %service.key.short());
        async {
            debug!(%addr, "tunnel opened");
            let relayed = relay(tunnel, backend, &self.drain).await;
            debug!(?relayed, "tunnel ended");
        }
        .instrument(span)
        .await;
    }

    async fn open(
        &self,
        tcp: TcpStream,
        addr: SocketAddr,
    ) -> Result<(&Service, TunnelSlot, TunnelStream, BackendStream), Refusal> {
        tcp.set_nodelay(true).map_err(Refusal::Handshake)?;
        let mut hello =
            LazyConfigAcceptor::new(rustls::server::Acceptor::default(), tcp).await.map_err(Refusal::Handshake)?;
        let Some(service) = hello.client_hello().server_name().and_then(|name| self.service(name)) else {
            // Who is gone needs no alert.
            let _ = refuse_unknown_name(&mut hello.io).await;
            return Err(Refusal::UnknownName);
        };
        // Before the handshake, which is what costs.
        let slot = self.door.tunnel(addr.ip(), service.key).map_err(Refusal::Limit)?;
        let tls = hello.into_stream(service.tls.clone()).await.map_err(Refusal::Handshake)?;
        let ours = Opening { wan_hosts: Some(self.reach.hosts()), password: None };
        let (tunnel, backend) = service.open_tunnel(tls.into(), &ours).await?;
        Ok((service, slot, tunnel, backend))
    }

    fn service(&self, sni: &str) -> Option<&Service> {
        self.services.get(&parse_service_name(sni).ok()?.key)
    }
}

impl Service {
    /// Exchanges the opening lines. The listener's line is the word that the backend is there: without a backend, or
    /// without the password, the connection ends before it.
    async fn open_tunnel(
        &self,
        tls: TlsStream<TcpStream>,
        ours: &Opening,
    ) -> Result<(TunnelStream, BackendStream), Refusal> {
        let (mut from_peer, mut to_peer) = tokio::io::split(tls);
        let (backend, early) = match &self.password {
            // Who does not know the password does not touch the backend. Browsers lower the case of host names.
            Some(password) => {
                let (theirs, early) = read_opening(&mut from_peer).await?;
                if !theirs.password.is_some_and(|theirs| theirs.eq_ignore_ascii_case(password)) {
                    return Err(Refusal::Password);
                }
                let backend = self.backend.connect().await.map_err(Refusal::Backend)?;
                send_opening(&mut to_peer, ours).await?;
                (backend, early)
            }
            None => {
                let answer = async {
                    let backend = self.backend.connect().await.map_err(Refusal::Backend)?;
                    send_opening(&mut to_peer, ours).await?;
                    Ok(backend)
                };
                let question = async { Ok::<_, Refusal>(read_opening(&mut from_peer).await?) };
                let (backend, (_theirs, early)) = tokio::try_join!(answer, question)?;
                (backend, early)
            }
        };
        Ok((TunnelStream::new(early, from_peer.unsplit(to_peer)), backend))
    }
}

/// An error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
