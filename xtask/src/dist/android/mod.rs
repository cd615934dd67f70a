//! `hardline-VERSION.apk`: the static program for 64-bit ARM in the shell of an Android app, whose
//! sources are in `packaging/android`. Everything that makes it is Debian's.
//!
//! Runners-up: Google's SDK and Gradle, which no registry of packages here has; smali written by
//! hand, which is read and tested less well than Java.

mod dex;
mod elf;
mod fdroid;
mod manifest;
mod package;
mod sign;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::build::Built;
use super::release::Release;
use crate::machine;

/// The oldest Android that the app runs on: 10.
const MIN_SDK: u32 = 29;

/// The Android whose rules it keeps: 16.
const TARGET_SDK: u32 = 36;

/// Bytes of the finished file; more is too much to ask of somebody on mobile data.
const MAX_SIZE: u64 = 12_000_000;

/// Packs the program for 64-bit ARM as an app.
///
/// # Errors
/// If Debian's tools fail, the program would not run on a phone, or the file grew too large.
pub(super) fn pack(release: &Release, built: &Built) -> Result<PathBuf> {
    let program = std::fs::read(&built.program).with_context(|| format!("reading {}", built.program.display()))?;
    elf::must_run_on_phones(&program)?;
    machine::prepare("tools that make the Android app", machine::ANDROID)?;
    let work = Work::new(&release.out.join("android"))?;
    let unsigned = work.assemble(&release.version, &program, &licences(&release.notices(built.target))?)?;
    fdroid::write(&work.sources, &work.folder, &release.version)?;
    let path = release.out.join(format!("{}.apk", release.name()));
    sign::sign(&unsigned, &path, &sign::Key::given_or_made(&release.out.join("android-key.p12"))?)?;
    sign::verify(&path)?;
    let size = std::fs::metadata(&path)?.len();
    if size > MAX_SIZE {
        bail!("{} has {size} bytes, and more than {MAX_SIZE} are too many", path.display());
    }
    Ok(path)
}

/// Ours, and those of everything that the program is made of.
fn licences(notices: &Path) -> Result<String> {
    let files = ["LICENSE-MIT".into(), "LICENSE-APACHE".into(), notices.join("THIRD-PARTY-LICENSES.txt")];
    let read = |path: &PathBuf| std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()));
    Ok(files.iter().map(read).collect::<Result<Vec<_>>>()?.join("\n"))
}

/// A folder for what lies between the sources and the finished file.
struct Work {
    sources: PathBuf,
    folder: PathBuf,
}

impl Work {
    /// Empties the folder.
    fn new(folder: &Path) -> Result<Self> {
        if folder.exists() {
            std::fs::remove_dir_all(folder)?;
        }
        std::fs::create_dir_all(folder)?;
        let repository = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
        Ok(Self { sources: repository.join("packaging/android"), folder: folder.to_owned() })
    }

    /// The app without a signature: the same bytes from the same sources.
    fn assemble(&self, version: &str, program: &[u8], licences: &str) -> Result<PathBuf> {
        let code = self.compile()?;
        let resources = self.compile_resources(version)?;
        let path = self.folder.join("unsigned.apk");
        package::write(&path, &resources, &code, program, licences)?;
        Ok(path)
    }
}
