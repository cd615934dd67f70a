//! The service's end of a redemption: a stream inside this process in the place of its program.

use std::sync::Arc;
use std::time::Duration;

use hardline_proto::KeyHash;
use hardline_proto::preamble::MAX_PREAMBLE;
use hardline_proto::visitors::{Answer, Refused, Request};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::time::timeout;
use tracing::{debug, info, warn};

use super::Enrolled;
use super::list::Invited;

/// Time for all of it.
const LIMIT: Duration = Duration::from_secs(10);

/// Bytes under way in each direction.
const PIPE: usize = 2048;

impl Enrolled {
    /// Where who is invited, and has proven `key`, asks to be enrolled.
    pub(crate) fn reception(self: &Arc<Self>, invited: &Arc<Invited>, key: KeyHash) -> DuplexStream {
        let (near, mut far) = duplex(PIPE);
        let (this, invited) = (Arc::clone(self), Arc::clone(invited));
        self.tasks.spawn(async move {
            let serving = async {
                let line = read_line(&mut far).await?;
                let answer = this.answer(&invited, key, &line).await?;
                far.write_all(&answer.encode()).await.ok()?;
                far.shutdown().await.ok()
            };
            let _ = timeout(LIMIT, serving).await; // who is slow has to ask again
        });
        near
    }

    /// Enrols `key`, or says why not. `None` where nothing is said at all.
    async fn answer(&self, invited: &Invited, key: KeyHash, line: &[u8]) -> Option<Answer> {
        let request = Request::parse(line).inspect_err(|error| debug!(%error, "no request to be enrolled")).ok()?;
        if !invited.is_heard() {
            return None;
        }
        if !request.secret.has_digest(&invited.digest) {
            invited.note_wrong();
            return Some(Answer::Refused(Refused::Unknown));
        }
        match self.store.redeem(invited.id, key, request.door, request.name).await {
            Ok(Ok(enrolled)) => {
                info!(invitation = invited.id, visitor = %key.short(), "invitation redeemed");
                // Who is told that it is enrolled may come at once.
                self.load().await.inspect_err(|error| warn!(%error, "visitors not read")).ok()?;
                Some(Answer::Enrolled(enrolled))
            }
            Ok(Err(refused)) => Some(Answer::Refused(refused)),
            Err(error) => {
                warn!(%error, remedy = error.remedy(), "visitor not enrolled");
                None
            }
        }
    }
}

/// A line of bounded length, newline included. `None` where there is none.
pub(crate) async fn read_line(stream: &mut (impl AsyncRead + Unpin)) -> Option<Vec<u8>> {
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        if line.len() >= MAX_PREAMBLE {
            return None;
        }
        line.push(stream.read_u8().await.ok()?);
    }
    Some(line)
}
