//! What was tried for one lookup, and how long each took: for pages and logs.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hardline_proto::KeyHash;
use hardline_proto::candidate::Source;
use hardline_proto::hosts::HostPort;
use serde::Serialize;

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

/// One place addresses were looked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SourceReport {
    /// Which.
    pub source: Source,
    /// Addresses it named.
    pub found: usize,
    /// Milliseconds until it had no more to say, or until the lookup ended.
    #[serde(rename = "took_ms", serialize_with = "as_millis")]
    pub took: Duration,
}

/// One address dialled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AttemptReport {
    /// Where.
    #[serde(serialize_with = "as_text")]
    pub at: HostPort,
    /// Who named it.
    pub source: Source,
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
    /// The service proved its key and closed the connection before its opening line: its backend is down, or it wants
    /// another password.
    #[error("it proved its key, then closed the connection before a word")]
    Closed,
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

/// Collects a [`Report`] while a lookup runs. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Journal(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    began: Instant,
    report: Mutex<Report>,
}

impl Journal {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Inner { began: Instant::now(), report: Mutex::default() }))
    }

    /// Notes that a source is being asked; its time runs until the guard is dropped.
    pub(crate) fn source(&self, source: Source) -> SourceGuard {
        self.entry(source, |_| {});
        SourceGuard { journal: self.clone(), source }
    }

    /// Notes an address that a source being asked has named.
    pub(crate) fn found(&self, source: Source) {
        self.entry(source, |entry| entry.found += 1);
    }

    /// Notes the start of an attempt. Returns its number.
    pub(crate) fn started(&self, at: HostPort, source: Source) -> usize {
        let mut report = self.lock();
        report.attempts.push(AttemptReport { at, source, outcome: Outcome::Unfinished, took: self.0.began.elapsed() });
        report.attempts.len() - 1
    }

    /// Notes the end of attempt `number`.
    pub(crate) fn ended(&self, number: usize, outcome: Outcome) {
        let now = self.0.began.elapsed();
        if let Some(attempt) = self.lock().attempts.get_mut(number) {
            attempt.took = now.saturating_sub(attempt.took);
            attempt.outcome = outcome;
        }
    }

    /// The report as it stands.
    pub(crate) fn report(&self) -> Report {
        let now = self.0.began.elapsed();
        let mut report = self.lock().clone();
        for attempt in report.attempts.iter_mut().filter(|attempt| attempt.outcome == Outcome::Unfinished) {
            attempt.took = now.saturating_sub(attempt.took);
        }
        for source in report.sources.iter_mut().filter(|source| source.took == Duration::ZERO) {
            source.took = now;
        }
        report.took = now;
        report
    }

    fn entry(&self, source: Source, change: impl FnOnce(&mut SourceReport)) {
        let mut report = self.lock();
        let index = report.sources.iter().position(|entry| entry.source == source).unwrap_or_else(|| {
            report.sources.push(SourceReport { source, found: 0, took: Duration::ZERO });
            report.sources.len() - 1
        });
        change(&mut report.sources[index]);
    }

    fn lock(&self) -> MutexGuard<'_, Report> {
        self.0.report.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends a source's time when dropped.
pub(crate) struct SourceGuard {
    journal: Journal,
    source: Source,
}

impl Drop for SourceGuard {
    fn drop(&mut self) {
        let now = self.journal.0.began.elapsed();
        self.journal.entry(self.source, |entry| entry.took = now);
    }
}

fn as_millis<S: serde::Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

fn as_text<T: std::fmt::Display, S: serde::Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_s_time_ends_with_it_and_runs_while_it_is_asked() {
        let journal = Journal::new();
        drop(journal.source(Source::Given));
        let _lan = journal.source(Source::Lan);
        journal.found(Source::Given);
        std::thread::yield_now();
        let report = journal.report();
        let took = |source| report.sources.iter().find(|entry| entry.source == source).map(|entry| entry.took);
        assert_eq!(took(Source::Lan), Some(report.took));
        assert!(took(Source::Given) < took(Source::Lan));
        assert_eq!(report.sources[0].found, 1);
    }
}
