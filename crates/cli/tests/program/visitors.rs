//! `share --private`, `invite`, `accept`, `visitors` and `revoke`: from the one computer to the
//! other and back.

use std::io::{Read as _, Write as _};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::{Program, Running, backend, echo_at_the_end, get, key_of, web_server};

/// A private service here, and a computer that is in the same network.
struct House {
    here: Program,
    sharing: Running,
    target: String,
}

impl House {
    fn new(port: u16) -> Self {
        let (here, target) = (Program::new(), port.to_string());
        let sharing = here.start(["share", "--private", &target]);
        Self { here, sharing, target }
    }

    fn key(&self) -> String {
        key_of(&self.sharing.link()).to_owned()
    }

    /// The link of a new invitation.
    #[track_caller]
    fn invite(&self, arguments: &[&str]) -> String {
        let outcome = self.here.run([&["invite", &self.target, "--quiet"], arguments].concat());
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        outcome.stdout.trim().to_owned()
    }

    #[track_caller]
    fn event(&self, arguments: &[&str]) -> Value {
        let outcome = self.here.run([arguments, &["--json"]].concat());
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        outcome.events().remove(0)
    }
}

/// A tunnel that stays open: its stdin is held.
fn tunnel(there: &Program, key: &str) -> Child {
    there.command(["connect", key]).stdin(Stdio::piped()).spawn().unwrap()
}

#[track_caller]
fn accept(there: &Program, link: &str) {
    let outcome = there.run(["accept", link]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
}

#[test]
fn an_invitation_lets_in_and_a_revocation_ends_it_at_once() {
    let port = backend(|mut stream| {
        let _ = stream.write_all(b"here");
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let (house, bystander) = (House::new(port), Program::new());
    let there = house.here.neighbour();
    let key = house.key();
    let outcome = there.run(["connect", &key, "--set", "lan.plain_search=true"]);
    assert_eq!(outcome.code, Some(5), "a stranger with the link meets nobody: {}", outcome.stderr);

    let link = house.invite(&["--for", "alice"]);
    assert!(link.starts_with("http://localhost:7009/invite/"), "{link}");
    accept(&there, &link);
    let mut tunnels: Vec<_> = (0..2).map(|_| tunnel(&there, &key)).collect();
    for tunnel in &mut tunnels {
        let mut word = [0; 4];
        tunnel.stdout.as_mut().unwrap().read_exact(&mut word).unwrap();
        assert_eq!(&word, b"here");
    }
    let listed = house.event(&["visitors", &house.target]);
    assert_eq!((listed["name"].as_str(), listed["event"].as_str()), (Some("alice"), Some("visitor")));

    let revoked = house.event(&["revoke", &house.target, "alice"]);
    let returned = Instant::now();
    assert_eq!(revoked["tunnels"], 2, "{revoked}");
    for tunnel in &mut tunnels {
        assert_ne!(tunnel.wait().unwrap().code(), Some(0), "a broken tunnel looks broken");
    }
    // With the time that two processes take to end.
    assert!(returned.elapsed() < Duration::from_secs(2), "{:?}", returned.elapsed());
    assert_eq!(there.run(["connect", &key]).code, Some(5));
    let outcome = house.here.run(["revoke", &house.target, "alice"]);
    assert_eq!(outcome.code, Some(1), "{}", outcome.stdout);
    let outcome = bystander.run(["accept", &link, "--address", &house.sharing.p2p(), "--set", "lan.enabled=false"]);
    assert!(outcome.stderr.contains("used already") || outcome.stderr.contains("taken back"), "{}", outcome.stderr);
}

#[test]
fn a_gateway_that_runs_opens_what_was_accepted_meanwhile() {
    let house = House::new(web_server("hello"));
    let there = house.here.neighbour();
    let gateway = there.start([] as [&str; 0]);
    let link = format!("http://{}.localhost/", house.key());
    assert!(!get(gateway.gateway(), &link).contains("hello"));
    accept(&there, &house.invite(&[]));
    assert!(get(gateway.gateway(), &link).contains("hello"));
}

#[test]
fn a_revocation_holds_across_kill_9_of_who_serves() {
    let house = House::new(echo_at_the_end());
    let there = house.here.neighbour();
    accept(&there, &house.invite(&["--for", "alice"]));
    let key = house.key();
    assert_eq!(there.run(["connect", &key]).code, Some(0));
    let House { here, sharing, target } = house;
    sharing.kill();
    let outcome = here.run(["revoke", &target, "alice"]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert!(outcome.stdout.contains("No hardline that serves"), "{}", outcome.stdout);
    let sharing = here.start(["share", "--private", &target]);
    assert_eq!(key_of(&sharing.link()), key);
    assert_eq!(there.run(["connect", &key]).code, Some(5));
}

#[test]
fn each_thing_that_is_no_good_invitation_has_its_own_sentence() {
    let house = House::new(echo_at_the_end());
    let there = house.here.neighbour();
    let link = house.invite(&[]);
    let last = if link.ends_with('a') { "b" } else { "a" };
    let mistyped = format!("{}{last}", &link[..link.len() - 1]);
    for (text, code, words) in [
        (mistyped.as_str(), 2, "a character of it is wrong"),
        (&link[..link.len() - 1], 2, "not complete"),
        ("http://localhost:7009/", 2, "this is no invitation"),
    ] {
        let outcome = there.run(["accept", text]);
        assert_eq!(outcome.code, Some(code));
        assert!(outcome.stderr.contains(words), "{}", outcome.stderr);
        assert!(!outcome.stderr.contains(&link[40..]), "the secret is not repeated");
    }
    let number = house.event(&["visitors"])["number"].to_string();
    assert_eq!(house.event(&["revoke", &house.target, "--invitation", &number])["event"], "revoked");
    let outcome = there.run(["accept", &link]);
    assert!(outcome.code == Some(1) && outcome.stderr.contains("taken back"), "{}", outcome.stderr);
}

#[test]
fn neighbours_are_told_no_title_of_a_private_service() {
    let here = Program::new();
    let sharing = here.start(["share", "--private", "8080", "--title", "Secret plans"]);
    let outcome = here.neighbour().run(["browse", "--once", "--json"]);
    let heard = outcome.stdout;
    assert!(heard.contains("done") && !heard.contains("Secret") && !heard.contains(key_of(&sharing.link())), "{heard}");
}
