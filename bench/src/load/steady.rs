//! A person at work: a small request on a new connection, one on a kept connection, a short rest,
//! and again.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::Entry;
use super::requests::{ask, percentile};
use crate::http::Reader;

/// Rest between two rounds. Longer than a request, so that the figures are of waiting and not of
/// queueing behind oneself.
const REST: Duration = Duration::from_millis(5);

/// A request that takes longer has failed, and counts as this long.
const LIMIT: Duration = Duration::from_secs(5);

/// Times of one kind of request.
#[derive(Default)]
struct Times {
    taken: Vec<Duration>,
    failed: u64,
}

/// Prints `{"new": …, "kept": …}`, each `{"requests": …, "failed": …, "p50": …, "p99": …}` in
/// milliseconds.
pub(super) async fn run(entry: &Entry, milliseconds: u64) -> Result<()> {
    let end = Instant::now() + Duration::from_millis(milliseconds);
    let (mut new, mut kept) = (Times::default(), Times::default());
    let mut open = None;
    while Instant::now() < end {
        new.time(on_new(entry)).await;
        open = kept.time(on_kept(entry, open)).await;
        sleep(REST).await;
    }
    println!("{}", json!({ "new": new.summary(), "kept": kept.summary() }));
    Ok(())
}

async fn on_new(entry: &Entry) -> Result<()> {
    let mut reader = Reader::new(entry.connect().await?, 0);
    ask(&mut reader, &entry.request("GET", "/small", "Connection: close\r\n")).await
}

/// Asks on the open connection, or on a new one after it has failed.
async fn on_kept(entry: &Entry, open: Option<Reader<TcpStream>>) -> Result<Reader<TcpStream>> {
    let mut reader = match open {
        Some(reader) => reader,
        None => Reader::new(entry.connect().await?, 0),
    };
    ask(&mut reader, &entry.request("GET", "/small", "")).await?;
    Ok(reader)
}

impl Times {
    async fn time<T>(&mut self, request: impl Future<Output = Result<T>>) -> Option<T> {
        let began = Instant::now();
        let answered = timeout(LIMIT, request).await.ok().and_then(Result::ok);
        self.taken.push(if answered.is_some() { began.elapsed() } else { LIMIT });
        self.failed += u64::from(answered.is_none());
        answered
    }

    fn summary(&mut self) -> Value {
        self.taken.sort_unstable();
        json!({
            "requests": self.taken.len(),
            "failed": self.failed,
            "p50": percentile(&self.taken, 0.5),
            "p99": percentile(&self.taken, 0.99),
        })
    }
}
