//! Replays the fuzz targets' corpora (`fuzz/corpus/TARGET`), so that what a fuzzer once found stays
//! found.

#![allow(clippy::unwrap_used)]

mod checks;

use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn every_input_of_every_corpus_keeps_the_promises() {
    for (target, check) in checks::ALL {
        let inputs = inputs(target);
        assert!(inputs.len() >= 5, "{target} has {} inputs", inputs.len());
        for path in inputs {
            println!("{}", path.display()); // shown when the check fails
            check(&fs::read(&path).unwrap());
        }
    }
}

#[test]
fn every_fuzz_target_and_every_corpus_has_its_check() {
    let mut names: Vec<_> = checks::ALL.iter().map(|(name, _)| (*name).to_owned()).collect();
    names.sort();
    assert_eq!(stems(&fuzz_dir().join("fuzz_targets")), names);
    assert_eq!(stems(&fuzz_dir().join("corpus")), names);
}

fn inputs(target: &str) -> Vec<PathBuf> {
    let dir = fuzz_dir().join("corpus").join(target);
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// The names in a directory, without extensions, sorted.
fn stems(dir: &Path) -> Vec<String> {
    let mut stems: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    // Those belong to `hardline-dht` and `hardline-record`, whose tests replay them.
    stems.retain(|name| !name.starts_with("dht_") && !name.starts_with("record_"));
    stems.sort();
    stems
}

fn fuzz_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}
