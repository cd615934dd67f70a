//! The folders of this crate import each other in one direction.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

#[test]
fn no_folder_imports_what_imports_it() {
    let imports = imports();
    assert!(imports["gateway"].contains("dial"), "imports were found: {imports:?}");
    for folder in imports.keys() {
        if let Some(circle) = way(&imports, folder, folder, &mut BTreeSet::new()) {
            panic!("a circle: {folder} imports {}", circle.join(", which imports "));
        }
    }
}

/// The way from `from` to `to` by imports, without those that were `seen`.
fn way<'a>(
    imports: &'a BTreeMap<String, BTreeSet<String>>,
    from: &str,
    to: &str,
    seen: &mut BTreeSet<&'a str>,
) -> Option<Vec<&'a str>> {
    for next in imports.get(from)? {
        if next == to {
            return Some(vec![next]);
        }
        if seen.insert(next)
            && let Some(mut rest) = way(imports, next, to, seen)
        {
            rest.insert(0, next);
            return Some(rest);
        }
    }
    None
}

/// What each folder or file directly below `src` imports of the others, tests aside.
fn imports() -> BTreeMap<String, BTreeSet<String>> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut imports: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in files(&src) {
        let place = file.strip_prefix(&src).unwrap().iter().next().unwrap().to_string_lossy();
        let place = place.trim_end_matches(".rs").to_owned();
        if place == "lib" {
            continue;
        }
        let text = std::fs::read_to_string(&file).unwrap();
        let code = text.split("#[cfg(test)]\nmod ").next().unwrap();
        for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
            for part in line.split("crate::").skip(1) {
                let module: String = part.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
                if !module.is_empty() && module != place {
                    imports.entry(place.clone()).or_default().insert(module);
                }
            }
        }
    }
    imports
}

/// Every file of code; those of tests alone are left out.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let is_code = |path: &PathBuf| !path.ends_with("tests.rs") && !path.ends_with("transport/memory.rs");
    let below = folders.iter().flat_map(|folder| self::files(folder));
    files.into_iter().filter(is_code).chain(below.collect::<Vec<_>>()).collect()
}
