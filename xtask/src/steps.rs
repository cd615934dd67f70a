//! Running commands aloud.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context as _, Result, bail};

/// Cargo, the one that runs this.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments);
    command
}

/// Where this program lies.
static ITSELF: OnceLock<PathBuf> = OnceLock::new();

/// Notes where this program lies, before cargo builds it anew in the same place: from then on the
/// system says that it was deleted.
///
/// # Errors
/// If the system does not know.
pub(crate) fn note_itself() -> Result<()> {
    let path = std::env::current_exe().context("the place of this program")?;
    ITSELF.get_or_init(|| path);
    Ok(())
}

/// This program.
pub(crate) fn itself(arguments: &[&str]) -> Command {
    let mut command = Command::new(ITSELF.get().map_or_else(|| "target/debug/xtask".into(), Clone::clone));
    command.args(arguments);
    command
}

/// Prints the command and runs it.
///
/// # Errors
/// If it cannot be started or does not succeed.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let words: Vec<_> = [command.get_program()].into_iter().chain(command.get_args()).collect();
    let shown = words.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
    println!("$ {shown}");
    let status = command.status().with_context(|| format!("starting {shown}"))?;
    if !status.success() {
        bail!("{shown}: {status}");
    }
    Ok(())
}

/// Whether the command can be started and succeeds, without a word.
pub(crate) fn succeeds(program: &str, arguments: &[&str]) -> bool {
    Command::new(program).args(arguments).output().is_ok_and(|output| output.status.success())
}
