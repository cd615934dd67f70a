//! Figures, not verdicts.

use std::process::ExitCode;

use anyhow::Result;

use crate::steps::{cargo, run};

/// Runs the benchmarks of the journey, of the program's start and of the DHT in an optimised build.
///
/// # Errors
/// If something does not build, or a measurement meets an error (never for being slow).
pub(crate) fn run_all() -> Result<ExitCode> {
    run(&mut cargo(&["bench", "--package", "hardline-node", "--bench", "journey"]))?;
    run(&mut cargo(&["bench", "--package", "hardline", "--bench", "start"]))?;
    run(&mut cargo(&["bench", "--package", "hardline-dht"]))?;
    Ok(ExitCode::SUCCESS)
}
