//! What was tried for one lookup, and how long each took: for pages and logs.

use std::sync::Arc;
use std::time::Duration;

use hardline_proto::KeyHash;
use hardline_proto::candidate::{Candidate, SourceInfo, TransportAddr};
use hardline_proto::network::NetworkState;
use hardline_proto::path::Path;
use hardline_proto::tunnel::Refusal;
use serde::Serialize;
use tokio::time::Instant;

use crate::json::as_text;

/// What was tried for one service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Where addresses were looked for.
    pub sources: Vec<SourceReport>,
    /// Which addresses were dialled, in the order of their starts.
    pub attempts: Vec<AttemptReport>,
    /// Milliseconds in all.
    #[serde(rename = "took_ms", serialize_with = "as_millis")]
    pub took: Duration,
}

impl Report {
    /// Whether somebody answered at any of the addresses.
    pub(crate) fn has_answer(&self) -> bool {
        let is_silent = |outcome: &Outcome| matches!(outcome, Outcome::Unreachable { .. } | Outcome::Unfinished);
        self.attempts.iter().any(|attempt| !is_silent(&attempt.outcome))
    }
}

/// One place addresses were looked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SourceReport {
    /// Which.
    pub source: SourceInfo,
    /// Addresses it named.
    pub found: usize,
    /// Milliseconds until it had no more to say, or until the lookup ended.
    #[serde(rename = "took_ms", serialize_with = "as_millis")]
    pub took: Duration,
    /// Why it is of no help, if it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// One address dialled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AttemptReport {
    /// Where.
    #[serde(serialize_with = "as_text")]
    #[serde(rename = "at")]
    pub addr: TransportAddr,
    /// Who named it.
    pub source: SourceInfo,
    /// Over what it would be reached.
    pub path: Path,
    /// What came of it.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// Milliseconds it took.
    #[serde(rename = "took_ms", serialize_with = "as_millis")]
    pub took: Duration,
}

/// What came of dialling one address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "outcome", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// No TCP connection.
    #[error("no connection: {reason}")]
    Unreachable {
        /// The system's words.
        reason: String,
    },
    /// Something answered, but not a Hardline peer that could be verified.
    #[error("no TLS handshake: {reason}")]
    Handshake {
        /// What went wrong.
        reason: String,
    },
    /// Somebody else answered.
    #[error("it has another certificate, that of {got}")]
    WrongKey {
        /// Whose certificate was presented.
        #[serde(serialize_with = "as_text")]
        got: KeyHash,
    },
    /// The service proved its key and closed the connection before its preamble: its backend is
    /// down, or it wants another password.
    #[error("it proved its key, then closed the connection before a word")]
    Closed,
    /// The service proved its key and said no.
    #[error("{refusal}")]
    Refused {
        /// Why.
        #[serde(rename = "reason", serialize_with = "as_text")]
        refusal: Refusal,
    },
    /// The service proved its key, was asked, and went away without an answer.
    #[error("it was asked and went away without an answer")]
    Unanswered,
    /// The service proved its key and then broke the protocol.
    #[error("it proved its key, then broke the protocol: {reason}")]
    Protocol {
        /// What went wrong.
        reason: String,
    },
    /// Not finished when the lookup ended.
    #[error("no answer yet")]
    Unfinished,
}

/// Collects the attempts of one race.
#[derive(Debug)]
pub(crate) struct AttemptLog {
    began: Instant,
    here: Arc<NetworkState>,
    attempts: Vec<AttemptReport>,
}

impl AttemptLog {
    /// From the networks `here`.
    pub(crate) fn new(here: Arc<NetworkState>) -> Self {
        Self { began: Instant::now(), here, attempts: Vec::new() }
    }

    /// Notes the start of an attempt. Returns its number.
    pub(crate) fn started(&mut self, candidate: &Candidate) -> usize {
        let Candidate { addr, source, way, .. } = candidate;
        let path = Path::new(addr, *way, None, &self.here);
        let (addr, source, took) = (addr.clone(), *source, self.began.elapsed());
        self.attempts.push(AttemptReport { addr, source, path, outcome: Outcome::Unfinished, took });
        self.attempts.len() - 1
    }

    /// Notes the end of attempt `number`.
    pub(crate) fn ended(&mut self, number: usize, outcome: Outcome) {
        let now = self.began.elapsed();
        if let Some(attempt) = self.attempts.get_mut(number) {
            attempt.took = now.saturating_sub(attempt.took);
            attempt.outcome = outcome;
        }
    }

    /// The report as it stands, with what was asked.
    pub(crate) fn report(mut self, sources: Vec<SourceReport>) -> Report {
        let took = self.began.elapsed();
        for attempt in self.attempts.iter_mut().filter(|attempt| attempt.outcome == Outcome::Unfinished) {
            attempt.took = took.saturating_sub(attempt.took);
        }
        Report { sources, attempts: self.attempts, took }
    }
}

fn as_millis<S: serde::Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}
