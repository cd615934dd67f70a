//! The project's own commands: `cargo xtask test`, `cargo xtask bench`, `cargo xtask soak`, `cargo
//! xtask fuzz`, `cargo xtask dist`.

mod artifacts;
mod background;
mod bench;
mod deny;
mod dist;
mod fuzz;
mod machine;
mod steps;
mod test;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The project's own commands")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs every test, installing first what they need and this machine lacks
    Test(test::Options),
    /// Measures what users feel and prints the figures; nothing fails for being slow
    Bench(bench::Options),
    /// Works for an hour with Hardline, disturbs it, and looks what grows; `--help` after it tells
    /// more
    #[command(disable_help_flag = true)]
    Soak {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Looks for inputs that break a promise of a parser
    Fuzz(fuzz::Options),
    /// Builds everything that is handed out, for every system, into target/dist
    Dist(dist::Options),
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    steps::note_itself()?;
    // Everything below runs in the workspace's root, from wherever it was called.
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    std::env::set_current_dir(root).context("entering the workspace's folder")?;
    match arguments.command {
        Command::Test(options) => test::run_stages(&options),
        Command::Bench(options) => bench::run_benches(&options),
        Command::Soak { arguments } => bench::in_namespaces("soak", &arguments).map(|()| ExitCode::SUCCESS),
        Command::Fuzz(options) => fuzz::run_targets(&options),
        Command::Dist(options) => dist::run_dist(&options),
    }
}
