//! The archive: whole, as its sum says, and with what belongs to a program that is handed out.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use hardline_lab::artifact;
use serde_json::Value;

const TARGET: &str = "x86_64-unknown-linux-musl";

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

/// Its name without `.tar.gz`, which is the folder's name inside too.
fn name() -> String {
    format!("hardline-{}-{TARGET}", env!("CARGO_PKG_VERSION"))
}

/// Unpacks it and gives the folder inside.
fn unpacked(into: &Path) -> Result<std::path::PathBuf> {
    let archive = artifact(&format!("{}.tar.gz", name()))?;
    run(Command::new("tar").arg("--extract").arg("--file").arg(archive).arg("--directory").arg(into))?;
    Ok(into.join(name()))
}

#[test]
fn the_sums_are_those_of_the_files() -> Result<()> {
    let sums = artifact("SHA256SUMS")?;
    let folder = sums.parent().context("a folder")?;
    run(Command::new("sha256sum").args(["--check", "--strict", "SHA256SUMS"]).current_dir(folder))?;
    assert!(std::fs::read_to_string(&sums)?.contains(&format!("{}.tar.gz\n", name())));
    Ok(())
}

#[test]
fn the_archive_has_the_program_and_its_documents() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let inside = unpacked(folder.path())?;
    assert!(std::fs::read(inside.join("hardline"))? == std::fs::read(artifact(&format!("{TARGET}/hardline"))?)?);
    let version = Command::new(inside.join("hardline")).arg("--version").output()?;
    assert!(version.status.success());
    for file in ["man/hardline.1", "completions/hardline.bash", "hardline.toml.example", "README.md", "LICENSE-MIT"] {
        assert!(std::fs::metadata(inside.join(file)).with_context(|| file.to_owned())?.len() > 0);
    }
    Ok(())
}

/// Nothing in the one list that is not in the other.
#[test]
fn the_sbom_and_the_licences_name_the_same_works_of_others() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let inside = unpacked(folder.path())?;
    let sbom: Value = serde_json::from_slice(&std::fs::read(inside.join("hardline.cdx.json"))?)?;
    let text = |part: &Value, field: &str| part[field].as_str().unwrap_or_default().to_owned();
    let components = sbom["components"].as_array().context("components")?;
    let others = components.iter().filter(|part| !text(part, "name").starts_with("hardline"));
    let in_sbom: BTreeSet<String> =
        others.map(|part| format!("{} {}", text(part, "name"), text(part, "version"))).collect();
    let licences = std::fs::read_to_string(inside.join("THIRD-PARTY-LICENSES.txt"))?;
    let list = licences.split("\n\n").nth(1).context("a list")?;
    let in_list: BTreeSet<String> = list.lines().filter_map(|line| Some(line.split_once(": ")?.0.to_owned())).collect();
    assert_eq!(in_sbom, in_list);
    for name in ["rustls", "sqlite", "jemalloc", "musl", "rust-std", "hashbrown"] {
        assert!(in_list.iter().any(|part| part.starts_with(&format!("{name} "))), "{name} is missing");
    }
    Ok(())
}
