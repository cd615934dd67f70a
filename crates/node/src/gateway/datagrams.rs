//! A UDP port of this computer → one service. Each port of a program that sends there is a flow,
//! with a tunnel of its own, so that the program behind the service tells them apart.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use hardline_proto::tunnel::datagram::MAX_DATAGRAM;
use hardline_proto::tunnel::{Kind, Reason};
use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep};
use tokio_util::task::TaskTracker;
use tracing::{Instrument, debug, info_span, warn};

use super::forward::Forward;
use super::http::Followed;
use super::opened::Opened;
use crate::dial::{Cause, Early, ReachError, Waiting};
use crate::limits::{FLOW_IDLE, FLOW_PAUSE, FLOW_ROOM, MAX_FLOWS};
use crate::log_throttle::LogThrottle;
use crate::metrics::Metric;
use crate::transport::datagrams::{DatagramEnd, DatagramStream, Inbox, put_frame};
use crate::tunnel::Prefixed;

/// The flows of one port.
struct Flows {
    now: Mutex<HashMap<SocketAddr, Arc<Flow>>>,
    most: usize,
    began: Instant,
}

/// A flow, from who receives at the port to who carries its datagrams.
struct Flow {
    inbox: Inbox,
    /// Since the port was opened, in milliseconds.
    moved: AtomicU64,
}

/// What becomes of a datagram.
enum Taken {
    /// It waits in its flow.
    Waits,
    /// The same, and nobody carries the flow yet.
    Begins(Arc<Flow>),
    /// There are as many flows as there may be.
    Refused,
}

impl Flows {
    fn new(most: usize) -> Self {
        Self { now: Mutex::default(), most, began: Instant::now() }
    }

    /// Takes a datagram of the program at `from`. At the limit the flow that was silent longest
    /// makes room, if that was for a while.
    fn take(&self, from: SocketAddr, datagram: &[u8]) -> Taken {
        let mut now = self.lock();
        if let Some(flow) = now.get(&from)
            && flow.inbox.push(datagram)
        {
            flow.moved.store(self.millis(), Ordering::Relaxed);
            return Taken::Waits;
        }
        if now.len() >= self.most && !now.contains_key(&from) && !self.makes_room(&mut now) {
            return Taken::Refused;
        }
        let flow = Arc::new(Flow { inbox: Inbox::default(), moved: AtomicU64::new(self.millis()) });
        flow.inbox.push(datagram);
        now.insert(from, Arc::clone(&flow));
        Taken::Begins(flow)
    }

    fn makes_room(&self, now: &mut HashMap<SocketAddr, Arc<Flow>>) -> bool {
        let moved = |flow: &Flow| flow.moved.load(Ordering::Relaxed);
        let longest = now.iter().min_by_key(|(_, flow)| moved(flow)).map(|(from, flow)| (*from, moved(flow)));
        let room = u64::try_from(FLOW_ROOM.as_millis()).unwrap_or(u64::MAX);
        let Some((from, _)) = longest.filter(|(_, moved)| moved + room <= self.millis()) else { return false };
        if let Some(flow) = now.remove(&from) {
            flow.inbox.close();
        }
        true
    }

    /// Forgets a flow that has ended.
    fn forget(&self, from: SocketAddr, flow: &Arc<Flow>) {
        flow.inbox.close();
        let mut now = self.lock();
        if now.get(&from).is_some_and(|it| Arc::ptr_eq(it, flow)) {
            now.remove(&from);
        }
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SocketAddr, Arc<Flow>>> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the tasks of a UDP port share.
struct Port {
    forward: Arc<Forward>,
    socket: UdpSocket,
    flows: Flows,
    /// Whether the service is known to take datagrams.
    is_known: AtomicBool,
    unreached: LogThrottle,
}

impl Forward {
    /// Receives until the node stops, and carries each flow in a task of its own. What is sent to a
    /// service that is not reached is lost.
    pub(super) async fn receive(self: Arc<Self>, socket: UdpSocket, tasks: TaskTracker) {
        let stop = self.drain.stop.clone();
        let (is_known, unreached) = (AtomicBool::new(false), LogThrottle::default());
        let port = Arc::new(Port { forward: self, socket, flows: Flows::new(MAX_FLOWS), is_known, unreached });
        let refused = LogThrottle::default();
        let mut bytes = vec![0; MAX_DATAGRAM + 1];
        while let Some(received) = stop.run_until_cancelled(port.socket.recv_from(&mut bytes)).await {
            // A failure tells of an earlier answer whose program was gone.
            let Ok((length, from)) = received else { continue };
            match port.flows.take(from, &bytes[..length]) {
                Taken::Waits => {}
                Taken::Begins(flow) => {
                    let port = Arc::clone(&port);
                    tasks.spawn(async move {
                        port.serve(from, &flow).await;
                        port.flows.forget(from, &flow);
                    });
                }
                Taken::Refused => {
                    port.forward.metrics.add(Metric::DatagramsDropped, 1);
                    if let Some(times) = refused.count() {
                        warn!(times, "datagrams refused: as many flows as there may be");
                    }
                }
            }
        }
        // Who would send more is not heard any more.
        port.flows.lock().values().for_each(|flow| flow.inbox.close());
    }
}

impl Port {
    /// Carries a flow until it has been silent, or its tunnel has ended: the next datagram begins
    /// another.
    async fn serve(self: &Arc<Self>, from: SocketAddr, flow: &Arc<Flow>) {
        let state = &self.forward.state;
        let _open = state.enter();
        let Some(mut opened) = Box::pin(self.reach(from, flow)).await else { return };
        let is_apart = opened.tunnel.carrier().is_ok_and(|carrier| carrier.has_datagrams_apart());
        if state.goes_over_tcp(!is_apart) {
            opened.span.in_scope(|| warn!("UDP over TCP: a lost packet holds up those behind it"));
        }
        Box::pin(opened.carry(self.forward.drain.clone())).await;
        self.forward.metrics.add(Metric::DatagramsDropped, flow.inbox.dropped());
    }

    async fn reach(self: &Arc<Self>, from: SocketAddr, flow: &Arc<Flow>) -> Option<Box<Opened<DatagramStream<Local>>>> {
        let Forward { dialler, state, metrics, drain } = &*self.forward;
        let (open, name) = (metrics.tunnel(), &state.config.name);
        let span = info_span!("forward", id = open.id, key = %name.key.short());
        // A datagram may always arrive twice. To a service that may speak something else it goes
        // when we know.
        let mut early = Early { kind: Kind::Datagrams, bytes: Vec::new(), is_repeatable: true };
        if self.is_known.load(Ordering::Relaxed)
            && let Some(first) = flow.inbox.pop()
        {
            put_frame(&mut early.bytes, &first);
        }
        let reaching = dialler.reach(name, Waiting::Program, &mut early).instrument(span.clone());
        let reached = drain.kill.run_until_cancelled(reaching).await?;
        state.tried(reached.is_err());
        match reached {
            Ok(tunnel) => {
                self.is_known.store(true, Ordering::Relaxed);
                let end = Local { port: Arc::clone(self), from, flow: Arc::clone(flow) };
                let stream = Prefixed::new(early.bytes, DatagramStream::new(end, FLOW_IDLE));
                Some(Box::new(Opened { application: Followed::raw(stream), tunnel, open, span }))
            }
            Err(error) => {
                drop(open);
                span.in_scope(|| self.say_unreached(&error));
                // Otherwise each datagram would have the service looked for.
                drain.stop.run_until_cancelled(sleep(FLOW_PAUSE)).await;
                None
            }
        }
    }

    /// Says why nothing arrives: a program is told nothing.
    fn say_unreached(&self, error: &ReachError) {
        let Some(times) = self.unreached.count() else { return };
        let local = &self.forward.state.config.local;
        match &error.cause {
            Cause::Refused { refusal, .. } if refusal.reason == Reason::NoUdp => {
                warn!(%error, times, %local, "this service does not speak UDP: forward it without udp:");
            }
            _ => warn!(%error, times, %local, "service not reached"),
        }
    }
}

/// A program's end of a flow.
struct Local {
    port: Arc<Port>,
    from: SocketAddr,
    flow: Arc<Flow>,
}

impl DatagramEnd for Local {
    fn poll_receive(&mut self, cx: &mut Context<'_>, frame: &mut Vec<u8>) -> Poll<io::Result<bool>> {
        let Some(datagram) = ready!(self.flow.inbox.poll_pop(cx)) else { return Poll::Ready(Ok(false)) };
        frame.extend_from_slice(&datagram);
        Poll::Ready(Ok(true))
    }

    fn send(&mut self, datagram: &[u8]) {
        self.flow.moved.store(self.port.flows.millis(), Ordering::Relaxed);
        if let Err(error) = self.port.socket.try_send_to(datagram, self.from) {
            debug!(%error, "datagram not sent to its program");
        }
    }

    fn close(&mut self) {
        self.flow.inbox.close();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::advance;

    use super::*;

    fn from(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[track_caller]
    fn begun(flows: &Flows, port: u16) -> Arc<Flow> {
        match flows.take(from(port), b"first") {
            Taken::Begins(flow) => flow,
            Taken::Waits | Taken::Refused => panic!("no new flow"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_port_of_a_program_is_a_flow_and_one_that_ended_begins_anew() {
        let flows = Flows::new(10);
        let (one, other) = (begun(&flows, 1), begun(&flows, 2));
        assert!(matches!(flows.take(from(1), b"second"), Taken::Waits));
        assert_eq!((one.inbox.pop(), one.inbox.pop()), (Some(b"first".to_vec()), Some(b"second".to_vec())));
        assert_eq!((other.inbox.pop(), other.inbox.pop()), (Some(b"first".to_vec()), None));
        one.inbox.close();
        let again = begun(&flows, 1);
        flows.forget(from(1), &one);
        assert!(matches!(flows.take(from(1), b"second"), Taken::Waits), "the old one's end is not its own");
        flows.forget(from(1), &again);
        assert_eq!(flows.lock().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn at_the_limit_the_flow_silent_longest_makes_room_and_none_that_is_in_use() {
        let flows = Flows::new(2);
        let silent = begun(&flows, 1);
        advance(Duration::from_secs(1)).await;
        begun(&flows, 2);
        assert!(matches!(flows.take(from(3), b"x"), Taken::Refused));
        advance(FLOW_ROOM).await;
        assert!(matches!(flows.take(from(2), b"x"), Taken::Waits));
        begun(&flows, 3);
        assert!(!silent.inbox.push(b"x"), "it has ended");
        assert!(matches!(flows.take(from(1), b"x"), Taken::Refused));
    }
}
