//! Hours of mixed work, restarts and a cable that is pulled now and then; whether memory,
//! descriptors, threads and tasks stay flat.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use hardline_lab::{Hardline, Host, Lab, Process, Switch};
use serde_json::{Value, json};

use crate::descriptors;
use crate::usage::{load_average, own_memory_kib};

/// Descriptors for the loads.
const DESCRIPTORS: u64 = 10_000;

/// Silence after each round, before the samples: what was opened is closed then, but for idle
/// links.
const REST: Duration = Duration::from_secs(5);

/// How long the cable is out.
const CABLE_OUT: Duration = Duration::from_secs(3);

/// How long one load of a round may take.
const LOAD_LIMIT: Duration = Duration::from_secs(300);

/// Growth of memory from the middle third to the last that counts as flat.
const MEMORY_BAR: f64 = 1.1;

/// Sessions may be idle at one sample and not at another, and each has a descriptor and a task: as
/// many as one side keeps per service, for two services.
const LINKS_BAR: f64 = 32.0;

#[derive(Args)]
pub(crate) struct Options {
    /// How long to go on
    #[arg(long, default_value_t = 60)]
    minutes: u64,
    /// Writes every sample into this file too, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Soaks and prints.
///
/// # Errors
/// If a load fails that nothing disturbed, or something grew.
pub(crate) fn run(options: &Options) -> Result<()> {
    println!("Load average at the start: {}.", load_average()?);
    descriptors::raise(DESCRIPTORS)?;
    let lab = Lab::open()?.context("this needs network namespaces: root, or user namespaces allowed")?;
    let mut world = World::new(&lab)?;
    let end = Instant::now() + Duration::from_secs(60 * options.minutes);
    let (mut samples, mut failed) = (Vec::new(), 0);
    while Instant::now() < end {
        failed += world.round(samples.len()).with_context(|| format!("round {}", samples.len() + 1))?;
        std::thread::sleep(REST);
        let sample = world.sample()?;
        println!("round {}: {}", samples.len() + 1, sample.iter().map(Sample::shown).collect::<Vec<_>>().join("; "));
        samples.push(sample);
    }
    if let Some(file) = &options.json {
        let all: Vec<Vec<Value>> = samples.iter().map(|round| round.iter().map(Sample::to_json).collect()).collect();
        std::fs::write(file, serde_json::to_string_pretty(&all)?)?;
    }
    let mut is_flat = true;
    for which in 0..WATCHED.len() {
        is_flat &= judge(&samples.iter().map(|round| &round[which]).collect::<Vec<_>>());
    }
    println!(
        "{} rounds; {failed} loads that nothing disturbed failed; load average at the end: {}.",
        samples.len(),
        load_average()?
    );
    ensure!(is_flat, "something grew");
    ensure!(failed == 0, "something failed that nothing disturbed");
    Ok(())
}

/// The programs that run from the beginning to the end.
const WATCHED: [&str; 2] = ["publisher", "gateway"];

/// What one program has at the end of a round.
struct Sample {
    of: &'static str,
    kib: f64,
    descriptors: f64,
    threads: f64,
    /// As the program itself counts them, the one that answers included.
    tasks: f64,
}

/// Two publishers at Alice's, two gateways at Bob's. Of each, one stays and one is killed again and
/// again.
struct World {
    alice: Host,
    bob: Host,
    target: SocketAddr,
    publishers: [Hardline; 2],
    gateways: [Hardline; 2],
    keys: [String; 2],
    _backend: Process,
    _switch: Switch,
}

impl World {
    fn new(lab: &Lab) -> Result<Self> {
        let (switch, [alice, bob]) = lab.lan(["alice", "bob"])?;
        let backend = alice.spawn("backend", alice.command(own_program()?).args(["backend", "127.0.0.1:0"]))?;
        let target = backend.wait_for("listening at", |line| line.strip_prefix("listening at ")?.parse().ok())?;
        let publishers = [publisher(&alice, 0, target)?, publisher(&alice, 1, target)?];
        let key = |it: &Hardline| Some(it.ready["services"][0]["key"].as_str()?.to_owned());
        let keys = [key(&publishers[0]).context("a key")?, key(&publishers[1]).context("a key")?];
        let gateways = [gateway(&bob, 0)?, gateway(&bob, 1)?];
        Ok(Self { alice, bob, target, publishers, gateways, keys, _backend: backend, _switch: switch })
    }

    /// Some of everything; in each round something else is disturbed. Gives the number of loads
    /// that failed though nothing disturbed them.
    fn round(&mut self, number: usize) -> Result<usize> {
        let steady = self.load(0, 0, "steady", &["20000"])?;
        let up = self.load(0, 0, "bulk", &["up", "4", "16777216", "--check"])?;
        let down = self.load(0, 0, "bulk", &["down", "4", "16777216", "--check"])?;
        let through_other = self.load(1, 0, "connections", &["200"])?;
        let to_other = self.load(0, 1, "keep-alive", &["16", "5000"])?;
        let mut undisturbed = vec![up, down];
        match number % 3 {
            // Those that ask through it, or for it, see it go; their own failure is right.
            0 => {
                self.publishers[1].process.kill()?;
                wait(to_other)?;
                self.publishers[1] = publisher(&self.alice, 1, self.target)?;
                undisturbed.push(through_other);
            }
            1 => {
                self.gateways[1].process.kill()?;
                wait(through_other)?;
                self.gateways[1] = gateway(&self.bob, 1)?;
                undisturbed.push(to_other);
            }
            _ => {
                self.alice.lose_incoming("eth0", 100)?;
                self.bob.lose_incoming("eth0", 100)?;
                std::thread::sleep(CABLE_OUT);
                self.alice.lose_nothing()?;
                self.bob.lose_nothing()?;
                wait(through_other)?;
                wait(to_other)?;
            }
        }
        wait(steady)?;
        undisturbed.push(self.load(1, 1, "connections", &["50"])?);
        let mut failed = 0;
        for process in undisturbed {
            let label = process.label().to_owned();
            if let Err(error) = wait_for_success(process) {
                println!("round {}: {label} has failed, and nothing disturbed it: {error:#}", number + 1);
                failed += 1;
            }
        }
        Ok(failed)
    }

    fn load(&self, gateway: usize, publisher: usize, kind: &str, words: &[&str]) -> Result<Process> {
        let entry = self.gateways[gateway].gateway()?;
        let host = format!("{}.localhost:{}", self.keys[publisher], entry.port());
        let mut command = self.bob.command(own_program()?);
        command.args(["load", kind]).args([&entry.to_string(), &host]).args(words);
        self.bob.spawn(&format!("load {kind}"), &mut command)
    }

    fn sample(&self) -> Result<[Sample; 2]> {
        let of = |of, host: &Host, program: &Hardline| {
            let pid = program.process.id();
            let count = |folder: &str| anyhow::Ok(std::fs::read_dir(format!("/proc/{pid}/{folder}"))?.count() as f64);
            let (kib, descriptors, threads) = (own_memory_kib(pid)?, count("fd")?, count("task")?);
            let tasks = host.status(program)?["tasks"].as_f64().context("a number of tasks")?;
            anyhow::Ok(Sample { of, kib, descriptors, threads, tasks })
        };
        Ok([of(WATCHED[0], &self.alice, &self.publishers[0])?, of(WATCHED[1], &self.bob, &self.gateways[0])?])
    }
}

impl Sample {
    fn shown(&self) -> String {
        let Self { of, kib, descriptors, threads, tasks } = self;
        format!("{of} {:.1} MiB, {descriptors} descriptors, {threads} threads, {tasks} tasks", kib / 1024.0)
    }

    fn to_json(&self) -> Value {
        let Self { of, kib, descriptors, threads, tasks } = self;
        json!({ "of": of, "kib": kib, "descriptors": descriptors, "threads": threads, "tasks": tasks })
    }
}

/// Compares the last third with the middle one: in the first, what a program makes once is still
/// being made.
fn judge(samples: &[&Sample]) -> bool {
    let third = samples.len() / 3;
    if third == 0 {
        println!("too short to tell");
        return true;
    }
    let mean = |part: &[&Sample], of: fn(&Sample) -> f64| part.iter().map(|it| of(it)).sum::<f64>() / part.len() as f64;
    let (middle, last) = (&samples[third..2 * third], &samples[samples.len() - third..]);
    let both = |of: fn(&Sample) -> f64| (mean(middle, of), mean(last, of));
    let (memory, descriptors) = (both(|it| it.kib / 1024.0), both(|it| it.descriptors));
    let (threads, tasks) = (both(|it| it.threads), both(|it| it.tasks));
    let is_flat = memory.1 <= memory.0 * MEMORY_BAR
        && descriptors.1 <= descriptors.0 + LINKS_BAR
        && threads.1 <= threads.0 + 1.0
        && tasks.1 <= tasks.0 + LINKS_BAR;
    let shown = |what: &str, (middle, last): (f64, f64)| format!("{middle:.1} → {last:.1} {what}");
    println!(
        "{}, middle third → last: {}, {}, {}, {}: {}",
        samples[0].of,
        shown("MiB", memory),
        shown("descriptors", descriptors),
        shown("threads", threads),
        shown("tasks", tasks),
        if is_flat { "flat" } else { "**not flat**" }
    );
    is_flat
}

/// Waits for a load that may fail.
fn wait(mut process: Process) -> Result<()> {
    process.wait(LOAD_LIMIT)?;
    process.discard();
    Ok(())
}

fn wait_for_success(mut process: Process) -> Result<()> {
    let status = process.wait(LOAD_LIMIT)?;
    let said = [process.stdout(), process.stderr()].concat().join("; ");
    process.discard();
    ensure!(status.success(), "{status}: {said}");
    Ok(())
}

fn publisher(alice: &Host, number: u16, target: SocketAddr) -> Result<Hardline> {
    let (p2p, gateway) = (7008 + 10 * number, 7009 + 10 * number);
    let text = format!(
        "[gateway]\nport = {gateway}\n[p2p]\nport = {p2p}\n[[service]]\ntarget = \"{target}\"\n[dht]\nenabled = false\n"
    );
    start(alice, &format!("publisher{number}"), &text)
}

/// Finds the publishers on the LAN.
fn gateway(bob: &Host, number: u16) -> Result<Hardline> {
    let port = 7009 + 10 * number;
    start(bob, &format!("gateway{number}"), &format!("[gateway]\nport = {port}\n[dht]\nenabled = false\n"))
}

fn start(host: &Host, name: &str, configuration: &str) -> Result<Hardline> {
    let file = host.home().join(format!("{name}.toml"));
    std::fs::write(&file, configuration)?;
    host.hardline(&["--config", &file.to_string_lossy(), "--data-dir", name])
}

fn own_program() -> Result<PathBuf> {
    std::env::current_exe().context("this program's own path")
}
