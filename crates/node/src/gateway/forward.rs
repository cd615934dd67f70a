//! A local port → one service, without names.

use std::sync::Arc;

use hardline_proto::host::ServiceName;
use hardline_proto::tunnel::frame::ResetReason;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::TaskTracker;
use tracing::{Instrument, info_span, warn};

use super::opened::Opened;
use crate::dial::{Dialler, Early, Waiting};
use crate::limits::MAX_FORWARDED;
use crate::log_throttle::LogThrottle;
use crate::metrics::Metrics;
use crate::transport::{Reset, accept_each, tcp};
use crate::tunnel::{Drain, Places, Prefixed};

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
                tasks.spawn(async move { forward.serve(program, &forward.drain.at(&place.seat)).await });
            }
            None => {
                if let Some(times) = refused.count() {
                    warn!(times, "connections refused at a limit");
                }
            }
        })
        .await;
    }

    async fn serve(&self, program: TcpStream, drain: &Drain) {
        tcp::tune(&program);
        // On the heap: what reaching needs is not kept for the life of a tunnel.
        if let Some(mut opened) = Box::pin(self.reach(program)).await {
            Box::pin(opened.carry(drain)).await;
        }
    }

    async fn reach(&self, mut program: TcpStream) -> Option<Box<Opened>> {
        let open = self.metrics.tunnel();
        let span = info_span!("forward", id = open.id, key = %self.name.key.short());
        // Nothing is read before the service is reached: what is sent to nobody is lost.
        let mut nothing = Early::default();
        let reaching = self.dialler.reach(&self.name, Waiting::Program, &mut nothing).instrument(span.clone());
        match self.drain.kill.run_until_cancelled(reaching).await {
            Some(Ok(tunnel)) => {
                return Some(Box::new(Opened { application: Prefixed::new(Vec::new(), program), tunnel, open, span }));
            }
            Some(Err(error)) => {
                span.in_scope(|| warn!(%error, "service not reached"));
                program.reset_on_close(ResetReason::APPLICATION);
            }
            None => program.reset_on_close(ResetReason::STOPPING),
        }
        None
    }
}
