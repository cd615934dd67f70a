//! Small requests, counted and timed.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Entry;
use crate::http::Reader;

/// How often a first answer is asked for while none has come; the resolution of that figure.
const ASK_AGAIN: Duration = Duration::from_millis(2);

/// Time for a tunnel to come up.
const FIRST_LIMIT: Duration = Duration::from_secs(60);

/// Prints `{"p50": …, "p99": …}` in milliseconds: connecting, asking, the whole answer.
pub(super) async fn on_new_connections(entry: &Entry, count: usize) -> Result<()> {
    let request = entry.request("GET", "/small", "Connection: close\r\n");
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let began = Instant::now();
        let mut reader = Reader::new(entry.connect().await?, 0);
        ask(&mut reader, &request).await?;
        times.push(began.elapsed());
    }
    print_percentiles(&mut times, json!({}));
    Ok(())
}

/// Prints `{"requests": …, "seconds": …, "p50": …, "p99": …}`.
pub(super) async fn on_kept_connections(entry: &Entry, connections: usize, milliseconds: u64) -> Result<()> {
    let request = entry.request("GET", "/small", "");
    let mut open = Vec::with_capacity(connections);
    for _ in 0..connections {
        let mut reader = Reader::new(entry.connect().await?, 0);
        // Opening a tunnel is another figure.
        ask(&mut reader, &request).await?;
        open.push(reader);
    }
    let began = Instant::now();
    let end = began + Duration::from_millis(milliseconds);
    let mut tasks = JoinSet::new();
    for mut reader in open {
        let request = request.clone();
        tasks.spawn_local(async move {
            let mut times = Vec::new();
            while Instant::now() < end {
                let asked = Instant::now();
                ask(&mut reader, &request).await?;
                times.push(asked.elapsed());
            }
            anyhow::Ok(times)
        });
    }
    let mut times = Vec::new();
    while let Some(done) = tasks.join_next().await {
        times.extend(done??);
    }
    let seconds = began.elapsed().as_secs_f64();
    let requests = times.len();
    print_percentiles(&mut times, json!({ "requests": requests, "seconds": seconds }));
    Ok(())
}

/// Says `answered` when the first of many questions is. Each goes on a connection of its own and
/// waits for no other, so that one which came too early costs nothing.
pub(super) async fn until_answered(entry: &Entry) -> Result<()> {
    let request = entry.request("GET", "/small", "Connection: close\r\n");
    println!("asking");
    let mut tasks = JoinSet::new();
    let answered = async {
        loop {
            let (entry, request) = (entry.clone(), request.clone());
            tasks.spawn_local(async move { ask(&mut Reader::new(entry.connect().await?, 0), &request).await });
            if timeout(ASK_AGAIN, first_success(&mut tasks)).await.is_ok() {
                return;
            }
        }
    };
    timeout(FIRST_LIMIT, answered).await?;
    println!("answered");
    Ok(())
}

async fn first_success(tasks: &mut JoinSet<Result<()>>) {
    while let Some(done) = tasks.join_next().await {
        if done.is_ok_and(|answer| answer.is_ok()) {
            return;
        }
    }
    std::future::pending().await
}

/// One question and its whole answer.
pub(super) async fn ask(reader: &mut Reader<TcpStream>, request: &[u8]) -> Result<()> {
    reader.stream().write_all(request).await?;
    let length = reader.answer().await?;
    reader.body(length, |_, _| ()).await
}

fn print_percentiles(times: &mut [Duration], mut line: serde_json::Value) {
    times.sort_unstable();
    line["p50"] = percentile(times, 0.5).into();
    line["p99"] = percentile(times, 0.99).into();
    println!("{line}");
}

/// Of sorted times, in milliseconds.
pub(super) fn percentile(times: &[Duration], share: f64) -> f64 {
    times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3
}
