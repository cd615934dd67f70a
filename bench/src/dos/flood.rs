//! Connections by the ten thousand, each with some bytes that are no TLS.

use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::crowd::{connect, source};

/// Time between two portions of connections.
const PORTION: Duration = Duration::from_millis(5);

/// Connections in the air at once; beyond it the flood waits for the victim.
const IN_THE_AIR: usize = 4_000;

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// Looks like nothing: not even the first byte of a TLS record.
const GARBAGE: &[u8] = &[0xa5; 64];

/// Floods until SIGTERM.
pub(super) async fn run(target: SocketAddr, sources: u16, a_second: u64) -> Result<()> {
    let mut ended = signal(SignalKind::terminate())?;
    let (done, failed) = (Rc::new(Cell::new(0_u64)), Rc::new(Cell::new(0_u64)));
    let air = Arc::new(Semaphore::new(IN_THE_AIR));
    println!("ready");
    let began = Instant::now();
    let flood = async {
        let mut portions = interval(PORTION);
        portions.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut number = 0_u64;
        loop {
            portions.tick().await;
            let due = (began.elapsed().as_secs_f64() * a_second as f64) as u64;
            // What could not be sent in time is not made up for.
            number = number.max(due.saturating_sub(a_second / 10));
            while number < due {
                let Ok(place) = Arc::clone(&air).acquire_owned().await else { return };
                let (done, failed) = (Rc::clone(&done), Rc::clone(&failed));
                let source = source(number as usize, sources);
                tokio::task::spawn_local(async move {
                    let counter = if throw(source, target).await.is_ok() { done } else { failed };
                    counter.set(counter.get() + 1);
                    drop(place);
                });
                number += 1;
            }
        }
    };
    tokio::select! {
        () = flood => {}
        _ = ended.recv() => {}
    }
    let (done, failed) = (done.get(), failed.get());
    println!(
        "{}",
        json!({ "opened": done, "failed": failed, "ended": done, "seconds": began.elapsed().as_secs_f64() })
    );
    std::process::exit(0);
}

async fn throw(source: IpAddr, target: SocketAddr) -> Result<()> {
    timeout(PATIENCE, async {
        let mut stream = connect(source, target).await?;
        // One who has hung up already is as good.
        let _ = stream.write_all(GARBAGE).await;
        let mut ignored = [0; 64];
        while stream.read(&mut ignored).await.is_ok_and(|n| n > 0) {}
        Ok(())
    })
    .await?
}
