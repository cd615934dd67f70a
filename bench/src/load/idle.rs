//! Connections that are open and silent.

use anyhow::Result;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use super::Entry;
use super::requests::ask;
use crate::http::Reader;

/// Connections opened at once.
const AT_ONCE: usize = 16;

/// Says `holding COUNT`; on SIGTERM asks on each once more, says `alive COUNT` and ends.
pub(super) async fn hold(entry: &Entry, count: usize) -> Result<()> {
    let request = entry.request("GET", "/small", "");
    let mut ended = signal(SignalKind::terminate())?;
    let mut open = Vec::with_capacity(count);
    while open.len() < count {
        let mut tasks = JoinSet::new();
        for _ in 0..AT_ONCE.min(count - open.len()) {
            let (entry, request) = (entry.clone(), request.clone());
            tasks.spawn_local(async move {
                let mut reader = Reader::new(entry.connect().await?, 0);
                ask(&mut reader, &request).await?;
                anyhow::Ok(reader)
            });
        }
        while let Some(done) = tasks.join_next().await {
            open.push(done??);
        }
    }
    println!("holding {}", open.len());
    ended.recv().await;
    let mut alive = 0;
    for reader in &mut open {
        alive += usize::from(ask(reader, &request).await.is_ok());
    }
    println!("alive {alive}");
    Ok(())
}
