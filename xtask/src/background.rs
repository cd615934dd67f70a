//! A command that works beside the others, on what they leave of the processors.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::steps::succeeds;

/// Lines shown of one that failed.
const SHOWN: usize = 200;

/// A running command whose output goes to a file; killed on drop.
pub(crate) struct Background {
    child: Child,
    log: PathBuf,
}

impl Background {
    /// Starts it at idle priority, where the system has that.
    ///
    /// # Errors
    /// If it cannot be started, or the file cannot be written.
    pub(crate) fn start(command: &Command, log: &Path) -> Result<Self> {
        let file = File::create(log).with_context(|| format!("writing {}", log.display()))?;
        let mut command = at_idle_priority(command);
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = command.spawn().with_context(|| format!("starting {command:?}"))?;
        Ok(Self { child, log: log.to_owned() })
    }

    /// Waits for its end; shows what it said if it failed.
    ///
    /// # Errors
    /// If it did not succeed.
    pub(crate) fn wait(mut self) -> Result<()> {
        let status = self.child.wait()?;
        if status.success() {
            return Ok(());
        }
        let said = std::fs::read(&self.log).with_context(|| format!("reading {}", self.log.display()))?;
        println!("{}", last_lines(&String::from_utf8_lossy(&said), SHOWN));
        bail!("{status}; all it said is in {}", self.log.display());
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // Without effect on one that has been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The same command, for a processor that would be idle else (`SCHED_IDLE`).
fn at_idle_priority(command: &Command) -> Command {
    let before: &[&str] = if succeeds("chrt", &["--idle", "0", "true"]) { &["chrt", "--idle", "0"] } else { &["env"] };
    let mut idle = Command::new(before[0]);
    idle.args(&before[1..]).arg(command.get_program()).args(command.get_args());
    idle
}

fn last_lines(text: &str, count: usize) -> &str {
    let begin = text.trim_end().rmatch_indices('\n').nth(count - 1).map_or(0, |(at, _)| at + 1);
    &text[begin..]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn sh(script: &str, log: &Path) -> Background {
        Background::start(Command::new("sh").args(["-c", script]), log).unwrap()
    }

    #[test]
    fn its_output_is_kept_and_its_failure_told() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        sh("echo fine; echo aside >&2", &log).wait().unwrap();
        assert_eq!(std::fs::read_to_string(&log).unwrap(), "fine\naside\n");
        let err = sh("echo lost; exit 3", &log).wait().unwrap_err();
        assert!(err.to_string().contains("exit status: 3"), "{err}");
    }

    #[test]
    fn it_takes_only_what_others_leave_of_the_processor() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        // Field 41 of proc(5)'s stat, behind the name: the policy; 5 is SCHED_IDLE.
        sh("cut -d ' ' -f 41 /proc/self/stat", &log).wait().unwrap();
        assert_eq!(std::fs::read_to_string(&log).unwrap(), "5\n");
    }

    #[test]
    fn the_last_lines_are_whole() {
        assert_eq!(last_lines("one\ntwo\nthree\n", 2), "two\nthree\n");
        assert_eq!(last_lines("one\n", 2), "one\n");
    }
}
