//! A publisher's control connection, at the relay.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hardline_proto::relay::Id;
use hardline_proto::relay::message::{FromPublisher, FromRelay, RefusalReason};
use hardline_proto::relay::registry::Registration;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::callers::{CallsFor, calls};
use super::dial_back::DialBackDesk;
use super::lines::Lines;
use super::server::{Control, Relay};
use crate::transport::handshake::Hello;
use crate::transport::secure::SecureStream;

type Tls = SecureStream<TcpStream>;

/// Time without a word after which a publisher is gone. It asks every
/// [`PING_INTERVAL`](super::publisher::PING_INTERVAL).
const SILENCE: Duration = Duration::from_secs(45);

/// Time for the first message, behind the handshake.
const REGISTER_LIMIT: Duration = Duration::from_secs(10);

/// Time for a message to leave. A publisher that takes nothing is gone.
const SEND_LIMIT: Duration = Duration::from_secs(10);

impl Relay {
    /// Shakes hands with a publisher, registers it, and serves its control connection until that
    /// ends or the node stops.
    ///
    /// # Errors
    /// That of the connection.
    pub(crate) async fn control(self: &Arc<Self>, hello: Hello<TcpStream>, addr: SocketAddr) -> io::Result<()> {
        let own = hello.wire.local_addr()?;
        let mut tls = timeout(REGISTER_LIMIT, hello.accept(Arc::clone(&self.tls))).await??;
        let mut lines = Lines::default();
        let first = timeout(REGISTER_LIMIT, next(&mut lines, &mut tls)).await??;
        let Some(FromPublisher::Register { token, publisher, names, takes_calls }) = first else { return Ok(()) };
        let Some(name) = self.admits(&token) else {
            debug!(%addr, "a publisher has no token of ours");
            return send(&mut tls, &FromRelay::Refused { reason: RefusalReason::Token }).await;
        };
        let registered = self.books().register(&name, publisher, &names);
        let registered = match registered {
            Ok(registered) => registered,
            Err(limit) => {
                self.note_refusal(limit);
                return send(&mut tls, &FromRelay::Refused { reason: RefusalReason::Limit }).await;
            }
        };
        if let Some(replaced) = registered.replaced {
            self.end(replaced);
        }
        let registration = registered.registration;
        let (calls_to, called) = calls();
        let control = Control {
            wake: Arc::new(Notify::new()),
            end: CancellationToken::new(),
            calls: takes_calls.then_some(calls_to),
        };
        self.began(registration, control.clone());
        info!(%addr, token = name, names = names.len(), "publisher registered");
        let mut desk = DialBackDesk::new(addr.ip(), own.ip(), name.clone(), Arc::clone(&self.dial_backs));
        let serving = async {
            let answer = FromRelay::Registered { refused: registered.refused, seen: Some(addr), dials_back: true };
            send(&mut tls, &answer).await?;
            self.serve((&mut tls, &mut lines), registration, (&control, called), token, &mut desk).await
        };
        let served = tokio::select! {
            served = serving => served,
            () = control.end.cancelled() => Ok(()),
            () = self.stop.cancelled() => Ok(()),
        };
        self.leave(registration);
        debug!(%addr, token = name, ?served, "publisher gone");
        served
    }

    async fn serve(
        &self,
        (tls, lines): (&mut Tls, &mut Lines),
        registration: Registration,
        (control, mut called): (&Control, CallsFor),
        token: Id,
        desk: &mut DialBackDesk,
    ) -> io::Result<()> {
        let mut heard = Instant::now();
        loop {
            self.ask_for_data(tls, registration).await?;
            let again = self.books().poll_timeout(registration);
            let until = heard + SILENCE;
            tokio::select! {
                message = next(lines, tls) => {
                    heard = Instant::now();
                    match message? {
                        Some(FromPublisher::Ping) => send(tls, &FromRelay::Pong).await?,
                        Some(FromPublisher::Register { token: again, names, .. }) if again == token => {
                            let refused = self.books().rename(registration, &names);
                            send(tls, &FromRelay::Registered { refused, seen: None, dials_back: true }).await?;
                        }
                        Some(FromPublisher::DialBack { nonce, port }) => {
                            if let Some(refusal) = desk.ask(nonce, port) {
                                send(tls, &refusal).await?;
                            }
                        }
                        Some(FromPublisher::Answer { caller, sealed }) => self.answered(registration, caller, sealed),
                        // Another token is another publisher, and begins anew.
                        Some(FromPublisher::Register { .. }) | None => return Ok(()),
                    }
                }
                answer = desk.answer() => send(tls, &answer).await?,
                Some(call) = called.recv() => send(tls, &call).await?,
                () = control.wake.notified() => {}
                () = sleep_until(again.map_or(until, |again| again.min(until)).into()) => {
                    if Instant::now() >= until {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                }
            }
        }
    }

    async fn ask_for_data(&self, tls: &mut Tls, registration: Registration) -> io::Result<()> {
        let wanted = self.books().wanted(Instant::now(), registration);
        for _ in 0..wanted {
            let token = Id::from_bytes(rand::random());
            self.books().ask(Instant::now(), registration, token);
            write(tls, &FromRelay::Connect { token }).await?;
        }
        if wanted > 0 { flush(tls).await } else { Ok(()) }
    }
}

/// The next message that is understood; `None` at the end. Cancel safe.
async fn next(lines: &mut Lines, tls: &mut Tls) -> io::Result<Option<FromPublisher>> {
    while let Some(line) = lines.next(tls).await? {
        let message = FromPublisher::parse(&line).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        if message.is_some() {
            return Ok(message);
        }
    }
    Ok(None)
}

async fn send(tls: &mut (impl AsyncWrite + Unpin), message: &FromRelay) -> io::Result<()> {
    write(tls, message).await?;
    flush(tls).await
}

async fn write(tls: &mut (impl AsyncWrite + Unpin), message: &FromRelay) -> io::Result<()> {
    timeout(SEND_LIMIT, tls.write_all(&message.encode())).await?
}

async fn flush(tls: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
    timeout(SEND_LIMIT, tls.flush()).await?
}
