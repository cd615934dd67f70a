//! Invitations and enrolments across `kill -9`: none is used twice, and none that was confirmed is
//! lost.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use hardline_node::proto::KeyHash;
use hardline_node::proto::visitors::{Door, Refused, Secret};
use hardline_node::store::{NewInvitation, Store};

const DATA_DIR: &str = "HARDLINE_TEST_DATA_DIR";

const SERVICE: KeyHash = KeyHash::from_bytes([7; 20]);

/// Fewer than are kept of one service.
const INVITATIONS: usize = 900;

#[tokio::test]
async fn a_kill_at_any_moment_gives_no_invitation_twice_and_loses_no_confirmed_enrolment() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..20 {
        let mut writer = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "redeemer", "--ignored", "--nocapture"])
            .env(DATA_DIR, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(writer.stdout.take().unwrap()).lines().map_while(Result::ok);
        let said = lines.filter_map(|line| Some(line.split_once("did ")?.1.to_owned()));
        // Another step of the three each time, and a moment behind it that nobody chose.
        let confirmed: Vec<_> = said.take(10 + round).collect();
        writer.kill().unwrap();
        writer.wait().unwrap();

        let (store, notices) = Store::open(folder.path(), None).await.unwrap();
        assert_eq!(notices, [], "round {round}");
        let visitors: Vec<_> = store.visitors(SERVICE).await.unwrap().into_iter().map(|it| it.name).collect();
        let invitations = store.invitations(SERVICE).await.unwrap();
        for invitation in &invitations {
            let name = invitation.name.clone().unwrap();
            let enrolled = visitors.iter().filter(|visitor| **visitor == name).count();
            let uses = usize::try_from(invitation.state.uses).unwrap();
            let was_revoked = invitation.state.is_revoked;
            assert!(enrolled + uses == 1 || was_revoked, "round {round}, {name}: {enrolled} in, {uses} left");
            assert!(!was_revoked || enrolled == 0, "round {round}, {name} is back");
        }
        for step in confirmed {
            let (what, name) = step.split_once(' ').unwrap();
            let is_in = visitors.iter().any(|visitor| visitor == name);
            let invitation = invitations.iter().find(|it| it.name.as_deref() == Some(name)).unwrap();
            match what {
                "invite" => {}
                "enrol" => assert!(is_in || invitation.state.is_revoked, "round {round}: {name} is lost"),
                _ => assert!(!is_in && invitation.state.is_revoked, "round {round}: {name} is back"),
            }
        }
        store.close().await;
    }
}

#[tokio::test]
#[ignore = "the process that the test above starts and kills"]
async fn redeemer() {
    let (store, _) = Store::open(std::env::var_os(DATA_DIR).unwrap().as_ref(), None).await.unwrap();
    let made = store.invitations(SERVICE).await.unwrap().len();
    for number in made..INVITATIONS {
        let (name, secret) = (format!("visitor {number}"), Secret::from_bytes((number as u128).to_le_bytes()));
        let expires = SystemTime::now() + Duration::from_secs(3600);
        let new = NewInvitation { service: SERVICE, secret, name: Some(name.clone()), uses: 1, expires, stay: None };
        let id = store.invite(new).await.unwrap();
        println!("did invite {name}");
        let key = |more: &str| KeyHash::of_certificate(format!("{name} {more}").as_bytes());
        let door = Door::from_bytes([1; 32]);
        // Two at once.
        let (one, other) = tokio::join!(
            store.redeem(id, key("one"), door.clone(), None),
            store.redeem(id, key("other"), door.clone(), None),
        );
        assert_eq!((one.unwrap().is_ok(), other.unwrap()), (true, Err(Refused::Used)));
        println!("did enrol {name}");
        if number % 3 == 0 {
            store.revoke(SERVICE, name.clone()).await.unwrap().unwrap();
            println!("did revoke {name}");
        }
    }
    std::future::pending().await
}
