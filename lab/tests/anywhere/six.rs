//! IPv6 alone, and no NAT.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use hardline_lab::{DhtNetwork, Host, Lab, Mapping, is_long};

use crate::measure::{first_tries, new_gateway, so_many_first_tries};
use crate::paths::path_to;
use crate::world::{ROUND_TRIP, sealed_key, texts};

/// Time for a router to be asked.
const LIMIT: Duration = Duration::from_secs(30);

#[test]
fn scenario_09_ipv6_only_without_nat() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let internet = lab.slow_internet(ROUND_TRIP)?;
    let dht = lab.dht_over_ipv6(&internet, 4)?;
    let (alice, bob) = (lab.host("alice")?, lab.host("bob")?);
    for (host, address) in [(&alice, "2001:db8:a::5"), (&bob, "2001:db8:b::6")] {
        let address: IpAddr = address.parse()?;
        host.join_as(&internet, "eth0", &[address])?;
    }
    opens_each_time("9, IPv6 only, DHT", &dht, &alice, &bob)
}

/// Each in a home whose router forwards and asks nobody.
#[test]
fn scenario_09_ipv6_only_behind_home_routers_that_route() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let internet = lab.slow_internet(ROUND_TRIP)?;
    let dht = lab.dht_over_ipv6(&internet, 4)?;
    let (home, away) = (lab.routed_home(&internet, 5)?, lab.routed_home(&internet, 6)?);
    let (alice, bob) = (lab.host("alice")?, lab.host("bob")?);
    home.connect(&alice, 2)?;
    away.connect(&bob, 2)?;
    opens_each_time("9, IPv6 only, behind routers that route, DHT", &dht, &alice, &bob)
}

/// Each behind a router that lets nobody in unasked. No port is asked of it: both send.
#[test]
fn scenario_25_ipv6_only_behind_firewalls_punched() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let internet = lab.slow_internet(ROUND_TRIP)?;
    let dht = lab.dht_over_ipv6(&internet, 4)?;
    let (home, away) = (lab.routed_home(&internet, 5)?, lab.routed_home(&internet, 6)?);
    home.let_nobody_in()?;
    away.let_nobody_in()?;
    let (alice, bob) = (lab.host("alice")?, lab.host("bob")?);
    home.connect(&alice, 2)?;
    away.connect(&bob, 2)?;
    opens_each_time("25, IPv6 only, firewalls on both sides, punched", &dht, &alice, &bob)
}

/// The router's firewall lets nobody in, but opens the port when it is asked to; no probes are
/// sent.
#[test]
fn scenario_35_ipv6_behind_a_firewall_that_is_asked_to_open_the_port() -> Result<()> {
    for mapping in [Mapping::Pcp, Mapping::Upnp] {
        let Some(lab) = Lab::open()? else { return Ok(()) };
        let internet = lab.slow_internet(ROUND_TRIP)?;
        let dht = lab.dht_over_ipv6(&internet, 4)?;
        let home = lab.home_with_ipv6(&internet, 5, mapping)?;
        let (alice, bob) = (lab.host("alice")?, lab.host("bob")?);
        home.connect(&alice, 2)?;
        bob.join_as(&internet, "eth0", &["2001:db8:b::6".parse()?])?;
        let all = dht.options();
        let options = [&texts(&all)[..], &["--set", "p2p.punching=false"]].concat();
        let service = alice.service(&options)?;
        dht.wait_for_value(sealed_key(&service.key)?, |_| true)?;
        let asked = Instant::now();
        while home.pinholes()? < 2 {
            ensure!(asked.elapsed() < LIMIT, "{mapping:?}: not opened");
            std::thread::sleep(Duration::from_millis(50));
        }
        let tries = if is_long() { 20 } else { 5 };
        so_many_first_tries(&format!("35, IPv6, firewall opened by {mapping:?}, DHT"), tries, |number| {
            let gateway = new_gateway(&bob, number, &options)?;
            let first = bob.first_byte(&gateway, &service.key)?;
            let path = path_to(&bob, &gateway, &service.key)?;
            ensure!(path["kind"] == "direct" && path["transport"] == "tcp", "{path}");
            Ok(first)
        })?;
    }
    Ok(())
}

fn opens_each_time(scenario: &str, dht: &DhtNetwork, alice: &Host, bob: &Host) -> Result<()> {
    let options = dht.options();
    let service = alice.service(&texts(&options))?;
    dht.wait_for_value(sealed_key(&service.key)?, |_| true)?;
    first_tries(scenario, |number| {
        let gateway = new_gateway(bob, number, &texts(&options))?;
        bob.first_byte(&gateway, &service.key)
    })
}
