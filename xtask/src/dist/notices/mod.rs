//! What the program for a target is made of: for machines (CycloneDX) and, with the licences, for
//! people.
//!
//! Runners-up: `cargo-cyclonedx` and `cargo-about`, which know neither the C inside of crates nor
//! the libraries that come with the compilers, and would be built for minutes.

mod compiler;
mod crates;
mod licences;
mod sbom;

use std::path::Path;

use anyhow::{Context as _, Result, bail};

use super::release::Release;
use super::target::Target;
use super::toolchain::Toolchain;

/// What of the program others made, and its own crates.
#[derive(Clone, Debug, Default)]
struct Part {
    name: String,
    version: String,
    /// In words of SPDX.
    licence: String,
    /// Where it comes from, as a package URL, if from a registry.
    purl: Option<String>,
    /// SHA-256 of its package, in hexadecimal.
    sha256: Option<String>,
    /// Licences, copyright and notices, as they were delivered. None for our own.
    texts: Vec<String>,
    /// References of the parts that it needs.
    needs: Vec<String>,
}

impl Part {
    /// The name that other parts use for it.
    fn reference(&self) -> String {
        self.purl.clone().unwrap_or_else(|| format!("{}@{}", self.name, self.version))
    }

    fn is_own(&self) -> bool {
        self.name == "hardline" || self.name.starts_with("hardline-")
    }
}

/// Writes both for the target.
///
/// # Errors
/// If a part has no licence text, or cargo cannot be asked.
pub(super) fn write(release: &Release, toolchain: &Toolchain, target: Target) -> Result<()> {
    let folder = release.notices(target);
    std::fs::create_dir_all(&folder)?;
    let mut parts = crates::of(target)?;
    parts.extend(compiler::of(toolchain, target)?);
    parts.sort_by_key(Part::reference);
    parts.dedup_by_key(|part| part.reference());
    if let Some(bare) = parts.iter().find(|part| part.texts.is_empty() && !part.is_own()) {
        bail!("{} {} came without the text of its licence ({})", bare.name, bare.version, bare.licence);
    }
    std::fs::write(folder.join(licences::FILE), licences::text(&parts))?;
    std::fs::write(folder.join(sbom::FILE), sbom::json(&parts, target, release.time)?)?;
    Ok(())
}

fn read(path: &Path) -> Result<String> {
    let bytes = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Beginnings of the names of files with licences, in small letters.
const LICENCE_FILES: [&str; 6] = ["license", "licence", "copying", "unlicense", "notice", "copyright"];

/// The licence texts that lie in a package's folder.
fn texts_in(folder: &Path) -> Result<Vec<String>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("looking into {}", folder.display()))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().to_lowercase();
        if entry.file_type()?.is_file() && LICENCE_FILES.iter().any(|beginning| name.starts_with(beginning)) {
            paths.push(entry.path());
        }
    }
    paths.sort();
    paths.iter().map(|path| read(path)).collect()
}

/// For a package without a licence file, and a choice of licences: the one whose text is the same
/// for everybody.
fn common_text(licence: &str) -> Result<Vec<String>> {
    if licence.contains("Apache-2.0") { Ok(vec![read(Path::new("LICENSE-APACHE"))?]) } else { Ok(Vec::new()) }
}
