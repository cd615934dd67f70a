//! The released Python program as server and as client, with our program and with itself.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hardline_lab::{Host, Lab, Process, Release, is_long};
use serde_json::Value;

/// Every exchange that must work between any two of them.
const EXCHANGES: &[&str] = &[
    "get:1000",
    "get:65536",
    "get:50000000",
    "post:20000000",
    "keepalive:10",
    "parallel:50:1000",
    "events",
    "websocket",
];

/// Where every client's gateway listens.
const GATEWAY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 7009);

/// Where the Python servers listen for peers.
const P2P_PORT: u16 = 7684;

/// Longer than all the time-outs of the Python program (5 s), or the minute that people take to
/// read a page.
fn idle() -> &'static str {
    if is_long() { "idle:60" } else { "idle:7" }
}

/// The launcher is known good, and so are the checks: what fails with our program would be ours.
#[test]
fn python_serves_python() -> Result<()> {
    for release in Release::ALL {
        let Some(lab) = Lab::open()? else { return Ok(()) };
        let (_switch, [alice, bob]) = lab.lan(["alice", "bob"])?;
        let backend = alice.backend("127.0.0.1:0")?;
        let server = alice.python_server(release, P2P_PORT, backend.address)?;
        let _client = bob.python_client(release)?;
        bob.check_site(GATEWAY, &browser_name(&server.name), EXCHANGES)?;
    }
    Ok(())
}

#[test]
fn our_client_uses_the_first_release_s_server() -> Result<()> {
    our_client_uses_python_server(Release::First)
}

#[test]
fn our_client_uses_the_last_release_s_server() -> Result<()> {
    our_client_uses_python_server(Release::Last)
}

#[test]
fn the_first_release_s_client_uses_our_server() -> Result<()> {
    python_client_uses_our_server(Release::First)
}

#[test]
fn the_last_release_s_client_uses_our_server() -> Result<()> {
    python_client_uses_our_server(Release::Last)
}

/// Python servers always have a password; the name carries it.
fn our_client_uses_python_server(release: Release) -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let (_switch, [alice, bob]) = lab.lan(["alice", "bob"])?;
    let backend = alice.backend("127.0.0.1:0")?;
    let server = alice.python_server(release, P2P_PORT, backend.address)?;
    let client = bob.hardline(&[])?;
    bob.check_site(client.gateway()?, &browser_name(&server.name), EXCHANGES)?;
    bob.check_site(client.gateway()?, &browser_name(&server.name), &[idle()])?;

    let (password, key) = server.name.split_once('-').context("a password")?;
    assert_ne!(password, "", "the release makes a password");
    for wrong in [format!("wrong-{key}"), key.to_owned()] {
        refuses(&bob, &wrong)?;
    }
    // The refusals have not hurt the service.
    bob.check_site(client.gateway()?, &browser_name(&server.name), &["get:1000"])
}

fn python_client_uses_our_server(release: Release) -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let (_switch, [alice, bob]) = lab.lan(["alice", "bob"])?;
    let backend = alice.backend("127.0.0.1:0")?;
    let target = backend.address.to_string();
    let server = alice.hardline(&["share", &target])?;
    let _client = bob.python_client(release)?;
    bob.check_site(GATEWAY, &server.service_name()?, EXCHANGES)?;
    bob.check_site(GATEWAY, &server.service_name()?, &[idle()])
}

#[test]
fn a_password_of_ours_is_asked_of_python_clients() -> Result<()> {
    for release in Release::ALL {
        let Some(lab) = Lab::open()? else { return Ok(()) };
        let (_switch, [alice, bob]) = lab.lan(["alice", "bob"])?;
        let backend = alice.backend("127.0.0.1:0")?;
        // As the free text of the `.hash` file: neighbours may hear it, and released clients find
        // no service without it.
        let port = backend.address.port().to_string();
        let flags = ["--service", "127.0.0.1", "--serviceport", &port, "--certfile", "service.cert"];
        drop(alice.hardline(&flags)?);
        let hash_file = alice.home().join("service.cert.hash");
        let hash = std::fs::read_to_string(&hash_file)?;
        std::fs::write(&hash_file, format!("sesame-{hash}"))?;
        let server = alice.hardline(&flags)?;
        let _client = bob.python_client(release)?;
        let name = server.service_name()?;
        assert!(name.starts_with("sesame-"), "{name}");
        bob.check_site(GATEWAY, &name, &["get:1000", "post:300000"])?;
        refuses(&bob, &name.replace("sesame-", "open-").replace(".localhost:7009", ""))?;
        refuses(&bob, &name.replace("sesame-", "").replace(".localhost:7009", ""))?;
    }
    Ok(())
}

#[test]
fn an_identity_of_the_python_program_keeps_its_name_and_password_with_ours() -> Result<()> {
    for release in Release::ALL {
        let Some(lab) = Lab::open()? else { return Ok(()) };
        let (_switch, [alice, bob]) = lab.lan(["alice", "bob"])?;
        let backend = alice.backend("127.0.0.1:0")?;
        let mut python = alice.python_server(release, P2P_PORT, backend.address)?;
        python.process.kill()?;
        let port = backend.address.port().to_string();
        let ours = alice.hardline(&["--service", "127.0.0.1", "--serviceport", &port, "--certfile", "service.cert"])?;
        assert_eq!(ours.service_name()?, browser_name(&python.name));
        let client = bob.hardline(&[])?;
        bob.check_site(client.gateway()?, &ours.service_name()?, &["get:1000", "post:300000"])?;
    }
    Ok(())
}

#[test]
fn browsing_finds_each_other_s_services() -> Result<()> {
    for release in Release::ALL {
        let Some(lab) = Lab::open()? else { return Ok(()) };
        let (_switch, [alice, bob, carol]) = lab.lan(["alice", "bob", "carol"])?;
        let python = alice.python_server(release, P2P_PORT, "127.0.0.1:80".parse()?)?;
        let ours = bob.hardline(&["share", "127.0.0.1:80", "--title", "One of ours"])?;

        let their_browser = carol.python_browser(release)?;
        let name = ours.service_name()?;
        let key = name.strip_suffix(".localhost:7009").context("a name")?;
        their_browser.wait_for_line(&format!("found {key} One of ours"))?;

        let mut command = carol.command(hardline_lab::hardline_program()?);
        let our_browser = carol.spawn("hardline browse", command.args(["--json", "browse"]))?;
        let key = python.name.split('-').next_back().context("a key")?;
        let found = our_browser
            .wait_for(key, |line| serde_json::from_str::<Value>(line).ok().filter(|event| event["key"] == key))?;
        assert_eq!(found["title"], "A Python service");
    }
    Ok(())
}

#[test]
fn released_peers_pass_over_our_goodbye() -> Result<()> {
    for release in Release::ALL {
        let Some(lab) = Lab::open()? else { return Ok(()) };
        let (_switch, [alice, bob, carol]) = lab.lan(["alice", "bob", "carol"])?;
        let python = alice.python_server(release, P2P_PORT, "127.0.0.1:80".parse()?)?;
        let mut ours = bob.hardline(&["share", "127.0.0.1:80"])?;
        let name = ours.service_name()?;
        let key = name.strip_suffix(".localhost:7009").context("a name")?;
        let browse = || {
            let mut command = carol.command(hardline_lab::hardline_program()?);
            carol.spawn("hardline browse", command.args(["--json", "browse"]))
        };
        let browser = browse()?;
        let event = |browser: &Process, kind: &str, key: &str| {
            let is_it = |event: &Value| event["event"] == kind && event["key"] == key;
            browser.wait_for(kind, |line| serde_json::from_str(line).ok().filter(is_it))
        };
        event(&browser, "found", key)?;
        ours.process.terminate(Duration::from_secs(30))?;
        event(&browser, "lost", key)?;

        event(&browse()?, "found", python.name.split('-').next_back().context("a key")?)?;
        // It prints where it stumbles; without an internet it does in other places.
        let said = [python.process.stdout(), python.process.stderr()].concat();
        assert!(!said.iter().any(|line| line.contains("in handleData")), "{said:?}");
    }
    Ok(())
}

/// Nothing of the site is to be had under this name.
fn refuses(host: &Host, name: &str) -> Result<()> {
    let header = format!("Host: {}", browser_name(name));
    let url = format!("http://{GATEWAY}/bytes/1000");
    let answer = host.curl(&["--max-time", "20", "--header", &header, "--write-out", "%{http_code}", &url])?;
    ensure!(!answer.stdout.ends_with("200"), "{name} got {}", answer.stdout);
    Ok(())
}

fn browser_name(name: &str) -> String {
    format!("{name}.localhost:7009")
}
