//! A local port → one service, without names.

use std::sync::Arc;

use hardline_proto::host::ServiceName;
use hardline_proto::tunnel::frame::ResetReason;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::TaskTracker;
use tracing::{Instrument, debug, info_span, warn};

use crate::dial::{Dialler, Early, Waiting};
use crate::limits::MAX_FORWARDED;
use crate::log_throttle::LogThrottle;
use crate::metrics::Metrics;
use crate::transport::{Reset, accept_each, tcp};
use crate::tunnel::{Drain, Places, Side, relay};

/// What the tasks of a forwarded port share.
pub(crate) struct Forward {
    pub(crate) dialler: Arc<Dialler>,
    pub(crate) name: ServiceName,
    pub(crate) metrics: Metrics,
    pub(crate) drain: Drain,
}

impl Forward {
    /// Accepts programs until the node stops, each in a task of its own. A program sees a reset
    /// when the service is not reached or its tunnel breaks.
    pub(crate) async fn run(self: Arc<Self>, listener: TcpListener, tasks: TaskTracker) {
        let (places, refused) = (Places::new(MAX_FORWARDED), LogThrottle::default());
        accept_each(&listener, &self.drain.stop, |program, _| match places.enter() {
            Some(place) => {
                let forward = Arc::clone(&self);
                tasks.spawn(async move { forward.carry(program, &forward.drain.at(&place.seat)).await });
            }
            None => {
                if let Some(times) = refused.count() {
                    warn!(times, "connections refused at a limit");
                }
            }
        })
        .await;
    }

    async fn carry(&self, mut program: TcpStream, drain: &Drain) {
        tcp::tune(&program);
        let mut open = self.metrics.tunnel();
        let span = info_span!("forward", id = open.id, key = %self.name.key.short());
        let carrying = async {
            // Nothing is read before the service is reached: what is sent to nobody is lost.
            let mut nothing = Early::default();
            let reached = tokio::select! {
                () = self.drain.kill.cancelled() => return program.reset_on_close(ResetReason::STOPPING),
                reached = Box::pin(self.dialler.reach(&self.name, Waiting::Program, &mut nothing)) => reached,
            };
            match reached {
                Ok(mut tunnel) => {
                    let drain = drain.following(tunnel.elsewhere());
                    let Ok(carrier) = tunnel.carrier() else { return };
                    let relayed = Box::pin(relay(&mut program, Side::Dialler, carrier, &drain)).await;
                    relayed.count(&mut open);
                    debug!(?relayed, "tunnel ended");
                }
                Err(error) => {
                    warn!(%error, "service not reached");
                    program.reset_on_close(ResetReason::APPLICATION);
                }
            }
        };
        carrying.instrument(span).await;
    }
}
