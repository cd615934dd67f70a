//! A connection of this computer whose service is reached.

use tokio::net::TcpStream;
use tracing::{Instrument, Span};

use crate::metrics::OpenTunnel;
use crate::session::TunnelStream;
use crate::transport::ByteStream;
use crate::tunnel::{Drain, Prefixed, Side, relay};

/// All that is kept of a connection while its tunnel is open.
pub(super) struct Opened<S = TcpStream> {
    pub(super) application: Prefixed<S>,
    pub(super) tunnel: TunnelStream,
    pub(super) open: OpenTunnel,
    pub(super) span: Span,
}

impl<S: ByteStream> Opened<S> {
    /// Carries bytes until both directions have ended.
    pub(super) async fn carry(&mut self, drain: &Drain) {
        let drain = drain.following(self.tunnel.elsewhere()).measuring(self.tunnel.round_trip());
        let carrying = async {
            let Ok(carrier) = self.tunnel.carrier() else { return };
            relay(&mut self.application, Side::Dialler, carrier, &drain).await.count(&mut self.open);
        };
        carrying.instrument(self.span.clone()).await;
    }
}
