//! The `hardline` program: flags, commands, printing, exit codes.
//!
//! A library beside the binary, so that the tests can compare the generated documents with what the
//! program says.

pub mod args; // command line → what to do
pub mod dht_args; // the same for `hardline dht`
pub mod proxy_env; // the gateway's port → variables that name it as a proxy
pub mod settings; // defaults, file, environment, flags → settings

pub mod commands; // one file per command
pub mod failure; // what went wrong → exit code, cause, remedy

pub mod docs; // command line and settings → man pages, markdown, example file

mod descriptors; // as many open files as allowed
mod gateway; // port → who serves browsers there
mod help; // the command line as people read it
mod identities; // names and targets → identity files
mod links; // key hash → what a person opens
mod logging; // settings → tracing
mod output; // what people and programs read on stdout
mod system; // what differs between operating systems
mod target; // what a person types for a service → target

use std::process::ExitCode;

/// Runs the program with the arguments of this process.
#[must_use]
pub fn main() -> ExitCode {
    let args = help::parse();
    match commands::run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.print();
            failure.code()
        }
    }
}
