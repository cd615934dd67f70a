//! The crates that are meant for others can be handed to a registry.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

/// Everything but the tests and the tools.
const CRATES: [&str; 5] = ["hardline-dht", "hardline-proto", "hardline-record", "hardline-node", "hardline"];

#[test]
fn every_public_crate_can_be_packaged() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    // Building them once more from the packages would take minutes.
    cargo.current_dir(root).args(["package", "--offline", "--allow-dirty", "--no-verify"]);
    // Not among what is built: each run begins anew.
    let folder = tempfile::tempdir().unwrap();
    cargo.arg("--target-dir").arg(folder.path());
    // Together, because they depend on each other and no registry has them.
    for name in CRATES {
        cargo.args(["--package", name]);
    }
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let version = env!("CARGO_PKG_VERSION");
    for name in CRATES {
        let package = folder.path().join(format!("package/{name}-{version}.crate"));
        assert!(package.exists(), "{name}");
    }
}
