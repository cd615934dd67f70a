//! One tunnel's two ends with a backend behind them, in a network namespace of their own.

use std::net::SocketAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use hardline_lab::Process;
use serde::de::DeserializeOwned;

use super::launch::{World, link_port};
use super::row::Row;
use super::stage::{ENTRY_PORT, Stage, own_program};
use crate::usage::{cpu_seconds, is_listening, memory_kib};

/// How long an end may take until clients can connect.
const START_LIMIT: Duration = Duration::from_secs(60);

/// How often the kernel's table is looked at meanwhile.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A running row.
pub(super) struct Pair {
    pub(super) row: Row,
    pub(super) near: Option<Process>,
    pub(super) far: Option<Process>,
    entry: SocketAddr,
    host_header: String,
    stage: Stage,
}

impl Pair {
    /// Starts a row on a new computer and waits until clients can connect.
    pub(super) fn start(world: &World, row: Row) -> Result<Self> {
        let pair = Self::start_on(Stage::new(&world.lab, &world.fresh_name(), row)?, world, row)?;
        pair.wait_until_listening()?;
        Ok(pair)
    }

    /// Starts both ends and waits for neither.
    pub(super) fn start_on(stage: Stage, world: &World, row: Row) -> Result<Self> {
        let ends = world.launch(row, &stage).with_context(|| format!("starting {}", row.title()))?;
        let entry = entry_of(row, &stage);
        let host_header = ends.host_header.unwrap_or_else(|| "bench.test".to_owned());
        Ok(Self { row, near: ends.near, far: ends.far, entry, host_header, stage })
    }

    fn wait_until_listening(&self) -> Result<()> {
        let Some(near) = &self.near else { return Ok(()) };
        let deadline = Instant::now() + START_LIMIT;
        while ![ENTRY_PORT, link_port(self.row)].iter().all(|port| is_listening(near.id(), *port)) {
            if Instant::now() > deadline {
                bail!("{} does not listen after {START_LIMIT:?}", self.row.title());
            }
            sleep(LOOK_AGAIN);
        }
        Ok(())
    }

    /// Runs a load to its end and gives what it printed.
    pub(super) fn load<T: DeserializeOwned>(&self, kind: &str, arguments: &[String]) -> Result<T> {
        let mut words = vec!["load".to_owned(), kind.to_owned(), self.entry.to_string(), self.host_header.clone()];
        words.extend_from_slice(arguments);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let output = self.stage.host.run(own_program()?, &words)?.success();
        let output = output.with_context(|| format!("load {kind} on {}", self.row.title()))?;
        Ok(serde_json::from_str(output.stdout.trim())?)
    }

    /// Starts a load that goes on by itself.
    pub(super) fn spawn_load(&self, kind: &str, arguments: &[String]) -> Result<Process> {
        spawn_load(&self.stage, kind, self.entry, &self.host_header, arguments)
    }

    /// CPU time of both ends so far, in seconds.
    pub(super) fn cpu_seconds(&self) -> Result<f64> {
        self.ends().map(|process| cpu_seconds(process.id())).sum()
    }

    /// Memory of the near and of the far end, in KiB.
    pub(super) fn memory_kib(&self) -> Result<[f64; 2]> {
        let of = |end: &Option<Process>| end.as_ref().map_or(Ok(0.0), |process| memory_kib(process.id()));
        Ok([of(&self.near)?, of(&self.far)?])
    }

    /// Ends it without a word.
    pub(super) fn stop(self) {
        for process in [self.near, self.far].into_iter().flatten() {
            process.discard();
        }
    }

    fn ends(&self) -> impl Iterator<Item = &Process> {
        self.near.iter().chain(&self.far)
    }
}

/// Where clients of a row connect.
pub(super) fn entry_of(row: Row, stage: &Stage) -> SocketAddr {
    if row.is_tunnel() { SocketAddr::from(([127, 0, 0, 1], ENTRY_PORT)) } else { stage.backend }
}

/// Starts a load that goes on by itself, also before there are ends for it.
pub(super) fn spawn_load(
    stage: &Stage,
    kind: &str,
    entry: SocketAddr,
    host_header: &str,
    arguments: &[String],
) -> Result<Process> {
    let mut command = stage.host.command(own_program()?);
    command.args(["load", kind, &entry.to_string(), host_header]).args(arguments);
    stage.host.spawn(&format!("load {kind}"), &mut command)
}
