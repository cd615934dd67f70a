//! Tiny file systems, mounted in a namespace of the test's own.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Options of `unshare`, so that no privilege is needed where the system lets users have
/// namespaces.
const NAMESPACE: [&str; 3] = ["--user", "--map-root-user", "--mount"];

const DATA_DIR: &str = "HARDLINE_TEST_DATA_DIR";

/// Mounts a tmpfs in a mount namespace of its own, runs `prepare` (a shell command, with the mount
/// as `$DIR`) and then the test named `inside` there. The mount goes with the namespace.
#[track_caller]
pub(crate) fn on_a_mount(options: &str, prepare: &str, inside: &str) {
    if !can_mount() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let script = format!(
        "mount -t tmpfs -o {options} tmpfs $DIR || exit 1; {prepare} exec $TEST --exact {inside} --ignored --nocapture"
    );
    let output = Command::new("unshare")
        .args(NAMESPACE)
        .args(["sh", "-c", &script])
        .env("DIR", folder.path())
        .env("TEST", std::env::current_exe().unwrap())
        .env(DATA_DIR, folder.path())
        .output()
        .expect("unshare, of util-linux, is needed");
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    assert!(is_empty(folder.path()), "the mount leaked out of its namespace");
}

/// The mount, for the test inside.
pub(crate) fn data_dir() -> PathBuf {
    std::env::var_os(DATA_DIR).unwrap().into()
}

/// Whether this machine lets us have a mount namespace. Where it must (as in continuous
/// integration), a "no" is a failure.
fn can_mount() -> bool {
    let can = Command::new("unshare").args(NAMESPACE).arg("true").status().is_ok_and(|status| status.success());
    assert!(can || std::env::var_os("HARDLINE_LAB_REQUIRED").is_none(), "this machine cannot do mount namespaces");
    if !can {
        eprintln!("NOT TESTED: this machine cannot do mount namespaces");
    }
    can
}

fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).unwrap().next().is_none()
}
