//! Identities on disks that are full or cannot be written: tiny file systems, mounted in a
//! namespace of the test's own.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

#[path = "common/mount.rs"]
mod mount;

use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::Command;

use hardline_node::tls::identity::{Identity, IdentityError, IdentityNotice};
use mount::{data_dir, on_a_mount};

#[test]
fn an_identity_begun_on_a_full_disk_is_finished_when_there_is_room() {
    on_a_mount("size=4k", "", "inside_a_disk_that_grows_page_by_page");
}

#[test]
fn an_identity_is_loaded_from_a_disk_that_cannot_be_written() {
    on_a_mount("size=1m", "", "inside_a_disk_that_becomes_read_only");
}

/// Each file takes one page of 4 KiB.
#[test]
#[ignore = "runs on the mount of the test above"]
fn inside_a_disk_that_grows_page_by_page() {
    let error = Identity::load_or_create(&name()).unwrap_err();
    let IdentityError::Write { path, source } = &error else { panic!("{error:?}") };
    assert_eq!((path, source.kind()), (&name(), ErrorKind::StorageFull));
    assert!(error.remedy().contains("make room"));
    assert_eq!(files(), ["service.private"]);

    remount("size=8k");
    let (made, notices) = Identity::load_or_create(&name()).unwrap();
    assert!(
        matches!(&notices[..], [IdentityNotice::Created, IdentityNotice::HashNotWritten { path, .. }]
            if *path == data_dir().join("service.hash")),
        "{notices:?}"
    );
    assert_eq!(files(), ["service", "service.private"]);

    remount("size=12k");
    let (found, notices) = Identity::load_or_create(&name()).unwrap();
    assert_eq!((found.key, notices), (made.key, vec![]));
    assert_eq!(files(), ["service", "service.hash", "service.private"]);
}

#[test]
#[ignore = "runs on the mount of the test above"]
fn inside_a_disk_that_becomes_read_only() {
    let (made, _) = Identity::load_or_create(&name()).unwrap();
    remount("ro");
    let (found, notices) = Identity::load_or_create(&name()).unwrap();
    assert_eq!((found.key, notices), (made.key, vec![]));
    let error = Identity::load_or_create(&data_dir().join("other")).unwrap_err();
    assert!(
        matches!(&error, IdentityError::Write { path, .. } if *path == data_dir().join("other.private")),
        "{error:?}"
    );
}

fn name() -> PathBuf {
    data_dir().join("service")
}

fn files() -> Vec<String> {
    let entries = std::fs::read_dir(data_dir()).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn remount(options: &str) {
    let options = format!("remount,{options}");
    assert!(Command::new("mount").args(["-o", &options]).arg(data_dir()).status().unwrap().success());
}
