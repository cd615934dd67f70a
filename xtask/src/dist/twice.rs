//! The same commit, built once more in a folder of another name: the same bytes.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::target::Target;
use super::toolchain::{self, Toolchain};
use super::{OUT, sums};
use crate::steps::{cargo, run};

/// Where the other folder is.
const PLACE: &str = "target/twice";

/// Its name, of another length than any that somebody gives a clone.
const NAME: &str = "a folder of another name";

/// Builds and packs the target once more from a clone of this commit, and compares with what lies
/// in [`OUT`].
///
/// # Errors
/// If the two differ, something here is not committed, or nothing was packed before.
pub(crate) fn compare(target: Target) -> Result<()> {
    let clone = make_clone()?;
    let mut build = cargo(&["xtask", "dist", "--target", target.triple()]);
    // Not what the cargo that runs this told of its own folder.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CARGO_PKG_") || name.to_string_lossy().starts_with("CARGO_MANIFEST_") {
            build.env_remove(name);
        }
    }
    run(build.current_dir(&clone))?;
    let differing = differing(Path::new(OUT), &clone.join(OUT))?;
    if !differing.is_empty() {
        bail!("not the same bytes in another folder ({}): {}", clone.display(), differing.join(", "));
    }
    println!("Built twice, in two folders, with the same bytes: {}.", target.triple());
    std::fs::remove_dir_all(PLACE).context("removing the other folder")
}

/// A clone of this commit, with this compiler: it is large and the same.
fn make_clone() -> Result<PathBuf> {
    let changes = Command::new("git").args(["status", "--porcelain"]).output().context("starting git")?;
    if !changes.stdout.is_empty() {
        bail!("what is not committed is in one of the two only: commit it first");
    }
    if Path::new(PLACE).exists() {
        std::fs::remove_dir_all(PLACE)?;
    }
    std::fs::create_dir_all(PLACE)?;
    let clone = std::env::current_dir()?.join(PLACE).join(NAME);
    run(Command::new("git").args(["clone", "--quiet", "."]).arg(&clone))?;
    let into = clone.join(toolchain::FOLDER);
    std::fs::create_dir_all(&into)?;
    // By links. The rest of that folder is written anew.
    for part in Toolchain::FETCHED {
        run(Command::new("cp").args(["--archive", "--link"]).arg(Path::new(toolchain::FOLDER).join(part)).arg(&into))?;
    }
    Ok(clone)
}

/// Names of the files of the second folder that the first does not have, or has with other bytes.
fn differing(first: &Path, second: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    let packed = sums::files(second)?;
    if packed.is_empty() {
        bail!("nothing was packed in {}", second.display());
    }
    for name in packed {
        let before = sums::of_file(&first.join(&name)).with_context(|| format!("{name} was packed before"))?;
        if before != sums::of_file(&second.join(&name))? {
            names.push(name);
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_file_with_other_bytes_is_named_and_nothing_packed_is_a_failure() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        assert!(differing(first.path(), second.path()).is_err());
        for (folder, bytes) in [(&first, "one"), (&second, "two")] {
            std::fs::write(folder.path().join("hardline-1-a.tar.gz"), "same").unwrap();
            std::fs::write(folder.path().join("hardline-1-b.tar.gz"), bytes).unwrap();
        }
        assert_eq!(differing(first.path(), second.path()).unwrap(), ["hardline-1-b.tar.gz"]);
    }
}
