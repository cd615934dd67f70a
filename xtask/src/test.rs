//! Every test, stage by stage.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};

use crate::background::Background;
use crate::steps::{cargo, run, succeeds};
use crate::{artifacts, deny, fuzz, machine};

/// Tests that this machine could not do are written here by the lab, one a line.
const SKIPPED_TESTS: &str = "target/lab/skipped";

/// Time for each fuzz target in the long mode.
const FUZZ_SECONDS: u64 = 60;

#[derive(Args)]
pub(crate) struct Options {
    /// Also what takes minutes: fuzzing, an idle minute, a long soak, more programs with pages
    #[arg(long)]
    long: bool,
    /// Also the mixed-version tests, with this other build of Hardline (the release before, say)
    #[arg(long, value_name = "PROGRAM")]
    against: Option<PathBuf>,
    /// Only this stage; may be repeated
    #[arg(long, value_name = "STAGE", conflicts_with = "skip")]
    only: Vec<Stage>,
    /// All but this stage; may be repeated
    #[arg(long, value_name = "STAGE")]
    skip: Vec<Stage>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Stage {
    /// Debian's packages that the tests use
    Machine,
    /// Formatting
    Fmt,
    /// Lints
    Clippy,
    /// Each crate's own tests
    Crates,
    /// Every fuzz target for a minute; in the long mode, or when asked for by `--only`
    Fuzz,
    /// The program as it is released, for the lab
    Build,
    /// Real peers: network namespaces, the Python program, OpenSSL, browsers
    Lab,
    /// What is handed out: built for Linux and Windows beside the stages before, looked at for
    /// macOS and ARM, and tested
    Artifacts,
    /// Licences and weaknesses of dependencies
    Deny,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value();
        f.pad(value.as_ref().map_or("", |value| value.get_name()))
    }
}

enum Outcome {
    Passed,
    LeftOut,
    Failed(anyhow::Error),
}

/// Runs the stages, the rest also after one has failed, and prints what became of each.
///
/// # Errors
/// If the skipped tests cannot be counted; a failed stage is an exit code.
pub(crate) fn run_stages(options: &Options) -> Result<ExitCode> {
    let begun = Instant::now();
    std::fs::create_dir_all("target/lab")?;
    std::fs::write(SKIPPED_TESTS, "").context("emptying the list of skipped tests")?;
    let mut results = Vec::new();
    let mut builder = None;
    for stage in Stage::value_variants() {
        // The lab waits more than it computes.
        if *stage == Stage::Build && options.wants(Stage::Artifacts) {
            builder = Some(artifacts::begin()?);
        }
        let stage_begun = Instant::now();
        let outcome = if options.wants(*stage) { stage.run(options, &mut builder) } else { Outcome::LeftOut };
        results.push((*stage, outcome, stage_begun.elapsed()));
    }
    let skipped = std::fs::read_to_string(SKIPPED_TESTS)?;
    print_summary(&results, skipped.lines().count(), begun.elapsed());
    let failed = results.iter().any(|(_, outcome, _)| matches!(outcome, Outcome::Failed(_)));
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

impl Options {
    fn wants(&self, stage: Stage) -> bool {
        let is_usual = stage != Stage::Fuzz || self.long;
        ((self.only.is_empty() && is_usual) || self.only.contains(&stage)) && !self.skip.contains(&stage)
    }
}

impl Stage {
    fn run(self, options: &Options, builder: &mut Option<Background>) -> Outcome {
        println!("\n==== {self} ====");
        let result = match self {
            Self::Machine => prepare_machine(options),
            Self::Fmt => run(&mut cargo(&["fmt", "--all", "--check"])),
            Self::Clippy => {
                let mut clippy = cargo(&["clippy", "--quiet", "--workspace", "--all-targets"]);
                clippy.args(["--features", "hardline-lab/mixed-versions,hardline-lab/artifacts"]);
                run(clippy.args(["--", "--deny", "warnings"]))
            }
            Self::Crates => run(&mut cargo(&["test", "--no-fail-fast", "--workspace", "--exclude", "hardline-lab"])),
            Self::Fuzz => fuzz_targets(),
            Self::Build => run(&mut cargo(&["build", "--release", "--package", "hardline"])),
            Self::Lab => lab(options),
            Self::Artifacts => test_artifacts(builder.take(), options.long),
            Self::Deny => deny::run_checks(),
        };
        match result {
            Ok(()) => Outcome::Passed,
            Err(err) => {
                println!("FAILED {self}: {err:#}");
                Outcome::Failed(err)
            }
        }
    }
}

fn prepare_machine(options: &Options) -> Result<()> {
    machine::prepare("tests", machine::TESTS)?;
    if options.wants(Stage::Artifacts) {
        machine::prepare("programs for other systems", machine::CROSS)?;
        machine::prepare("tests of what is handed out", machine::ARTIFACTS)?;
    }
    machine::prepare("tests of the Android app", machine::ANDROID)?;
    if options.long { machine::prepare("long tests", machine::LONG_TESTS) } else { Ok(()) }
}

fn fuzz_targets() -> Result<()> {
    let findings = fuzz::run_all(FUZZ_SECONDS, &[])?;
    if !findings.is_empty() {
        bail!("an input that breaks a promise was found by {}", findings.join(", "));
    }
    Ok(())
}

fn lab(options: &Options) -> Result<()> {
    println!("Tests with real peers on computers made of network namespaces. The first run puts the released Python");
    println!("program into virtual environments under target/lab, with pip.");
    // One test program after another; inside each, two tests at a time: they are busy with timing,
    // not with computing.
    let mut command = cargo(&["test", "--no-fail-fast", "--package", "hardline-lab"]);
    if let Some(program) = &options.against {
        command.args(["--features", "mixed-versions"]);
        command.env("HARDLINE_OTHER_PROGRAM", program.canonicalize().context("the program named by --against")?);
    }
    command.args(["--", "--test-threads", "2"]);
    command.env(
        "HARDLINE_PROGRAM",
        Path::new("target/release/hardline").canonicalize().context("stage build was left out")?,
    );
    if options.long {
        command.arg("--include-ignored").env("HARDLINE_LAB_LONG", "1");
    }
    may_make_computers(&mut command)?;
    run(&mut command)
}

fn test_artifacts(builder: Option<Background>, long: bool) -> Result<()> {
    artifacts::test(builder.context("what is handed out was not begun")?, may_make_computers)?;
    if long { artifacts::test_all(may_make_computers) } else { Ok(()) }
}

/// What every command of cargo with tests of the lab is told.
fn may_make_computers(command: &mut Command) -> Result<()> {
    // A failed check says what it knows; where in this code it was made helps nobody.
    command.env("RUST_LIB_BACKTRACE", "0");
    command.env("HARDLINE_LAB_SKIPPED", Path::new(SKIPPED_TESTS).canonicalize()?);
    if machine::is_root() { Ok(()) } else { become_root_of_own_namespaces(command) }
}

/// Lets cargo start the test programs in a user namespace, where anybody is root of what they make
/// themselves.
fn become_root_of_own_namespaces(command: &mut Command) -> Result<()> {
    let runner = Path::new("lab/as-root-of-own-namespaces").canonicalize()?;
    if !succeeds(&runner.to_string_lossy(), &["true"]) {
        println!("Neither root nor allowed to make user namespaces: most of the lab's tests will be skipped.");
        return Ok(());
    }
    let version = Command::new("rustc").arg("-vV").output().context("asking rustc for its target")?;
    let version = String::from_utf8(version.stdout)?;
    let target = version.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc's target")?;
    let variable = format!("CARGO_TARGET_{}_RUNNER", target.to_uppercase().replace('-', "_"));
    command.env(variable, runner);
    Ok(())
}

fn print_summary(results: &[(Stage, Outcome, Duration)], skipped: usize, total: Duration) {
    println!("\n==== summary ====");
    for (stage, outcome, time) in results {
        let seconds = time.as_secs_f64();
        match outcome {
            Outcome::Passed => println!("{stage:9} passed    {seconds:7.1} s"),
            Outcome::LeftOut => println!("{stage:9} LEFT OUT, not asked for"),
            Outcome::Failed(err) => println!("{stage:9} FAILED    {seconds:7.1} s  {err:#}"),
        }
    }
    if skipped > 0 {
        println!("{skipped} tests of the lab were SKIPPED; each says why above.");
    }
    println!("{:19} {:7.1} s", "all", total.as_secs_f64());
}
