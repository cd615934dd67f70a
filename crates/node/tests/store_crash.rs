//! What the store has acknowledged survives `kill -9`.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use hardline_node::store::{MAX_SERVICES, Store};
use hardline_proto::KeyHash;
use hardline_proto::hosts::HostList;

const DATA_DIR: &str = "HARDLINE_TEST_DATA_DIR";

/// Acknowledged writes after which the writer is killed, in the middle of the next ones.
const KILL_AFTER: usize = 100;

/// Writes after which the writer waits to be killed: fewer than the store keeps.
const MAX_WRITES: u64 = MAX_SERVICES as u64 - 100;

#[tokio::test]
async fn a_killed_process_loses_nothing_that_was_acknowledged_and_needs_no_repair() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..5 {
        let mut writer = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "writer", "--ignored", "--nocapture"])
            .env(DATA_DIR, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(writer.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut acknowledged = keys(lines).take(KILL_AFTER).collect::<Vec<_>>();
        assert_eq!(acknowledged.len(), KILL_AFTER);
        writer.kill().unwrap();
        writer.wait().unwrap();

        let (store, notices) = Store::open(folder.path(), None).await.unwrap();
        assert_eq!(notices, [], "round {round}");
        let kept: Vec<KeyHash> = store.services().await.unwrap().into_iter().map(|service| service.key).collect();
        acknowledged.retain(|key| !kept.contains(key));
        assert_eq!(acknowledged, [], "round {round}");
        store.close().await;
    }
}

fn keys(lines: impl Iterator<Item = String>) -> impl Iterator<Item = KeyHash> {
    // The first line shares its line with what the test runner prints.
    lines.filter_map(|line| line.split_once("acknowledged ")?.1.parse().ok())
}

#[tokio::test]
#[ignore = "the process that the test above starts and kills"]
async fn writer() {
    let (store, _) = Store::open(std::env::var_os(DATA_DIR).unwrap().as_ref(), None).await.unwrap();
    for n in 0..MAX_WRITES {
        let key = KeyHash::of_certificate(&[n.to_be_bytes(), u64::from(std::process::id()).to_be_bytes()].concat());
        store.advertised(key, HostList::parse_lenient("203.0.113.7:7008,203.0.113.8:7008")).await.unwrap();
        println!("acknowledged {key}");
    }
    std::future::pending().await
}
