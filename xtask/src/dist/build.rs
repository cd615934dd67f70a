//! The program for one target.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use super::target::Target;
use super::toolchain::{Toolchain, Warnings};
use crate::steps::run;

/// The program as built for one target.
pub(crate) struct Built {
    pub(crate) target: Target,
    pub(crate) program: PathBuf,
}

/// Builds what is handed out.
///
/// # Errors
/// If it does not build.
pub(super) fn release(toolchain: &Toolchain, target: Target) -> Result<Built> {
    program(toolchain, target, "release")
}

/// Builds the program by one of the workspace's profiles.
///
/// # Errors
/// If it does not build, or warns in any profile but the release's.
pub(crate) fn program(toolchain: &Toolchain, target: Target, profile: &str) -> Result<Built> {
    let warnings = if profile == "release" { Warnings::Shown } else { Warnings::Denied };
    run(toolchain.cargo(target, "build", warnings).args(["--package", "hardline", "--profile", profile]))
        .with_context(|| format!("building for {}", target.triple()))?;
    let folder = if profile == "dev" { "debug" } else { profile };
    let program = toolchain.build_folder().join(target.triple()).join(folder).join(target.program());
    Ok(Built { target, program })
}

/// Lets the compiler look at the program without building it.
///
/// # Errors
/// If it finds a fault or warns.
pub(crate) fn check(toolchain: &Toolchain, target: Target) -> Result<()> {
    run(toolchain.cargo(target, "check", Warnings::Denied).args(["--package", "hardline"]))
        .with_context(|| format!("checking for {}", target.triple()))
}
