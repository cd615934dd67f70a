//! What is handed out, tested: built quickly beside the lab's tests, then run by the program's own
//! tests and by the lab's.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::background::Background;
use crate::dist::{self, Target, quick, twice};
use crate::steps::{cargo, itself, run};

/// What the building says.
const LOG: &str = "target/artifacts.log";

/// Tests of the lab that are done with the static program too: a LAN and two homes.
const SCENARIOS: [&str; 3] = [
    "every_exchange_works_through_two_daemons",
    "scenario_01_one_lan_without_internet_and_dht",
    "scenario_02_behind_a_upnp_router_found_by_dht",
];

/// Begins to build, on what others leave of the processors.
///
/// # Errors
/// If it cannot be started.
pub(crate) fn begin() -> Result<Background> {
    println!("What is handed out is built beside the next stages; {LOG} tells how far it is.");
    Background::start(&itself(&["dist", "--quick"]), Path::new(LOG))
}

/// Waits for what is being built and tests it. `lab` makes a command of cargo one that may make
/// computers.
///
/// # Errors
/// If something does not build, warns, or fails.
pub(crate) fn test(builder: Background, lab: impl Fn(&mut Command) -> Result<()>) -> Result<()> {
    builder.wait().context("building what is handed out")?;
    let program = static_program()?;
    println!("The program's own tests, with {}:", program.display());
    // Chosen as in the stage of all crates: another choice has other features, and builds anew.
    run(cargo(&["test", "--no-fail-fast", "--workspace", "--exclude", "hardline-lab", "--test", "program"])
        .env("HARDLINE_PROGRAM", &program))?;
    let mut scenarios = cargo(&["test", "--no-fail-fast", "--package", "hardline-lab"]);
    scenarios.args(["--test", "ours", "--test", "anywhere", "--", "--test-threads", "2"]).args(SCENARIOS);
    let mut artifacts = cargo(&["test", "--package", "hardline-lab", "--features", "artifacts"]);
    artifacts.args(["--test", "artifacts", "--", "--test-threads", "2"]);
    artifacts.env("HARDLINE_ARTIFACTS", Path::new(quick::OUT).canonicalize()?);
    for command in [&mut scenarios, &mut artifacts] {
        lab(command)?;
        run(command.env("HARDLINE_PROGRAM", &program))?;
    }
    Ok(())
}

/// Builds what is handed out as it is handed out, runs it in emulated processors, and builds it
/// once more in another folder.
///
/// # Errors
/// If something fails, or the two builds differ.
pub(crate) fn test_all(lab: impl Fn(&mut Command) -> Result<()>) -> Result<()> {
    run(&mut itself(&["dist"]))?;
    let mut emulated = cargo(&["test", "--package", "hardline-lab", "--features", "artifacts", "--test", "artifacts"]);
    emulated.args(["--", "--ignored", "--test-threads", "2"]);
    lab(&mut emulated)?;
    emulated.env("HARDLINE_ARTIFACTS", Path::new(dist::OUT).canonicalize()?);
    run(emulated.env("HARDLINE_PROGRAM", static_program()?))?;
    twice::compare(Target::LinuxX86)
}

/// The one that runs on this machine.
fn static_program() -> Result<PathBuf> {
    let target = Target::LinuxX86;
    let path = Path::new(quick::OUT).join(target.triple()).join(target.program());
    path.canonicalize().with_context(|| format!("{} was built", path.display()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// A name that fits no test would pass.
    #[test]
    fn every_scenario_is_a_test_of_the_lab() {
        let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../lab/tests");
        let files = [tests.join("ours.rs"), tests.join("anywhere/near.rs"), tests.join("anywhere/homes.rs")];
        let text: String = files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
        for name in SCENARIOS {
            assert!(text.contains(&format!("#[test]\nfn {name}()")), "{name}");
        }
    }
}
