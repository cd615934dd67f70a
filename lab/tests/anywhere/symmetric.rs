//! Routers that give each destination another port, and such as let no UDP through.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use hardline_lab::{Lab, Service, is_long};

use crate::measure::{most_first_tries, new_gateway, say, so_many_first_tries};
use crate::punched::{Access, Pair};
use crate::relayed::Relay;
use crate::world::texts;

/// Longest time until a page is there, or says why not.
const LIMIT: Duration = Duration::from_secs(60);

/// Time within which a way is to be found.
const WITHIN: Duration = Duration::from_secs(10);

#[test]
fn scenario_22_a_client_behind_a_symmetric_nat() -> Result<()> {
    opens_by_chance("22, NAT, symmetric NAT, by chance", Access::Nat, Access::Symmetric, tries())
}

#[test]
fn scenario_22_a_publisher_behind_a_symmetric_nat() -> Result<()> {
    opens_by_chance("22, symmetric NAT, NAT, by chance", Access::Symmetric, Access::Nat, tries())
}

#[test]
fn scenario_22_a_client_behind_a_symmetric_nat_of_a_service_behind_two() -> Result<()> {
    opens_by_chance("22, two NATs, symmetric NAT, by chance", Access::DoubleNat, Access::Symmetric, few_tries())
}

#[test]
fn scenario_22_a_client_behind_two_nats_of_a_service_behind_a_symmetric_one() -> Result<()> {
    opens_by_chance("22, symmetric NAT, two NATs, by chance", Access::Symmetric, Access::DoubleNat, few_tries())
}

/// The page says so, and names what helps.
#[test]
fn scenario_22_both_behind_symmetric_nats() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let pair = Pair::new(&lab, Access::Symmetric, Access::Symmetric)?;
    let service = publish(&pair, Access::Symmetric)?;
    let gateway = new_gateway(&pair.bob, 0, &texts(&pair.dht.options()))?;
    let header = format!("Host: {}.localhost:7009", service.key);
    let begun = Instant::now();
    loop {
        let page = pair.bob.curl(&["--header", &header, &format!("http://{}/", gateway.gateway()?)])?.stdout;
        if page.contains("both routers give each destination another port; use a relay") {
            return say(&format!("22, both symmetric: said after {:.1?}", begun.elapsed()));
        }
        ensure!(begun.elapsed() < LIMIT, "{page}");
        sleep(Duration::from_millis(100));
    }
}

/// Nothing gets through where no UDP does; by a relay it is TCP.
#[test]
fn scenario_22_a_client_without_udp_by_a_relay_alone() -> Result<()> {
    by_a_relay_alone("22, NAT, UDP blocked", Access::Nat, tries())
}

#[test]
fn scenario_22_a_client_without_udp_of_a_service_behind_two_nats() -> Result<()> {
    by_a_relay_alone("22, two NATs, UDP blocked", Access::DoubleNat, few_tries())
}

#[test]
fn scenario_22_a_client_without_udp_of_a_service_behind_a_symmetric_nat() -> Result<()> {
    by_a_relay_alone("22, symmetric NAT, UDP blocked", Access::Symmetric, few_tries())
}

/// The client's network lets no UDP through: without a relay it never opens, and with one always.
fn by_a_relay_alone(scenario: &str, publisher: Access, tries: usize) -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let pair = Pair::new(&lab, publisher, Access::NoUdp)?;
    let proxy = pair.dht.proxy(2);
    let options = ["--dht-bootstrap", &pair.dht.bootstrap(), "--dht-proxy", &proxy];
    let mut service = pair.publish(&[])?;
    let gateway = new_gateway(&pair.bob, 100, &options)?;
    ensure!(pair.bob.first_byte(&gateway, &service.key).is_err());
    drop(gateway);
    service.program.process.terminate(LIMIT)?;
    let relay = Relay::start(&lab, &pair.internet, &pair.dht, 50)?;
    let service = pair.publish(&["--relay", &relay.url])?;
    relay.registered(&pair.alice, &service)?;
    so_many_first_tries(&format!("{scenario}, relay"), tries, |number| {
        let gateway = new_gateway(&pair.bob, number, &options)?;
        pair.bob.first_byte(&gateway, &service.key)
    })
}

/// Of pairs much like others.
fn few_tries() -> usize {
    if is_long() { 20 } else { 2 }
}

fn tries() -> usize {
    if is_long() { 20 } else { 5 }
}

/// Tries of which nine in ten open. Each has a publisher that was just started: to one network a
/// publisher sends many datagrams no more often than once a minute.
fn opens_by_chance(scenario: &str, publisher: Access, client: Access, tries: usize) -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let pair = Pair::new(&lab, publisher, client)?;
    let options = pair.dht.options();
    most_first_tries(scenario, tries, tries.div_ceil(10), |number| {
        let mut service = publish(&pair, publisher)?;
        let gateway = new_gateway(&pair.bob, number, &texts(&options))?;
        let first_byte = pair.bob.first_byte(&gateway, &service.key)?;
        ensure!(first_byte < WITHIN, "after {first_byte:?}");
        service.program.process.terminate(LIMIT)?;
        Ok(first_byte)
    })
}

/// Publishes, and waits until the publisher knows its router as one that runs for a while does.
fn publish(pair: &Pair, access: Access) -> Result<Service> {
    let service = pair.publish(&[])?;
    if matches!(access, Access::Symmetric) {
        pair.wait_until_seen(&service, |dht| dht["nat"] == "symmetric")?;
    }
    Ok(service)
}
