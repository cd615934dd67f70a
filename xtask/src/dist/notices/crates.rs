//! Crates, and the C inside of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::{Part, common_text, read, texts_in};
use crate::dist::target::Target;
use crate::steps::cargo;

/// The crates that end up in the program, our own among them, and what they carry.
///
/// # Errors
/// If cargo cannot be asked, or a text cannot be read.
pub(super) fn of(target: Target) -> Result<Vec<Part>> {
    let inside = inside("hardline", Path::new("."), target)?;
    let metadata = metadata(target)?;
    let sums = checksums(&read(Path::new("Cargo.lock"))?);
    let mut parts = Vec::new();
    for package in metadata["packages"].as_array().context("packages")? {
        let key = key(package);
        if !inside.contains(&key) {
            continue;
        }
        let folder = PathBuf::from(text(package, "manifest_path")).parent().context("a folder")?.to_owned();
        let carried = carried(&text(package, "name"), &text(package, "version"), &folder)?;
        let mut part = part(package, &folder)?;
        part.sha256 = sums.get(&key).cloned();
        part.needs = needs(&metadata, package, &inside);
        part.needs.extend(carried.iter().map(Part::reference));
        parts.push(part);
        parts.extend(carried);
    }
    Ok(parts)
}

/// `name version` of every crate that the package of this workspace is built of for the target, but
/// those that run in the compiler.
///
/// # Errors
/// If cargo cannot be asked.
pub(super) fn inside(package: &str, workspace: &Path, target: Target) -> Result<BTreeSet<String>> {
    let mut tree = cargo(&["tree", "--locked", "--edges", "normal,no-proc-macro", "--prefix", "none", "--no-dedupe"]);
    tree.args(["--format", "{p}", "--package", package, "--target", target.triple()]).current_dir(workspace);
    // The library's sources are for this compiler only.
    let said = answer(tree.env("RUSTC_BOOTSTRAP", "1"))?;
    // hardline-dht v0.1.0 (/folder)
    let mut crates = BTreeSet::new();
    for line in said.lines() {
        let mut words = line.split(' ');
        if let (Some(name), Some(version)) = (words.next(), words.next()) {
            crates.insert(format!("{name} {}", version.trim_start_matches('v')));
        }
    }
    Ok(crates)
}

fn answer(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("starting {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?)
}

fn metadata(target: Target) -> Result<Value> {
    let arguments = ["metadata", "--format-version", "1", "--locked", "--filter-platform", target.triple()];
    Ok(serde_json::from_str(&answer(&mut cargo(&arguments))?)?)
}

fn text(package: &Value, field: &str) -> String {
    package[field].as_str().unwrap_or_default().to_owned()
}

fn key(package: &Value) -> String {
    format!("{} {}", text(package, "name"), text(package, "version"))
}

fn part(package: &Value, folder: &Path) -> Result<Part> {
    // The slash is an older way to write it.
    let licence = text(package, "license").replace(" / ", " OR ").replace('/', " OR ");
    let is_own = package["source"].is_null();
    let mut texts = if is_own { Vec::new() } else { texts_in(folder)? };
    if texts.is_empty() && !is_own {
        texts = common_text(&licence)?;
    }
    let (name, version) = (text(package, "name"), text(package, "version"));
    let purl = Some(purl(&name, &version));
    Ok(Part { name, version, licence, purl, texts, ..Part::default() })
}

fn purl(name: &str, version: &str) -> String {
    format!("pkg:cargo/{name}@{}", version.replace('+', "%2B"))
}

fn needs(metadata: &Value, package: &Value, inside: &BTreeSet<String>) -> Vec<String> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let nodes = list(&metadata["resolve"]["nodes"]);
    let packages = list(&metadata["packages"]);
    let Some(node) = nodes.iter().find(|node| node["id"] == package["id"]) else { return Vec::new() };
    let is_in_program = |needed: &&Value| list(&needed["dep_kinds"]).iter().any(|kind| kind["kind"].is_null());
    let needed = list(&node["deps"]);
    let ids: Vec<&Value> = needed.iter().filter(is_in_program).map(|needed| &needed["pkg"]).collect();
    let found = packages.iter().filter(|package| ids.contains(&&package["id"]) && inside.contains(&key(package)));
    found.map(|package| purl(&text(package, "name"), &text(package, "version"))).collect()
}

/// `name version` → SHA-256, from the text of a lock file.
fn checksums(lock: &str) -> BTreeMap<String, String> {
    let field = |package: &str, name: &str| {
        let beginning = format!("{name} = \"");
        package.lines().find_map(|line| Some(line.strip_prefix(&beginning)?.trim_end_matches('"').to_owned()))
    };
    let packages = lock.split("[[package]]").skip(1);
    packages
        .filter_map(|it| Some((format!("{} {}", field(it, "name")?, field(it, "version")?), field(it, "checksum")?)))
        .collect()
}

/// What others wrote in C and the crate compiles. (What `ring` has of BoringSSL is in its own
/// licence's files.)
fn carried(name: &str, version: &str, folder: &Path) -> Result<Vec<Part>> {
    let part = match name {
        "tikv-jemalloc-sys" => Part {
            name: "jemalloc".into(),
            version: version.split_once('+').context("jemalloc's version")?.1.into(),
            licence: "BSD-2-Clause".into(),
            texts: vec![read(&folder.join("jemalloc/COPYING"))?],
            ..Part::default()
        },
        "libsqlite3-sys" => sqlite(&read(&folder.join("sqlite3/sqlite3.h"))?)?,
        "ring" => Part {
            name: "fiat-crypto".into(),
            version: format!("in-ring-{version}"),
            licence: "MIT".into(),
            texts: vec![read(&folder.join("third_party/fiat/LICENSE"))?],
            ..Part::default()
        },
        _ => return Ok(Vec::new()),
    };
    Ok(vec![part])
}

/// SQLite's version and its words instead of a licence, from its header.
fn sqlite(header: &str) -> Result<Part> {
    let version = header.split("#define SQLITE_VERSION ").nth(1).and_then(|rest| rest.split('"').nth(1));
    let blessing = header.split("*****").next().context("SQLite's blessing")?;
    Ok(Part {
        name: "sqlite".into(),
        version: version.context("SQLite's version")?.into(),
        licence: "blessing".into(),
        texts: vec![blessing.trim_start_matches('/').to_owned()],
        ..Part::default()
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn sums_are_found_in_a_lock_file() {
        let lock = "version = 4\n\n[[package]]\nname = \"own\"\nversion = \"0.1.0\"\n\n[[package]]\nname = \"a\"\nversion = \
                    \"1.0.2\"\nsource = \"registry\"\nchecksum = \"00ff\"\n";
        assert_eq!(checksums(lock), BTreeMap::from([("a 1.0.2".to_owned(), "00ff".to_owned())]));
    }

    #[test]
    fn sqlites_blessing_goes_with_its_version() {
        let part =
            sqlite("/*\n** a blessing:\n**\n*****\n** more\n#define SQLITE_VERSION        \"3.51.2\"\n").unwrap();
        assert_eq!((part.version.as_str(), part.texts[0].as_str()), ("3.51.2", "*\n** a blessing:\n**\n"));
    }
}
