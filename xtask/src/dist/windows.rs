//! `hardline-VERSION-x86_64-pc-windows-gnu.zip`: the program for Windows with a script that
//! installs it for one user. The same bytes from the same files.

use std::fs::File;
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use super::archive::{self, Entry};
use super::build::Built;
use super::release::Release;

/// Only what Windows has a use for of what every archive carries: it has no pages for man, and one
/// shell.
fn is_of_use(name: &str) -> bool {
    !name.starts_with("man/")
        && (!name.starts_with("completions/") || Path::new(name).extension() == Some("ps1".as_ref()))
}

/// Packs the program with its documents.
///
/// # Errors
/// If a file cannot be read or written.
pub(super) fn pack(release: &Release, built: &Built) -> Result<PathBuf> {
    let name = format!("{}-{}", release.name(), built.target.triple());
    let path = release.out.join(format!("{name}.zip"));
    let mut entries = archive::contents(release, built)?;
    entries.retain(|entry| is_of_use(&entry.name));
    entries.push(archive::read("install.cmd", Path::new("packaging/windows/install.cmd"))?);
    let file = File::create(&path).with_context(|| format!("writing {}", path.display()))?;
    write_zip(file, &name, release.time, entries)?.sync_all()?;
    Ok(path)
}

/// Writes the entries into a folder of that name, sorted, all of one time.
///
/// # Errors
/// If the time is before 1980, or the other end takes no more.
fn write_zip<W: Write + Seek>(into: W, folder: &str, time: u64, mut entries: Vec<Entry>) -> Result<W> {
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    let usual = SimpleFileOptions::default().last_modified_time(time_of(time)?);
    let usual = usual.compression_method(CompressionMethod::Deflated);
    let mut zip = ZipWriter::new(into);
    for entry in entries {
        let mode = if entry.is_program { 0o755 } else { 0o644 };
        zip.start_file(format!("{folder}/{}", entry.name), usual.unix_permissions(mode))?;
        zip.write_all(&entry.bytes).with_context(|| format!("packing {}", entry.name))?;
    }
    Ok(zip.finish()?)
}

/// Seconds since 1970, as zip writes them: from 1980 on, by twos, here in UTC.
fn time_of(seconds: u64) -> Result<DateTime> {
    // 2026-11-29T08:55:00Z
    let text = humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(seconds)).to_string();
    let numbers: Result<Vec<u16>, _> = text.split(['-', 'T', ':', 'Z']).take(6).map(str::parse).collect();
    let [year, rest @ ..] = &numbers?[..] else { anyhow::bail!("a time: {text}") };
    let rest: Result<Vec<u8>, _> = rest.iter().map(|number| u8::try_from(*number)).collect();
    let [month, day, hour, minute, second] = rest?[..] else { anyhow::bail!("a time: {text}") };
    DateTime::from_date_and_time(*year, month, day, hour, minute, second).with_context(|| format!("{text} in a zip"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::{Cursor, Read as _};

    use super::*;

    fn packed(names: &[&str]) -> Vec<u8> {
        let entries = names.iter().map(|name| Entry {
            name: (*name).to_owned(),
            bytes: name.repeat(100).into_bytes(),
            is_program: name.ends_with(".exe"),
        });
        write_zip(Cursor::new(Vec::new()), "hardline-1", 1_700_000_001, entries.collect()).unwrap().into_inner()
    }

    #[test]
    fn an_archive_depends_on_nothing_but_its_files() {
        let one = packed(&["hardline.exe", "README.md", "completions/_hardline.ps1"]);
        assert_eq!(one, packed(&["completions/_hardline.ps1", "hardline.exe", "README.md"]));
        let mut zip = zip::ZipArchive::new(Cursor::new(one)).unwrap();
        let names: Vec<_> = zip.file_names().map(|name| name.unwrap().into_owned()).collect();
        assert_eq!(names, ["hardline-1/README.md", "hardline-1/completions/_hardline.ps1", "hardline-1/hardline.exe"]);
        let mut file = zip.by_name("hardline-1/README.md").unwrap();
        assert_eq!(file.last_modified().unwrap().to_string(), "2023-11-14 22:13:20");
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "README.md".repeat(100));
    }

    #[test]
    fn pages_for_man_and_scripts_for_other_shells_are_left_out() {
        for (name, expected) in [
            ("hardline.exe", true),
            ("man/hardline.1", false),
            ("completions/hardline.bash", false),
            ("completions/_hardline", false),
            ("completions/_hardline.ps1", true),
            ("LICENSE-MIT", true),
        ] {
            assert_eq!(is_of_use(name), expected, "{name}");
        }
    }

    /// Lines of a batch file that end otherwise are misread around labels.
    #[test]
    fn the_script_has_the_line_ends_of_windows() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/windows/install.cmd");
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text.ends_with("\r\n") && text.matches('\n').count() == text.matches("\r\n").count());
    }
}
