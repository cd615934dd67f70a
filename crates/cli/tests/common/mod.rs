//! The real program, in a world of its own: its own data folder, its own ports, nothing of this user's.

#![allow(dead_code, unreachable_pub, reason = "every test file uses its part")]
#![allow(clippy::unwrap_used)]

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// A folder that is gone with its value.
pub fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// The program with a home of its own.
pub struct Program {
    home: TempDir,
}

/// How a run ended.
#[derive(Debug)]
pub struct Outcome {
    /// Exit code; none after a signal.
    pub code: Option<i32>,
    /// All of stdout.
    pub stdout: String,
    /// All of stderr.
    pub stderr: String,
}

impl Program {
    pub fn new() -> Self {
        Self { home: folder() }
    }

    /// The data folder.
    pub fn data_dir(&self) -> &Path {
        self.home.path()
    }

    /// A command line that touches nothing outside of this test.
    pub fn command<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, arguments: I) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hardline"));
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("HARDLINE_")) {
            command.env_remove(name);
        }
        command
            .args(arguments)
            .env("HOME", self.home.path())
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("XDG_DATA_HOME")
            .env("HARDLINE_DATA_DIR", self.home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs to the end.
    pub fn run<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, arguments: I) -> Outcome {
        let output = self.command(arguments).output().unwrap();
        Outcome {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// Compares a generated file with what lies in the repository. With `HARDLINE_UPDATE=1` in the environment it is written
/// instead.
pub fn expect_current(path: &Path, text: &str) {
    if std::env::var_os("HARDLINE_UPDATE").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert!(found == text, "{} is out of date: run HARDLINE_UPDATE=1 cargo test -p hardline", path.display());
}
