//! LAN discovery between computers, with the real program.

use std::time::Duration;

use anyhow::{Context as _, Result};
use hardline_lab::{Hardline, Host, Lab, Process, Service, hardline_program};
use serde_json::Value;

#[test]
fn a_link_opens_on_another_computer_of_the_lan() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let (_switch, [alice, bob]) = lab.lan(["alice", "bob"])?;
    let service = alice.service(&[])?;
    service.opens_at(&gateway(&bob)?, &bob)
}

#[test]
fn an_unlisted_service_opens_and_is_not_browsed() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let (_switch, [alice, bob]) = lab.lan(["alice", "bob"])?;
    let unlisted = alice.service(&["--unlisted"])?;
    let listed = alice.service(&["--gateway-port", "0", "--data-dir", "second"])?;
    let browse = browse(&bob)?;
    browse.waits_for("found", &listed)?;
    unlisted.opens_at(&gateway(&bob)?, &bob)?;
    assert!(browse.events("found", &unlisted).is_empty());
    Ok(())
}

#[test]
fn browsing_tells_title_link_and_address() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let (_switch, [alice, bob]) = lab.lan(["alice", "bob"])?;
    let service = alice.service(&["--title", "Käse: & mehr"])?;
    let event = browse(&bob)?.waits_for("found", &service)?;
    assert_eq!(event["title"], "Käse: & mehr");
    assert_eq!(event["link"], format!("http://{}.localhost:7009/", service.key));
    let port = service.program.ready["p2p"][0].as_str().and_then(|at| at.rsplit(':').next()).context("a P2P port")?;
    let addresses: Vec<_> = event["addresses"].as_array().context("addresses")?.iter().collect();
    // Beside it may stand the one of IPv6, which was heard as well.
    assert!(addresses.contains(&&Value::from(format!("192.168.77.1:{port}"))), "{event}");
    Ok(())
}

#[test]
fn two_programs_on_a_computer_without_any_network_find_each_other() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let host = lab.host("alice")?;
    let service = host.service(&["--gateway-port", "0"])?;
    service.opens_at(&gateway(&host)?, &host)
}

#[test]
fn an_interface_of_the_seeker_that_comes_up_later_is_used() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let (switch, [alice]) = lab.lan(["alice"])?;
    let service = alice.service(&[])?;
    let bob = lab.host("bob")?;
    let (gateway, browse) = (gateway(&bob)?, browse(&bob)?);
    bob.attach(&switch, "eth0", &["192.168.77.2/24"])?;
    browse.waits_for("found", &service)?;
    service.opens_at(&gateway, &bob)
}

#[test]
fn an_interface_of_the_service_that_comes_up_later_is_used() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let (switch, [bob]) = lab.lan(["bob"])?;
    let (gateway, browse) = (gateway(&bob)?, browse(&bob)?);
    let alice = lab.host("alice")?;
    let service = alice.service(&[])?;
    alice.attach(&switch, "eth0", &["192.168.77.2/24"])?;
    browse.waits_for("found", &service)?;
    service.opens_at(&gateway, &bob)
}

#[test]
fn when_an_interface_goes_away_its_services_do_and_those_of_others_stay() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let (_switch, [alice, bob]) = lab.lan(["alice", "bob"])?;
    let other_switch = lab.switch("other")?;
    let carol = lab.host("carol")?;
    carol.attach(&other_switch, "eth0", &["10.9.0.1/24"])?;
    bob.attach(&other_switch, "eth1", &["10.9.0.2/24"])?;
    let (of_alice, of_carol) = (alice.service(&[])?, carol.service(&[])?);
    let (gateway, browse) = (gateway(&bob)?, browse(&bob)?);
    browse.waits_for("found", &of_alice)?;
    browse.waits_for("found", &of_carol)?;

    bob.detach("eth0")?;
    browse.waits_for("lost", &of_alice)?;
    assert!(browse.events("lost", &of_carol).is_empty());
    of_carol.opens_at(&gateway, &bob)
}

/// No address changes then, so nothing but a look tells.
#[test]
fn a_cable_pulled_and_plugged_in_again_is_noticed() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let (_switch, [alice, bob]) = lab.lan(["alice", "bob"])?;
    let service = alice.service(&[])?;
    let gateway = gateway(&bob)?;
    let before = browse(&bob)?;
    before.waits_for("found", &service)?;
    bob.set_link("eth0", false)?;
    before.waits_for("lost", &service)?;
    let after = browse(&bob)?;
    bob.set_link("eth0", true)?;
    after.waits_for("found", &service)?;
    service.opens_at(&gateway, &bob)
}

/// Linux lets one socket join the group on 20 interfaces. An unlisted service announces nothing, so
/// it must hear the search.
#[test]
fn a_computer_with_many_interfaces_hears_on_all() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let bob = lab.host("bob")?;
    let many = lab.switch("many")?;
    for number in 1..=30 {
        bob.attach(&many, &format!("container{number}"), &[&format!("10.{number}.0.1/24")])?;
    }
    let last = lab.switch("last")?;
    bob.attach(&last, "eth0", &["192.168.77.2/24"])?;
    let service = bob.service(&["--unlisted"])?;
    let alice = lab.host("alice")?;
    alice.attach(&last, "eth0", &["192.168.77.1/24"])?;
    service.opens_at(&gateway(&alice)?, &alice)
}

/// No address but those that computers give themselves. An unlisted service announces nothing, so
/// it must hear the search.
#[test]
fn on_a_lan_without_ipv4_a_link_opens_and_a_service_is_browsed() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let (alice, bob) = (lab.host("alice")?, lab.host("bob")?);
    let (switch, other) = (lab.switch("switch")?, lab.switch("other")?);
    // Bob's other network comes first, and his own address there may be anything.
    bob.attach(&other, "eth0", &[])?;
    bob.attach(&switch, "eth1", &[])?;
    alice.attach(&switch, "eth0", &[])?;
    let mut listed = alice.service(&["--set", "dht.enabled=false"])?;
    let unlisted = alice.service(&["--unlisted", "--gateway-port", "0", "--data-dir", "second"])?;
    let said = alice.run("ip", &["-6", "-oneline", "address", "show", "dev", "eth0", "scope", "link"])?.success()?;
    let words: Vec<&str> = said.stdout.split_whitespace().collect();
    let address = words.iter().find_map(|word| word.strip_suffix("/64")).context("a link-local address")?;
    let number = bob.run("cat", &["/sys/class/net/eth1/ifindex"])?.success()?.stdout;
    let browse = browse(&bob)?;
    let event = browse.waits_for("found", &listed)?;
    assert_eq!(event["addresses"], serde_json::json!([format!("[{address}%{}]:7008", number.trim())]));

    let gateway = gateway(&bob)?;
    for service in [&listed, &unlisted] {
        service.opens_at(&gateway, &bob)?;
        let status = bob.status(&gateway)?;
        let peers = status["peers"].as_array().context("peers")?;
        let peer = peers.iter().find(|peer| peer["key"] == service.key.as_str()).context("connected")?;
        assert_eq!(peer["path"]["kind"], "lan", "{peer}");
    }
    assert!(browse.events("found", &unlisted).is_empty());
    for host in [&alice, &bob] {
        let doctor = host.run(hardline_program()?, &["doctor", "--no-dht", "--data-dir", "doctor"])?;
        assert!(!doctor.stdout.contains("no address that another one could reach"), "{}", doctor.stdout);
        assert!(doctor.stdout.contains("Discovery works on eth0 (fe80::"), "{}", doctor.stdout);
    }
    listed.program.process.terminate(Duration::from_secs(40))?;
    browse.waits_for("lost", &listed)?;
    Ok(())
}

/// It is heard first, and always. Its TLS server takes everybody and prints what it is sent.
#[test]
fn a_neighbour_that_claims_every_service_gets_no_byte_and_the_right_one_wins() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let (_switch, [alice, bob, mallory]) = lab.lan(["alice", "bob", "mallory"])?;
    let service = alice.service(&[])?;
    let impostor = mallory.impostor()?;
    let _liar = mallory.lie_on_lan(&service.key)?;
    let browse = browse(&bob)?;
    browse.waits_for_addresses(&service, &["192.168.77.1:", "192.168.77.3:7008"])?;

    // The right one may answer before the impostor is dialled at all: gateways that know nothing
    // ask until it was.
    for number in 0..20 {
        let gateway = bob.gateway(&format!("gateway{number}"), &[])?;
        service.opens_at(&gateway, &bob)?;
        if impostor.was_dialled() {
            break;
        }
    }

    impostor.was_refused_and_sent_nothing()
}

/// The program without a service, in a data folder of its own.
fn gateway(host: &Host) -> Result<Hardline> {
    host.gateway("gateway", &[])
}

/// `hardline browse`, running.
struct Browse(Process);

fn browse(host: &Host) -> Result<Browse> {
    Ok(Browse(host.hardline(&["browse", "--data-dir", "browse"])?.process))
}

impl Browse {
    /// Waits until it tells `event` of `service`.
    fn waits_for(&self, event: &str, service: &Service) -> Result<Value> {
        self.0.wait_for(&format!("{event} {}", service.key), |line| told(line, event, service))
    }

    /// Waits until the service is listed with an address that begins with each of `starts`.
    fn waits_for_addresses(&self, service: &Service, starts: &[&str]) -> Result<()> {
        self.0.wait_for(&format!("{starts:?}"), |line| {
            let event = told(line, "found", service).or_else(|| told(line, "changed", service))?;
            let addresses: Vec<&str> = event["addresses"].as_array()?.iter().filter_map(Value::as_str).collect();
            starts.iter().all(|start| addresses.iter().any(|address| address.starts_with(start))).then_some(())
        })
    }

    /// What it has told so far.
    fn events(&self, event: &str, service: &Service) -> Vec<Value> {
        self.0.stdout().iter().filter_map(|line| told(line, event, service)).collect()
    }
}

fn told(line: &str, event: &str, service: &Service) -> Option<Value> {
    let value: Value = serde_json::from_str(line).ok()?;
    (value["event"] == event && value["key"] == service.key.as_str()).then_some(value)
}

/// On a LAN without IPv4 or a router: an address of the interface's own, typed with its zone.
#[test]
fn a_link_local_address_with_its_zone_can_be_typed() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let (switch, alice, bob) = (lab.switch("switch")?, lab.host("alice")?, lab.host("bob")?);
    for host in [&alice, &bob] {
        host.attach(&switch, "eth0", &[])?;
    }
    let service = alice.service(&["--set", "dht.enabled=false", "--set", "lan.enabled=false"])?;
    let said = alice.run("ip", &["-6", "-oneline", "address", "show", "dev", "eth0", "scope", "link"])?.success()?;
    let words: Vec<&str> = said.stdout.split_whitespace().collect();
    let address = words.iter().find_map(|word| word.strip_suffix("/64")).context("a link-local address")?;
    let file = bob.home().join("peer.toml");
    let link = format!("http://{}.localhost:7009/", service.key);
    for zone in ["eth0", "2"] {
        let peer = format!("[[peer]]\nlink = \"{link}\"\naddresses = [\"[{address}%{zone}]:7008\"]\n");
        std::fs::write(&file, peer)?;
        let options = ["--config", &file.to_string_lossy(), "--set", "dht.enabled=false", "--set", "lan.enabled=false"];
        let number = bob.run("cat", &["/sys/class/net/eth0/ifindex"])?.success()?.stdout;
        if zone == "2" && number.trim() != zone {
            continue;
        }
        let gateway = bob.gateway(&format!("data-{zone}"), &options)?;
        service.opens_at(&gateway, &bob)?;
        // What is remembered can be read by every version of the program: nothing with a zone.
        let listed = bob.run(hardline_program()?, &["peers", "--data-dir", &format!("data-{zone}")])?.success()?;
        assert!(!listed.stdout.contains('%'), "{}", listed.stdout);
    }
    Ok(())
}
