//! Figures, not verdicts.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};

use crate::machine::{self, PEERS};
use crate::steps::{cargo, run};

/// Where cargo installs peers that Debian does not have.
const PEERS_ROOT: &str = "target/peers";

/// Programs that cargo installs, the release that is measured, and whether it still builds with the
/// dependencies that it was released with.
const CRATES: &[(&str, &str, &str, bool)] =
    &[("bore", "bore-cli", "0.6.0", true), ("rathole", "rathole", "0.5.0", false)];

#[derive(Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Subcommand)]
enum What {
    /// Runs Hardline beside other tunnels, installing those first; `--help` after it tells more
    #[command(disable_help_flag = true)]
    Peers {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Attacks Hardline while an honest client uses it; `--help` after it tells more
    #[command(disable_help_flag = true)]
    #[command(alias = "siege")]
    Dos {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
}

/// Runs the comparison if asked for, else the benchmarks of the journey, of the program's start, of
/// the relay and of the DHT, in an optimised build.
///
/// # Errors
/// If something does not build, or a measurement meets an error (never for being slow).
pub(crate) fn run_benches(options: &Options) -> Result<ExitCode> {
    match &options.what {
        Some(What::Peers { arguments }) => compare_with_peers(arguments)?,
        Some(What::Dos { arguments }) => in_namespaces("dos", arguments)?,
        None => {
            run(&mut cargo(&["bench", "--package", "hardline-node", "--bench", "journey"]))?;
            run(&mut cargo(&["bench", "--package", "hardline-node", "--bench", "quic"]))?;
            run(&mut cargo(&["bench", "--package", "hardline", "--bench", "start"]))?;
            run(&mut cargo(&["bench", "--package", "hardline", "--bench", "relay"]))?;
            run(&mut cargo(&["bench", "--package", "hardline-dht"]))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn compare_with_peers(arguments: &[OsString]) -> Result<()> {
    machine::prepare("comparisons", PEERS)?;
    let is_needed = |program: &str| {
        let mut words = arguments.iter().filter_map(|word| word.to_str());
        !words.clone().any(|word| word.starts_with("--only")) || words.any(|word| word.contains(program))
    };
    for (program, package, version, is_locked) in CRATES.iter().filter(|tool| is_needed(tool.0)) {
        install(program, package, version, *is_locked)?;
    }
    in_namespaces("peers", arguments)
}

/// Runs a part of the bench program, which makes network namespaces, with the program as it is
/// released.
pub(crate) fn in_namespaces(part: &str, arguments: &[OsString]) -> Result<()> {
    // Each by itself: together they would share what the bench program asks of libraries, and the
    // program would be larger than the one that is released.
    for package in ["hardline", "hardline-bench"] {
        run(&mut cargo(&["build", "--release", "--package", package]))?;
    }
    let program = "target/release/hardline-bench";
    let mut command = if machine::is_root() {
        Command::new(program)
    } else {
        let mut command = Command::new("lab/as-root-of-own-namespaces");
        command.arg(program);
        command
    };
    command.env("HARDLINE_PROGRAM", Path::new("target/release/hardline").canonicalize()?);
    run(command.arg(part).args(arguments))
}

fn install(program: &str, package: &str, version: &str, is_locked: bool) -> Result<()> {
    if Path::new(PEERS_ROOT).join("bin").join(program).exists() {
        return Ok(());
    }
    println!("{program} is missing and is built now, once; that takes some minutes.");
    let mut command = cargo(&["install", "--quiet", "--root", PEERS_ROOT, "--version", version, package]);
    if is_locked {
        command.arg("--locked");
    }
    run(&mut command).with_context(|| format!("installing {program}"))
}
