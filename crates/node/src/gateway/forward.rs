//! A port or a socket of this computer → one service, without names.

use std::sync::Arc;

use hardline_proto::tunnel::frame::ResetReason;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, info_span, warn};

use super::http::Followed;
use super::local::LocalListener;
use super::opened::Opened;
use crate::dial::{Dialler, Early, Waiting};
use crate::forwards::ForwardState;
use crate::limits::MAX_FORWARDED;
use crate::log_throttle::LogThrottle;
use crate::metrics::Metrics;
use crate::transport::{ByteStream, Listener, Reset, accept_each, tcp};
use crate::tunnel::{Drain, Place, Places, Prefixed};

/// What the tasks of a forwarded port share.
pub(crate) struct Forward {
    pub(crate) dialler: Arc<Dialler>,
    pub(crate) state: Arc<ForwardState>,
    pub(crate) metrics: Metrics,
    pub(crate) drain: Drain,
}

impl Forward {
    /// Accepts programs until the node stops, each in a task of its own. A program sees a reset
    /// when the service is not reached or its tunnel breaks.
    pub(crate) async fn run(self: Arc<Self>, listener: LocalListener, tasks: TaskTracker) {
        match listener {
            LocalListener::Tcp(listener) => self.accept(listener, tasks, tcp::tune).await,
            LocalListener::Udp(socket) => self.receive(socket, tasks).await,
            LocalListener::Unix(listener) => self.accept(listener, tasks, |_| {}).await,
        }
    }

    async fn accept<L>(self: Arc<Self>, listener: L, tasks: TaskTracker, tune: fn(&L::Incoming))
    where
        L: Listener<Incoming: ByteStream + Reset + 'static>,
    {
        let (places, refused) = (Places::new(MAX_FORWARDED), LogThrottle::default());
        accept_each(&listener, &self.drain.stop, |program, _| match places.enter() {
            Some(place) => {
                tune(&program);
                let forward = Arc::clone(&self);
                tasks.spawn(async move { forward.serve(program, &place).await });
            }
            None => {
                if let Some(times) = refused.count() {
                    warn!(times, "connections refused at a limit");
                }
            }
        })
        .await;
    }

    async fn serve<S: ByteStream + Reset>(&self, program: S, place: &Place) {
        let _open = self.state.enter();
        // On the heap: what reaching needs is not kept for the life of a tunnel.
        if let Some(opened) = Box::pin(self.reach(program)).await {
            Box::pin(opened.carry(self.drain.at(&place.seat))).await;
        }
    }

    async fn reach<S: Reset>(&self, mut program: S) -> Option<Box<Opened<S>>> {
        let (open, name) = (self.metrics.tunnel(), &self.state.config.name);
        let span = info_span!("forward", id = open.id, key = %name.key.short());
        // Nothing is read before the service is reached: what is sent to nobody is lost.
        let mut nothing = Early::default();
        let reaching = self.dialler.reach(name, Waiting::Program, &mut nothing).instrument(span.clone());
        let reached = self.drain.kill.run_until_cancelled(reaching).await;
        self.state.tried(matches!(reached, Some(Err(_))));
        match reached {
            Some(Ok(tunnel)) => {
                let application = Followed::raw(Prefixed::new(Vec::new(), program));
                return Some(Box::new(Opened { application, tunnel, open, span }));
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
