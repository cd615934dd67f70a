//! Looking for inputs that break a promise of a parser, by cargo-fuzz (libFuzzer).

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader};
use std::num::NonZero;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::available_parallelism;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::steps::{cargo, run, succeeds};

/// The release that is installed where cargo-fuzz is missing.
const VERSION: &str = "0.13.2";

/// Tools of the tests' own, beside what cargo builds.
const TOOLS: &str = "target/tools";

/// Longest input tried, in bytes: a little more than the longest that any parser takes, a request
/// head of 64 KiB.
const MAX_INPUT: usize = 66 * 1024;

/// An input that takes longer counts as found, in seconds. Without a hang, all take microseconds.
const MAX_INPUT_SECONDS: u32 = 5;

/// Time for each target in the long mode.
const LONG_SECONDS: u64 = 30 * 60;

/// The page with the last result.
const REPORT: &str = "docs/fuzzing.md";

/// What a target came to.
struct Trial {
    target: String,
    seconds: u64,
    /// Inputs that were tried.
    inputs: u64,
    /// Of them, those that went another way through the code than any before.
    learnt: u64,
    /// Most memory that it had, in MB.
    most_memory: u64,
    /// How it ended, if an input broke a promise.
    found: Option<String>,
}

#[derive(Args)]
pub(crate) struct Options {
    /// How long to try each target
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Half an hour for each target, and its row in docs/fuzzing.md written anew
    #[arg(long, conflicts_with = "seconds")]
    long: bool,
    /// Writes the rows in docs/fuzzing.md also when the time was another
    #[arg(long)]
    report: bool,
    /// Only this target; may be repeated
    #[arg(long, value_name = "TARGET")]
    only: Vec<String>,
    /// So many targets at a time
    #[arg(long, value_name = "NUMBER", default_value_t = available_parallelism().unwrap_or(NonZero::<usize>::MIN))]
    at_once: NonZero<usize>,
}

/// Tries the targets, the rest also after one has found something.
///
/// # Errors
/// If cargo-fuzz cannot be had, a target is unknown or does not build; findings are an exit code.
pub(crate) fn run_targets(options: &Options) -> Result<ExitCode> {
    let seconds = if options.long { LONG_SECONDS } else { options.seconds };
    let after_each = if options.long || options.report { write_row } else { |_: &Trial| Ok(()) };
    let findings = findings(&try_all(seconds, &options.only, options.at_once, after_each)?);
    Ok(if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Tries each target for so many seconds, or only those named. Returns the targets that found
/// something; the input lies under `fuzz/artifacts` then, and belongs into `fuzz/corpus` with the
/// repair.
///
/// # Errors
/// If cargo-fuzz cannot be had, a target is unknown or does not build.
pub(crate) fn run_all(seconds: u64, only: &[String]) -> Result<Vec<String>> {
    Ok(findings(&try_all(seconds, only, NonZero::<usize>::MIN, |_| Ok(()))?))
}

fn findings(trials: &[Trial]) -> Vec<String> {
    trials.iter().filter(|trial| trial.found.is_some()).map(|trial| trial.target.clone()).collect()
}

fn try_all(
    seconds: u64,
    only: &[String],
    at_once: NonZero<usize>,
    after_each: fn(&Trial) -> Result<()>,
) -> Result<Vec<Trial>> {
    let program = find_or_install()?;
    // Without a sanitizer it works with the stable compiler. There is no unsafe code of ours for
    // one to watch.
    run(Command::new(&program).args(["build", "--sanitizer", "none"]))?;
    let all = targets()?;
    if let Some(unknown) = only.iter().find(|name| !all.contains(name)) {
        bail!("no fuzz target {unknown}; there are {}", all.join(", "));
    }
    let targets = all.into_iter().filter(|target| only.is_empty() || only.contains(target));
    let (targets, trials) = (Mutex::new(targets), Mutex::new(Vec::new()));
    let work = || -> Result<()> {
        loop {
            let Some(target) = lock(&targets).next() else { return Ok(()) };
            let trial = run_target(&program, target, seconds)?;
            if let Some(found) = &trial.found {
                println!("FOUND by {}: {found}", trial.target);
            }
            let mut trials = lock(&trials);
            after_each(&trial)?;
            trials.push(trial);
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..at_once.get()).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().unwrap_or_else(|_| bail!("a target's thread broke")))
    })?;
    let trials = trials.into_inner().unwrap_or_else(PoisonError::into_inner);
    println!("{} targets, {seconds} s each; found something: {:?}", trials.len(), findings(&trials));
    Ok(trials)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn run_target(program: &str, target: String, seconds: u64) -> Result<Trial> {
    // What the fuzzer learns goes into the first folder; the second is kept in the repository and
    // stays small.
    let learnt = format!("fuzz/target/corpus/{target}");
    std::fs::create_dir_all(&learnt).with_context(|| format!("making {learnt}"))?;
    let mut command = Command::new(program);
    command
        .args(["run", "--sanitizer", "none", &target, &learnt, &format!("fuzz/corpus/{target}"), "--"])
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-max_len={MAX_INPUT}"))
        .arg(format!("-timeout={MAX_INPUT_SECONDS}"))
        .args(["-verbosity=0", "-print_final_stats=1"]);
    println!("$ {command:?}");
    let begun = Instant::now();
    // The statistics come on stderr. They are shown as they come.
    let mut child = command.stderr(Stdio::piped()).spawn().with_context(|| format!("starting {command:?}"))?;
    let mut statistics = HashMap::new();
    for line in BufReader::new(child.stderr.take().context("a piped stderr")?).lines() {
        let line = line.context("reading what the fuzzer says")?;
        eprintln!("{target}: {line}");
        statistics.extend(statistic(&line));
    }
    let status = child.wait()?;
    let number = |name: &str| statistics.get(name).copied().unwrap_or(0);
    Ok(Trial {
        inputs: number("number_of_executed_units"),
        learnt: number("new_units_added"),
        most_memory: number("peak_rss_mb"),
        seconds: begun.elapsed().as_secs(),
        found: (!status.success()).then(|| format!("{command:?}: {status}")),
        target,
    })
}

/// A line such as `stat::number_of_executed_units: 12345`.
fn statistic(line: &str) -> Option<(String, u64)> {
    let (name, number) = line.strip_prefix("stat::")?.split_once(':')?;
    Some((name.to_owned(), number.trim().parse().ok()?))
}

/// Writes a target's row anew, and leaves the others' as they are.
fn write_row(trial: &Trial) -> Result<()> {
    let old = std::fs::read_to_string(REPORT).with_context(|| format!("reading {REPORT}"))?;
    let date = said_by("date", &["--utc", "+%F"]);
    let commit = said_by("git", &["describe", "--always"]);
    let new = report(&old, &targets()?, trial, &date, &commit);
    std::fs::write(REPORT, new).with_context(|| format!("writing {REPORT}"))?;
    println!("{REPORT} has the result.");
    Ok(())
}

/// The page `old` with this trial's row, and without rows of targets that are no more.
fn report(old: &str, targets: &[String], trial: &Trial, date: &str, commit: &str) -> String {
    let Trial { target, seconds, inputs, learnt, most_memory, found } = trial;
    let found = if found.is_some() { "**found**" } else { "none" };
    let beginning = |target: &str| format!("| `{target}` |");
    let new = format!(
        "{} {date} | {commit} | {seconds} | {inputs} | {learnt} | {most_memory} | {found} |",
        beginning(target)
    );
    let row_of = |target: &String| match old.lines().find(|line| line.starts_with(&beginning(target))) {
        _ if *target == trial.target => Some(new.as_str()),
        row => row,
    };
    let rows: Vec<&str> = targets.iter().filter_map(row_of).collect();
    format!("{HEAD}{}\n", rows.join("\n"))
}

/// What the page begins with.
const HEAD: &str = "# Fuzzing

Every parser of what strangers send, and every state machine as a sequence of operations, has a target in
`fuzz/fuzz_targets`. The ordinary tests replay the committed corpora. `cargo xtask fuzz --long` tries each target for half an
hour and writes its row anew; with `--only TARGET` that target alone, with `--seconds 60 --report` for a minute. Seconds are
those of the clock: on a busy machine the inputs tell how much was tried.

| target | tried on | commit | seconds | inputs tried | new ways found through the code | most memory, MB | broken promises |
| --- | --- | --- | ---: | ---: | ---: | ---: | --- |
";

fn said_by(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_written_anew_and_the_others_stay() {
        let targets = ["head", "host", "link"].map(str::to_owned);
        let old = "# Old\n| `head` | row of head |\n| `host` | row of host |\n| `gone` | row of gone |\n";
        let (target, found) = ("host".to_owned(), None);
        let trial = Trial { target, seconds: 1800, inputs: 7, learnt: 3, most_memory: 33, found };
        let new = report(old, &targets, &trial, "2026-11-23", "abc");
        let rows = new.strip_prefix(HEAD).unwrap();
        assert_eq!(rows, "| `head` | row of head |\n| `host` | 2026-11-23 | abc | 1800 | 7 | 3 | 33 | none |\n");
    }
}
