//! A relay that tries whether a publisher is reached without it: the dialling, and how the
//! publisher recognises it.

use std::collections::HashMap;
use std::future::pending;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use futures_util::future::BoxFuture;
use hardline_proto::relay::Id;
use hardline_proto::relay::dial_back::{DialBackLog, LIMIT, target};
use hardline_proto::relay::message::{DialBackOutcome, FromRelay, dial_back_preamble};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Dials one publisher back when it asks, one connection at a time.
pub(super) struct DialBackDesk {
    /// Where its control connection comes from, and where that has come to.
    asker: IpAddr,
    own: IpAddr,
    /// The token that admitted it.
    token: String,
    log: Arc<Mutex<DialBackLog>>,
    running: Option<BoxFuture<'static, FromRelay>>,
}

impl DialBackDesk {
    pub(super) fn new(asker: IpAddr, own: IpAddr, token: String, log: Arc<Mutex<DialBackLog>>) -> Self {
        Self { asker, own, token, log, running: None }
    }

    /// Begins to dial, or answers why not.
    pub(super) fn ask(&mut self, nonce: Id, port: u16) -> Option<FromRelay> {
        let refused = Some(FromRelay::DialledBack { nonce, outcome: DialBackOutcome::Refused });
        let Some(at) = target(self.asker, self.own, port).filter(|_| self.running.is_none()) else { return refused };
        let Some(place) = Place::take(&self.log, &self.token) else { return refused };
        self.running = Some(Box::pin(async move {
            let is_opened = matches!(timeout(LIMIT, dial(at, nonce)).await, Ok(Ok(true)));
            drop(place);
            let outcome = if is_opened { DialBackOutcome::Opened } else { DialBackOutcome::Closed };
            FromRelay::DialledBack { nonce, outcome }
        }));
        None
    }

    /// Waits for what comes of it. Cancel safe.
    pub(super) async fn answer(&mut self) -> FromRelay {
        let Some(running) = &mut self.running else { return pending().await };
        let answer = running.await;
        self.running = None;
        answer
    }
}

/// Whether somebody takes the connection, and ends it after the nonce.
async fn dial(at: SocketAddr, nonce: Id) -> io::Result<bool> {
    let mut tcp = TcpStream::connect(at).await?;
    tcp.write_all(&dial_back_preamble(&nonce)).await?;
    Ok(tcp.read(&mut [0]).await? == 0)
}

/// A token's one dial-back; over when dropped.
struct Place {
    log: Arc<Mutex<DialBackLog>>,
    token: String,
}

impl Place {
    fn take(log: &Arc<Mutex<DialBackLog>>, token: &str) -> Option<Self> {
        let may = log.lock().unwrap_or_else(PoisonError::into_inner).begin(Instant::now(), token);
        may.then(|| Self { log: Arc::clone(log), token: token.to_owned() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).end(&self.token);
    }
}

/// Dial-backs that relays have been asked for. While there are none, nobody who comes in is looked
/// at for being one.
#[derive(Debug, Default)]
pub(crate) struct DialBacks(Mutex<HashMap<Id, Option<IpAddr>>>);

impl DialBacks {
    /// Recognises the dial-back that begins with `nonce`, until the result is dropped.
    pub(super) fn expect(self: &Arc<Self>, nonce: Id) -> Expected {
        self.lock().insert(nonce, None);
        Expected { dial_backs: Arc::clone(self), nonce }
    }

    /// Whether one may come.
    pub(super) fn is_expecting(&self) -> bool {
        !self.lock().is_empty()
    }

    /// One has come from `from`. Returns whether it was expected.
    pub(super) fn came(&self, nonce: &Id, from: IpAddr) -> bool {
        self.lock().get_mut(nonce).map(|came| *came = Some(from)).is_some()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Id, Option<IpAddr>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A dial-back that may come.
#[derive(Debug)]
pub(super) struct Expected {
    dial_backs: Arc<DialBacks>,
    pub(super) nonce: Id,
}

impl Expected {
    /// Where it came from; `None` if it has not.
    pub(super) fn from(&self) -> Option<IpAddr> {
        self.dial_backs.lock().get(&self.nonce).copied().flatten()
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        self.dial_backs.lock().remove(&self.nonce);
    }
}
