//! Service name → tunnel: over a parked link if there is one, else by a race of candidates.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hardline_proto::candidate::Candidate;
use hardline_proto::host::ServiceName;
use hardline_proto::preamble::Preamble;
use hardline_proto::tunnel::Closed;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::attempt::{Carrier, Job, Purpose, Reached};
use super::peers::Peers;
use super::{ReachError, Waiting, cause_of, race};
use crate::clock;
use crate::config::Parking;
use crate::limits::{DIAL_HANDSHAKE_TIMEOUT, READY_AGAIN, STALE_ANSWER};
use crate::resolve::{AttemptReport, Outcome, Report, Resolver};
use crate::session::pool::{Parked, Pool};
use crate::session::{LinkEnd, LinkStream, NoTunnel, TunnelStream};
use crate::tls;

/// Opens tunnels.
#[derive(Debug)]
pub(crate) struct Dialler {
    pub(crate) resolver: Arc<Resolver>,
    peers: Peers,
    pool: Arc<Pool>,
    stop: CancellationToken,
}

impl Dialler {
    /// Parked links are looked after by a task of the resolver's tracker, until `stop`.
    pub(crate) fn new(resolver: Arc<Resolver>, parking: Parking, own_records: bool, stop: CancellationToken) -> Self {
        let pool = Arc::new(Pool::new(Arc::clone(&resolver), parking));
        resolver.tasks.spawn({
            let (pool, stop) = (Arc::clone(&pool), stop.clone());
            async move { pool.run(stop).await }
        });
        Self { resolver, peers: Peers::new(own_records), pool, stop }
    }

    /// Opens a tunnel to `name`. What was sent of `early`, the first payload, is taken out of it; the rest is for the
    /// caller to send. Successes are remembered. Dropping the future cancels every attempt.
    ///
    /// A parked link costs no handshake and no round trip. When it turns out to have ended before the question can have
    /// reached the backend, the next one takes its place, unseen; when it may have, nothing is repeated.
    ///
    /// # Errors
    /// [`ReachError`] says what was tried.
    pub(crate) async fn reach(
        &self,
        name: &ServiceName,
        waiting: Waiting,
        early: &mut Vec<u8>,
    ) -> Result<TunnelStream, ReachError> {
        while let Some(parked) = self.pool.take(name) {
            let (candidate, began) = (parked.candidate.clone(), Instant::now());
            match self.try_parked(name, parked, early).await {
                Ok(Some(tunnel)) => {
                    self.refill(name, candidate);
                    return Ok(tunnel);
                }
                Ok(None) => debug!(key = %name.key.short(), "parked link was of no use"),
                Err(outcome) => return Err(failed(name, candidate, outcome, began)),
            }
        }
        let (candidate, reached) = self.race(name, waiting, Purpose::Tunnel).await?;
        match reached.carrier {
            Carrier::Plain(stream) => Ok(TunnelStream::plain(stream)),
            Carrier::Link(link) => {
                self.refill(name, candidate.clone());
                Ok(self.lend(name, link, candidate))
            }
        }
    }

    /// Keeps a link to `name` parked, dialled before anybody asks, until the node stops.
    pub(crate) async fn keep_ready(&self, name: &ServiceName) {
        let Some(renewal) = self.pool.renewal() else { return };
        let keeping = async {
            let mut failures = 0;
            loop {
                let is_ready = self.pool.is_stocked(name) || self.dial_ahead(name).await;
                failures = if is_ready { 0 } else { failures + 1 };
                sleep(patience(renewal, failures)).await;
            }
        };
        self.stop.run_until_cancelled(keeping).await;
    }

    /// Dials a link and parks it. Returns whether that worked.
    async fn dial_ahead(&self, name: &ServiceName) -> bool {
        match self.race(name, Waiting::Program, Purpose::Spare).await {
            Ok((candidate, Reached { carrier: Carrier::Link(link), .. })) => {
                self.pool.put(name, link, candidate);
                true
            }
            Ok(_) => false, // version 1 parks nothing
            Err(error) => {
                debug!(%error, "not ready");
                false
            }
        }
    }

    async fn race(
        &self,
        name: &ServiceName,
        waiting: Waiting,
        purpose: Purpose,
    ) -> Result<(Candidate, Reached), ReachError> {
        let raced = race(&self.resolver, name, waiting, self.job(name), purpose).await;
        // Where nobody was reached, the listener may have become another program's.
        let speaks_v2 = raced.as_ref().ok().map(|(_, reached)| matches!(reached.carrier, Carrier::Link(_)));
        self.peers.note(name.key, speaks_v2);
        raced
    }

    /// Asks for a tunnel over a parked link. `None` if it was of no use, and nothing was lost.
    async fn try_parked(
        &self,
        name: &ServiceName,
        parked: Parked,
        early: &mut Vec<u8>,
    ) -> Result<Option<TunnelStream>, Outcome> {
        let is_fresh = self.pool.is_fresh(&parked);
        let Parked { mut link, candidate, .. } = parked;
        // Who was not heard for a while may be gone without a word. Then we ask, and send payload when we know.
        let (sent, limit) = if is_fresh { (&early[..], DIAL_HANDSHAKE_TIMEOUT) } else { (&[][..], STALE_ANSWER) };
        let asked = timeout(limit, async {
            let sent = link.ask(&[], sent).await?;
            link.answered().await.map(|()| sent)
        });
        match asked.await {
            Ok(Ok(sent)) => {
                early.drain(..sent);
                Ok(Some(self.lend(name, link, candidate)))
            }
            Ok(Err(NoTunnel::Refused(refusal))) => {
                if link.is_parked() {
                    self.pool.put(name, link, candidate);
                }
                Err(Outcome::Refused { refusal })
            }
            Ok(Err(NoTunnel::End(LinkEnd::Closed(Closed::NotOpened | Closed::Unused)))) => Ok(None),
            Ok(Err(_)) | Err(_) if !is_fresh || early.is_empty() => {
                // The others lead to the same place.
                self.pool.forget(name);
                Ok(None)
            }
            Ok(Err(NoTunnel::End(_))) | Err(_) => Err(Outcome::Unanswered),
        }
    }

    /// Hands out a link; it comes back to the pool when its tunnel has ended cleanly.
    fn lend(&self, name: &ServiceName, link: LinkStream, candidate: Candidate) -> TunnelStream {
        let (pool, stop, name) = (Arc::clone(&self.pool), self.stop.clone(), name.clone());
        let give_back = move |link| {
            if !stop.is_cancelled() {
                pool.put(&name, link, candidate);
            }
        };
        TunnelStream::lent(link, Box::new(give_back))
    }

    /// Dials a spare link behind the user's back, when the service is in demand and none is left.
    fn refill(&self, name: &ServiceName, candidate: Candidate) {
        if !self.pool.should_refill(name) {
            return;
        }
        let (pool, stop, name, job) = (Arc::clone(&self.pool), self.stop.clone(), name.clone(), self.job(name));
        self.resolver.tasks.spawn(async move {
            let dialling = async { job?.dial(&candidate.at, false, Purpose::Spare).await.ok() };
            let spare = match stop.run_until_cancelled(dialling).await.flatten() {
                Some(Reached { carrier: Carrier::Link(link), .. }) => Some((link, candidate)),
                _ => None,
            };
            pool.refilled(&name, spare);
        });
    }

    /// What attempts to reach `name` do; `None` if its key hash cannot be a server name.
    fn job(&self, name: &ServiceName) -> Option<Job> {
        let (tls, speaks_v2) = self.peers.get(name.key);
        Some(Job {
            key: name.key,
            tls,
            server_name: tls::sni::server_name(name.key).ok()?,
            hidden_name: tls::sni::hidden_name(name.key, clock::today()),
            speaks_v2,
            preamble: Preamble { wan_hosts: None, password: name.password.clone() },
        })
    }
}

/// Time until a link that is kept ready is looked after again: twice as long after each failure, so that a computer that is
/// switched off is not looked for all day.
fn patience(renewal: Duration, failures: u32) -> Duration {
    let doubled = renewal.saturating_mul(2_u32.saturating_pow(failures));
    doubled.min(READY_AGAIN.max(renewal))
}

/// The error of a link that was parked.
fn failed(name: &ServiceName, candidate: Candidate, outcome: Outcome, began: Instant) -> ReachError {
    let took = began.elapsed();
    let attempt = AttemptReport { at: candidate.at, source: candidate.source, outcome, took };
    let report = Report { sources: Vec::new(), attempts: vec![attempt], took };
    ReachError { key: name.key, cause: cause_of(&report, name), report: Arc::new(report) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_computer_that_is_away_is_looked_for_ever_more_rarely_up_to_a_limit() {
        let minutes = |number: u64| Duration::from_secs(60 * number);
        let waits = [0, 1, 2, 3, 100].map(|failures| patience(minutes(1), failures));
        assert_eq!(waits, [minutes(1), minutes(2), minutes(4), minutes(8), READY_AGAIN]);
        assert_eq!(patience(minutes(60), 1), minutes(60));
    }
}
