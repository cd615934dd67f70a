//! Many bytes.

use std::rc::Rc;
use std::time::Instant;

use anyhow::{Result, bail};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::task::JoinSet;

use super::{Direction, Entry};
use crate::http::{READ, Reader};
use crate::pattern::Pattern;

/// Prints `{"seconds": …}`, from before the first connection until the last stream is whole.
pub(super) async fn run(entry: &Entry, direction: Direction, streams: u64, bytes: u64, check: bool) -> Result<()> {
    let pattern = Rc::new(Pattern::new());
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..streams {
        let (entry, pattern) = (entry.clone(), Rc::clone(&pattern));
        tasks.spawn_local(async move {
            match direction {
                Direction::Down => down(&entry, bytes, check.then_some(&*pattern)).await,
                Direction::Up => up(&entry, bytes, check, &pattern).await,
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    println!("{}", json!({ "seconds": began.elapsed().as_secs_f64() }));
    Ok(())
}

async fn down(entry: &Entry, bytes: u64, check: Option<&Pattern>) -> Result<()> {
    let mut reader = Reader::new(entry.connect().await?, READ);
    let request = entry.request("GET", &format!("/bytes/{bytes}"), "Connection: close\r\n");
    reader.stream().write_all(&request).await?;
    let length = reader.answer().await?;
    let mut is_right = length == bytes;
    let look = |offset, piece: &[u8]| is_right &= check.is_none_or(|pattern| pattern.matches(offset, piece));
    reader.body(length, look).await?;
    if !is_right {
        bail!("other bytes came down than were sent");
    }
    Ok(())
}

async fn up(entry: &Entry, bytes: u64, check: bool, pattern: &Pattern) -> Result<()> {
    let mut reader = Reader::new(entry.connect().await?, 0);
    let path = if check { "/check" } else { "/sink" };
    let request = entry.request("POST", path, &format!("Content-Length: {bytes}\r\nConnection: close\r\n"));
    reader.stream().write_all(&request).await?;
    let mut sent = 0;
    while sent < bytes {
        let piece = pattern.from(sent, bytes - sent);
        reader.stream().write_all(piece).await?;
        sent += piece.len() as u64;
    }
    let length = reader.answer().await?;
    let mut heard = Vec::new();
    reader.body(length, |_, piece| heard.extend_from_slice(piece)).await?;
    if heard != bytes.to_string().as_bytes() {
        bail!("of {bytes} bytes sent up, the backend heard {}", String::from_utf8_lossy(&heard));
    }
    Ok(())
}
