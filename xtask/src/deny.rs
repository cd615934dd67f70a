//! Licences, banned and doubled crates, where crates come from, and known weaknesses, by
//! cargo-deny.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::steps::{cargo, run, succeeds};

/// The release that the configuration was written for.
const VERSION: &str = "0.20.2";

/// Tools of the tests' own, beside what cargo builds.
const TOOLS: &str = "target/tools";

/// Checks the dependencies; installs cargo-deny under `target/tools` first where it is missing.
///
/// # Errors
/// If a check fails. A list of known weaknesses that cannot be fetched is said aloud and no
/// failure.
pub(crate) fn run_checks() -> Result<()> {
    let program = find_or_install()?;
    // Also the crates of other platforms, which no build on this one has brought yet.
    run(&mut cargo(&["fetch", "--quiet", "--locked"]))?;
    run(Command::new(&program).args(["--offline", "check", "--hide-inclusion-graph", "licenses", "bans", "sources"]))?;
    if !succeeds(&program, &["fetch", "db"]) {
        println!("NOT CHECKED: the list of known weaknesses (advisory database) cannot be fetched from here.");
        return Ok(());
    }
    run(Command::new(&program).args(["check", "--disable-fetch", "advisories"]))
}

fn find_or_install() -> Result<String> {
    let own = format!("{TOOLS}/bin/cargo-deny");
    if succeeds("cargo-deny", &["--version"]) {
        return Ok("cargo-deny".to_owned());
    }
    if !Path::new(&own).exists() {
        println!("cargo-deny is missing and is built now, once; that takes a few minutes.");
        run(&mut cargo(&[
            "install",
            "--quiet",
            "--locked",
            "--debug",
            "--root",
            TOOLS,
            "--version",
            VERSION,
            "cargo-deny",
        ]))?;
    }
    Ok(own)
}
