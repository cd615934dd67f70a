//! The file itself: a zip archive, with the same bytes from the same contents.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use super::{MIN_SDK, TARGET_SDK, Work, manifest};
use crate::steps::run;

/// Where Android looks for the code of a processor; the program is unpacked from there.
pub(super) const PROGRAM: &str = "lib/arm64-v8a/libhardline.so";

/// Whoever hands the app on hands these on.
pub(super) const LICENCES: &str = "assets/LICENSES.txt";

/// Android maps this one as it lies in the archive, at a multiple of four bytes.
const TABLE: &str = "resources.arsc";

const MANIFEST: &str = "AndroidManifest.xml";

impl Work {
    /// Lets aapt compile the manifest and the resources, and says where they are.
    ///
    /// # Errors
    /// If it refuses them.
    pub(super) fn compile_resources(&self, version: &str) -> Result<PathBuf> {
        let path = self.folder.join("resources.apk");
        let mut aapt = Command::new("aapt");
        aapt.args(["package", "-f", "-I", "/usr/share/android-framework-res/framework-res.apk"]);
        aapt.args(["--min-sdk-version", &MIN_SDK.to_string(), "--target-sdk-version", &TARGET_SDK.to_string()]);
        aapt.args(["--version-code", &version_code(version)?.to_string(), "--version-name", version]);
        aapt.arg("-M").arg(self.sources.join(MANIFEST)).arg("-S").arg(self.sources.join("res"));
        run(aapt.arg("-F").arg(&path))?;
        Ok(path)
    }
}

/// The number by which Android compares versions: 1.2.3 is 10203.
///
/// # Errors
/// If the version is not three numbers below a hundred.
pub(super) fn version_code(version: &str) -> Result<u32> {
    let release = version.split('-').next().unwrap_or_default();
    let parts: Vec<u32> = release.split('.').map(str::parse).collect::<Result<_, _>>().context("the version")?;
    match parts[..] {
        [major, minor, patch] if minor < 100 && patch < 100 => Ok(major * 10_000 + minor * 100 + patch),
        _ => anyhow::bail!("{version} is no version for an app"),
    }
}

/// Puts everything into one archive, sorted, all of one time and of one mode.
///
/// # Errors
/// If something cannot be read or written.
pub(super) fn write(path: &Path, resources: &Path, code: &Path, program: &[u8], licences: &str) -> Result<()> {
    let mut files = unpacked(resources)?;
    manifest::make_special_use(files.get_mut(MANIFEST).context("aapt wrote no manifest")?)?;
    files.insert("classes.dex".to_owned(), std::fs::read(code)?);
    files.insert(PROGRAM.to_owned(), program.to_vec());
    files.insert(LICENCES.to_owned(), licences.into());
    let mut archive = ZipWriter::new(File::create(path).with_context(|| format!("writing {}", path.display()))?);
    for (name, bytes) in files {
        let usual = SimpleFileOptions::default().last_modified_time(zip::DateTime::default()).unix_permissions(0o644);
        let options = if name == TABLE {
            usual.compression_method(CompressionMethod::Stored).with_alignment(4)
        } else {
            usual.compression_method(CompressionMethod::Deflated).compression_level(Some(9))
        };
        archive.start_file(name, options)?;
        archive.write_all(&bytes)?;
    }
    archive.finish()?;
    Ok(())
}

/// The files of an archive by their names.
///
/// # Errors
/// If it cannot be read.
pub(super) fn unpacked(path: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut archive = ZipArchive::new(File::open(path).with_context(|| format!("opening {}", path.display()))?)?;
    let mut files = BTreeMap::new();
    for index in 0..archive.len() {
        let mut file = archive.by_index(index)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        files.insert(file.name()?.into_owned(), bytes);
    }
    Ok(files)
}
