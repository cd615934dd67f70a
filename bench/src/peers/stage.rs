//! The computer that a row runs on, with a backend.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use hardline_lab::{Host, Lab, Process, Switch};

use super::row::Row;

/// Where clients connect.
pub(super) const ENTRY_PORT: u16 = 7009;

/// Where a pair runs: the computer and the backend on it.
pub(super) struct Stage {
    pub(super) host: Host,
    pub(super) backend: SocketAddr,
    /// Gone with its computer.
    backend_process: Option<Process>,
    _switch: Option<Switch>,
}

impl Stage {
    /// A computer with a backend. The Python program works only where there seems to be a LAN.
    pub(super) fn new(lab: &Lab, name: &str, row: Row) -> Result<Self> {
        let (host, switch) = if row.is_slow() {
            let (switch, host) = lab.lone_host(name)?;
            (host, Some(switch))
        } else {
            (lab.host(name)?, None)
        };
        let process = host.spawn("backend", host.command(own_program()?).args(["backend", "127.0.0.1:0"]))?;
        let backend = process.wait_for("listening at", |line| line.strip_prefix("listening at ")?.parse().ok())?;
        Ok(Self { host, backend, backend_process: Some(process), _switch: switch })
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Some(process) = self.backend_process.take() {
            process.discard();
        }
    }
}

/// This program, which is also backend, relay and load.
pub(super) fn own_program() -> Result<PathBuf> {
    std::env::current_exe().context("this program's own path")
}
