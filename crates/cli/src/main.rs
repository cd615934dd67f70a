//! The `hardline` program. Everything is in the library beside it.

use std::process::ExitCode;

fn main() -> ExitCode {
    hardline_cli::main()
}
