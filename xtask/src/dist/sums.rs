//! `SHA256SUMS`, as sha256sum writes and checks it.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

const FILE: &str = "SHA256SUMS";

/// Writes the sums of every finished file in the folder.
///
/// # Errors
/// If one cannot be read.
pub(super) fn write(folder: &Path) -> Result<()> {
    let mut text = String::new();
    for name in files(folder)? {
        let _ = writeln!(text, "{}  {name}", of_file(&folder.join(&name))?);
    }
    std::fs::write(folder.join(FILE), text).context("writing the sums")
}

/// Names of the finished files in the folder, sorted: those that carry the program's name.
///
/// # Errors
/// If the folder cannot be read.
pub(super) fn files(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type()?.is_file() && name.starts_with("hardline") {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// A file's SHA-256 in hexadecimal.
///
/// # Errors
/// If it cannot be read.
pub(crate) fn of_file(path: &Path) -> Result<String> {
    let mut file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    let mut hash = Sha256::new();
    let mut piece = vec![0; 1 << 16];
    loop {
        let length = file.read(&mut piece)?;
        if length == 0 {
            break;
        }
        hash.update(&piece[..length]);
    }
    Ok(hexadecimal(&hash.finalize()))
}

/// A sum as text.
pub(super) fn hexadecimal(sum: &[u8]) -> String {
    sum.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
