//! The unit files of `packaging/` start this program with flags it has.

use std::path::Path;
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

fn unit(kind: &str) -> String {
    let packaging = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/systemd");
    std::fs::read_to_string(packaging.join(kind).join("hardline.service")).unwrap()
}

#[track_caller]
fn setting<'a>(unit: &'a str, name: &str) -> &'a str {
    unit.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).expect(name)
}
