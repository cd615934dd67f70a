//! The doors stay where they are: who names a TCP stream, and who asks which version is spoken.
//! Read in the sources themselves.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

/// Where a TCP stream has a name: it is a browser's or a backend's, or below a transport or a
/// session.
const NAME_TCP: [&str; 4] = ["transport/", "session/", "gateway/", "backend/"];

/// Who passes on, outside the sessions, what somebody says of a version, and does nothing else with
/// it; and the warm-up, which shakes hands as version 2 does.
const PASS_ON: [&str; 3] = ["discovery/", "drivers/lan/", "warm_up.rs"];

/// The lines of code below `crate`'s `src` that `is_wrong` finds, outside of `allowed` and of files
/// of tests.
fn found(krate: &str, allowed: &[&str], is_wrong: impl Fn(&str) -> bool) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(krate).join("src");
    let files = files(&root);
    assert!(files.len() > 10, "sources of {krate}");
    let mut found = Vec::new();
    for file in files {
        let name = file.strip_prefix(&root).unwrap().to_string_lossy().replace('\\', "/");
        if allowed.iter().any(|place| name.starts_with(place)) || name.ends_with("tests.rs") {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        let lines = text.lines().enumerate().filter(|(_, line)| is_wrong(&code(line)));
        found.extend(lines.map(|(number, line)| format!("{krate}/src/{name}:{}: {}", number + 1, line.trim())));
    }
    found
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(self::files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// A line without its comment and without what it quotes.
fn code(line: &str) -> String {
    let code = line.split_once("//").map_or(line, |(code, _)| code);
    code.split('"').step_by(2).collect()
}

fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|letter: char| !letter.is_alphanumeric() && letter != '_').filter(|word| !word.is_empty())
}

/// Whether code asks for a version of the tunnel: by a name that says one, or by comparing a
/// number.
fn asks_for_a_version(code: &str) -> bool {
    let names_one = |word: &str| {
        let word = word.to_ascii_lowercase();
        word == "v1" || word == "v2" || word.ends_with("_v1") || word.ends_with("_v2") || word.ends_with("alpn_agreed")
    };
    let compares = ["version == ", "version != ", "version >= ", "version > ", "version < ", "version <= "];
    words(code).any(names_one) || compares.iter().any(|comparison| code.contains(comparison))
}

#[test]
fn a_tcp_stream_has_a_name_only_where_one_is_made_or_carried() {
    let names = |code: &str| words(code).any(|word| word == "TcpStream");
    assert!(names("use tokio::net::{TcpListener, TcpStream};") && !names("TcpListener"));
    assert_eq!(found("node", &NAME_TCP, names), Vec::<String>::new());
    assert_eq!(found("cli", &[], names), Vec::<String>::new());
}

#[test]
fn only_sessions_ask_which_version_is_spoken() {
    for code in ["if tls.is_v2() {", "match session.version() { v1::VERSION => 1 }", "version >= 2", "Peer::V1(stream)"]
    {
        assert!(asks_for_a_version(code), "{code}");
    }
    assert!(!asks_for_a_version("let version = session.version();"));
    // The transport finds out what was agreed on, and uses it only to say who makes the records.
    let allowed = [&["session/", "transport/"], &PASS_ON[..]].concat();
    assert_eq!(found("node", &allowed, asks_for_a_version), Vec::<String>::new());
    assert_eq!(found("cli", &[], asks_for_a_version), Vec::<String>::new());
}
