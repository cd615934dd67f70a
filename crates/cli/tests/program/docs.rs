//! The documents that are made from the program are those of this program.

use std::path::Path;

use crate::common::{Program, expect_current};
use hardline_cli::docs;

#[test]
fn the_page_of_the_command_line_is_current() {
    expect_current(&repository().join("docs/cli.md"), &docs::cli_markdown());
}

#[test]
fn the_page_of_the_configuration_is_current() {
    expect_current(&repository().join("docs/configuration.md"), &docs::configuration_markdown());
}

#[test]
fn every_command_has_a_man_page() {
    let program = Program::new();
    let dir = program.home().join("man");
    let outcome = program.run(["man", "--dir", dir.to_str().unwrap()]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    for name in ["hardline", "hardline-share", "hardline-peers-forget", "hardline-config-check"] {
        let page = std::fs::read_to_string(dir.join(format!("{name}.1"))).unwrap();
        assert!(page.contains(".SH NAME") && page.contains(".SH SYNOPSIS"), "{name}");
    }
}

#[test]
fn every_shell_has_completions_that_know_the_commands() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let outcome = Program::new().run(["completions", shell]);
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        assert!(outcome.stdout.contains("share") && outcome.stdout.contains("doctor"), "{shell}");
    }
}

fn repository() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
