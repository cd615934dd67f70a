//! Over the Yggdrasil mesh.

use anyhow::{Context as _, Result};
use hardline_lab::{Host, Lab, Meeting, Yggdrasil};

use crate::measure::{first_tries, knowing_gateway, learn};

/// Alice's house has a radio on the roof, and Bob one in the field; the hill between sees both. There is no internet.
/// Bob has opened the service at Alice's once.
#[test]
fn scenario_08_yggdrasil_only_remembered() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let (house, [alice, bob]) = lab.lan(["alice", "bob"])?;
    let (roof, field) = (lab.switch("roof")?, lab.switch("field")?);
    let hill = lab.host("hill")?;
    alice.attach(&roof, "radio0", &[])?;
    hill.attach(&roof, "radio0", &[])?;
    hill.attach(&field, "radio1", &[])?;
    let mesh = [&alice, &hill, &bob].map(|host| host.yggdrasil(Meeting::Neighbours("radio.*")));
    let [of_alice, _, _] = mesh.each_ref();
    let of_alice = of_alice.as_ref().ok().context("Alice's node of the mesh")?;
    let service = alice.service(&[])?;
    learn(&bob, "learned", &service.key)?;

    bob.detach("eth0")?;
    bob.attach(&field, "radio0", &[])?;
    wait_until_reached(&bob, of_alice)?;
    first_tries("8, Yggdrasil only, remembered", |number| {
        let gateway = knowing_gateway(&bob, "learned", number, &[])?;
        bob.first_byte(&gateway, &service.key)
    })?;
    drop(house);
    Ok(())
}

/// The mesh takes a second or so to find a way.
fn wait_until_reached(host: &Host, other: &Yggdrasil) -> Result<()> {
    let address = other.address.to_string();
    host.run("ping", &["-c", "1", "-w", "30", &address])?.success().context("no way through the mesh")?;
    Ok(())
}
