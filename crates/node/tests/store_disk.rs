//! The store on disks that are full or cannot be written: tiny file systems, mounted in a namespace
//! of the test's own.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

#[path = "common/mount.rs"]
mod mount;

use std::process::Command;

use hardline_node::store::{Store, StoreError, StoreNotice};
use hardline_proto::KeyHash;
use hardline_proto::hosts::HostList;

use mount::{data_dir, on_a_mount};

#[test]
fn a_disk_that_fills_up_is_an_error_and_what_was_remembered_stays() {
    on_a_mount("size=160k", "", "inside_a_disk_that_fills_up");
}

#[test]
fn a_disk_that_is_full_at_the_start_means_a_store_that_forgets_at_the_end() {
    on_a_mount("size=32k", "head -c 1M /dev/zero > $DIR/ballast;", "inside_a_full_disk");
}

#[test]
fn on_a_full_disk_what_was_remembered_is_used_and_what_is_new_is_forgotten_at_the_end() {
    on_a_mount("size=160k", "", "inside_a_disk_filled_between_two_starts");
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    on_a_mount("size=1m", "mount -o remount,ro $DIR;", "inside_a_folder_that_cannot_be_written");
}

#[test]
fn a_database_that_cannot_be_written_is_named() {
    on_a_mount("size=1m", "", "inside_a_database_that_cannot_be_written");
}

#[tokio::test]
#[ignore = "runs on the mount of the test above"]
async fn inside_a_disk_that_fills_up() {
    let (store, notices) = Store::open(&data_dir(), None).await.unwrap();
    assert_eq!(notices, []);
    let mut remembered = 0;
    let error = loop {
        match store.advertised(key(remembered), list()).await {
            Ok(()) => remembered += 1,
            Err(error) => break error,
        }
        assert!(remembered < 10_000, "the disk does not fill up");
    };
    assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
    assert!(remembered > 0);
    assert_eq!(store.services().await.unwrap().len(), remembered);
    assert!(matches!(store.advertised(key(remembered), list()).await, Err(StoreError::Full { .. })));
}

#[tokio::test]
#[ignore = "runs on the mount of the test above"]
async fn inside_a_full_disk() {
    let (store, notices) = Store::open(&data_dir(), None).await.unwrap();
    assert!(matches!(notices[..], [StoreNotice::NotRemembering { .. }]), "{notices:?}");
    store.advertised(key(0), list()).await.unwrap();
    assert_eq!(store.services().await.unwrap().len(), 1);
}

#[tokio::test]
#[ignore = "runs on the mount of the test above"]
async fn inside_a_disk_filled_between_two_starts() {
    let (store, _) = Store::open(&data_dir(), None).await.unwrap();
    store.advertised(key(0), list()).await.unwrap();
    store.close().await;
    let ballast = std::fs::write(data_dir().join("ballast"), vec![0; 1 << 20]);
    assert_eq!(ballast.unwrap_err().kind(), std::io::ErrorKind::StorageFull);

    let (store, notices) = Store::open(&data_dir(), None).await.unwrap();
    assert!(matches!(notices[..], [StoreNotice::NotRemembering { .. }]), "{notices:?}");
    assert_eq!(store.services().await.unwrap()[0].key, key(0), "what was remembered is there to be used");
    store.advertised(key(1), list()).await.unwrap();
    assert_eq!(store.services().await.unwrap().len(), 2);
    store.close().await;

    std::fs::remove_file(data_dir().join("ballast")).unwrap();
    let (store, notices) = Store::open(&data_dir(), None).await.unwrap();
    assert_eq!(notices, []);
    let kept: Vec<KeyHash> = store.services().await.unwrap().into_iter().map(|service| service.key).collect();
    assert_eq!(kept, [key(0)]);
}

#[tokio::test]
#[ignore = "runs on the mount of the test above"]
async fn inside_a_folder_that_cannot_be_written() {
    let error = Store::open(&data_dir(), None).await.unwrap_err();
    assert!(matches!(&error, StoreError::Folder { path, .. } if *path == data_dir()), "{error:?}");
}

#[tokio::test]
#[ignore = "runs on the mount of the test above"]
async fn inside_a_database_that_cannot_be_written() {
    let (store, _) = Store::open(&data_dir(), None).await.unwrap();
    store.close().await;
    let remounted = Command::new("mount").args(["-o", "remount,ro"]).arg(data_dir()).status().unwrap();
    assert!(remounted.success());
    let error = Store::open(&data_dir(), None).await.unwrap_err();
    assert!(matches!(&error, StoreError::Folder { path, .. } if *path == data_dir()), "{error:?}");
}

fn key(n: usize) -> KeyHash {
    KeyHash::of_certificate(&n.to_be_bytes())
}

fn list() -> HostList {
    HostList::parse_lenient("203.0.113.7:7008,203.0.113.8:7008,[200:1234::1]:7008")
}
