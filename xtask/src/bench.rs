//! Figures, not verdicts.

use std::process::ExitCode;

use anyhow::Result;

use crate::machine;
use crate::steps::{cargo, run};

/// Builds the product as it is released and measures it between hosts of the lab.
///
/// # Errors
/// If something does not build, or a measurement meets an error (never for being slow).
pub(crate) fn run_all() -> Result<ExitCode> {
    machine::prepare()?;
    run(&mut cargo(&["build", "--release", "--package", "hardline"]))?;
    run(cargo(&["bench", "--package", "hardline-lab"]).env("HARDLINE_PROGRAM", "target/release/hardline"))?;
    Ok(ExitCode::SUCCESS)
}
