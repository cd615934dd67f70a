use proptest::prelude::*;
use rusqlite::types::Value;
use tempfile::TempDir;

use super::*;

const KEY: &str = "e868423731872b8235a0adc9102bb45bb9e8321e";
const OTHER: &str = "0707070707070707070707070707070707070707";

#[test]
fn a_file_that_the_python_program_wrote_is_read() {
    let vector = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/peers.db");
    let lists = [(OTHER, "203.0.113.10:7684"), (KEY, "203.0.113.7:7008,[200:1234::1]:7008")];
    let lists = lists.map(|(key, list)| (key.parse().unwrap(), HostList::parse_lenient(list))).into();
    assert_eq!(read_peers(Path::new(vector)).unwrap(), Peers { lists, skipped: 0 });
}

#[test]
fn its_rows_are_read() {
    check(
        &[(KEY, r#"{"WANHosts": "203.0.113.7:7008,[200:1234::1]:7008"}"#)],
        &[(KEY, "203.0.113.7:7008,[200:1234::1]:7008")],
        0,
    );
}

#[test]
fn the_free_text_in_front_of_a_key_is_left_out_and_its_lists_are_joined() {
    check(
        &[
            (&format!("mypass-{KEY}"), r#"{"WANHosts": "203.0.113.7:7008"}"#),
            (&format!("a-b-{OTHER}"), r#"{"WANHosts": "198.51.100.1:7008"}"#),
            (&KEY.to_uppercase(), r#"{"WANHosts": "203.0.113.8:7008,203.0.113.7:7008"}"#),
        ],
        &[(OTHER, "198.51.100.1:7008"), (KEY, "203.0.113.8:7008,203.0.113.7:7008")],
        0,
    );
}

#[test]
fn other_keys_in_info_do_not_matter() {
    check(&[(KEY, r#"{"WANHosts": "home.example:7008", "x": [1, {}]}"#)], &[(KEY, "home.example:7008")], 0);
}

#[test]
fn rows_without_a_key_or_an_address_are_skipped_and_counted() {
    let deep = "[".repeat(8000);
    let long = format!(r#"{{"WANHosts": "203.0.113.7:7008{}"}}"#, " ".repeat(MAX_INFO));
    let good = r#"{"WANHosts": "203.0.113.7:7008"}"#;
    check(
        &[
            ("", good),
            ("localhost", good),
            (&format!("{KEY}-"), good),
            (&format!("{}-{KEY}", "x".repeat(300)), good),
            (KEY, ""),
            (KEY, "null"),
            (KEY, "{}"),
            (KEY, r#"{"WANHosts": ""}"#),
            (KEY, r#"{"WANHosts": 7}"#),
            (KEY, r#"{"WANHosts": ["203.0.113.7:7008"]}"#),
            (KEY, r#"{"WANHosts": "nonsense"}"#),
            (KEY, r#"{"WANHosts": "203.0.113.7:7008"#),
            (KEY, &deep),
            (KEY, &long),
        ],
        &[],
        14,
    );
}

#[test]
fn columns_of_another_type_are_skipped_and_counted() {
    let (_folder, path) = peers_db(&[(KEY, r#"{"WANHosts": "203.0.113.7:7008"}"#)]);
    let connection = Connection::open(&path).unwrap();
    for (id, info) in [
        (Value::Null, Value::Null),
        (Value::Blob(vec![0xff; 40]), Value::Integer(7)),
        (Value::Text(KEY.to_owned()), Value::Blob(vec![0; 40])),
    ] {
        connection.execute("insert into peers values (?,?)", [id, info]).unwrap();
    }
    // Text that is not UTF-8.
    connection.execute("insert into peers values (cast(x'ff80' as text), cast(x'ff' as text))", []).unwrap();
    let peers = read_peers(&path).unwrap();
    assert_eq!((peers.lists.len(), peers.skipped), (1, 4));
}

#[test]
fn no_more_rows_are_looked_at_than_the_limit_and_the_newest_count() {
    let (_folder, path) = peers_db(&[]);
    let mut connection = Connection::open(&path).unwrap();
    let tx = connection.transaction().unwrap();
    for n in 0..MAX_ROWS + 10 {
        let id = KeyHash::of_certificate(&n.to_be_bytes()).to_string();
        tx.execute("insert into peers values (?,?)", [&id, r#"{"WANHosts": "203.0.113.7:7008"}"#]).unwrap();
    }
    tx.commit().unwrap();
    let peers = read_peers(&path).unwrap();
    assert_eq!(peers.lists.len(), MAX_ROWS);
    let oldest = KeyHash::of_certificate(&0_usize.to_be_bytes());
    assert!(peers.lists.iter().all(|(key, _)| *key != oldest));
}

#[test]
fn files_that_are_no_peers_db_are_errors_and_stay_as_they_are() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("peers.db");
    for content in [&b""[..], b"not a database, but long enough to be looked at as one: ".repeat(40).as_slice()] {
        std::fs::write(&path, content).unwrap();
        assert!(read_peers(&path).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), content);
    }
}

proptest! {
    #[test]
    fn no_row_can_make_it_panic(id in prop::collection::vec(any::<u8>(), 0..60), info in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read_row(&id, &info);
    }

    #[test]
    fn a_row_cut_or_changed_anywhere_cannot_make_it_panic(at in 0..60_usize, byte: u8, cut in 0..60_usize) {
        let mut info = br#"{"WANHosts": "203.0.113.7:7008,[200:1234::1]:7008", "x": {}}"#.to_vec();
        info[at] = byte;
        info.truncate(cut);
        let _ = read_row(KEY.as_bytes(), &info);
    }

    #[test]
    fn what_was_told_comes_back(ports in prop::collection::vec(1..u16::MAX, 1..10), free_text in "[a-z0-9-]{0,20}") {
        let told: HostList = ports.iter().map(|port| format!("203.0.113.7:{port}").parse().unwrap()).collect();
        let info = serde_json::json!({ "WANHosts": told.to_string() }).to_string();
        let id = format!("{free_text}-{KEY}");
        prop_assert_eq!(read_row(id.as_bytes(), info.as_bytes()), Some((KEY.parse().unwrap(), told)));
    }
}

#[track_caller]
fn check(rows: &[(&str, &str)], lists: &[(&str, &str)], skipped: usize) {
    let (_folder, path) = peers_db(rows);
    let lists = lists.iter().map(|(key, list)| (key.parse().unwrap(), HostList::parse_lenient(list))).collect();
    assert_eq!(read_peers(&path).unwrap(), Peers { lists, skipped });
}

/// A `peers.db` made with the statements of the Python program.
fn peers_db(rows: &[(&str, &str)]) -> (TempDir, std::path::PathBuf) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("peers.db");
    let connection = Connection::open(&path).unwrap();
    connection.execute("CREATE TABLE IF NOT EXISTS peers\n             (serviceID text, info text)", []).unwrap();
    for (id, info) in rows {
        connection.execute("insert into peers values (?,?)", [id, info]).unwrap();
    }
    (folder, path)
}
