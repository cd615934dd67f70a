//! A publisher and a gateway with a backend behind them, on a computer of their own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use hardline_lab::{Hardline, Host, Lab, Process};
use serde::de::DeserializeOwned;

use super::attack::Attack;
use super::outcome::{Attacker, Felt, Memory, Outcome};
use crate::usage::{cpu_seconds, memory_kib};

/// How often memory is looked at.
const SAMPLE: Duration = Duration::from_millis(250);

/// How long memory may take until it is where it stays: half a minute more than any time limit of a
/// handshake.
const SETTLE_LIMIT: Duration = Duration::from_secs(40);

/// The attackers stand on the same two cores as their victim and the honest client, which they must
/// hinder by what they send and not by taking its core: their share of the work is done when nobody
/// else has any (`SCHED_IDLE` of sched(7)). A low priority alone keeps the client waiting for up to
/// two milliseconds after its answer has come.
const ATTACKER_SCHEDULING: &[&str] = &["--idle", "0"];

/// Time for the attackers to stand.
const MUSTER_LIMIT: Duration = Duration::from_secs(120);

pub(super) struct Ends {
    host: Host,
    _backend: Process,
    publisher: Hardline,
    gateway: Hardline,
    key: String,
}

impl Ends {
    pub(super) fn start(lab: &Lab, name: &str) -> Result<Self> {
        let host = lab.host(name)?;
        let backend = host.spawn("backend", host.command(own_program()?).args(["backend", "127.0.0.1:0"]))?;
        let target: SocketAddr =
            backend.wait_for("listening at", |line| line.strip_prefix("listening at ")?.parse().ok())?;
        let publisher = start(
            &host,
            "publisher",
            &format!("[gateway]\nenabled = false\n[p2p]\nport = 7008\n[[service]]\ntarget = \"{target}\"\n"),
        )?;
        let key = publisher.ready["services"][0]["key"].as_str().context("a key")?.to_owned();
        let gateway = start(
            &host,
            "gateway",
            &format!("[[peer]]\nlink = \"http://{key}.localhost:7009/\"\naddresses = [\"127.0.0.1:7008\"]\n"),
        )?;
        Ok(Self { host, _backend: backend, publisher, gateway, key })
    }

    /// Measures in peace, under the attack and afterwards, for so long each.
    pub(super) fn attacked_by(self, attack: Attack, milliseconds: u64) -> Result<Outcome> {
        // What a program makes once, it has made after this.
        let _: Felt = self.honest(milliseconds / 2, || Ok(()))?;
        let victim = if attack.is_on_gateway() { self.gateway.process.id() } else { self.publisher.process.id() };
        let before = memory_kib(victim)?;
        let peace = self.honest(milliseconds, || Ok(()))?;
        let mut attacker = self.attacker(attack)?;
        let (mut most, began, cpu_before) = (0.0_f64, Instant::now(), cpu_seconds(victim)?);
        let attacked = self.honest(milliseconds, || {
            most = most.max(memory_kib(victim)?);
            Ok(())
        })?;
        let cpu = (cpu_seconds(victim)? - cpu_before) / began.elapsed().as_secs_f64();
        let said = stop(&mut attacker)?;
        attacker.discard();
        let after = settled(victim, before)?;
        let afterwards = self.honest(milliseconds, || Ok(()))?;
        let memory = Memory { before, most, after };
        Ok(Outcome::new(attack, [peace, attacked, afterwards], said, memory, cpu))
    }

    /// Runs the honest client to its end and calls `look` now and then.
    fn honest<T: DeserializeOwned>(&self, milliseconds: u64, mut look: impl FnMut() -> Result<()>) -> Result<T> {
        let (entry, name) = (self.gateway.gateway()?.to_string(), format!("{}.localhost:7009", self.key));
        let mut command = self.host.command(own_program()?);
        command.args(["load", "steady", &entry, &name, &milliseconds.to_string()]);
        let mut client = self.host.spawn("honest client", &mut command)?;
        let deadline = Instant::now() + Duration::from_millis(milliseconds) + Duration::from_secs(60);
        while client.wait(SAMPLE).is_err() {
            if Instant::now() > deadline {
                bail!("the honest client does not come back");
            }
            look()?;
        }
        let line = client.wait_for("figures", |line| line.starts_with('{').then(|| line.to_owned()))?;
        client.discard();
        Ok(serde_json::from_str(&line)?)
    }

    fn attacker(&self, attack: Attack) -> Result<Process> {
        let kind = serde_json::to_value(attack)?;
        let (publisher, gateway) = (self.publisher.p2p()?.to_string(), self.gateway.gateway()?.to_string());
        let mut command = self.host.command("chrt");
        command.args(ATTACKER_SCHEDULING).arg(own_program()?);
        command.args(["attack", kind.as_str().context("a name")?, &publisher, &gateway, &self.key]);
        let attacker = self.host.spawn("attacker", &mut command)?;
        let began = Instant::now();
        while attacker.stdout().is_empty() {
            if began.elapsed() > MUSTER_LIMIT {
                bail!("the attackers do not stand after {MUSTER_LIMIT:?}");
            }
            std::thread::sleep(SAMPLE);
        }
        Ok(attacker)
    }
}

/// Memory of a program in KiB when it is back at what it was, or does not come back.
fn settled(pid: u32, before: f64) -> Result<f64> {
    let deadline = Instant::now() + SETTLE_LIMIT;
    loop {
        let now = memory_kib(pid)?;
        if now <= before * Memory::BAR || Instant::now() > deadline {
            return Ok(now);
        }
        std::thread::sleep(SAMPLE);
    }
}

fn stop(attacker: &mut Process) -> Result<Attacker> {
    attacker.terminate(Duration::from_secs(30))?;
    attacker.wait_for("figures", |line| serde_json::from_str(line).ok())
}

fn start(host: &Host, name: &str, configuration: &str) -> Result<Hardline> {
    let file = host.home().join(format!("{name}.toml"));
    std::fs::write(&file, configuration)?;
    host.hardline(&[
        "--set",
        "lan.enabled=false",
        "--set",
        "dht.enabled=false",
        "--config",
        &file.to_string_lossy(),
        "--data-dir",
        name,
    ])
}

fn own_program() -> Result<PathBuf> {
    std::env::current_exe().context("this program's own path")
}
