//! The task of a socket that makes ways through NATs by it: attempts, and the sockets they take
//! beside it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use hardline_proto::punch::{Attempt, Attempts, Event, MAX_OPENED, PROBE_LEN, Transmit};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, trace};

use super::QuicEndpoint;
use super::extra::ExtraSockets;
use super::shared::{Received, SharedSocket};
use super::tasks::QuicTasks;

/// Probes that wait to be looked at. Those beyond are lost, as on any network.
const MAX_WAITING: usize = 64;

/// Attempts that wait to be begun.
const MAX_BEGUN: usize = 16;

/// Hands attempts to the task of a socket, which ends with the last of these.
#[derive(Debug, Clone)]
pub(super) struct Probing(mpsc::Sender<Begun>);

/// What the task of a socket works with.
#[derive(Debug)]
pub(super) struct Work {
    begin: mpsc::Receiver<Begun>,
    received: mpsc::Receiver<Received>,
    /// For sockets that are opened for an attempt and kept.
    probes: mpsc::Sender<Received>,
}

/// An attempt, and who is told what it opens. Without anybody it goes on to its end.
type Begun = (Attempt, Option<mpsc::Sender<Opened>>);

/// A way that is open.
#[derive(Debug)]
pub(crate) struct Opened {
    /// Where the other side is.
    pub(crate) remote: SocketAddr,
    /// The socket by which it is reached, if that was opened for the attempt.
    pub(crate) by: Option<QuicEndpoint>,
}

/// An attempt under way. Dropping it ends the attempt.
#[derive(Debug)]
pub(crate) struct Punch(mpsc::Receiver<Opened>);

impl Punch {
    /// The next way on which the other side was heard; `None` when the time is over, or too many
    /// attempts are under way. Cancel safe.
    pub(crate) async fn opened(&mut self) -> Option<Opened> {
        self.0.recv().await
    }

    /// The same, for who follows several attempts at once.
    pub(crate) fn poll_opened(&mut self, cx: &mut Context<'_>) -> Poll<Option<Opened>> {
        self.0.poll_recv(cx)
    }
}

impl Probing {
    /// For a new socket, whose probes go to the sender.
    pub(super) fn new() -> (Self, mpsc::Sender<Received>, Work) {
        let (probes, received) = mpsc::channel(MAX_WAITING);
        let (begun, begin) = mpsc::channel(MAX_BEGUN);
        (Self(begun), probes.clone(), Work { begin, received, probes })
    }

    /// For a socket from which nothing is begun.
    pub(super) fn nothing() -> Self {
        Self(mpsc::channel(1).0)
    }

    /// Begins an attempt.
    pub(super) fn punch(&self, attempt: Attempt) -> Punch {
        let (sender, opened) = mpsc::channel(MAX_OPENED);
        self.begin((attempt, Some(sender)));
        Punch(opened)
    }

    /// Begins an attempt whose outcome shows elsewhere.
    pub(super) fn answer(&self, attempt: Attempt) {
        self.begin((attempt, None));
    }

    fn begin(&self, begun: Begun) {
        if self.0.try_send(begun).is_err() {
            debug!("too many attempts to get through NATs at once");
        }
    }
}

/// What belongs to an attempt.
struct Running {
    told: Option<mpsc::Sender<Opened>>,
    extra: ExtraSockets,
}

/// Runs attempts by `socket` until nobody can begin another.
pub(super) async fn run(socket: Arc<SharedSocket>, work: Work, tasks: QuicTasks) {
    let Work { mut begin, mut received, probes } = work;
    let mut attempts = Attempts::default();
    // Else the first probes are lost: those of an attempt for which the socket was opened.
    if let Err(error) = socket.writable().await {
        debug!(%error, "no probes can be sent");
    }
    loop {
        let deadline = attempts.poll_timeout().map(Instant::from_std);
        tokio::select! {
            begun = begin.recv() => match begun {
                Some((attempt, told)) => {
                    let extra = ExtraSockets::new(probes.clone(), tasks.clone());
                    if attempts.add(attempt, Running { told, extra }).is_err() {
                        debug!("too many attempts to get through NATs under way");
                    }
                }
                None => return,
            },
            Some(Received { socket, from, probe }) = received.recv() => {
                attempts.handle_datagram(socket, from, &probe);
            }
            Received { socket, from, probe } = by_extra_sockets(&mut attempts) => {
                attempts.handle_datagram(socket, from, &probe);
            }
            () = at(deadline) => attempts.handle_timeout(Instant::now().into_std()),
        }
        attempts.remove(|running| running.told.as_ref().is_some_and(mpsc::Sender::is_closed));
        flush(&socket, &mut attempts);
    }
}

/// The next probe that comes to a socket of one of the attempts. Cancel safe.
async fn by_extra_sockets(attempts: &mut Attempts<Running>) -> Received {
    std::future::poll_fn(|cx| {
        for running in attempts.each() {
            if let Poll::Ready(received) = running.extra.poll_receive(cx) {
                return Poll::Ready(received);
            }
        }
        Poll::Pending
    })
    .await
}

/// Sends what is to be sent and tells what is to be told.
fn flush(socket: &SharedSocket, attempts: &mut Attempts<Running>) {
    while let Some((Transmit { socket: number, to, datagram }, running)) = attempts.poll_transmit() {
        if running.told.is_none() {
            socket.note_probed(to);
        }
        // A failure is a lost datagram, which is repeated.
        if let Err(error) = send(socket, &mut running.extra, number, to, &datagram) {
            trace!(%to, %error, "probe not sent");
        }
    }
    while let Some((event, running)) = attempts.poll_event() {
        match event {
            Event::Open { socket, remote } => {
                debug!(%remote, socket, "a way through NATs");
                // A socket that cannot be kept leads nowhere.
                let by = if socket == 0 { Some(None) } else { running.extra.keep(socket).map(Some) };
                if let (Some(told), Some(by)) = (&running.told, by) {
                    // Has room for all that there can be.
                    let _ = told.try_send(Opened { remote, by });
                }
            }
            Event::GaveUp => debug!("no way through NATs"),
        }
    }
}

fn send(
    socket: &SharedSocket,
    extra: &mut ExtraSockets,
    number: u16,
    to: SocketAddr,
    datagram: &[u8; PROBE_LEN],
) -> std::io::Result<()> {
    match number {
        0 => socket.try_send_to(to, datagram),
        _ => extra.send(number, to, datagram),
    }
}

async fn at(when: Option<Instant>) {
    match when {
        Some(when) => sleep_until(when).await,
        None => std::future::pending().await,
    }
}
