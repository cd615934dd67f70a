//! A long cable: frames come out of its other end some time later.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tun_rs::{DeviceBuilder, Layer, SyncDevice};

/// Frames under way in one direction; more are dropped, as a full buffer does. 100 Mbit/s for 100
/// ms.
const MAX_UNDER_WAY: usize = 1024;

/// Longest frame: the kernel hands over whole segments where the far end offloads cutting them.
const MAX_FRAME: usize = 65_600;

/// Makes two interfaces in this namespace, which whoever waits for the line `ready` may move
/// elsewhere, and carries frames between them until one is deleted.
pub(crate) fn run(left: &str, right: &str, microseconds: u64) -> Result<()> {
    let delay = Duration::from_micros(microseconds);
    let (left, right) = (end(left)?, end(right)?);
    println!("ready");
    let (there, back) = (Arc::clone(&left), Arc::clone(&right));
    spawn(move || {
        let gone = carry(&back, there, delay);
        eprintln!("{gone:?}");
        std::process::exit(0);
    });
    carry(&left, right, delay)
}

fn end(name: &str) -> Result<Arc<SyncDevice>> {
    let device = DeviceBuilder::new().name(name).layer(Layer::L2).build_sync();
    Ok(Arc::new(device.with_context(|| format!("making the interface {name}"))?))
}

/// Carries frames one way until `from` is deleted.
fn carry(from: &SyncDevice, to: Arc<SyncDevice>, delay: Duration) -> Result<()> {
    let (sender, under_way) = sync_channel(MAX_UNDER_WAY);
    spawn(move || deliver(&under_way, &to));
    let mut buffer = vec![0; MAX_FRAME];
    loop {
        let len = from.recv(&mut buffer).context("an end is gone")?;
        // A full cable loses frames.
        let _ = sender.try_send((Instant::now() + delay, buffer[..len].to_vec()));
    }
}

fn deliver(under_way: &Receiver<(Instant, Vec<u8>)>, to: &SyncDevice) {
    for (due, frame) in under_way {
        sleep(due.saturating_duration_since(Instant::now()));
        // Fails while the interface is down, and then the frame is lost.
        let _ = to.send(&frame);
    }
}
