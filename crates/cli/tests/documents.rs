//! What the documents say of the project is true today.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

#[test]
fn every_link_to_a_file_leads_somewhere() {
    let mut links = 0;
    for document in documents() {
        let text = std::fs::read_to_string(&document).unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = target.split('#').next().unwrap_or_default();
            if path.is_empty() || target.contains("://") {
                continue;
            }
            links += 1;
            assert!(document.parent().unwrap().join(path).exists(), "{}: {target}", document.display());
        }
    }
    assert!(links > 10, "only {links} links found");
}

#[test]
fn every_source_folder_named_in_the_code_map_is_there() {
    let architecture = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let map = architecture.split("## Code map").nth(1).unwrap().split("\n## ").next().unwrap();
    let places: Vec<_> = map.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    assert!(places.len() >= 6, "{places:?}");
    for place in places {
        assert!(root().join(place).is_dir(), "{place}");
    }
}

/// Every Markdown file of the repository's own.
fn documents() -> Vec<PathBuf> {
    let folders = ["", "docs", "packaging", "crates/dht", "lab", "fuzz"];
    let files = folders.iter().filter_map(|folder| std::fs::read_dir(root().join(folder)).ok()).flatten();
    let paths = files.map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "md")).collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}
