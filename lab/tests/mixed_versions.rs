//! Two builds of the program on one LAN: the one under test and another, the release before.
//!
//! Run by `cargo xtask test --against PROGRAM`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use hardline_lab::{EVERY_CHECK, Hardline, Lab, Process, hardline_program, other_program};
use serde_json::Value;

const STOP_LIMIT: Duration = Duration::from_secs(40);

/// Publisher and visitor: each build with the other, in both roles.
fn pairings() -> Result<[(PathBuf, PathBuf); 2]> {
    let (ours, other) = (hardline_program()?.to_owned(), other_program()?);
    Ok([(ours.clone(), other.clone()), (other, ours)])
}

#[test]
fn every_exchange_works_between_two_builds_in_both_roles() -> Result<()> {
    for (publisher, visitor) in pairings()? {
        let Some(lab) = Lab::open()? else { return Ok(()) };
        let (_switch, [alice, bob]) = lab.lan(["alice", "bob"])?;
        let backend = alice.backend("127.0.0.1:0")?;
        let server = alice.hardline_build(&publisher, &["share", &backend.address.to_string()])?;
        let client = bob.hardline_build(&visitor, &[])?;
        bob.check_site(client.gateway()?, &server.service_name()?, EVERY_CHECK)?;
        // A second round goes over the connections that the first one left open.
        bob.check_site(client.gateway()?, &server.service_name()?, EVERY_CHECK)?;
    }
    Ok(())
}

#[test]
fn a_password_is_asked_for_and_given_between_two_builds() -> Result<()> {
    for (publisher, visitor) in pairings()? {
        let Some(lab) = Lab::open()? else { return Ok(()) };
        let (_switch, [alice, bob]) = lab.lan(["alice", "bob"])?;
        let backend = alice.backend("127.0.0.1:0")?;
        let target = backend.address.to_string();
        let server = alice.hardline_build(&publisher, &["share", &target, "--password", "sesame"])?;
        let client = bob.hardline_build(&visitor, &[])?;
        let name = server.service_name()?;
        bob.check_site(client.gateway()?, &name, &["get:1000", "post:300000"])?;
        let wrong = name.replace("sesame-", "open-");
        assert_ne!(wrong, name);
        let (header, url) = (format!("Host: {wrong}"), format!("http://{}/bytes/1000", client.gateway()?));
        let said = bob.curl(&["--header", &header, "--write-out", "%{http_code}", &url])?.success()?.stdout;
        assert!(said.contains("This password is wrong") && said.ends_with("403"), "{said}");
    }
    Ok(())
}

/// A LAN with both builds on it, publishing and browsing.
#[test]
fn on_one_lan_each_build_hears_and_opens_the_services_of_both() -> Result<()> {
    let (ours, other) = (hardline_program()?.to_owned(), other_program()?);
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let (_switch, [alice, bob, carol, dave]) = lab.lan(["alice", "bob", "carol", "dave"])?;
    let backend = alice.backend("127.0.0.1:0")?;
    let shared_by_ours = alice.hardline_build(&ours, &["share", &backend.address.to_string()])?;
    let other_backend = bob.backend("127.0.0.1:0")?;
    let shared_by_other = bob.hardline_build(&other, &["share", &other_backend.address.to_string()])?;
    for (host, program) in [(&carol, &ours), (&dave, &other)] {
        let browse = host.hardline_build(program, &["browse", "--data-dir", "browse"])?.process;
        let gateway = host.hardline_build(program, &["--data-dir", "gateway"])?;
        for service in [&shared_by_ours, &shared_by_other] {
            waits_until_found(&browse, service)?;
            host.check_site(gateway.gateway()?, &service.service_name()?, &["get:1000"])?;
        }
    }
    Ok(())
}

/// Upgrade and downgrade: what one build wrote, identity and remembered address, the other goes on
/// with.
#[test]
fn a_data_folder_of_one_build_opens_in_the_other() -> Result<()> {
    for (before, after) in pairings()? {
        let Some(lab) = Lab::open()? else { return Ok(()) };
        let (_switch, [alice, bob]) = lab.lan(["alice", "bob"])?;
        let backend = alice.backend("127.0.0.1:0")?;
        let target = backend.address.to_string();
        let server = alice.hardline_build(&before, &["share", &target])?;
        let name = server.service_name()?;
        let client = bob.hardline_build(&before, &[])?;
        bob.check_site(client.gateway()?, &name, &["get:1000"])?;
        stop(client)?;
        stop(server)?;

        let server = alice.hardline_build(&after, &["share", &target])?;
        assert_eq!(server.service_name()?, name, "the target keeps its link");
        let client = bob.hardline_build(&after, &["--set", "lan.enabled=false"])?;
        bob.check_site(client.gateway()?, &name, &["get:1000"])?;
    }
    Ok(())
}

/// Both builds read one file, and read the same in it. A key that only one of them knows stands at
/// its default there.
#[test]
fn a_configuration_means_the_same_to_both_builds() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let host = lab.host("alice")?;
    let file = host.home().join("hardline.toml");
    // The example holds every key with its default, commented out. The tables of services and peers
    // follow.
    let example = host.run(other_program()?, &["config", "example"])?.success()?.stdout;
    let every_key = example
        .lines()
        .take_while(|line| !line.starts_with("#[["))
        .map(|line| line.strip_prefix("#").filter(|rest| is_setting(rest)).unwrap_or(line))
        .collect::<Vec<_>>()
        .join("\n");
    std::fs::write(&file, every_key + TABLES)?;
    let show = |program: &Path| -> Result<String> {
        let shown = host.run(program, &["--config", &file.to_string_lossy(), "config", "show"])?.success()?.stdout;
        Ok(shown.lines().filter(|line| !line.ends_with("# default")).collect::<Vec<_>>().join("\n"))
    };
    assert_eq!(show(hardline_program()?)?, show(&other_program()?)?);
    Ok(())
}

/// A service and a peer with all their keys.
const TABLES: &str = r#"
[[service]]
target = 8080
title = "Pictures"
name = "pictures"
password = "correcthorse"
unlisted = true
dht = false

[[service]]
target = "192.168.1.5:80"
ephemeral = true

[[peer]]
link = "http://6fef58cb259ed9746e280ac7ca618aab93d3fe79.localhost:7009/"
addresses = ["home.example.org:7008", "[2001:db8::5]:7008"]
ready = true
"#;

fn is_setting(line: &str) -> bool {
    line.split_once(" = ").is_some_and(|(key, _)| key.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
}

fn stop(mut program: Hardline) -> Result<()> {
    assert_eq!(program.process.terminate(STOP_LIMIT)?.code(), Some(0));
    Ok(())
}

fn waits_until_found(browse: &Process, service: &Hardline) -> Result<()> {
    let key = service.ready["services"][0]["key"].as_str().context("a key")?;
    browse.wait_for(&format!("found {key}"), |line| {
        let event: Value = serde_json::from_str(line).ok()?;
        (event["event"] == "found" && event["key"] == key).then_some(())
    })
}

/// A build that knows of no datagrams grants a stream to who asks for them, and is told a word that
/// it does not know when it asks a service that speaks UDP.
#[test]
fn who_mistakes_udp_for_tcp_is_told_so_between_two_builds() -> Result<()> {
    for (publisher, visitor) in pairings()? {
        let Some(lab) = Lab::open()? else { return Ok(()) };
        let (_switch, [alice, bob]) = lab.lan(["alice", "bob"])?;
        if visitor == hardline_program()? {
            let backend = alice.backend("127.0.0.1:0")?;
            let server = alice.hardline_build(&publisher, &["share", &backend.address.to_string()])?;
            let key = server.ready["services"][0]["key"].as_str().context("a key")?.to_owned();
            let (forward, at) = bob.forward_udp(&key, &[])?;
            let port = at.port().to_string();
            let dig = bob.run("dig", &["@127.0.0.1", "-p", &port, "+tries=1", "+time=2", "name.example"])?;
            assert!(!dig.status.success(), "{}", dig.stdout);
            forward.process.wait_for_line("forward it without udp:")?;
        } else {
            let echo = alice.udp_echo("127.0.0.1:0")?;
            let (_server, key) = alice.share_udp(echo.address, &[])?;
            let said = bob.run(&visitor, &["connect", &key, "--data-dir", "connecting"])?;
            assert!(said.status.code() == Some(5), "{said:?}");
            assert!(said.stderr.to_lowercase().contains("udp"), "{}", said.stderr);
        }
    }
    Ok(())
}
