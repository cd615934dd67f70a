//! What stands in `packaging/` for service managers starts this program with flags it has, and
//! leaves it the time it takes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser as _;
use hardline_cli::args::Args;
use hardline_cli::failure::Exit;
use hardline_cli::settings::Settings;

#[test]
fn the_units_start_the_program_with_flags_it_understands() {
    for kind in ["user", "system"] {
        let unit = unit(kind);
        let words: Vec<&str> = setting(&unit, "ExecStart").split(' ').collect();
        assert!(words[0].ends_with("/hardline"), "{kind}");
        assert!(Args::try_parse_from(words).is_ok(), "{kind}");
        assert_eq!(setting(&unit, "Type"), "notify", "{kind}");
    }
}

#[test]
fn the_units_wait_longer_for_a_stop_than_running_tunnels_get() {
    for kind in ["user", "system"] {
        let unit = unit(kind);
        let seconds = setting(&unit, "TimeoutStopSec").trim_end_matches('s').parse().unwrap();
        assert!(Duration::from_secs(seconds) > Settings::default().node.grace, "{kind}");
    }
}

#[test]
fn the_units_do_not_start_again_what_a_second_start_cannot_cure() {
    let hopeless = [Exit::Usage, Exit::Configuration, Exit::Identity].map(|exit| (exit as u8).to_string()).join(" ");
    for kind in ["user", "system"] {
        assert_eq!(setting(&unit(kind), "RestartPreventExitStatus"), hopeless, "{kind}");
    }
}

#[test]
fn launchd_starts_the_program_with_flags_it_understands_and_waits_for_its_end() {
    let plist = plist::Value::from_file(packaging().join("macos/hardline.plist")).unwrap();
    let plist = plist.as_dictionary().unwrap();
    let words: Vec<_> =
        plist["ProgramArguments"].as_array().unwrap().iter().map(|it| it.as_string().unwrap()).collect();
    let ["/bin/sh", "-c", script] = words[..] else { panic!("{words:?}") };
    let started: Vec<_> = script.strip_prefix("exec ").unwrap().split(' ').map(|word| word.trim_matches('"')).collect();
    assert!(started[0].starts_with("$HOME/") && started[0].ends_with("/hardline"), "{started:?}");
    assert!(Args::try_parse_from(started).is_ok());
    let patience = Duration::from_secs(plist["ExitTimeOut"].as_unsigned_integer().unwrap());
    assert!(patience > Settings::default().node.grace);
    assert_eq!(plist["Umask"].as_unsigned_integer(), Some(0o077));
    assert_eq!(plist["KeepAlive"].as_dictionary().unwrap()["SuccessfulExit"].as_boolean(), Some(false));
}

/// A number that was left behind would offer another release than it names.
#[test]
fn the_formula_is_of_this_version_and_calls_commands_that_are_there() {
    let formula = std::fs::read_to_string(packaging().join("macos/hardline.rb")).unwrap();
    let quoted = |key: &str| {
        let line = formula.lines().find_map(|line| line.trim().strip_prefix(key)?.strip_prefix(' '));
        line.map(|rest| rest.trim_matches('"')).expect(key)
    };
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(quoted("version"), version);
    assert!(quoted("url").ends_with(&format!("/hardline-{version}-source.tar.gz")), "{}", quoted("url"));
    assert_eq!(quoted("sha256").len(), 64);
    let licences: Vec<_> = env!("CARGO_PKG_LICENSE").split(" OR ").map(|it| format!("{it:?}")).collect();
    assert_eq!(quoted("license"), format!("any_of: [{}]", licences.join(", ")));
    for command in [&["completions", "zsh"][..], &["man", "--dir", "here"], &["config", "check"], &["--version"]] {
        assert!(formula.contains(command[0]), "{command:?}");
        let parsed = Args::try_parse_from([&["hardline"], command].concat());
        assert!(parsed.map_or_else(|error| error.exit_code() == 0, |_| true), "{command:?}");
    }
}

fn packaging() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging")
}

fn unit(kind: &str) -> String {
    std::fs::read_to_string(packaging().join("systemd").join(kind).join("hardline.service")).unwrap()
}

#[track_caller]
fn setting<'a>(unit: &'a str, name: &str) -> &'a str {
    unit.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).expect(name)
}
