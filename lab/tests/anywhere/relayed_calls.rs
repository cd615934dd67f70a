//! Calls that a relay carries: homes behind NATs reach each other without it, and without the DHT.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use hardline_lab::{Hardline, Host, Lab, Mapping, Service};

use crate::measure::say;
use crate::paths::{path_to, until_moved};
use crate::world::ROUND_TRIP;

/// Time for everything that should take seconds.
const LIMIT: Duration = Duration::from_secs(30);

const RELAY: &str = "203.0.113.20:7008";

/// Waits until the service is registered at the relay.
fn registered(host: &Host, service: &Service) -> Result<()> {
    let begun = Instant::now();
    while host.status(&service.program)?["relays"][0]["state"] != "registered" {
        ensure!(begun.elapsed() < LIMIT, "not registered");
    }
    Ok(())
}

/// Starts a gateway that is told of nothing but the relay.
fn gateway(host: &Host, key: &str) -> Result<Hardline> {
    let peer = format!("[[peer]]\nlink = \"http://{key}.localhost:7009/\"\naddresses = [\"{RELAY}\"]\n");
    let config = host.home().join("relay.toml");
    std::fs::write(&config, peer)?;
    host.hardline(&["--config", config.to_str().context("a path")?, "--data-dir", "new", "--no-dht"])
}

/// No node of the DHT anywhere: the first bytes come by the relay, and new tunnels need it no more.
#[test]
fn scenario_30_without_the_dht_homes_that_know_a_relay_find_the_way_without_it() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let internet = lab.slow_internet(ROUND_TRIP)?;
    let (home, away) = (lab.home(&internet, 5, Mapping::None)?, lab.home(&internet, 6, Mapping::None)?);
    let (alice, bob, vps) = (lab.host("alice")?, lab.host("bob")?, lab.host("vps")?);
    home.connect(&alice, 2)?;
    away.connect(&bob, 2)?;
    vps.join(&internet, "eth0", 20)?;
    let relay = vps.hardline(&["relay", "--public-address", RELAY, "--no-dht"])?;
    let url = relay.ready["relay"].as_str().context("the relay's address")?;
    let service = alice.service(&["--relay", url, "--no-dht"])?;
    registered(&alice, &service)?;
    let gateway = gateway(&bob, &service.key)?;
    let first = bob.first_byte(&gateway, &service.key)?;
    let path = path_to(&bob, &gateway, &service.key)?;
    ensure!(path["kind"] == "relay", "{path}");
    let after = until_moved(&bob, &gateway, &service.key, "punched")?;
    say(&format!(
        "30, no DHT, a relay: first byte by it after {} ms, new tunnels are punched {:.1} s later",
        first.as_millis(),
        after.as_secs_f64()
    ))?;
    let called = &alice.status(&service.program)?["metrics"]["calls_followed"];
    ensure!(called.as_u64().is_some_and(|calls| (1..=4).contains(&calls)), "{called}");
    ensure!(after < Duration::from_secs(5), "{after:?}");
    Ok(())
}
