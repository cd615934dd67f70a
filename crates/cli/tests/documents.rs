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
fn every_place_named_in_the_code_map_is_there() {
    let architecture = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let map = architecture.split("## Code map").nth(1).unwrap().split("\n## ").next().unwrap();
    let places: Vec<_> = map.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    assert!(places.len() >= 20, "{places:?}");
    for place in places {
        assert!(root().join(place).exists(), "{place}");
    }
}

#[test]
fn every_test_named_in_the_threat_model_is_there() {
    let security = std::fs::read_to_string(root().join("SECURITY.md")).unwrap();
    let model = security.split("## Threat model").nth(1).unwrap();
    let rows = model.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").nth(1));
    let named: Vec<_> = rows.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    assert!(named.len() > 20, "{named:?}");
    let sources = sources(&root());
    for test in named {
        let definition = format!("fn {test}(");
        assert!(sources.iter().any(|source| source.contains(&definition)), "no test {test}");
    }
}

#[test]
fn every_known_program_has_its_line() {
    let page = std::fs::read_to_string(root().join("docs/apps.md")).unwrap();
    for app in hardline_node::apps::APPS {
        assert!(page.contains(&format!("| {} | `app = \"{}\"`", app.title, app.name)), "{}", app.name);
    }
}

#[test]
fn every_headline_explained_to_newcomers_is_one_that_a_page_has() {
    let page = std::fs::read_to_string(root().join("docs/start.md")).unwrap();
    let table = page.split("## It does not open").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| **")?.split(" | ").next());
    let headlines: Vec<_> = rows.flat_map(|cell| cell.split("**").step_by(2)).filter(|it| !it.is_empty()).collect();
    assert!(headlines.len() >= 6, "{headlines:?}");
    let errors = std::fs::read_to_string(root().join("crates/node/src/gateway/errors.rs")).unwrap();
    for headline in headlines {
        assert!(errors.contains(&format!("\"{headline}\"")), "no page is headed {headline}");
    }
}

/// Text of every Rust file of the crates, the lab and the project's own commands.
fn sources(root: &Path) -> Vec<String> {
    let mut folders = vec![root.join("crates"), root.join("lab"), root.join("xtask")];
    let mut texts = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            match entry.path() {
                path if path.is_dir() => folders.push(path),
                path if path.extension().is_some_and(|it| it == "rs") => {
                    texts.push(std::fs::read_to_string(path).unwrap())
                }
                _ => {}
            }
        }
    }
    texts
}

/// Every Markdown file of the repository's own.
fn documents() -> Vec<PathBuf> {
    let folders = ["", "docs", "packaging", "packaging/android", "crates/dht", "lab", "fuzz"];
    let files = folders.iter().filter_map(|folder| std::fs::read_dir(root().join(folder)).ok()).flatten();
    let paths = files.map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "md")).collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}
