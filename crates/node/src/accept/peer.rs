//! One incoming peer, from its first byte to its tunnel.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use hardline_proto::admission::Limit;
use hardline_proto::preamble::Preamble;
use hardline_proto::tunnel::{ALPN, Session};
use rustls::server::ClientHello;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tracing::{Instrument, debug, info_span};

use super::door::{HandshakeSlot, TunnelSlot};
use super::{Acceptor, Service};
use crate::backend::BackendStream;
use crate::clock;
use crate::session::{Carrier, LinkStream, PlainStream, PreambleFailure, read_preamble, send_preamble};
use crate::tls::sni::refuse_unknown_name;
use crate::transport::handshake::{self, Hello};
use crate::transport::tcp::notice_if_gone;
use crate::tunnel::{Side, relay};

/// Why a peer got no tunnel.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("nothing whole within {0:?}")]
    Slow(Duration),
    #[error("speaks no TLS")]
    NoTls,
    #[error("TLS handshake")]
    Handshake(#[source] io::Error),
    #[error("asked for no service of ours")]
    UnknownName,
    #[error("a limit is reached: {0:?}")]
    Limit(Limit),
    #[error("preamble")]
    Preamble(#[from] PreambleFailure),
    #[error("wrong password")]
    Password,
    #[error("backend not reached")]
    Backend(#[source] io::Error),
}

/// A peer behind the handshake and the preambles.
enum Peer {
    /// Version 1: its tunnel begins.
    Plain(PlainStream, BackendStream),
    /// Version 2: it may ask for tunnels.
    Link {
        link: LinkStream,
        /// Whether it sent the service's password, or there is none.
        is_allowed: bool,
    },
}

impl Acceptor {
    /// Serves one peer. `handshake_slot` is given back when its first tunnel begins, or its link is parked.
    pub(super) async fn serve(&self, tcp: TcpStream, addr: SocketAddr, handshake_slot: HandshakeSlot) {
        // Each step on the heap and apart: what it needs is not kept for the next, nor for the life of a tunnel, and who says
        // nothing, or speaks no TLS, does not get it.
        let greeted = tokio::select! {
            () = self.drain.stop.cancelled() => return,
            greeted = Box::pin(self.greet_in_time(tcp, addr)) => greeted,
        };
        drop(handshake_slot);
        match greeted {
            Ok((service, _slot, Peer::Plain(mut tunnel, mut backend))) => {
                Box::pin(self.carry(service, &mut tunnel, &mut backend, addr)).await;
            }
            Ok((service, _slot, Peer::Link { link, is_allowed })) => {
                Box::pin(self.serve_link(service, link, is_allowed, addr)).await;
            }
            Err(refusal) => debug!(%addr, error = %chain(&refusal), "peer refused"),
        }
    }

    async fn greet_in_time(&self, tcp: TcpStream, addr: SocketAddr) -> Result<(&Service, TunnelSlot, Peer), Refusal> {
        let greeting = async {
            expect_tls(&tcp).await?;
            tcp.set_nodelay(true).and_then(|()| notice_if_gone(&tcp)).map_err(Refusal::Handshake)?;
            let hello = Box::pin(handshake::hello(tcp)).await.map_err(Refusal::Handshake)?;
            Box::pin(self.greet(hello, addr)).await
        };
        timeout(self.handshake_timeout, greeting).await.unwrap_or(Err(Refusal::Slow(self.handshake_timeout)))
    }

    pub(super) async fn carry<T: Carrier>(
        &self,
        service: &Service,
        tunnel: &mut T,
        backend: &mut BackendStream,
        addr: SocketAddr,
    ) {
        let open = self.open.begin();
        let span = info_span!("tunnel", side = "listener", id = open.id, key = %service.key.short());
        async {
            debug!(%addr, "tunnel opened");
            let relayed = relay(backend, Side::Service, tunnel, &self.drain).await;
            debug!(?relayed, "tunnel ended");
        }
        .instrument(span)
        .await;
    }

    async fn greet(&self, mut hello: Hello, addr: SocketAddr) -> Result<(&Service, TunnelSlot, Peer), Refusal> {
        let Some(service) = hello.client_hello().server_name().and_then(|name| self.service(name)) else {
            // Who is gone needs no alert.
            let _ = refuse_unknown_name(&mut hello.tcp).await;
            return Err(Refusal::UnknownName);
        };
        // Before the handshake, which is what costs.
        let slot = self.door.tunnel(addr.ip(), service.key).map_err(Refusal::Limit)?;
        let config = if offers_v2(&hello.client_hello()) { &service.tls_v2 } else { &service.tls };
        let tls = Box::pin(hello.accept(config.clone())).await.map_err(Refusal::Handshake)?;
        let ours = Preamble { wan_hosts: Some(self.reach.hosts()), password: None };
        let peer = if tls.is_v2() {
            let mut link = LinkStream::new(tls, Session::listener());
            link.greet(&ours).map_err(PreambleFailure::from)?;
            let is_allowed = service.allows(&link.greeted().await?);
            Peer::Link { link, is_allowed }
        } else {
            let opened = service.open_plain(PlainStream::new(tls), &ours).await;
            if let Err(Refusal::Backend(error)) = &opened {
                self.note_missing_backend(service, error);
            }
            opened?
        };
        Ok((service, slot, peer))
    }

    fn service(&self, sni: &str) -> Option<&Service> {
        self.services.get(&self.names.find(sni, clock::today())?)
    }
}

/// Waits for the first bytes, and looks whether they begin a TLS handshake: a record of type 22 and version 3.x (RFC 8446,
/// section 5.1).
async fn expect_tls(tcp: &TcpStream) -> Result<(), Refusal> {
    let mut first = [0; 2];
    let len = tcp.peek(&mut first).await.map_err(Refusal::Handshake)?;
    if len > 0 && [22, 3].starts_with(&first[..len]) { Ok(()) } else { Err(Refusal::NoTls) }
}

/// Whether the dialler knows version 2. Who does not is served as ever, down to the TLS settings.
fn offers_v2(hello: &ClientHello<'_>) -> bool {
    hello.alpn().is_some_and(|mut offered| offered.any(|protocol| protocol == ALPN))
}

impl Service {
    /// Whether `theirs`, a dialler's line, has the password that is asked for. Browsers lower the case of host names.
    fn allows(&self, theirs: &Preamble) -> bool {
        let is_it = |password: &String| theirs.password.as_ref().is_some_and(|it| it.eq_ignore_ascii_case(password));
        self.password.as_ref().is_none_or(is_it)
    }

    /// Exchanges the preambles of version 1. The listener's line is the word that the backend is there: without a
    /// backend, or without the password, the connection ends before it.
    async fn open_plain(&self, mut stream: PlainStream, ours: &Preamble) -> Result<Peer, Refusal> {
        // Who does not know the password does not touch the backend.
        if self.password.is_some() && !self.allows(&read_preamble(&mut stream).await?) {
            return Err(Refusal::Password);
        }
        let backend = self.backend.connect().await.map_err(Refusal::Backend)?;
        send_preamble(&mut stream, ours).await?;
        if self.password.is_none() {
            read_preamble(&mut stream).await?;
        }
        Ok(Peer::Plain(stream, backend))
    }
}

/// An error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
