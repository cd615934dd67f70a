//! What rustfmt and clippy do not check: comments wrap at 100 columns, functions stay short.

#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Columns of a comment.
const MAX_COMMENT: usize = 100;

/// Lines of a function outside the tests, from its name to its closing brace.
const MAX_FUNCTION: usize = 60;

/// Folders with Rust code, below the repository.
const FOLDERS: [&str; 5] = ["crates", "bench", "lab", "xtask", "fuzz"];

#[test]
fn comments_wrap_at_100_columns() {
    let mut found = String::new();
    for path in sources() {
        let text = std::fs::read_to_string(&path).unwrap();
        for (number, line) in (1..).zip(text.lines()) {
            let is_comment = line.trim_start().starts_with("//");
            // A word that does not fit, an address say, cannot be wrapped.
            let words = line.trim_start().trim_start_matches(['/', '!']).split_whitespace().count();
            if is_comment && words > 1 && line.chars().count() > MAX_COMMENT && !is_table(line) {
                let _ = writeln!(found, "{}:{number}: {} columns", path.display(), line.chars().count());
            }
        }
    }
    assert!(found.is_empty(), "{found}");
}

#[test]
fn functions_outside_the_tests_have_at_most_60_lines() {
    let mut found = String::new();
    for path in sources().into_iter().filter(|path| !is_test(path)) {
        let text = std::fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]\nmod ").next().unwrap();
        let lines: Vec<&str> = code.lines().collect();
        for (number, line) in lines.iter().enumerate().filter(|(_, line)| begins_function(line)) {
            let indent = line.len() - line.trim_start().len();
            let closing = format!("{}}}", " ".repeat(indent));
            let length = lines[number..].iter().position(|line| *line == closing).map_or(1, |end| end + 1);
            // A function of one line, or one without a body, is closed by another's brace.
            let has_body =
                lines[number..].iter().take_while(|line| !line.ends_with([';', '}'])).any(|line| line.ends_with('{'));
            if has_body && length > MAX_FUNCTION {
                let _ = writeln!(found, "{}:{}: {length} lines", path.display(), number + 1);
            }
        }
    }
    assert!(found.is_empty(), "{found}");
}

fn begins_function(line: &str) -> bool {
    let line = line.trim_start();
    let line =
        line.strip_prefix("pub").map_or(line, |rest| rest.trim_start_matches("(crate)").trim_start_matches("(super)"));
    let words = line.split_whitespace();
    words.into_iter().find(|word| !matches!(*word, "const" | "async" | "unsafe")) == Some("fn")
}

/// A line of a table in a documentation comment.
fn is_table(line: &str) -> bool {
    line.trim_start().trim_start_matches(['/', '!', ' ']).starts_with('|')
}

fn is_test(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "tests" || part.as_os_str() == "benches")
        || path.file_name().is_some_and(|name| name == "tests.rs")
}

/// Every Rust file of the repository.
fn sources() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut folders: Vec<PathBuf> = FOLDERS.iter().map(|folder| root.join(folder)).collect();
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                if path.file_name().is_some_and(|name| name != "target") {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    assert!(files.len() > 100, "the sources were found");
    files
}

/// What differs between operating systems has its folders, and the code elsewhere is the same on
/// all of them.
#[test]
fn only_the_folders_called_system_ask_for_which_operating_system_they_are_built() {
    let mut found = String::new();
    let mut inside = 0;
    for path in sources().into_iter().filter(|path| !is_test(path) && is_in_a_crate(path)) {
        let text = std::fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]\n").next().unwrap();
        let asking = (1..).zip(code.lines()).filter(|(_, line)| asks_for_a_system(line));
        if path.components().any(|part| part.as_os_str() == "system") {
            inside += asking.count();
            continue;
        }
        for (number, line) in asking {
            let _ = writeln!(found, "{}:{number}: {}", path.display(), line.trim());
        }
    }
    assert!(found.is_empty(), "{found}");
    assert!(inside > 20, "those of the folders were found: {inside}");
}

fn is_in_a_crate(path: &Path) -> bool {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("crates");
    path.starts_with(crates)
}

fn asks_for_a_system(line: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    code.contains("cfg") && ["unix", "windows", "target_os"].iter().any(|system| code.contains(system))
}
