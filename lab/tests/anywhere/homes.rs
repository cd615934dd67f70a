//! From one home to another, over the internet: nothing remembered, found in the DHT.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use hardline_lab::{Lab, Mapping, hardline_program};

use crate::measure::{first_tries, new_gateway, say};
use crate::world::{TwoHomes, sealed_key, texts};

#[test]
fn scenario_02_behind_a_upnp_router_found_by_dht() -> Result<()> {
    found_by_dht("2, UPnP router, DHT", Mapping::Upnp)
}

#[test]
fn scenario_03_by_a_proxy_alone() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let world = TwoHomes::new(&lab, Mapping::Upnp)?;
    let service = world.publish(&[])?;
    // A network that lets the web through and nothing else.
    world.away.host.nft("insert rule inet filter forward meta l4proto udp drop\n")?;
    let proxy = world.dht.proxy(2);
    let options = ["--dht-bootstrap", &world.dht.bootstrap(), "--dht-proxy", &proxy];
    first_tries("3, UPnP router, a client without UDP, DHT proxy", |number| {
        let gateway = new_gateway(&world.bob, number, &options)?;
        world.bob.first_byte(&gateway, &service.key)
    })
}

#[test]
fn scenario_04_behind_a_nat_pmp_router() -> Result<()> {
    found_by_dht("4, NAT-PMP router, DHT", Mapping::NatPmp)
}

#[test]
fn scenario_04_behind_a_pcp_router() -> Result<()> {
    found_by_dht("4, PCP router, DHT", Mapping::Pcp)
}

#[test]
fn scenario_04_quic_behind_a_upnp_router() -> Result<()> {
    found_over_quic("4, UPnP router, QUIC alone", Mapping::Upnp)
}

#[test]
fn scenario_04_quic_behind_a_nat_pmp_router() -> Result<()> {
    found_over_quic("4, NAT-PMP router, QUIC alone", Mapping::NatPmp)
}

#[test]
fn scenario_04_quic_behind_a_pcp_router() -> Result<()> {
    found_over_quic("4, PCP router, QUIC alone", Mapping::Pcp)
}

#[test]
fn scenario_05_the_port_is_taken_on_the_router() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let world = TwoHomes::new(&lab, Mapping::Upnp)?;
    let carol = lab.host("carol")?;
    world.home.connect(&carol, 3)?;
    world.home.take_port(&carol, 7008)?;
    let service = world.publish(&[])?;
    let mapped = world.home.mapped()?;
    ensure!(mapped.iter().any(|(port, to)| *port == 7009 && to.to_string() == "192.168.5.2:7008"), "{mapped:?}");
    open_each_time("5, port taken, the next one", &world, &service.key)
}

#[test]
fn scenario_10_no_upnp_and_a_port_forwarded_by_hand() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let world = TwoHomes::new(&lab, Mapping::None)?;
    world.home.forward_by_hand(7008, 2, 7008)?;
    let service = world.publish(&[])?;
    open_each_time("10, forwarded by hand, DHT", &world, &service.key)
}

/// From when the program says that it runs to when a node of the DHT finds the address which the
/// router gave; asking the router is part of it. Each time in a new world: of a program that was
/// killed the nodes would still look for a while for its node.
#[test]
fn a_fresh_share_stands_in_the_dht_at_once() -> Result<()> {
    let mut times = Vec::new();
    for _ in 0..5 {
        let Some(lab) = Lab::open()? else { return Ok(()) };
        let world = TwoHomes::new(&lab, Mapping::Upnp)?;
        let service = world.alice.service(&texts(&world.dht.options()))?;
        let begun = Instant::now();
        world.dht.wait_for_value(sealed_key(&service.key)?, |_| true)?;
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    say(&format!("a fresh share stands in the DHT after {times:.2?}"))?;
    ensure!(times[2] < Duration::from_secs(1), "{times:?}");
    Ok(())
}

/// Nothing can be reached, and the owner is told why.
#[test]
fn scenario_14_carrier_nat_is_told() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let internet = lab.internet()?;
    let dht = lab.dht(&internet, 3)?;
    let carrier = lab.carrier(&internet, 7)?;
    let home = lab.home_behind(&carrier, 5, Mapping::Upnp)?;
    let alice = lab.host("alice")?;
    home.connect(&alice, 2)?;
    let options = dht.options();
    let service = alice.service(&texts(&options))?;
    let told = |text: &str| text.to_lowercase().contains("carrier nat");
    let begun = Instant::now();
    loop {
        let page = alice.curl(&[&format!("http://{}/status", service.program.gateway()?)])?.success()?.stdout;
        if told(&page) {
            break;
        }
        ensure!(begun.elapsed() < Duration::from_secs(60), "status: {page}");
        sleep(Duration::from_millis(100));
    }
    let doctor = alice.run(hardline_program()?, &[&["doctor"], &texts(&options)[..]].concat())?.stdout;
    ensure!(told(&doctor), "doctor: {doctor}");
    Ok(())
}

fn found_by_dht(scenario: &str, mapping: Mapping) -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let world = TwoHomes::new(&lab, mapping)?;
    let service = world.publish(&[])?;
    open_each_time(scenario, &world, &service.key)
}

/// Where TCP does not get through and nobody is called: by the UDP port that the router opens,
/// which is given back at the end.
fn found_over_quic(scenario: &str, mapping: Mapping) -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let world = TwoHomes::new(&lab, mapping)?;
    world.home.refuse_tcp()?;
    let mut service = world.publish(&["--set", "p2p.punching=false"])?;
    let inside = "192.168.5.2:7008".parse()?;
    let begun = Instant::now();
    while world.home.mapped_udp()? != [(7008, inside)] {
        ensure!(begun.elapsed() < Duration::from_secs(30), "{:?}", world.home.mapped_udp()?);
        sleep(Duration::from_millis(100));
    }
    open_each_time(scenario, &world, &service.key)?;
    service.program.process.terminate(Duration::from_secs(40))?;
    ensure!(world.home.mapped()?.is_empty() && world.home.mapped_udp()?.is_empty(), "both are given back");
    Ok(())
}

/// From the other home, by somebody who remembers nothing.
fn open_each_time(scenario: &str, world: &TwoHomes, key: &str) -> Result<()> {
    let options = world.dht.options();
    first_tries(scenario, |number| {
        let gateway = new_gateway(&world.bob, number, &texts(&options))?;
        world.bob.first_byte(&gateway, key)
    })
}
