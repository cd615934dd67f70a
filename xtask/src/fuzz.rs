//! Looking for inputs that break a promise of a parser, by cargo-fuzz (libFuzzer).

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::steps::{cargo, run, succeeds};

/// The release that is installed where cargo-fuzz is missing.
const VERSION: &str = "0.13.2";

/// Tools of the tests' own, beside what cargo builds.
const TOOLS: &str = "target/tools";

/// Longest input tried, in bytes: a little more than the longest that any parser takes, a request head of 64 KiB.
const MAX_INPUT: usize = 66 * 1024;

/// An input that takes longer counts as found, in seconds. Without a hang, all take microseconds.
const MAX_INPUT_SECONDS: u32 = 5;

#[derive(Args)]
pub(crate) struct Options {
    /// How long to try each target
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Only this target; may be repeated
    #[arg(long, value_name = "TARGET")]
    only: Vec<String>,
}

/// Tries the targets one after another, the rest also after one has found something.
///
/// # Errors
/// If cargo-fuzz cannot be had, a target is unknown or does not build; findings are an exit code.
pub(crate) fn run_targets(options: &Options) -> Result<ExitCode> {
    let findings = run_all(options.seconds, &options.only)?;
    Ok(if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Tries each target for so many seconds, or only those named. Returns the targets that found something; the input lies
/// under `fuzz/artifacts` then, and belongs into `fuzz/corpus` with the repair.
///
/// # Errors
/// If cargo-fuzz cannot be had, a target is unknown or does not build.
pub(crate) fn run_all(seconds: u64, only: &[String]) -> Result<Vec<String>> {
    let program = find_or_install()?;
    // Without a sanitizer it works with the stable compiler. There is no unsafe code of ours for one to watch.
    run(Command::new(&program).args(["build", "--sanitizer", "none"]))?;
    let all = targets()?;
    if let Some(unknown) = only.iter().find(|name| !all.contains(name)) {
        bail!("no fuzz target {unknown}; there are {}", all.join(", "));
    }
    let targets: Vec<_> = all.into_iter().filter(|target| only.is_empty() || only.contains(target)).collect();
    let mut findings = Vec::new();
    for target in &targets {
        if let Err(err) = run_target(&program, target, seconds) {
            println!("FOUND by {target}: {err:#}");
            findings.push(target.clone());
        }
    }
    println!("{} targets, {seconds} s each; found something: {findings:?}", targets.len());
    Ok(findings)
}

fn run_target(program: &str, target: &str, seconds: u64) -> Result<()> {
    // What the fuzzer learns goes into the first folder; the second is kept in the repository and stays small.
    let learnt = format!("fuzz/target/corpus/{target}");
    std::fs::create_dir_all(&learnt).with_context(|| format!("making {learnt}"))?;
    run(Command::new(program)
        .args(["run", "--sanitizer", "none", target, &learnt, &format!("fuzz/corpus/{target}"), "--"])
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-max_len={MAX_INPUT}"))
        .arg(format!("-timeout={MAX_INPUT_SECONDS}"))
        .args(["-verbosity=0", "-print_final_stats=1"]))
}

/// The names of the files in `fuzz/fuzz_targets`, in their order.
fn targets() -> Result<Vec<String>> {
    let mut targets = Vec::new();
    for entry in std::fs::read_dir("fuzz/fuzz_targets").context("listing the fuzz targets")? {
        let path = entry?.path();
        targets.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
    }
    targets.sort();
    Ok(targets)
}

fn find_or_install() -> Result<String> {
    if succeeds("cargo-fuzz", &["--version"]) {
        return Ok("cargo-fuzz".to_owned());
    }
    let own = format!("{TOOLS}/bin/cargo-fuzz");
    if !Path::new(&own).exists() {
        println!("cargo-fuzz is missing and is built now, once; that takes a minute.");
        run(&mut cargo(&["install", "--quiet", "--locked", "--root", TOOLS, "--version", VERSION, "cargo-fuzz"]))?;
    }
    Ok(own)
}
