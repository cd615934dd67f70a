//! Datagrams beside the streams of a connection (RFC 9221): each begins with the number of the
//! tunnel's stream, so that it finds its tunnel.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use hardline_proto::tunnel::datagram::{Prefix, prefix, split_prefix};
use quinn::{Connection, SendDatagramError};
use tokio::sync::Notify;
use tokio::task::coop::consume_budget;
use tokio_util::task::TaskTracker;

use crate::transport::datagrams::Inbox;

/// Bytes of datagrams that wait to be sent, and of those that came and wait to be looked at, for
/// each connection. Beyond them the oldest are lost: 20 ms of a hundred megabits.
pub(super) const WAITING: usize = 256 * 1024;

/// The tunnels of a connection that take datagrams.
#[derive(Debug, Default)]
pub(super) struct Flows {
    now: Mutex<Open>,
    /// One of them has ended.
    ended: Notify,
}

#[derive(Debug, Default)]
struct Open {
    inboxes: HashMap<u64, Arc<Inbox>>,
    /// Whether a task hands them what comes.
    is_read: bool,
}

impl Flows {
    fn lock(&self) -> MutexGuard<'_, Open> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands out what comes until no tunnel is left: the connection is not held for nothing.
    async fn deliver(self: Arc<Self>, connection: Connection) {
        loop {
            tokio::select! {
                come = connection.read_datagram() => {
                    let Ok(come) = come else { return };
                    let datagram = split_prefix(&come);
                    let inbox = datagram.and_then(|(number, _)| self.lock().inboxes.get(&number).cloned());
                    // One for a tunnel that is not there is late, or makes no sense.
                    if let (Some(inbox), Some((_, datagram))) = (inbox, datagram) {
                        inbox.push(datagram);
                    }
                    consume_budget().await;
                }
                () = self.ended.notified() => {
                    let mut now = self.lock();
                    if now.inboxes.is_empty() {
                        now.is_read = false;
                        return;
                    }
                }
            }
        }
    }
}

/// The datagrams of one tunnel.
#[derive(Debug)]
pub(crate) struct DatagramFlow {
    connection: Connection,
    flows: Arc<Flows>,
    number: u64,
    prefix: Prefix,
    inbox: Arc<Inbox>,
    /// Datagrams that had no room to be sent.
    dropped: AtomicU64,
}

impl DatagramFlow {
    /// Those of the tunnel with this stream; `None` for a number that no stream has.
    pub(super) fn new(connection: Connection, flows: &Arc<Flows>, number: u64, tasks: &TaskTracker) -> Option<Self> {
        let (prefix, inbox) = (prefix(number)?, Arc::<Inbox>::default());
        let mut now = flows.lock();
        now.inboxes.insert(number, Arc::clone(&inbox));
        if !std::mem::replace(&mut now.is_read, true) {
            tasks.spawn(Arc::clone(flows).deliver(connection.clone()));
        }
        drop(now);
        Some(Self { connection, flows: Arc::clone(flows), number, prefix, inbox, dropped: AtomicU64::new(0) })
    }

    /// Whether the peer takes datagrams beside the streams.
    pub(crate) fn is_apart(&self) -> bool {
        self.connection.max_datagram_size().is_some()
    }

    /// Sends a datagram beside the stream. `false` if it is too long for that, or the peer takes
    /// none. Where there is no room the oldest that waits is lost.
    pub(crate) fn try_send(&self, datagram: &[u8]) -> bool {
        let length = self.prefix.len() + datagram.len();
        if self.connection.max_datagram_size().is_none_or(|most| length > most) {
            return false;
        }
        if self.connection.datagram_send_buffer_space() < length {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        let bytes = [&self.prefix, datagram].concat();
        match self.connection.send_datagram(Bytes::from(bytes)) {
            Ok(()) => true,
            // The path has become narrower just now.
            Err(SendDatagramError::TooLarge) => false,
            // The stream says what has become of the connection.
            Err(_) => true,
        }
    }

    /// Waits for a datagram that came beside the stream.
    pub(crate) fn poll_receive(&self, cx: &Context<'_>) -> Poll<Option<Vec<u8>>> {
        self.inbox.poll_pop(cx)
    }

    /// How many were lost here for want of room.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed) + self.inbox.dropped()
    }
}

impl Drop for DatagramFlow {
    fn drop(&mut self) {
        self.flows.lock().inboxes.remove(&self.number);
        self.flows.ended.notify_one();
    }
}
