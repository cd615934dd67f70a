//! The P2P port of a computer: its peers, and what relays and publishers send there.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use hardline_proto::relay::message::{
    CALLER_MAGIC, CALLER_PREAMBLE, DATA_MAGIC, DATA_PREAMBLE, read_caller_preamble, read_dial_back_preamble,
};
use rustls::server::ClientHello;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

use super::dial_back::DialBacks;
use super::server::Relay;
use crate::transport::handshake;
use crate::transport::secure::SecureStream;
use crate::transport::{Incoming, Listener, ServiceTls, Unserved, tcp};

/// What those who come in prove of the way here.
#[derive(Clone)]
pub(crate) struct Witness {
    /// Dial-backs that relays were asked for.
    pub(crate) dial_backs: Arc<DialBacks>,
    /// Hears at which address of this computer a peer has come in, and from where.
    pub(crate) came: Arc<dyn Fn(SocketAddr, SocketAddr) + Send + Sync>,
}

impl fmt::Debug for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Witness").field("dial_backs", &self.dial_backs).finish_non_exhaustive()
    }
}

/// The P2P port.
#[derive(Debug)]
pub(crate) struct P2pListener {
    pub(crate) listener: TcpListener,
    /// The relay that runs here.
    pub(crate) relay: Option<Arc<Relay>>,
    pub(crate) witness: Witness,
}

impl Listener for P2pListener {
    type Incoming = P2pIncoming;

    async fn accept(&self) -> io::Result<(P2pIncoming, SocketAddr)> {
        let (tcp, addr) = self.listener.accept().await?;
        Ok((P2pIncoming { tcp, addr, relay: self.relay.clone(), witness: self.witness.clone() }, addr))
    }
}

/// Who comes in there. Who asks for none of this computer's services is left to the relay.
#[derive(Debug)]
pub(crate) struct P2pIncoming {
    tcp: TcpStream,
    addr: SocketAddr,
    relay: Option<Arc<Relay>>,
    witness: Witness,
}

impl Incoming for P2pIncoming {
    type Connection = SecureStream<TcpStream>;

    async fn answer<T: Send + 'static>(
        self,
        choose: impl FnOnce(&ClientHello<'_>) -> Result<(ServiceTls, T), Unserved> + Send + 'static,
    ) -> Result<(Self::Connection, T), Unserved> {
        if self.may_speak_no_tls() && self.speaks_no_tls().await.map_err(Unserved::Handshake)? {
            return Err(Box::pin(self.serve_without_tls()).await);
        }
        let Self { tcp, addr, relay, witness } = self;
        let local = tcp.local_addr();
        let answered = match relay {
            None => handshake::answer(tcp, tcp::tune, choose).await,
            Some(relay) => answer_beside_relay(tcp, addr, &relay, choose).await,
        };
        if let (Ok(_), Ok(local)) = (&answered, local) {
            (witness.came)(local, addr);
        }
        answered
    }
}

impl P2pIncoming {
    /// Whether anybody comes here who is not a TLS client.
    fn may_speak_no_tls(&self) -> bool {
        self.relay.is_some() || self.witness.dial_backs.is_expecting()
    }

    async fn speaks_no_tls(&self) -> io::Result<bool> {
        let mut first = [0];
        let length = self.tcp.peek(&mut first).await?;
        Ok(length > 0 && first[0] == DATA_MAGIC[0])
    }

    /// Takes a relay's dial-back, a publisher's data connection, or somebody who calls one.
    async fn serve_without_tls(mut self) -> Unserved {
        let mut bytes = [0; DATA_PREAMBLE];
        if let Err(error) = self.tcp.read_exact(&mut bytes).await {
            return Unserved::Handshake(error);
        }
        if let Some(nonce) = read_dial_back_preamble(&bytes) {
            let is_expected = self.witness.dial_backs.came(&nonce, self.addr.ip().to_canonical());
            return if is_expected { Unserved::DialBack } else { Unserved::NoTls };
        }
        let Some(relay) = self.relay else { return Unserved::NoTls };
        tcp::tune(&self.tcp);
        if bytes.starts_with(&CALLER_MAGIC) {
            return serve_caller(&relay, &bytes, self.tcp, self.addr).await;
        }
        relay.data(&bytes, self.tcp).map_or(Unserved::NoTls, |()| Unserved::Relayed)
    }
}

/// Takes who began with `first` to call a publisher.
async fn serve_caller(
    relay: &Arc<Relay>,
    first: &[u8; DATA_PREAMBLE],
    mut tcp: TcpStream,
    addr: SocketAddr,
) -> Unserved {
    let mut bytes = [0; CALLER_PREAMBLE];
    bytes[..DATA_PREAMBLE].copy_from_slice(first);
    if let Err(error) = tcp.read_exact(&mut bytes[DATA_PREAMBLE..]).await {
        return Unserved::Handshake(error);
    }
    let is_taken = read_caller_preamble(&bytes).is_some_and(|name| relay.called(name, tcp, addr));
    if is_taken { Unserved::Relayed } else { Unserved::NoTls }
}

async fn answer_beside_relay<T: Send>(
    tcp: TcpStream,
    addr: SocketAddr,
    relay: &Arc<Relay>,
    choose: impl FnOnce(&ClientHello<'_>) -> Result<(ServiceTls, T), Unserved> + Send,
) -> Result<(SecureStream<TcpStream>, T), Unserved> {
    let hello = Box::pin(handshake::greet(tcp, tcp::tune)).await?;
    let chosen = choose(&hello.client_hello());
    match chosen {
        Ok((tls, chosen)) => {
            let connection = Box::pin(hello.accept(tls.config)).await.map_err(Unserved::Handshake)?;
            Ok((connection, chosen))
        }
        Err(Unserved::UnknownName) => Err(Box::pin(relay.take(hello, addr)).await),
        Err(unserved) => Err(unserved),
    }
}
