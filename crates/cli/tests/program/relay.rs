//! `hardline relay`, its tokens, and services behind it.

use std::time::Instant;

use crate::common::{PATIENCE, Program, Running, echo_at_the_end, key_of, web_server};

/// Discovery is off: the relay is the only way.
const ALONE: [&str; 2] = ["--set", "lan.enabled=false"];

/// A relay, and where it listens.
fn relay(at: &Program) -> (Running, String, String) {
    let relay = at.start(["relay"]);
    let url = relay.ready["relay"].as_str().expect("an address").to_owned();
    let p2p = relay.p2p();
    (relay, with_host(&url, &p2p), p2p)
}

/// The address with a host in it: on loopback a relay knows none that others could use.
fn with_host(url: &str, at: &str) -> String {
    url.replace("@/", &format!("@{at}/"))
}

/// What the program says of itself.
fn status(home: &Program, sharing: &Running) -> String {
    let port = sharing.gateway().port().to_string();
    home.run(["status", "--json", "--gateway-port", &port]).stdout
}

/// Waits until the registration at the relay is in this state.
#[track_caller]
fn wait_for_registration(home: &Program, sharing: &Running, state: &str) {
    let begun = Instant::now();
    loop {
        let status = status(home, sharing);
        let parsed: serde_json::Value = serde_json::from_str(&status).unwrap();
        if parsed["relays"][0]["state"] == state {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{status}");
    }
}

#[test]
fn a_service_opens_through_a_relay_and_every_byte_arrives() {
    let (vps, home, elsewhere) = (Program::new(), Program::new(), Program::new());
    let (_relay, url, at) = relay(&vps);
    let port = echo_at_the_end().to_string();
    let sharing = home.start([&["--relay", &url, "share", &port][..], &ALONE].concat());
    wait_for_registration(&home, &sharing, "registered");
    let link = sharing.link();
    let mut command = elsewhere.command([&["connect", key_of(&link), "--address", &at][..], &ALONE].concat());
    let mut child = command.stdin(std::process::Stdio::piped()).spawn().unwrap();
    let payload: Vec<u8> = (0..1_000_000_u32).map(|number| (number % 251) as u8).collect();
    let (mut stdin, sent) = (child.stdin.take().unwrap(), payload.clone());
    let sender = std::thread::spawn(move || std::io::Write::write_all(&mut stdin, &sent).unwrap());
    let output = child.wait_with_output().unwrap();
    sender.join().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.stdout.strip_suffix(b"1000000 bytes"), Some(payload.as_slice()));
}

#[test]
fn a_relay_without_a_host_in_its_address_is_found_like_a_service() {
    let vps = Program::new();
    let home = vps.neighbour();
    let relay = vps.start(["relay"]);
    let url = relay.ready["relay"].as_str().unwrap();
    let port = web_server("page").to_string();
    let sharing = home.start(["--relay", url, "share", &port]);
    wait_for_registration(&home, &sharing, "registered");
}

#[test]
fn a_relay_prints_the_same_address_at_every_start_and_nothing_else_on_stdout() {
    let vps = Program::new();
    let (first, url, _) = relay(&vps);
    first.stop();
    let mut command = vps.command(["relay", "--public-address", "vps.example.org:7008"]);
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    let mut stdout = std::io::BufReader::new(child.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut stdout, &mut line).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let (token, key) = (url.split_once('@').unwrap().0, url.rsplit_once('/').unwrap().1);
    assert_eq!(line, format!("{token}@vps.example.org:7008/{key}\n"));
}

#[test]
fn a_revoked_token_ends_the_registration_and_the_owner_is_told() {
    let (vps, home) = (Program::new(), Program::new());
    let made = vps.run(["relay", "token", "new", "bob"]);
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    let relay = vps.start(["relay"]);
    let url = with_host(made.stdout.trim(), &relay.p2p());
    let sharing = home.start([&["--relay", &url, "share", &web_server("page").to_string()][..], &ALONE].concat());
    wait_for_registration(&home, &sharing, "registered");
    let listed = vps.run(["relay", "token", "list"]);
    assert!(listed.stdout.contains("bob  made 20"), "{}", listed.stdout);
    assert!(!listed.stdout.contains(url.split(['/', '@']).nth(2).unwrap()), "a list tells no token");
    assert_eq!(vps.run(["relay", "token", "revoke", "bob"]).code, Some(0));
    wait_for_registration(&home, &sharing, "refused");
    let status = status(&home, &sharing);
    assert!(status.contains("does not know the token, or it was revoked"), "{status}");
}

#[test]
fn mistakes_with_tokens_are_told_with_a_remedy() {
    let vps = Program::new();
    assert_eq!(vps.run(["relay", "token", "new", "bob"]).code, Some(0));
    for (arguments, code, said) in [
        (["relay", "token", "new", "bob"], 1, "there is a token \"bob\" already"),
        (["relay", "token", "new", "b b"], 2, "is no name for a token"),
        (["relay", "token", "revoke", "eve"], 1, "there is no token \"eve\""),
    ] {
        let outcome = vps.run(arguments);
        assert_eq!(outcome.code, Some(code), "{arguments:?}");
        assert!(outcome.stderr.contains(said) && outcome.stderr.contains("help: "), "{}", outcome.stderr);
    }
}

#[test]
fn a_mistyped_relay_address_is_refused_and_its_token_not_repeated() {
    for url in ["relay://0123secret@vps.example.org:7008/00", "vps.example.org:7008", "relay://vps.example.org:7008/00"]
    {
        let outcome = Program::new().run(["--relay", url, "share", "8080"]);
        assert_eq!(outcome.code, Some(3), "{}", outcome.stderr);
        assert!(outcome.stderr.contains("relay://TOKEN@HOST:PORT/KEYHASH"), "{}", outcome.stderr);
        assert!(!outcome.stderr.contains("secret"), "{}", outcome.stderr);
    }
}

#[test]
fn showing_the_configuration_does_not_show_tokens() {
    let url = "relay://000102030405060708090a0b0c0d0e0f@vps.example.org:7008/6fef58cb259ed9746e280ac7ca618aab93d3fe79";
    let shown = Program::new().run(["--relay", url, "config", "show"]).stdout;
    assert!(shown.contains("relay://********@vps.example.org:7008/6fef58cb") && !shown.contains("00010203"), "{shown}");
}
