//! A connection of this computer whose service is reached.

use hardline_proto::exchange::BadAnswer;
use tokio::net::TcpStream;
use tracing::{Instrument, Span, debug};

use super::http::{Followed, FollowedEnd};
use crate::metrics::OpenTunnel;
use crate::session::TunnelStream;
use crate::transport::ByteStream;
use crate::tunnel::{Drain, End, Prefixed, Side, relay};

/// All that is kept of a connection while its tunnel is open.
pub(super) struct Opened<S = TcpStream> {
    pub(super) application: Followed<Prefixed<S>>,
    pub(super) tunnel: TunnelStream,
    pub(super) open: OpenTunnel,
    pub(super) span: Span,
}

/// What a browser's connection goes on with behind its tunnel.
pub(super) enum Next<S = TcpStream> {
    /// A request for somebody else, which begins with these bytes.
    Request(S, Vec<u8>),
    /// To be told why the answer does not come.
    Unreadable(S, BadAnswer),
}

impl<S: ByteStream> Opened<S> {
    /// Carries bytes until both directions have ended. Returns what the connection goes on with, if
    /// it does.
    pub(super) async fn carry(mut self: Box<Self>, drain: Drain) -> Option<Next<S>> {
        let drain = drain.following(self.tunnel.elsewhere()).measuring(self.tunnel.round_trip());
        let span = self.span.clone();
        let this = &mut *self;
        async {
            let Ok(carrier) = this.tunnel.carrier() else { return };
            let mut relayed = relay(&mut this.application, Side::Dialler, carrier, &drain).await;
            match this.application.end() {
                Some(FollowedEnd::Left) => relayed.end = End::Clean,
                Some(end) => debug!(?end, "this connection cannot be followed"),
                None => {}
            }
            relayed.count(&mut this.open);
            this.open.datagrams_dropped += this.tunnel.carrier().map_or(0, |carrier| carrier.datagrams_dropped());
        }
        .instrument(span)
        .await;
        let end = self.application.end()?;
        let (stream, held) = self.application.into_parts();
        match end {
            FollowedEnd::Left => Some(Next::Request(stream.inner, held)),
            FollowedEnd::BadAnswer { why, can_be_told: true } => Some(Next::Unreadable(stream.inner, why)),
            _ => None,
        }
    }
}
