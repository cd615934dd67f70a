//! The command line as people read it: a command's help shows its own options, and names the
//! global ones in one line.

use clap::{Arg, Command, CommandFactory as _, FromArgMatches as _};

use crate::args::Args;

const GLOBAL: &str = "Global options (--json, --data-dir, --relay and others) work here too: see `hardline --help`.";

/// Reads the arguments of this process; prints what is wrong with them, or the help that they ask
/// for, and ends the process.
pub(crate) fn parse() -> Args {
    let matches = command().get_matches();
    Args::from_arg_matches(&matches).unwrap_or_else(|err| err.format(&mut command()).exit())
}

/// The command line with the global options at the top only.
pub(crate) fn command() -> Command {
    let top = Args::command();
    let global: Vec<Arg> = top.get_arguments().filter(|arg| arg.is_global_set()).cloned().collect();
    top.mut_subcommands(|command| shorten(command, &global))
}

/// Hides the global options, which clap would show with each command. They work all the same, with
/// the commands below this one too.
fn shorten(command: Command, global: &[Arg]) -> Command {
    let examples = command.get_after_long_help().map(ToString::to_string);
    let long = examples.into_iter().chain([GLOBAL.to_owned()]).collect::<Vec<_>>().join("\n\n");
    command
        .args(global.iter().map(|arg| arg.clone().hide(true)))
        .after_help(GLOBAL)
        .after_long_help(long)
        .mut_subcommands(|below| shorten(below, global))
}
