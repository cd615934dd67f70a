//! Finding what is handed out by its kind: its name carries the version.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

/// The only file that is handed out whose name begins and ends so.
pub(crate) fn packed(beginning: &str, end: &str) -> Result<PathBuf> {
    let folder = std::env::var_os("HARDLINE_ARTIFACTS")
        .context("HARDLINE_ARTIFACTS names no folder; run `cargo xtask test --only artifacts`")?;
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with(beginning) && name.ends_with(end) {
            found.push(path);
        }
    }
    match found.as_slice() {
        [one] => Ok(one.canonicalize()?),
        _ => bail!("one {beginning}…{end} was expected, and there are {found:?}"),
    }
}
