//! `hardline-VERSION-TRIPLE.tar.gz`: the same bytes from the same files, whenever and wherever it
//! is packed.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use flate2::{Compression, GzBuilder};
use tar::{Builder, EntryType, Header};

use super::build::Built;
use super::release::Release;
use super::units;

/// A file of an archive: its name in there, its bytes, and whether it is a program. A folder's name
/// ends with a slash.
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) is_program: bool,
}

/// Packs the program with its documents.
///
/// # Errors
/// If a file cannot be read or written.
pub(super) fn pack(release: &Release, built: &Built) -> Result<PathBuf> {
    let name = format!("{}-{}", release.name(), built.target.triple());
    let path = release.out.join(format!("{name}.tar.gz"));
    let file = File::create(&path).with_context(|| format!("writing {}", path.display()))?;
    let mut files = contents(release, built)?;
    // For install.sh, which puts the program into the same place.
    let unit = units::for_program(units::USER, "%h/.local/bin/hardline")?;
    let name_of_unit = "systemd/user/hardline.service".to_owned();
    files.push(Entry { name: name_of_unit, bytes: unit.into_bytes(), is_program: false });
    // No name and no time in gzip's own head.
    let packed = GzBuilder::new().write(file, Compression::best());
    write_tar(packed, &name, release.time, files)?.finish()?.sync_all()?;
    Ok(path)
}

/// What every archive of the program carries, whatever its format: the program, its documents,
/// an example, licences, and what it is made of.
///
/// # Errors
/// If one cannot be read.
pub(crate) fn contents(release: &Release, built: &Built) -> Result<Vec<Entry>> {
    let mut entries = vec![Entry { is_program: true, ..read(built.target.program(), &built.program)? }];
    for folder in ["man", "completions"] {
        for entry in std::fs::read_dir(release.documents.join(folder))? {
            let entry = entry?;
            entries.push(read(&format!("{folder}/{}", entry.file_name().display()), &entry.path())?);
        }
    }
    for entry in std::fs::read_dir(release.notices(built.target)).context("the program's SBOM and licences")? {
        let entry = entry?;
        entries.push(read(&entry.file_name().to_string_lossy(), &entry.path())?);
    }
    for file in ["README.md", "CHANGELOG.md", "LICENSE-APACHE", "LICENSE-MIT"] {
        entries.push(read(file, Path::new(file))?);
    }
    entries.push(read("hardline.toml.example", Path::new("packaging/hardline.toml"))?);
    Ok(entries)
}

/// A file that goes into an archive by that name.
///
/// # Errors
/// If it cannot be read.
pub(crate) fn read(name: &str, path: &Path) -> Result<Entry> {
    let bytes = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    Ok(Entry { name: name.to_owned(), bytes, is_program: false })
}

/// Every folder in which one of the entries lies, for archives that must name them.
pub(super) fn folders(entries: &[Entry]) -> Vec<Entry> {
    let mut names = BTreeSet::new();
    for entry in entries {
        names.extend(entry.name.match_indices('/').map(|(slash, _)| &entry.name[..=slash]));
    }
    names.into_iter().map(|name| Entry { name: name.to_owned(), bytes: Vec::new(), is_program: false }).collect()
}

/// Writes the entries into a folder of that name, sorted, all of one time, and of nobody.
///
/// # Errors
/// If a name is too long, or the other end takes no more.
pub(crate) fn write_tar<W: Write>(into: W, folder: &str, time: u64, mut entries: Vec<Entry>) -> Result<W> {
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    let mut tar = Builder::new(into);
    append(&mut tar, &format!("{folder}/"), time, EntryType::Directory, 0o755, 0, &[])?;
    for entry in entries {
        let name = format!("{folder}/{}", entry.name);
        if name.ends_with('/') {
            append(&mut tar, &name, time, EntryType::Directory, 0o755, 0, &[])?;
        } else {
            let mode = if entry.is_program { 0o755 } else { 0o644 };
            append(&mut tar, &name, time, EntryType::Regular, mode, 0, &entry.bytes)?;
        }
    }
    Ok(tar.into_inner()?)
}

/// Adds one file or folder, whose user and group have this number.
///
/// # Errors
/// If its name is too long, or the other end takes no more.
pub(super) fn append(
    tar: &mut Builder<impl Write>,
    name: &str,
    time: u64,
    kind: EntryType,
    mode: u32,
    owner: u64,
    bytes: &[u8],
) -> Result<()> {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(owner);
    header.set_gid(owner);
    header.set_mtime(time);
    header.set_size(bytes.len().try_into()?);
    if !name.starts_with("./") {
        return tar.append_data(&mut header, name, bytes).with_context(|| format!("packing {name}"));
    }
    // As Debian's own packages have it. The library leaves the dot out.
    let field = &mut header.as_ustar_mut().context("a header of ustar")?.name;
    field.get_mut(..name.len()).with_context(|| format!("{name} is too long"))?.copy_from_slice(name.as_bytes());
    header.set_cksum();
    tar.append(&header, bytes).with_context(|| format!("packing {name}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::Read as _;

    use super::*;

    fn entry(name: &str, bytes: &[u8]) -> Entry {
        Entry { name: name.to_owned(), bytes: bytes.to_vec(), is_program: name == "hardline" }
    }

    fn packed(entries: Vec<Entry>) -> Vec<u8> {
        let gzip = GzBuilder::new().write(Vec::new(), Compression::best());
        write_tar(gzip, "hardline-1", 1_700_000_000, entries).unwrap().finish().unwrap()
    }

    #[test]
    fn an_archive_depends_on_nothing_but_its_files() {
        let files = [("hardline", &b"program"[..]), ("man/hardline.1", b"page"), ("README.md", b"read")];
        let one = packed(files.iter().map(|(name, bytes)| entry(name, bytes)).collect());
        let other = packed(files.iter().rev().map(|(name, bytes)| entry(name, bytes)).collect());
        assert_eq!(one, other);
        // gzip's time (RFC 1952).
        assert_eq!(one[4..8], [0; 4]);
    }

    #[test]
    fn programs_may_run_and_everything_has_the_commits_time() {
        let archive = packed(vec![entry("man/hardline.1", b"page"), entry("hardline", b"program")]);
        let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(&archive[..]));
        let mut seen = Vec::new();
        for file in tar.entries().unwrap() {
            let mut file = file.unwrap();
            let header = file.header();
            assert_eq!((header.mtime().unwrap(), header.uid().unwrap()), (1_700_000_000, 0));
            let mode = header.mode().unwrap();
            let name = file.path().unwrap().display().to_string();
            let mut text = String::new();
            file.read_to_string(&mut text).unwrap();
            seen.push((name, mode, text));
        }
        let expected = [
            ("hardline-1/", 0o755, ""),
            ("hardline-1/hardline", 0o755, "program"),
            ("hardline-1/man/hardline.1", 0o644, "page"),
        ];
        assert_eq!(seen, expected.map(|(name, mode, text)| (name.to_owned(), mode, text.to_owned())));
    }
}
