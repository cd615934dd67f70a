//! A program whose clock is wrong.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::network::Host;
use crate::product::hardline_program;

/// Our program with a clock of its own (libfaketime), which can be set while it runs. Timers go on
/// as they do.
#[derive(Debug)]
pub struct WrongClock {
    program: PathBuf,
    time: PathBuf,
}

impl Host {
    /// A clock that says `time`, as libfaketime takes it: `@1970-01-01 00:10:00`, `+2d`.
    pub fn wrong_clock(&self, time: &str) -> Result<WrongClock> {
        let clock = WrongClock { program: self.home().join("hardline-with-a-clock"), time: self.home().join("clock") };
        clock.set(time)?;
        let library = library().context("libfaketime is not installed")?;
        let script = format!(
            "#!/bin/sh\nexport LD_PRELOAD={} FAKETIME_TIMESTAMP_FILE={} FAKETIME_NO_CACHE=1\n\
             export FAKETIME_DONT_FAKE_MONOTONIC=1\nexec {} \"$@\"\n",
            library.display(),
            clock.time.display(),
            hardline_program()?.display()
        );
        fs::write(&clock.program, script)?;
        fs::set_permissions(&clock.program, fs::Permissions::from_mode(0o755))?;
        Ok(clock)
    }
}

impl WrongClock {
    /// Our program by this clock.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Sets the clock; `+0` is right.
    pub fn set(&self, time: &str) -> Result<()> {
        let new = self.time.with_extension("new");
        fs::write(&new, format!("{time}\n"))?;
        Ok(fs::rename(&new, &self.time)?)
    }
}

/// Debian has a folder for each kind of processor.
fn library() -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib").ok()?;
    let all = folders.filter_map(|it| Some(it.ok()?.path().join("faketime/libfaketimeMT.so.1")));
    all.into_iter().find(|library| library.exists())
}
