//! The `hardline` program on a host.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context as _, Result, anyhow, bail};
use serde_json::Value;

use crate::network::Host;
use crate::process::Process;

/// A running `hardline`, started with `--json`.
#[derive(Debug)]
pub struct Hardline {
    /// The process, for its output, signals and end.
    pub process: Process,
    /// Its first line: `{"event":"ready", …}` with the bound ports and the links.
    pub ready: Value,
}

impl Host {
    /// Starts `hardline --json ARGUMENTS…` and waits until it is ready.
    pub fn hardline(&self, arguments: &[&str]) -> Result<Hardline> {
        self.hardline_build(hardline_program()?, arguments)
    }

    /// The same with another build of the program.
    pub fn hardline_build(&self, program: &Path, arguments: &[&str]) -> Result<Hardline> {
        let label = format!("hardline {}", arguments.join(" "));
        Hardline::started(self.spawn(&label, self.command(program).arg("--json").args(arguments))?)
    }

    /// What a `hardline` on this host tells of itself, which has a gateway (`hardline status
    /// --json`).
    pub fn status(&self, program: &Hardline) -> Result<Value> {
        let port = program.gateway()?.port().to_string();
        let said = self.run(hardline_program()?, &["status", "--json", "--gateway-port", &port])?.success()?;
        Ok(serde_json::from_str(&said.stdout)?)
    }
}

impl Hardline {
    /// One that was started with `--json` by other means, once it is ready.
    ///
    /// # Errors
    /// If it ends before that, or takes a minute.
    pub fn started(process: Process) -> Result<Self> {
        let ready = process.wait_for("event ready", |line| {
            serde_json::from_str::<Value>(line).ok().filter(|event| event["event"] == "ready")
        })?;
        Ok(Self { process, ready })
    }

    /// Name and port (`KEYHASH.localhost:7009`) of its only service, as other computers' browsers
    /// ask for it.
    pub fn service_name(&self) -> Result<String> {
        let link = self.ready["services"][0]["link_elsewhere"].as_str().context("a link of a service")?;
        let name = link.strip_prefix("http://").with_context(|| format!("{link} begins with http://"))?;
        Ok(name.trim_end_matches('/').to_owned())
    }

    /// Where browsers of this computer connect, by IPv4.
    pub fn gateway(&self) -> Result<SocketAddr> {
        self.address("gateway")
    }

    /// Where other daemons connect, by loopback.
    pub fn p2p(&self) -> Result<SocketAddr> {
        Ok(SocketAddr::from(([127, 0, 0, 1], self.address("p2p")?.port())))
    }

    fn address(&self, side: &str) -> Result<SocketAddr> {
        Ok(self.ready[side][0].as_str().with_context(|| format!("an address at {side}"))?.parse()?)
    }
}

/// The build that the mixed-version tests compare with: the environment's `HARDLINE_OTHER_PROGRAM`.
///
/// # Errors
/// If it is not named, or not there.
pub fn other_program() -> Result<PathBuf> {
    let path = std::env::var_os("HARDLINE_OTHER_PROGRAM")
        .context("HARDLINE_OTHER_PROGRAM names no program; run `cargo xtask test --against PROGRAM`")?;
    std::fs::canonicalize(&path).with_context(|| format!("HARDLINE_OTHER_PROGRAM is {}", path.display()))
}

/// A file that is handed out, as `cargo xtask test` builds it: `x86_64-pc-windows-gnu/hardline.exe`
/// say. It lies in the folder that the environment's `HARDLINE_ARTIFACTS` names.
///
/// # Errors
/// If no folder is named, or nothing there has that name.
pub fn artifact(name: &str) -> Result<PathBuf> {
    let folder = std::env::var_os("HARDLINE_ARTIFACTS")
        .context("HARDLINE_ARTIFACTS names no folder; run `cargo xtask test --only artifacts`")?;
    let path = Path::new(&folder).join(name);
    std::fs::canonicalize(&path).with_context(|| format!("{} was built", path.display()))
}

/// The program under test: the environment's `HARDLINE_PROGRAM`, else one that cargo builds now.
///
/// # Errors
/// If it cannot be built.
pub fn hardline_program() -> Result<&'static Path> {
    static PROGRAM: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let found = PROGRAM.get_or_init(|| find_program().map_err(|err| format!("{err:#}")));
    found.as_deref().map_err(|err| anyhow!("no hardline program: {err}"))
}

fn find_program() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("HARDLINE_PROGRAM") {
        return std::fs::canonicalize(&path).with_context(|| format!("HARDLINE_PROGRAM is {}", path.display()));
    }
    // The tests' own profile: what cargo has built already for the workspace's tests.
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet", "--package", "hardline"]);
    // Build scripts watch these (ring's does): cargo sets them for test programs, and would build
    // half the tree anew.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") || text == "CARGO_CRATE_NAME" {
            build.env_remove(&name);
        }
    }
    let status = build.status().context("cargo build")?;
    if !status.success() {
        bail!("cargo build ended with {status}");
    }
    Ok(crate::helper::build_folder()?.join("hardline"))
}
