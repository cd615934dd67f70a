//! What F-Droid, which builds apps from their sources, is told about this one.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::package::version_code;

/// The app's file in F-Droid's own repository is named after the app.
const FILE: &str = "hardline.mobile.yml";

/// Writes it for this version below the folder, from the one beside the app's sources.
///
/// # Errors
/// If one cannot be read or written.
pub(super) fn write(sources: &Path, folder: &Path, version: &str) -> Result<PathBuf> {
    let template = sources.join("fdroid").join(FILE);
    let text = std::fs::read_to_string(&template).with_context(|| format!("reading {}", template.display()))?;
    let path = folder.join(FILE);
    let text = text.replace("VERSION_CODE", &version_code(version)?.to_string()).replace("VERSION_NAME", version);
    std::fs::write(&path, text)?;
    Ok(path)
}
