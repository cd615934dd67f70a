//! Released peers through the real router and a released proxy of the DHT.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use hardline_lab::{Lab, Mapping, Release};
use hardline_node::proto::{KeyHash, dht_key};

use crate::measure::{first_tries, new_gateway};
use crate::world::{TwoHomes, today};

/// Where the Python server listens for peers.
const P2P_PORT: u16 = 7684;

#[test]
fn scenario_15_released_clients_outside_open_our_service() -> Result<()> {
    for release in Release::ALL {
        let Some(lab) = Lab::open()? else { return Ok(()) };
        let world = TwoHomes::new(&lab, Mapping::Upnp)?;
        let service = world.publish(&[])?;
        let key: KeyHash = service.key.parse()?;
        for at in [dht_key::plain(&key), dht_key::rolling(&key, today()?)] {
            world.dht.wait_for_value(at, |_| true)?;
        }
        world.bob.use_dht_proxy(&world.dht.proxy(1))?;
        let _client = world.bob.python_client(release)?;
        let gateway: SocketAddr = ([127, 0, 0, 1], 7009).into();
        let name = format!("{}.localhost:7009", service.key);
        world.bob.check_site(gateway, &name, &["get:1000", "get:1000000", "post:100000"])?;
    }
    Ok(())
}

/// The last release publishes through a proxy. (The first needs OpenDHT's binding for that.)
#[test]
fn scenario_15_our_client_outside_opens_a_released_service() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let world = TwoHomes::new(&lab, Mapping::Upnp)?;
    world.alice.use_dht_proxy(&world.dht.proxy(1))?;
    let backend = world.alice.backend("127.0.0.1:0")?;
    let server = world.alice.python_server(Release::Last, P2P_PORT, backend.address)?;
    let key: KeyHash = server.name.split('-').next_back().context("a key")?.parse()?;
    let told = world.dht.wait_for_value(dht_key::rolling(&key, today()?), |_| true)?;
    assert!(told.starts_with(b"203.0.113.5:"), "{}", String::from_utf8_lossy(&told));
    let bootstrap = world.dht.bootstrap();
    let options = ["--dht-bootstrap", &bootstrap, "--dht-proxy", "none"];
    first_tries("15, the last release's service, by DHT", |number| {
        let gateway = new_gateway(&world.bob, number, &options)?;
        world.bob.first_byte(&gateway, &server.name)
    })
}
