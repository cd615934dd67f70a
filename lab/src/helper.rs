//! The lab's own helper program: a web server with known answers, and a client that checks them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::network::Host;
use crate::process::{Process, run};

/// What a tunnel must carry: every kind of exchange, but neither many bytes nor a long wait.
pub const EVERY_CHECK: &[&str] = &[
    "get:0",
    "get:1000",
    "get:65536",
    "chunked:300000",
    "post:0",
    "post:300000",
    "keepalive:10",
    "parallel:50:10000",
    "events",
    "websocket",
];

/// Where cargo put the helper program (package `hardline-lab`), built with the tests.
///
/// # Errors
/// If the running program does not lie in one of cargo's build folders.
pub fn helper() -> Result<PathBuf> {
    Ok(build_folder()?.join("hardline-lab"))
}

/// Where the browsers' tests put their pictures: `target/lab/screenshots`.
#[must_use]
pub fn screenshots() -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/lab/screenshots")).to_owned()
}

/// Cargo's folder for programs: the parent of `deps`, where test programs lie.
pub(crate) fn build_folder() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    let folder = program.parent().context("a test program's folder")?;
    let folder = if folder.ends_with("deps") { folder.parent().context("a build folder")? } else { folder };
    Ok(folder.to_owned())
}

/// The helper as a web server.
#[derive(Debug)]
pub struct Backend {
    /// Where it listens.
    pub address: SocketAddr,
    /// The process.
    pub process: Process,
}

impl Host {
    /// Starts the helper's web server on this host's loopback, or at another address to listen at.
    pub fn backend(&self, listen: &str) -> Result<Backend> {
        let process = self.spawn("backend", self.command(helper()?).args(["backend", listen]))?;
        let address = process.wait_for("listening at", |line| line.strip_prefix("listening at ")?.parse().ok())?;
        Ok(Backend { address, process })
    }

    /// Starts somebody who says who asks for what at an address of this host.
    pub fn witness(&self, listen: &str) -> Result<Backend> {
        let process = self.spawn("witness", self.command(helper()?).args(["witness", listen]))?;
        let address = process.wait_for("listening at", |line| line.strip_prefix("listening at ")?.parse().ok())?;
        Ok(Backend { address, process })
    }

    /// Makes the helper's checks (`get:N`, `chunked:N`, `post:N` in bytes, the first and the last
    /// also with `:SECONDS` for more time than a minute; `keepalive:N` and `parallel:N:BYTES` in
    /// requests, `streams:N:BYTES` for N downloads beside N uploads, `websocket`, `events`,
    /// `idle:SECONDS`, `pings:SECONDS`, `paused:BYTES:SECONDS`) against a helper's web server,
    /// asking for `name` at `gateway`.
    ///
    /// # Errors
    /// If a check fails; the error carries the line of each that did.
    pub fn check_site(&self, gateway: SocketAddr, name: &str, checks: &[&str]) -> Result<()> {
        let gateway = gateway.to_string();
        let mut arguments = vec!["client", &gateway, name];
        arguments.extend(checks);
        let output = self.run(helper()?, &arguments)?;
        print!("{}", output.stdout);
        if !output.status.success() {
            let failed: Vec<&str> = output.stdout.lines().filter(|line| !line.contains("\"ok\":true")).collect();
            bail!("asking {name} at {gateway}:\n{}\n{}", failed.join("\n"), output.stderr);
        }
        Ok(())
    }

    /// Drives a browser (`chromium` or `firefox-esr`) with a new profile through the steps
    /// `open:URL`, `wait:EXPRESSION`, `read:EXPRESSION`, `shot:FILE` and, in Chromium, `console:`,
    /// the first of which may be `pac:URL`, and gives back what the expressions read and what was
    /// on the console.
    ///
    /// # Errors
    /// If a step fails; the error carries what each step came to.
    pub fn browse(&self, kind: &str, steps: &[&str]) -> Result<Vec<Value>> {
        let profile = tempfile::Builder::new().prefix(kind).tempdir_in(self.home())?;
        let mut command = self.command(helper()?);
        let output = run(command.args(["browser", kind]).arg(profile.path()).args(steps))?;
        let output = output.success().with_context(|| format!("driving {kind}"))?;
        let mut values = Vec::new();
        for (line, step) in output.stdout.lines().zip(steps) {
            if step.starts_with("read:") || step.starts_with("console:") {
                values.push(serde_json::from_str::<Value>(line)?["value"].take());
            }
        }
        Ok(values)
    }
}
