//! `hardline-proto` and `hardline-dht` have no way to a socket, a clock or randomness: not even a
//! dependency of a dependency brings one.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::process::Command;

/// Crates that bring an async runtime, sockets, a clock or randomness of the operating system.
/// `rand` is none of them: without `getrandom` it only stretches a seed that it is given.
const IMPURE: &[&str] = &[
    "async-io",
    "async-std",
    "chrono",
    "fastrand",
    "futures-timer",
    "getrandom",
    "jiff",
    "mio",
    "rustix",
    "smol",
    "socket2",
    "time",
    "tokio",
    "uuid",
    "web-time",
];

#[test]
fn proto_depends_on_nothing_impure() {
    check("hardline-proto", "httparse");
}

#[test]
fn dht_depends_on_nothing_impure() {
    check("hardline-dht", "sha1");
}

/// Looks for [`IMPURE`] crates below `package`. `expected` is one of its dependencies: a listing
/// without it has not been understood.
#[track_caller]
fn check(package: &str, expected: &str) {
    let dependencies = dependencies(package);
    assert!(dependencies.contains(expected), "{package} depends on {dependencies:?}");
    let impure: Vec<_> = IMPURE.iter().filter(|name| dependencies.contains(**name)).collect();
    assert_eq!(impure, [] as [&&str; 0], "{package} depends on these");
}

/// The names of all crates that end up in `package`, build scripts and tests left out.
fn dependencies(package: &str) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--edges", "normal", "--prefix", "none", "--format", "{p}", "--package", package])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let listing = String::from_utf8(output.stdout).unwrap();
    listing.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}
