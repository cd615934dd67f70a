//! Around the house, mostly without any internet.

use anyhow::Result;
use hardline_lab::{Lab, Mapping};

use crate::measure::{first_tries, new_gateway, so_many_first_tries};
use crate::world::{TwoHomes, texts};

#[test]
fn scenario_01_one_lan_without_internet_and_dht() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let (_switch, [alice, bob]) = lab.lan(["alice", "bob"])?;
    let service = alice.service(&[])?;
    first_tries("1, one LAN, no internet", |number| {
        let gateway = new_gateway(&bob, number, &[])?;
        bob.first_byte(&gateway, &service.key)
    })
}

#[test]
fn scenario_12_a_neighbour_claims_to_be_everybody() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let (_switch, [alice, bob, mallory]) = lab.lan(["alice", "bob", "mallory"])?;
    let service = alice.service(&[])?;
    let impostor = mallory.impostor()?;
    let _liar = mallory.lie_on_lan(&service.key)?;
    first_tries("12, a lying neighbour", |number| {
        let gateway = new_gateway(&bob, number, &[])?;
        bob.first_byte(&gateway, &service.key)
    })?;
    impostor.was_refused_and_sent_nothing()
}

#[test]
fn scenario_13_of_two_publishers_of_one_identity_one_is_killed() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let (_switch, [alice, carol, bob]) = lab.lan(["alice", "carol", "bob"])?;
    let certificate = lab.dir().join("twins.cert");
    let mut twins = [(&alice, None), (&carol, None)];
    first_tries("13, one of two publishers killed, the next request", |number| {
        for (host, twin) in &mut twins {
            if twin.is_none() {
                *twin = Some(host.service_with_identity(&certificate, &[])?);
            }
        }
        let key = twins[0].1.as_ref().map(|twin| twin.key.clone()).unwrap_or_default();
        let gateway = new_gateway(&bob, number, &[])?;
        bob.first_byte(&gateway, &key)?;
        if let Some(mut dead) = twins[number % 2].1.take() {
            dead.program.process.kill()?;
        }
        bob.first_byte(&gateway, &key)
    })
}

#[test]
fn a_neighbour_without_multicast_and_hairpin_behind_a_upnp_router() -> Result<()> {
    neighbour_without_multicast(Mapping::Upnp)
}

#[test]
fn a_neighbour_without_multicast_and_hairpin_behind_a_router_that_opens_no_port() -> Result<()> {
    neighbour_without_multicast(Mapping::None)
}

/// The network swallows multicast, and the router leads nobody from inside back in: what the
/// service signed tells its neighbours where it is in their own network.
fn neighbour_without_multicast(mapping: Mapping) -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let world = TwoHomes::new(&lab, mapping)?;
    let carol = lab.host("carol")?;
    world.home.connect(&carol, 3)?;
    let mute = "add table inet mute; add chain inet mute out { type filter hook output priority 0; }; \
                add rule inet mute out udp dport 6771 drop";
    for host in [&world.alice, &carol] {
        host.run("nft", &[mute])?.success()?;
    }
    let service = world.publish(&[])?;
    let options = world.dht.options();
    so_many_first_tries(&format!("{mapping:?}, a neighbour without multicast, no hairpin"), 10, |number| {
        let gateway = new_gateway(&carol, number, &texts(&options))?;
        carol.first_byte(&gateway, &service.key)
    })
}
