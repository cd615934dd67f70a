//! What all files of one release share.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::target::Target;
use crate::steps::{cargo, run};

/// One release: this commit's.
pub(crate) struct Release {
    /// As in `Cargo.toml`.
    pub(crate) version: String,
    /// The commit's time, in seconds since 1970: the time of every file in the archives.
    pub(crate) time: u64,
    /// Where finished files go.
    pub(crate) out: PathBuf,
    /// Man pages in `man`, completions in `completions`: the same for every target.
    pub(crate) documents: PathBuf,
}

impl Release {
    /// Lets a build of the program for this machine write its documents, since not every target's
    /// runs here.
    ///
    /// # Errors
    /// If that fails, or this is no checkout of git.
    pub(crate) fn prepare(out: &Path) -> Result<Self> {
        Self::new(out, &|| cargo(&["run", "--quiet", "--package", "hardline", "--"]))
    }

    /// The same with this command for the program.
    ///
    /// # Errors
    /// If the program does not write its documents, or this is no checkout of git.
    pub(crate) fn new(out: &Path, program: &dyn Fn() -> Command) -> Result<Self> {
        std::fs::create_dir_all(out)?;
        let documents = out.join("documents");
        write_documents(&documents, program)?;
        Ok(Self { version: version()?, time: commit_time()?, out: out.to_owned(), documents })
    }

    /// Where the SBOM and the licences of the program for this target lie.
    pub(crate) fn notices(&self, target: Target) -> PathBuf {
        self.out.join("notices").join(target.triple())
    }

    /// The beginning of a file's name.
    pub(crate) fn name(&self) -> String {
        format!("hardline-{}", self.version)
    }
}

/// The workspace's version, which is this program's too.
fn version() -> Result<String> {
    let manifest = std::fs::read_to_string("Cargo.toml")?;
    let line = manifest.lines().find_map(|line| line.strip_prefix("version = \""));
    Ok(line.and_then(|rest| rest.strip_suffix('"')).context("the workspace's version")?.to_owned())
}

/// `SOURCE_DATE_EPOCH` where it is set, as everywhere, else the commit's time.
fn commit_time() -> Result<u64> {
    if let Ok(given) = std::env::var("SOURCE_DATE_EPOCH") {
        return given.parse().context("SOURCE_DATE_EPOCH");
    }
    let output = Command::new("git").args(["log", "-1", "--format=%ct"]).output().context("starting git")?;
    if !output.status.success() {
        bail!("the time of the release is that of its commit, and this is no checkout: set SOURCE_DATE_EPOCH");
    }
    String::from_utf8(output.stdout)?.trim().parse().context("the commit's time")
}

/// The program's name for a shell, and what the script for it is called.
const COMPLETIONS: [(&str, &str); 4] =
    [("bash", "hardline.bash"), ("zsh", "_hardline"), ("fish", "hardline.fish"), ("powershell", "_hardline.ps1")];

fn write_documents(folder: &Path, program: &dyn Fn() -> Command) -> Result<()> {
    if folder.exists() {
        std::fs::remove_dir_all(folder)?;
    }
    let scripts = folder.join("completions");
    std::fs::create_dir_all(&scripts)?;
    run(program().args(["man", "--dir"]).arg(folder.join("man")))?;
    for (shell, file) in COMPLETIONS {
        let output = program().args(["completions", shell]).output()?;
        if !output.status.success() {
            bail!("hardline completions {shell}: {}", String::from_utf8_lossy(&output.stderr));
        }
        std::fs::write(scripts.join(file), output.stdout)?;
    }
    Ok(())
}
