//! A link of version 2, from parked to parked.

use std::net::SocketAddr;

use hardline_proto::tunnel::{Answer, Open, Reason, Refusal};
use tokio::time::timeout;
use tracing::debug;

use super::{Acceptor, Service};
use crate::backend::BackendStream;
use crate::limits::CROWDED_PARKED_LIMIT;
use crate::session::LinkStream;

impl Acceptor {
    /// Serves one tunnel after the other, until the dialler ends the link or does not use it any more. The backend is not
    /// touched before a tunnel is asked for.
    pub(super) async fn serve_link(&self, service: &Service, mut link: LinkStream, is_allowed: bool, addr: SocketAddr) {
        while let Some(open) = self.next_open(&mut link, is_allowed, addr).await {
            match self.decide(service, is_allowed, open).await {
                Ok(mut backend) => {
                    if link.answer(&Answer::Opened).await.is_err() {
                        return;
                    }
                    self.carry(service, &mut link, &mut backend, addr).await;
                }
                Err(refusal) => {
                    debug!(%addr, %refusal, "tunnel refused");
                    self.refuse(&mut link, refusal).await;
                }
            }
            if !link.is_parked() {
                return;
            }
        }
        // Only a parked link says goodbye: see there.
        let _ = timeout(self.handshake_timeout, link.close()).await;
    }

    /// Waits for the next question while the link is parked. `None` when there will be none.
    async fn next_open(&self, link: &mut LinkStream, is_allowed: bool, addr: SocketAddr) -> Option<Open> {
        let place = self.parked.enter(addr.ip());
        let patience = match &place {
            Some(_) if is_allowed => self.parked.time(),
            // Who does not know the password may ask, to be told so, and has no other business here.
            Some(_) => self.handshake_timeout,
            // The question may be on its way.
            None => CROWDED_PARKED_LIMIT,
        };
        tokio::select! {
            () = self.drain.stop.cancelled() => None,
            asked = timeout(patience, link.asked()) => asked.ok()?.ok(),
        }
    }

    /// Reaches the backend, or says why not.
    async fn decide(&self, service: &Service, is_allowed: bool, open: Open) -> Result<BackendStream, Refusal> {
        let refusal = |reason| Refusal { reason, unknown: open.unknown };
        if !is_allowed {
            return Err(refusal(Reason::Password));
        }
        service.backend.connect().await.map_err(|error| {
            self.note_missing_backend(service, &error);
            refusal(Reason::Backend)
        })
    }

    /// Answers with a refusal, and throws away what the dialler has sent before it knows.
    async fn refuse(&self, link: &mut LinkStream, refusal: Refusal) {
        let refusing = async {
            link.answer(&Answer::Refused(refusal)).await?;
            link.discard().await
        };
        // A dialler that does not end its side loses the link, no more.
        let _ = timeout(self.handshake_timeout, refusing).await;
    }
}
