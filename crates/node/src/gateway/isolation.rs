//! Which connections are followed.

use std::sync::Arc;

use hardline_proto::KeyHash;
use hardline_proto::exchange::{Exchange, Leave, RequestStep};
use hardline_proto::host::ServiceName;

use super::answer::Answer;
use super::errors;
use crate::services::Services;

/// Whose pages may do what they like: those of this computer's own services, and of those that the
/// user trusts. The others are isolated.
pub(super) struct Isolation {
    pub(super) own: Arc<Services>,
    pub(super) trusted: Vec<KeyHash>,
}

/// The start of a connection that is followed.
pub(super) struct Start {
    pub(super) exchange: Exchange,
    /// So many of the bytes at hand may go to the service.
    pub(super) admitted: usize,
}

impl Isolation {
    fn isolates(&self, name: &ServiceName) -> bool {
        !self.trusted.contains(&name.key) && self.own.now().get(&name.key).is_none()
    }

    /// Follows a connection to `name` if it turns out to be HTTP: who asks a proxy for a tunnel may
    /// be a browser. `None` where nothing is looked at.
    pub(super) fn follow_if_http(&self, name: &ServiceName) -> Option<Exchange> {
        self.isolates(name).then(|| Exchange::if_http(name.clone()))
    }

    /// Follows a connection to `name` that begins with a request in `bytes`. `None` where nothing
    /// is looked at.
    ///
    /// # Errors
    /// The answer to a request that the service does not get.
    pub(super) fn follow(&self, name: &ServiceName, bytes: &[u8]) -> Result<Option<Start>, Box<Answer>> {
        if !self.isolates(name) {
            return Ok(None);
        }
        let mut exchange = Exchange::new(name.clone(), true);
        let mut admitted = 0;
        while admitted < bytes.len() {
            match exchange.request(&bytes[admitted..]) {
                Ok(RequestStep::Pass(count)) => admitted += count,
                Ok(RequestStep::Leave) if admitted == 0 => return Err(Box::new(refused(exchange.left()))),
                Ok(_) => break,
                Err(refusal) => return Err(Box::new(errors::refused_request(refusal))),
            }
        }
        Ok(Some(Start { exchange, admitted }))
    }
}

fn refused(why: Option<Leave>) -> Answer {
    match why {
        Some(Leave::Refused(refusal)) => errors::refused_request(refusal),
        Some(Leave::ServiceWorker) => errors::service_worker(),
        _ => errors::no_such_page(),
    }
}
