//! Who calls publishers, at the relay: calls go to the control connection of who holds the name,
//! answers back. The relay can read neither.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use hardline_proto::call::CALL_LEN;
use hardline_proto::relay::callers::{LIMIT, MAX_CALLS};
use hardline_proto::relay::message::{FromRelay, client_address};
use hardline_proto::relay::registry::{Registration, RelayLimit};
use hardline_proto::relay::{Id, Name};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tracing::debug;

use super::server::Relay;
use crate::metrics::Metric;

/// Calls that wait until a control connection takes them. Those beyond are lost, and their callers
/// call again.
const MAX_WAITING: usize = 16;

/// Hands calls to a control connection.
pub(super) type CallsTo = mpsc::Sender<FromRelay>;

/// Calls for a publisher.
pub(super) type CallsFor = mpsc::Receiver<FromRelay>;

pub(super) fn calls() -> (CallsTo, CallsFor) {
    mpsc::channel(MAX_WAITING)
}

/// Callers who wait for answers, and whose they are.
pub(super) type Answers = HashMap<Id, (Registration, mpsc::Sender<Vec<u8>>)>;

/// A caller's place, given back when dropped.
struct Caller {
    relay: Arc<Relay>,
    id: Id,
    from: IpAddr,
}

impl Drop for Caller {
    fn drop(&mut self) {
        self.relay.callers().end(self.from);
        self.relay.answers().remove(&self.id);
    }
}

impl Relay {
    /// Takes somebody who calls `name`, in a task of its own. Returns whether anybody can be called
    /// by that name; if not, nothing is said.
    pub(super) fn called(self: &Arc<Self>, name: Name, tcp: TcpStream, addr: SocketAddr) -> bool {
        let Some((registration, calls)) = self.calls_to(&name) else { return false };
        let from = addr.ip().to_canonical();
        if !self.callers().begin(from) {
            self.note_refusal(RelayLimit::Calls);
            return false;
        }
        let caller = Caller { relay: Arc::clone(self), id: Id::from_bytes(rand::random()), from };
        let (sender, answers) = mpsc::channel(MAX_CALLS);
        self.answers().insert(caller.id, (registration, sender));
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            let served = timeout(LIMIT, caller.serve(name, tcp, addr, &calls, answers));
            let served = stop.run_until_cancelled(served).await;
            debug!(%addr, ?served, "caller gone");
        });
        true
    }

    /// Passes a publisher's answer on to the caller, if that is one of its own.
    pub(super) fn answered(&self, by: Registration, caller: Id, sealed: Vec<u8>) {
        if let Some((_, answers)) = self.answers().get(&caller).filter(|(registration, _)| *registration == by) {
            // One that takes no answers gets none.
            let _ = answers.try_send(sealed);
        }
    }
}

impl Caller {
    async fn serve(
        &self,
        name: Name,
        mut tcp: TcpStream,
        addr: SocketAddr,
        calls: &CallsTo,
        mut answers: mpsc::Receiver<Vec<u8>>,
    ) -> io::Result<()> {
        tcp.write_all(&client_address(addr)).await?;
        let (mut read, mut write) = tcp.split();
        let calling = async {
            for _ in 0..MAX_CALLS {
                let mut sealed = vec![0; CALL_LEN];
                read.read_exact(&mut sealed).await?;
                if !self.pass(name, sealed, calls) {
                    return Ok(());
                }
            }
            read.read_u8().await.map(drop)
        };
        let answering = async {
            for _ in 0..MAX_CALLS {
                let Some(sealed) = answers.recv().await else { break };
                write.write_all(&sealed).await?;
            }
            Ok(())
        };
        tokio::select! {
            called = calling => called,
            answered = answering => answered,
        }
    }

    /// Passes a call on. Returns whether it was, and the caller may stay.
    fn pass(&self, name: Name, sealed: Vec<u8>, calls: &CallsTo) -> bool {
        if !self.relay.callers().call(Instant::now(), self.from, name) {
            self.relay.note_refusal(RelayLimit::Calls);
            return false;
        }
        self.relay.metrics.add(Metric::RelayCalls, 1);
        calls.try_send(FromRelay::Call { caller: self.id, name, sealed }).is_ok()
    }
}
