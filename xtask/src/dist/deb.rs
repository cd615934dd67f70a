//! `hardline_VERSION_ARCH.deb`, for Debian and what descends from it.
//!
//! Written here and not by `dpkg-deb`, so that the bytes follow the files and no version of dpkg or
//! of its compressor: a package is an ar archive of two tar archives (deb(5)), and those are made
//! here already. Runner-up `cargo-deb`, which builds by itself.
//!
//! It has no scripts: nothing is started, stopped or left behind, and what users made is theirs.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use flate2::{Compression, GzBuilder};

use md5::{Digest as _, Md5};

use super::ar::Ar;
use super::archive::{self, Entry};
use super::build::Built;
use super::release::Release;
use super::sums::hexadecimal;
use super::target::Target;
use super::units;

/// What is filled in and put inside.
const TEMPLATES: &str = "packaging/debian";

/// Documents of the package.
const DOCUMENTS: &str = "usr/share/doc/hardline";

/// Packs the program with its documents.
///
/// # Errors
/// If a file cannot be read or written.
pub(super) fn pack(release: &Release, built: &Built) -> Result<PathBuf> {
    let architecture = architecture(built.target).context("Debian's name of the processor")?;
    let version = version(&release.version);
    let control = read("control")?;
    let mut files = files(archive::contents(release, built)?)?;
    files.extend(units()?);
    files.push(file(&format!("{DOCUMENTS}/copyright"), read("copyright")?.into()));
    files.push(file("usr/share/lintian/overrides/hardline", read("lintian-overrides")?.into()));
    let changelog = changelog(&version, maintainer(&control)?, release.time)?;
    files.push(gzipped(&format!("{DOCUMENTS}/changelog.gz"), changelog.as_bytes())?);

    let control = control
        .replace("@VERSION@", &version)
        .replace("@ARCHITECTURE@", architecture)
        .replace("@INSTALLED_SIZE@", &installed_size(&files).to_string());
    let package = write(&control, files, release.time)?;
    let path = release.out.join(format!("hardline_{version}_{architecture}.deb"));
    std::fs::write(&path, package).with_context(|| format!("writing {}", path.display()))?;
    Ok(path)
}

/// Debian's name for the processor, where it has one.
pub(super) fn architecture(target: Target) -> Option<&'static str> {
    match target {
        Target::LinuxX86 => Some("amd64"),
        Target::LinuxArm64 => Some("arm64"),
        Target::LinuxArm32 => Some("armhf"),
        _ => None,
    }
}

/// A version as Debian sorts it: `1.0.0-rc.1` comes before `1.0.0`, and is written with a tilde.
fn version(cargo: &str) -> String {
    cargo.replacen('-', "~", 1)
}

/// Where the files of every archive lie on a Debian system.
fn files(contents: Vec<Entry>) -> Result<Vec<Entry>> {
    let mut files = Vec::new();
    for entry in contents {
        match entry.name.as_str() {
            "hardline" => files.push(Entry { name: "usr/bin/hardline".to_owned(), ..entry }),
            "hardline.toml.example" => {
                files.push(file(&format!("{DOCUMENTS}/examples/hardline.toml"), entry.bytes));
            }
            "completions/hardline.bash" => {
                files.push(file("usr/share/bash-completion/completions/hardline", entry.bytes));
            }
            "completions/_hardline" => files.push(file("usr/share/zsh/vendor-completions/_hardline", entry.bytes)),
            "completions/hardline.fish" => {
                files.push(file("usr/share/fish/vendor_completions.d/hardline.fish", entry.bytes));
            }
            // PowerShell has no folder for them; the licences are in the file called copyright.
            "completions/_hardline.ps1" | "LICENSE-APACHE" | "LICENSE-MIT" => {}
            name => match name.strip_prefix("man/") {
                Some(page) => files.push(gzipped(&format!("usr/share/man/man1/{page}.gz"), &entry.bytes)?),
                None => files.push(gzipped(&format!("{DOCUMENTS}/{name}.gz"), &entry.bytes)?),
            },
        }
    }
    Ok(files)
}

fn units() -> Result<Vec<Entry>> {
    let user = units::for_program(units::USER, "/usr/bin/hardline")?;
    let system = units::for_program(units::SYSTEM, "/usr/bin/hardline")?;
    Ok(vec![
        file("usr/lib/systemd/user/hardline.service", user.into_bytes()),
        // A daemon that nobody asked for is not installed: it is there to be copied.
        file(&format!("{DOCUMENTS}/examples/system/hardline.service"), system.into_bytes()),
    ])
}

/// The changelog in Debian's own form. What changed is told in the project's, which lies beside it.
fn changelog(version: &str, maintainer: &str, time: u64) -> Result<String> {
    let time = jiff::Timestamp::from_second(time.try_into()?)?;
    let date = jiff::fmt::rfc2822::to_string(&time.to_zoned(jiff::tz::TimeZone::UTC))?;
    Ok(format!(
        "hardline ({version}) unstable; urgency=medium\n\n  * What changed is in CHANGELOG.md.gz.\n\n \
         -- {maintainer}  {date}\n"
    ))
}

fn maintainer(control: &str) -> Result<&str> {
    control.lines().find_map(|line| line.strip_prefix("Maintainer: ")).context("a maintainer")
}

/// KiB, as Debian counts them: each file rounded up, and one for each folder.
fn installed_size(files: &[Entry]) -> usize {
    archive::folders(files).len() + files.iter().map(|file| file.bytes.len().div_ceil(1024)).sum::<usize>()
}

/// The package: deb(5).
fn write(control: &str, mut files: Vec<Entry>, time: u64) -> Result<Vec<u8>> {
    files.sort_by(|a, b| a.name.cmp(&b.name));
    let mut sums = String::new();
    for file in &files {
        let _ = writeln!(sums, "{}  {}", hexadecimal(&Md5::digest(&file.bytes)), file.name);
    }
    // dpkg makes no folder that the package does not name.
    files.extend(archive::folders(&files));
    let control = vec![file("control", control.into()), file("md5sums", sums.into_bytes())];
    let mut ar = Ar::new(time);
    ar.append("debian-binary", b"2.0\n");
    ar.append("control.tar.gz", &tar(control, time)?);
    ar.append("data.tar.gz", &tar(files, time)?);
    Ok(ar.into_bytes())
}

fn tar(entries: Vec<Entry>, time: u64) -> Result<Vec<u8>> {
    let gzip = GzBuilder::new().write(Vec::new(), Compression::best());
    Ok(archive::write_tar(gzip, ".", time, entries)?.finish()?)
}

fn gzipped(name: &str, bytes: &[u8]) -> Result<Entry> {
    let mut gzip = GzBuilder::new().write(Vec::new(), Compression::best());
    gzip.write_all(bytes)?;
    Ok(file(name, gzip.finish()?))
}

fn file(name: &str, bytes: Vec<u8>) -> Entry {
    Entry { name: name.to_owned(), bytes, is_program: false }
}

fn read(name: &str) -> Result<String> {
    let path = Path::new(TEMPLATES).join(name);
    std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::Read as _;

    use flate2::read::GzDecoder;

    use super::*;

    const TIME: u64 = 1_700_000_000;

    fn contents() -> Vec<Entry> {
        let names = ["hardline", "man/hardline.1", "completions/_hardline", "LICENSE-MIT", "README.md"];
        let entry = |name: &str| Entry { is_program: name == "hardline", ..file(name, name.into()) };
        names.into_iter().map(entry).collect()
    }

    /// Names and bytes of the files of an ar archive.
    fn members(mut archive: &[u8]) -> Vec<(String, Vec<u8>)> {
        archive = archive.strip_prefix(b"!<arch>\n").unwrap();
        let mut members = Vec::new();
        while !archive.is_empty() {
            let head = std::str::from_utf8(&archive[..60]).unwrap();
            assert!(head.ends_with("`\n"), "{head}");
            assert_eq!(head[16..28].trim(), TIME.to_string());
            let size: usize = head[48..58].trim().parse().unwrap();
            members.push((head[..16].trim().to_owned(), archive[60..60 + size].to_vec()));
            archive = &archive[60 + size.next_multiple_of(2)..];
        }
        members
    }

    /// Names, modes and texts of a packed tar.
    fn unpacked(bytes: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
        let mut archive = tar::Archive::new(GzDecoder::new(bytes));
        let unpack = |file: std::io::Result<tar::Entry<'_, _>>| {
            let mut file = file.unwrap();
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).unwrap();
            (file.path().unwrap().display().to_string(), file.header().mode().unwrap(), bytes)
        };
        archive.entries().unwrap().map(unpack).collect()
    }

    #[test]
    fn a_package_depends_on_nothing_but_its_files() {
        let reversed = contents().into_iter().rev().collect();
        let one = write("Package: hardline\n", files(contents()).unwrap(), TIME).unwrap();
        assert_eq!(one, write("Package: hardline\n", files(reversed).unwrap(), TIME).unwrap());
    }

    #[test]
    fn a_package_has_its_parts_in_order_and_every_folder_before_its_files() {
        let package = write("Package: hardline\n", files(contents()).unwrap(), TIME).unwrap();
        let members = members(&package);
        let names: Vec<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["debian-binary", "control.tar.gz", "data.tar.gz"]);
        assert_eq!(members[0].1, b"2.0\n");
        let data: Vec<(String, u32)> =
            unpacked(&members[2].1).into_iter().map(|(name, mode, _)| (name, mode)).collect();
        let expected = [
            ("./", 0o755),
            ("./usr/", 0o755),
            ("./usr/bin/", 0o755),
            ("./usr/bin/hardline", 0o755),
            ("./usr/share/", 0o755),
            ("./usr/share/doc/", 0o755),
            ("./usr/share/doc/hardline/", 0o755),
            ("./usr/share/doc/hardline/README.md.gz", 0o644),
            ("./usr/share/man/", 0o755),
            ("./usr/share/man/man1/", 0o755),
            ("./usr/share/man/man1/hardline.1.gz", 0o644),
            ("./usr/share/zsh/", 0o755),
            ("./usr/share/zsh/vendor-completions/", 0o755),
            ("./usr/share/zsh/vendor-completions/_hardline", 0o644),
        ];
        assert_eq!(data, expected.map(|(name, mode)| (name.to_owned(), mode)));
    }

    /// The sum is that of RFC 1321's suite.
    #[test]
    fn the_sums_are_as_md5sum_writes_them() {
        let package = write("", vec![file("usr/share/doc/a", b"abc".to_vec())], TIME).unwrap();
        let control = unpacked(&members(&package)[1].1);
        let sums = &control.iter().find(|(name, ..)| name == "./md5sums").unwrap().2;
        assert_eq!(*sums, b"900150983cd24fb0d6963f7d28e17f72  usr/share/doc/a\n");
    }

    #[test]
    fn a_candidate_is_older_than_its_release() {
        assert_eq!(version("0.2.0-rc.1"), "0.2.0~rc.1");
        assert_eq!(version("0.2.0"), "0.2.0");
    }

    #[test]
    fn the_changelog_has_debians_form() {
        let text = changelog("0.2.0", "Ann <ann@example.net>", TIME).unwrap();
        let expected = "hardline (0.2.0) unstable; urgency=medium\n\n  * What changed is in CHANGELOG.md.gz.\n\n \
                        -- Ann <ann@example.net>  Tue, 14 Nov 2023 22:13:20 +0000\n";
        assert_eq!(text, expected);
    }
}
