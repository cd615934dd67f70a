//! An invitation → a key pair that is enrolled.

use std::time::Duration;

use hardline_proto::host::ServiceName;
use hardline_proto::tunnel::Kind;
use hardline_proto::visitors::{Answer, Door, Enrolled, Invitation, Refused, Request};
use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;

use super::passes::pass;
use super::{Dialler, ReachError, Waiting, race};
use crate::session::{Purpose, TunnelStream};
use crate::store::{KeptPass, StoreError};
use crate::tls::Pass;
use crate::tls::identity::IdentityError;
use crate::visitors::read_line;

/// Time for the answer of a service that was reached.
const ANSWER: Duration = Duration::from_secs(15);

/// Why an invitation was not accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AcceptError {
    /// The service was not reached. One that does not know the invitation says that nobody is
    /// there.
    #[error("the service was not reached, or does not know this invitation")]
    NotReached(#[source] Box<ReachError>),
    /// The service says no.
    #[error("{0}")]
    Refused(Refused),
    /// The service was reached, and no answer came. To ask again does no harm.
    #[error("the service was reached and did not answer")]
    NoAnswer,
    /// The key pair is not kept.
    #[error("the key for this service cannot be kept")]
    Store(#[from] StoreError),
    /// No key pair can be made.
    #[error("no key can be made for this service")]
    Key(#[from] IdentityError),
    /// That which is kept is damaged.
    #[error("the key that is kept for this service is damaged")]
    Damaged,
}

impl Dialler {
    /// Redeems an invitation for this computer, which would like to be called `name`.
    ///
    /// The key pair is on the disk before anything is said, and asking again with it is answered
    /// again: so nothing is lost, whenever either end is killed.
    pub(crate) async fn accept(&self, invitation: &Invitation, name: Option<String>) -> Result<Enrolled, AcceptError> {
        let store = self.passes.store().ok_or(StoreError::Closed)?;
        let service = invitation.key;
        let kept = match store.pass(service).await? {
            Some(kept) => kept,
            None => {
                let (certificate, private_key) = Pass::make()?;
                let door = Door::from_bytes(rand::random());
                let fresh = KeptPass { service, certificate, private_key, door, name: None, expires: None };
                store.keep_pass(fresh).await?
            }
        };
        let door = kept.door.clone();
        let pass = pass(kept).ok_or(AcceptError::Damaged)?.by(invitation.secret.door());
        let tunnel = self.reach_by(&ServiceName { key: service, password: None }, pass).await?;
        let request = Request { secret: invitation.secret.clone(), name, door };
        let answer = timeout(ANSWER, ask(tunnel, &request)).await.ok().flatten();
        match answer.ok_or(AcceptError::NoAnswer)? {
            Answer::Enrolled(enrolled) => {
                store.enrolled(service, enrolled.clone()).await?;
                self.passes.has_news(service).await;
                Ok(enrolled)
            }
            Answer::Refused(refused) => Err(AcceptError::Refused(refused)),
        }
    }

    /// Opens a tunnel by `pass`, and by nothing else.
    async fn reach_by(&self, name: &ServiceName, pass: Pass) -> Result<TunnelStream, AcceptError> {
        let job = self.job(name, None, Some(pass));
        let purpose = Purpose::Tunnel(Kind::Stream);
        let raced = race(&self.resolver, name, Waiting::Program, job, purpose).await;
        let (_, reached) = raced.map_err(|error| AcceptError::NotReached(Box::new(error)))?;
        Ok(TunnelStream::last(reached.session))
    }
}

async fn ask(mut tunnel: TunnelStream, request: &Request) -> Option<Answer> {
    tunnel.write_all(&request.encode()).await.ok()?;
    tunnel.flush().await.ok()?;
    Answer::parse(&read_line(&mut tunnel).await?).ok()
}
