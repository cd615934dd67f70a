//! Our program with itself, between two computers.

use anyhow::Result;
use hardline_lab::{EVERY_CHECK, Lab, is_long};

#[test]
fn every_exchange_works_through_two_daemons() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let (_switch, [alice, bob]) = lab.lan(["alice", "bob"])?;
    let backend = alice.backend("127.0.0.1:0")?;
    let server = alice.hardline(&["share", &backend.address.to_string()])?;
    let client = bob.hardline(&[])?;
    bob.check_site(client.gateway()?, &server.service_name()?, EVERY_CHECK)?;
    // Browsers try IPv6 first.
    bob.check_site("[::1]:7009".parse()?, &server.service_name()?, EVERY_CHECK)
}

#[test]
fn many_long_streams_at_once_arrive_whole_both_ways() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let (_switch, [alice, bob]) = lab.lan(["alice", "bob"])?;
    let backend = alice.backend("127.0.0.1:0")?;
    let server = alice.hardline(&["share", &backend.address.to_string()])?;
    let client = bob.hardline(&[])?;
    let streams = if is_long() { "streams:8:268435456" } else { "streams:8:16777216" };
    bob.check_site(client.gateway()?, &server.service_name()?, &[streams])
}

#[test]
fn a_backend_with_ipv6_only_is_reached() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let (_switch, [alice, bob]) = lab.lan(["alice", "bob"])?;
    let backend = alice.backend("[::1]:0")?;
    let server = alice.hardline(&["share", &backend.address.to_string()])?;
    let client = bob.hardline(&[])?;
    bob.check_site(client.gateway()?, &server.service_name()?, &["get:65536", "post:65536"])
}

#[test]
fn a_stopped_program_ends_cleanly_and_the_next_one_keeps_the_name() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let (_switch, [alice, bob]) = lab.lan(["alice", "bob"])?;
    let backend = alice.backend("127.0.0.1:0")?;
    let target = backend.address.to_string();
    let mut server = alice.hardline(&["share", &target])?;
    let client = bob.hardline(&[])?;
    let name = server.service_name()?;
    bob.check_site(client.gateway()?, &name, &["get:1000"])?;
    let status = server.process.terminate(std::time::Duration::from_secs(40))?;
    assert_eq!(status.code(), Some(0));

    let again = alice.hardline(&["share", &target])?;
    assert_eq!(again.service_name()?, name);
    bob.check_site(client.gateway()?, &name, &["get:1000"])
}

#[test]
fn a_remembered_address_opens_when_all_discovery_is_down() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let (_switch, [alice, bob]) = lab.lan(["alice", "bob"])?;
    let backend = alice.backend("127.0.0.1:0")?;
    let server = alice.hardline(&["share", &backend.address.to_string()])?;
    let name = server.service_name()?;
    let mut client = bob.hardline(&[])?;
    bob.check_site(client.gateway()?, &name, &["get:1000"])?;
    assert_eq!(client.process.terminate(std::time::Duration::from_secs(40))?.code(), Some(0));

    let without_discovery = bob.hardline(&["--set", "lan.enabled=false"])?;
    bob.check_site(without_discovery.gateway()?, &name, &["get:1000"])
}
