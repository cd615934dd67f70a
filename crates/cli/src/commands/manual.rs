//! `hardline completions` and `hardline man`.

use std::path::Path;

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::args::Args;
use crate::docs;
use crate::failure::{Exit, Failure};
use crate::output;

/// Prints the completion script of a shell.
pub(super) fn completions(shell: Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "hardline", &mut script);
    output::write(&String::from_utf8_lossy(&script))
}

/// Prints the program's man page, or writes that of every command into `dir`.
pub(super) fn man(dir: Option<&Path>) -> Result<(), Failure> {
    let Some(dir) = dir else {
        let page = docs::man_page("hardline", &docs::command());
        return output::write(&String::from_utf8_lossy(&page));
    };
    let failed = |err: std::io::Error| Failure::of(Exit::Failed, &format!("cannot write into {}", dir.display()), &err);
    std::fs::create_dir_all(dir).map_err(failed)?;
    for (name, command) in docs::commands() {
        let file = dir.join(format!("{}.1", name.replace(' ', "-")));
        std::fs::write(file, docs::man_page(&name, &command)).map_err(failed)?;
    }
    Ok(())
}
