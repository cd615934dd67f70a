//! Behind a real home router: addresses that lead here from outside.

use anyhow::Result;
use hardline_lab::{Lab, Mapping};

#[test]
fn a_router_of_the_lab_maps_ports_and_forgets_them() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let internet = lab.internet()?;
    for (number, mapping) in (1..).zip([Mapping::Upnp, Mapping::NatPmp]) {
        let mut home = lab.home(&internet, number, mapping)?;
        let alice = lab.host(&format!("alice{number}"))?;
        home.connect(&alice, 2)?;
        home.take_port(&alice, 7008)?;
        assert_eq!(home.mapped()?, [(7008, format!("192.168.{number}.2:7008").parse()?)]);
        home.power_off()?;
        home.power_on()?;
        assert_eq!(home.mapped()?, []);
        home.move_to(number + 100)?;
        home.take_port(&alice, 7009)?;
    }
    Ok(())
}
