//! IPv6 alone, and no NAT.

use std::net::IpAddr;

use anyhow::Result;
use hardline_lab::Lab;

use crate::measure::{first_tries, new_gateway};
use crate::world::{ROUND_TRIP, sealed_key, texts};

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
    let options = dht.options();
    let service = alice.service(&texts(&options))?;
    dht.wait_for_value(sealed_key(&service.key)?, |_| true)?;
    first_tries("9, IPv6 only, DHT", |number| {
        let gateway = new_gateway(&bob, number, &texts(&options))?;
        bob.first_byte(&gateway, &service.key)
    })
}
