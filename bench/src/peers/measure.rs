//! Measurements: load on a pair → figures.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use super::figure::Figure::{self, *};
use super::launch::World;
use super::pair::{Pair, entry_of, spawn_load};
use super::row::Row;
use super::stage::Stage;

const MIB: u64 = 1024 * 1024;
const GIB: f64 = 1024.0 * 1024.0 * 1024.0;

/// Keep-alive connections.
const KEPT: u64 = 16;

/// Time that a pair just started, or one whose tunnels have just opened, is left alone: what it
/// does after answering is not over when the answer has come, and nothing tells when it is.
const SETTLE: Duration = Duration::from_millis(500);

/// Requests on new connections before idle memory is looked at, so that what a program makes once
/// is there.
const WARM_UP: u64 = 32;

/// How much of everything.
#[derive(Debug, Clone, Copy)]
pub(super) struct Amounts {
    /// Bytes of one bulk measurement, in MiB, over all its streams.
    pub(super) bulk_mib: u64,
    /// Requests on new connections.
    pub(super) connections: u64,
    /// Keep-alive, in milliseconds.
    pub(super) keep_millis: u64,
    /// Idle tunnels whose memory is compared.
    pub(super) idle: u64,
}

impl Amounts {
    /// For rows that need ten times as long.
    pub(super) fn for_row(self, row: Row) -> Self {
        if !row.is_slow() {
            return self;
        }
        Self { bulk_mib: self.bulk_mib / 8, connections: self.connections / 16, idle: self.idle.min(200), ..self }
    }
}

/// A bulk measurement.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bulk {
    direction: &'static str,
    streams: u64,
    cpu: Figure,
    rate: Figure,
}

/// All of them.
pub(super) const BULKS: [Bulk; 4] = [
    Bulk { direction: "down", streams: 1, cpu: Down1Cpu, rate: Down1Rate },
    Bulk { direction: "up", streams: 1, cpu: Up1Cpu, rate: Up1Rate },
    Bulk { direction: "down", streams: 8, cpu: Down8Cpu, rate: Down8Rate },
    Bulk { direction: "up", streams: 8, cpu: Up8Cpu, rate: Up8Rate },
];

#[derive(Deserialize)]
struct BulkTime {
    seconds: f64,
}

#[derive(Deserialize)]
struct RequestTimes {
    p50: f64,
    p99: f64,
}

#[derive(Deserialize)]
struct KeepAliveTimes {
    requests: f64,
    seconds: f64,
}

/// Numbers of one measurement.
pub(super) type Numbers = Vec<(Figure, f64)>;

impl Bulk {
    pub(super) fn run(self, pair: &Pair, amounts: Amounts) -> Result<Numbers> {
        let each = amounts.bulk_mib * MIB / self.streams;
        let before = pair.cpu_seconds()?;
        let time: BulkTime =
            pair.load("bulk", &words([self.direction, &self.streams.to_string(), &each.to_string()]))?;
        let cpu = pair.cpu_seconds()? - before;
        let bytes = (each * self.streams) as f64;
        Ok(vec![(self.cpu, cpu / (bytes / GIB)), (self.rate, bytes / 1e6 / time.seconds)])
    }

    /// The same with every byte compared at the other end, which shows that the row carries bytes
    /// and not something else.
    pub(super) fn check(self, pair: &Pair, amounts: Amounts) -> Result<()> {
        let each = amounts.bulk_mib * MIB / 4 / self.streams;
        let words = words([self.direction, &self.streams.to_string(), &each.to_string(), "--check"]);
        let _: BulkTime = pair.load("bulk", &words)?;
        Ok(())
    }
}

pub(super) fn connections(pair: &Pair, amounts: Amounts) -> Result<Numbers> {
    let before = pair.cpu_seconds()?;
    let times: RequestTimes = pair.load("connections", &words([&amounts.connections.to_string()]))?;
    let cpu = pair.cpu_seconds()? - before;
    let each = cpu * 1e6 / amounts.connections as f64;
    Ok(vec![(ConnectP50, times.p50), (ConnectP99, times.p99), (ConnectCpu, each)])
}

pub(super) fn keep_alive(pair: &Pair, amounts: Amounts) -> Result<Numbers> {
    let before = pair.cpu_seconds()?;
    let words = words([&KEPT.to_string(), &amounts.keep_millis.to_string()]);
    let times: KeepAliveTimes = pair.load("keep-alive", &words)?;
    let cpu = pair.cpu_seconds()? - before;
    Ok(vec![(KeepRate, times.requests / times.seconds), (KeepCpu, cpu * 1e6 / times.requests)])
}

/// The first request of all after both ends have started, on ends of its own.
pub(super) fn first(world: &World, row: Row) -> Result<Numbers> {
    let pair = Pair::start(world, row)?;
    std::thread::sleep(SETTLE);
    let time: RequestTimes = pair.load("connections", &words(["1"]))?;
    pair.stop();
    Ok(vec![(First, time.p50)])
}

/// From starting both ends to the first answer to somebody who keeps asking.
pub(super) fn start(world: &World, row: Row) -> Result<Numbers> {
    let stage = Stage::new(&world.lab, &world.fresh_name(), row)?;
    let asking = spawn_load(&stage, "first", entry_of(row, &stage), world.host_header(row), &[])?;
    asking.wait_for_line("asking")?;
    let began = Instant::now();
    let pair = Pair::start_on(stage, world, row)?;
    asking.wait_for_line("answered")?;
    let milliseconds = began.elapsed().as_secs_f64() * 1e3;
    asking.discard();
    pair.stop();
    Ok(vec![(Start, milliseconds)])
}

/// Memory of idle tunnels, on ends of its own: what earlier work has left free inside them would
/// hide it.
pub(super) fn idle(world: &World, row: Row, amounts: Amounts) -> Result<Numbers> {
    let count = amounts.idle;
    let pair = Pair::start(world, row)?;
    let [near, far] = hold(&pair, count)?;
    pair.stop();
    Ok(vec![(IdleNear, near / count as f64), (IdleFar, far / count as f64)])
}

/// Whether so many idle tunnels are held at once and all still work afterwards.
pub(super) fn held(world: &World, row: Row, count: u64) -> Result<Numbers> {
    let pair = Pair::start(world, row)?;
    hold(&pair, count)?;
    pair.stop();
    Ok(vec![(Held, count as f64)])
}

/// Opens idle tunnels, and gives what memory of the near and of the far end grew by, in KiB.
fn hold(pair: &Pair, count: u64) -> Result<[f64; 2]> {
    let _: RequestTimes = pair.load("connections", &words([&WARM_UP.to_string()]))?;
    std::thread::sleep(SETTLE);
    let before = pair.memory_kib()?;
    let mut holding = pair.spawn_load("idle", &words([&count.to_string()]))?;
    holding.wait_for_line(&format!("holding {count}"))?;
    std::thread::sleep(SETTLE);
    let after = pair.memory_kib()?;
    holding.terminate(Duration::from_secs(60)).context("asking on every idle tunnel again")?;
    let lines = holding.stdout();
    let alive = lines.iter().find_map(|line| line.strip_prefix("alive ")?.parse::<u64>().ok());
    if alive != Some(count) {
        bail!("of {count} idle tunnels {alive:?} work afterwards");
    }
    holding.discard();
    Ok([after[0] - before[0], after[1] - before[1]])
}

fn words<const N: usize>(words: [&str; N]) -> [String; N] {
    words.map(str::to_owned)
}
