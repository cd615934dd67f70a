//! What the compilers put into every program.

use std::path::Path;

use anyhow::{Context as _, Result};

use super::crates::inside;
use super::{Part, read};
use crate::dist::target::Target;
use crate::dist::toolchain::Toolchain;

/// Where Debian keeps what its packages say of licences.
const DEBIAN: &str = "/usr/share/doc";

/// Rust's library with its crates, the C library and what stands in for the compiler's own.
///
/// # Errors
/// If one of them, or its text, is not where it should be.
pub(super) fn of(toolchain: &Toolchain, target: Target) -> Result<Vec<Part>> {
    let copyright = read(&toolchain.library_copyright())?;
    let mut parts = rust(&toolchain.library(), &toolchain.rust_version()?, &copyright, target)?;
    if target == Target::Windows {
        parts.extend(mingw(Path::new(DEBIAN))?);
    } else {
        parts.extend(zig(&toolchain.zig_folder(), Toolchain::zig_version())?);
    }
    Ok(parts)
}

/// Debian leaves the licences' files out of the sources, and has them all in one of its own.
fn rust(library: &Path, version: &str, copyright: &str, target: Target) -> Result<Vec<Part>> {
    let mut parts = Vec::new();
    for key in inside("std", &library.join("sysroot"), target)? {
        let (name, crate_version) = key.split_once(' ').context("a name and a version")?;
        let folder = library.join("vendor").join(format!("{name}-{crate_version}"));
        // What is not there belongs to the library itself.
        if folder.exists() {
            let licence = licence(&read(&folder.join("Cargo.toml"))?);
            let purl = Some(format!("pkg:cargo/{name}@{crate_version}"));
            let (name, version, texts) = (name.into(), crate_version.into(), vec![copyright.to_owned()]);
            parts.push(Part { name, version, licence, purl, texts, ..Part::default() });
        }
    }
    parts.push(Part {
        name: "rust-std".into(),
        version: version.into(),
        licence: "MIT OR Apache-2.0".into(),
        texts: vec![copyright.to_owned()],
        needs: parts.iter().map(Part::reference).collect(),
        ..Part::default()
    });
    Ok(parts)
}

fn licence(manifest: &str) -> String {
    let found = manifest.lines().find_map(|line| line.strip_prefix("license = \""));
    found.unwrap_or_default().trim_end_matches('"').replace('/', " OR ")
}

/// The C library (musl), the unwinder (LLVM's) and the arithmetic that processors lack.
fn zig(folder: &Path, version: &str) -> Result<Vec<Part>> {
    let of = [
        ("musl", "MIT", "lib/libc/musl/COPYRIGHT"),
        ("llvm-libunwind", "Apache-2.0 WITH LLVM-exception", "lib/libunwind/LICENSE.TXT"),
        ("zig-compiler-rt", "MIT", "LICENSE"),
    ];
    let part = |(name, licence, file): (&str, &str, &str)| {
        Ok(Part {
            name: name.into(),
            version: format!("in-zig-{version}"),
            licence: licence.into(),
            texts: vec![read(&folder.join(file))?],
            ..Part::default()
        })
    };
    of.into_iter().map(part).collect()
}

/// The start files and libraries of mingw-w64 and gcc.
fn mingw(documents: &Path) -> Result<Vec<Part>> {
    let of = [
        ("mingw-w64", "ZPL-2.1", "mingw-w64-x86-64-dev"),
        ("libgcc", "GPL-3.0-or-later WITH GCC-exception-3.1", "gcc-mingw-w64-x86-64-posix-runtime"),
    ];
    let part = |(name, licence, package): (&str, &str, &str)| {
        Ok(Part {
            name: name.into(),
            version: "in-debian".into(),
            licence: licence.into(),
            texts: vec![read(&documents.join(package).join("copyright"))?],
            ..Part::default()
        })
    };
    of.into_iter().map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_licence_is_found_in_a_manifest() {
        assert_eq!(licence("[package]\nname = \"a\"\nlicense = \"MIT/Apache-2.0\"\n"), "MIT OR Apache-2.0");
    }
}
