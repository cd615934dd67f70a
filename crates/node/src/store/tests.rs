use std::fs;

use rusqlite::Connection;
use tempfile::TempDir;

use super::*;

#[tokio::test]
async fn what_is_remembered_is_there_after_a_restart() {
    let folder = TempDir::new().unwrap();
    let (store, notices) = Store::open(folder.path(), None).await.unwrap();
    assert_eq!(notices, []);
    store.advertised(KEY, HostList::parse_lenient("203.0.113.7:7008")).await.unwrap();
    store.worked(KEY, at("192.168.1.5:7008"), Origin::Lan, Some("Pictures".into())).await.unwrap();
    let before = store.services().await.unwrap();
    store.close().await;

    let (store, notices) = Store::open(folder.path(), None).await.unwrap();
    assert_eq!(notices, []);
    assert_eq!(store.services().await.unwrap(), before);
    assert_eq!(before[0].title.as_deref(), Some("Pictures"));
    assert_eq!(store.addresses(KEY).await.unwrap(), before[0].addresses);
    assert!(store.forget(KEY).await.unwrap());
    assert_eq!(store.services().await.unwrap(), []);
}

#[tokio::test]
async fn the_version_of_the_tunnel_is_remembered_for_services_that_are() {
    let folder = TempDir::new().unwrap();
    let (store, _) = Store::open(folder.path(), None).await.unwrap();
    store.spoke(KEY, 2).await.unwrap();
    assert_eq!(store.tunnel(KEY).await.unwrap(), None, "the service is not remembered");
    store.worked(KEY, at("192.168.1.5:7008"), Origin::Lan, None).await.unwrap();
    assert_eq!(store.tunnel(KEY).await.unwrap(), None);
    for version in [2, 1] {
        store.spoke(KEY, version).await.unwrap();
        assert_eq!(store.tunnel(KEY).await.unwrap(), Some(version));
    }
    store.close().await;
    let (store, _) = Store::open(folder.path(), None).await.unwrap();
    assert_eq!(store.tunnel(KEY).await.unwrap(), Some(1));
}

#[tokio::test]
async fn a_missing_folder_is_made() {
    let folder = TempDir::new().unwrap();
    let deep = folder.path().join("a/b");
    let (store, _) = Store::open(&deep, None).await.unwrap();
    store.close().await;
    assert!(deep.join(DATABASE_FILE).is_file());
}

#[tokio::test]
async fn closing_leaves_nothing_but_the_database_and_its_lock() {
    let folder = TempDir::new().unwrap();
    let (store, _) = Store::open(folder.path(), None).await.unwrap();
    store.advertised(KEY, HostList::parse_lenient("203.0.113.7:7008")).await.unwrap();
    store.close().await;
    assert_eq!(names(folder.path()), ["store.lock", DATABASE_FILE]);
}

#[tokio::test]
async fn a_closed_store_says_so_to_every_clone_and_may_be_closed_twice() {
    let folder = TempDir::new().unwrap();
    let (store, _) = Store::open(folder.path(), None).await.unwrap();
    let clone = store.clone();
    store.close().await;
    assert!(matches!(clone.services().await, Err(StoreError::Closed)));
    clone.close().await;
}

#[cfg(unix)]
#[tokio::test]
async fn nobody_else_may_read_whom_one_visits() {
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let folder = TempDir::new().unwrap();
    let data_dir = folder.path().join("data");
    let (store, _) = Store::open(&data_dir, None).await.unwrap();
    assert_eq!(mode(&data_dir), 0o700);
    for name in names(&data_dir) {
        assert_eq!(mode(&data_dir.join(&name)), 0o600, "{name}");
    }
    store.close().await;

    fs::set_permissions(data_dir.join(DATABASE_FILE), fs::Permissions::from_mode(0o644)).unwrap();
    let (_store, _) = Store::open(&data_dir, None).await.unwrap();
    assert_eq!(mode(&data_dir.join(DATABASE_FILE)), 0o600);
}

#[tokio::test]
async fn several_may_use_one_folder_at_once() {
    let folder = TempDir::new().unwrap();
    let mut users = tokio::task::JoinSet::new();
    for user in 0..8_u8 {
        let data_dir = folder.path().to_path_buf();
        users.spawn(async move {
            let (store, notices) = Store::open(&data_dir, None).await.unwrap();
            assert_eq!(notices, []);
            for n in 0..20 {
                let key = KeyHash::from_bytes([user * 20 + n; 20]);
                store.advertised(key, HostList::parse_lenient("203.0.113.7:7008")).await.unwrap();
            }
        });
    }
    while let Some(user) = users.join_next().await {
        user.unwrap();
    }
    let (store, _) = Store::open(folder.path(), None).await.unwrap();
    assert_eq!(store.services().await.unwrap().len(), 160);
}

#[tokio::test]
async fn a_folder_where_the_database_should_be_is_named() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join(DATABASE_FILE);
    fs::create_dir(&path).unwrap();
    let error = Store::open(folder.path(), None).await.unwrap_err();
    assert!(matches!(&error, StoreError::NotAFile { path: named, found: "a folder" } if *named == path), "{error:?}");
}

#[tokio::test]
async fn a_file_where_the_folder_should_be_is_named() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "").unwrap();
    let error = Store::open(&path, None).await.unwrap_err();
    assert!(matches!(&error, StoreError::Folder { path: named, .. } if *named == path), "{error:?}");
}

#[tokio::test]
async fn garbage_is_moved_aside_with_its_companions_and_a_new_database_begun() {
    let folder = TempDir::new().unwrap();
    let garbage = b"this is no database ".repeat(500);
    for n in 1..=2 {
        for suffix in ["", "-wal", "-shm"] {
            fs::write(folder.path().join(format!("{DATABASE_FILE}{suffix}")), &garbage).unwrap();
        }
        let (store, notices) = Store::open(folder.path(), None).await.unwrap();
        let aside = folder.path().join(format!("{DATABASE_FILE}.damaged-{n}"));
        assert!(matches!(&notices[..], [StoreNotice::MovedAside { to, .. }] if *to == aside), "{notices:?}");
        assert_eq!(fs::read(&aside).unwrap(), garbage);
        assert!(folder.path().join(format!("{DATABASE_FILE}.damaged-{n}-wal")).exists());
        store.advertised(KEY, HostList::parse_lenient("203.0.113.7:7008")).await.unwrap();
        store.close().await;
    }
}

#[tokio::test]
async fn a_database_damaged_in_the_middle_is_found_at_the_start() {
    let folder = TempDir::new().unwrap();
    let (store, _) = Store::open(folder.path(), None).await.unwrap();
    for n in 0..200 {
        store.advertised(KeyHash::from_bytes([n; 20]), HostList::parse_lenient("203.0.113.7:7008")).await.unwrap();
    }
    store.close().await;
    let path = folder.path().join(DATABASE_FILE);
    let mut content = fs::read(&path).unwrap();
    let middle = content.len() / 2;
    content[middle..middle + 4096].fill(0xa5);
    fs::write(&path, content).unwrap();

    let (store, notices) = Store::open(folder.path(), None).await.unwrap();
    assert!(matches!(&notices[..], [StoreNotice::MovedAside { .. }]), "{notices:?}");
    assert_eq!(store.services().await.unwrap(), []);
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused_and_left_alone() {
    let folder = TempDir::new().unwrap();
    let (store, _) = Store::open(folder.path(), None).await.unwrap();
    store.close().await;
    let path = folder.path().join(DATABASE_FILE);
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let error = Store::open(folder.path(), None).await.unwrap_err();
    assert!(matches!(&error, StoreError::Newer { found: 99, .. }), "{error:?}");
    assert_eq!(names(folder.path()), ["store.lock", DATABASE_FILE]);
}

#[tokio::test]
async fn the_python_programs_addresses_are_taken_over_once() {
    let folder = TempDir::new().unwrap();
    let from = folder.path().join("peers.db");
    let data_dir = folder.path().join("data");

    let (store, notices) = Store::open(&data_dir, Some(&from)).await.unwrap();
    assert_eq!(notices, [], "nothing to take over yet");
    store.close().await;

    let peers = Connection::open(&from).unwrap();
    peers.execute_batch("CREATE TABLE peers (serviceID text, info text); INSERT INTO peers VALUES ('x', 'y')").unwrap();
    let info = r#"{"WANHosts": "203.0.113.7:7008"}"#;
    peers.execute("insert into peers values (?,?)", [&format!("pw-{KEY}"), info]).unwrap();

    let (store, notices) = Store::open(&data_dir, Some(&from)).await.unwrap();
    assert_eq!(notices, [StoreNotice::Imported { services: 1, skipped: 1 }]);
    assert_eq!(store.addresses(KEY).await.unwrap()[0].origin, Origin::Imported);
    assert!(store.forget(KEY).await.unwrap());
    store.close().await;

    let (store, notices) = Store::open(&data_dir, Some(&from)).await.unwrap();
    assert_eq!(notices, []);
    assert_eq!(store.services().await.unwrap(), [], "what was forgotten does not come back");
}

#[tokio::test]
async fn a_peers_db_that_cannot_be_read_is_told_and_stays() {
    let folder = TempDir::new().unwrap();
    let from = folder.path().join("peers.db");
    fs::write(&from, b"no database ".repeat(500)).unwrap();
    for _ in 0..2 {
        let (store, notices) = Store::open(&folder.path().join("data"), Some(&from)).await.unwrap();
        assert!(
            matches!(&notices[..], [StoreNotice::NotImported { from: named, .. }] if *named == from),
            "{notices:?}"
        );
        store.close().await;
    }
}

const KEY: KeyHash = KeyHash::from_bytes([0x5a; 20]);

fn at(text: &str) -> HostPort {
    text.parse().unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
