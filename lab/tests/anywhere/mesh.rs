//! Over the Yggdrasil mesh.

use anyhow::{Context as _, Result, ensure};
use hardline_lab::{DHT_PORT, Host, Lab, Meeting, Switch, Yggdrasil};

use crate::measure::{first_tries, knowing_gateway, learn, new_gateway};
use crate::paths::path_to;
use crate::world::sealed_key;

/// Alice's house has a radio on the roof, and Bob one in the field; the hill between sees both.
/// There is no internet.
struct Valley {
    alice: Host,
    bob: Host,
    hill: Host,
    roof: Switch,
    field: Switch,
}

impl Valley {
    fn new(lab: &Lab) -> Result<Self> {
        let [alice, bob, hill] = ["alice", "bob", "hill"].map(|name| lab.host(name));
        let (roof, field) = (lab.switch("roof")?, lab.switch("field")?);
        let valley = Self { alice: alice?, bob: bob?, hill: hill?, roof, field };
        valley.alice.attach(&valley.roof, "radio0", &[])?;
        valley.hill.attach(&valley.roof, "radio0", &[])?;
        valley.hill.attach(&valley.field, "radio1", &[])?;
        Ok(valley)
    }

    /// Alice, Bob and the hill each run a node of the mesh, which meets its neighbours by
    /// multicast.
    fn mesh(&self) -> Result<[Yggdrasil; 3]> {
        let [alice, bob, hill] =
            [&self.alice, &self.bob, &self.hill].map(|host| host.yggdrasil(Meeting::Neighbours("radio.*")));
        Ok([alice?, bob?, hill?])
    }
}

/// Bob has been at Alice's once.
#[test]
fn scenario_08_yggdrasil_only_remembered() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let valley = Valley::new(&lab)?;
    let [of_alice, _of_bob, _of_hill] = valley.mesh()?;
    let house = lab.switch("house")?;
    valley.alice.attach(&house, "eth0", &["192.168.1.1/24"])?;
    valley.bob.attach(&house, "eth0", &["192.168.1.2/24"])?;
    let service = valley.alice.service(&[])?;
    learn(&valley.bob, "learned", &service.key)?;

    valley.bob.detach("eth0")?;
    valley.bob.attach(&valley.field, "radio0", &[])?;
    wait_until_reached(&valley.bob, &of_alice)?;
    first_tries("8, Yggdrasil only, remembered", |number| {
        let gateway = knowing_gateway(&valley.bob, "learned", number, &[])?;
        valley.bob.first_byte(&gateway, &service.key)
    })
}

/// Bob has never been there; nodes of the DHT meet over the mesh.
#[test]
fn scenario_08_yggdrasil_only_found_by_dht() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let valley = Valley::new(&lab)?;
    let mill = lab.host("mill")?;
    mill.attach(&valley.field, "radio0", &[])?;
    valley.bob.attach(&valley.field, "radio0", &[])?;
    let [of_alice, _of_bob, of_hill] = valley.mesh()?;
    let _of_mill = mill.yggdrasil(Meeting::Neighbours("radio.*"))?;
    for host in [&mill, &valley.alice] {
        wait_until_reached(host, &of_hill)?;
    }
    wait_until_reached(&valley.bob, &of_alice)?;
    let _first = valley.hill.dht_node(None)?;
    let _second = mill.dht_node(Some(of_hill.address.into()))?;
    let bootstrap = format!("[{}]:{DHT_PORT}", of_hill.address);
    let options = ["--dht-bootstrap", &bootstrap, "--dht-proxy", "none"];
    let service = valley.alice.service(&options)?;
    mill.wait_for_value(sealed_key(&service.key)?, |_| true)?;
    let gateway = new_gateway(&valley.bob, 99, &options)?;
    valley.bob.first_byte(&gateway, &service.key)?;
    let path = path_to(&valley.bob, &gateway, &service.key)?;
    ensure!(path["kind"] == "mesh", "{path}");
    drop(gateway);
    first_tries("8, Yggdrasil only, DHT", |number| {
        let gateway = new_gateway(&valley.bob, number, &options)?;
        valley.bob.first_byte(&gateway, &service.key)
    })
}

/// The mesh takes a second or so to find a way.
fn wait_until_reached(host: &Host, other: &Yggdrasil) -> Result<()> {
    let address = other.address.to_string();
    host.run("ping", &["-c", "1", "-w", "30", &address])?.success().context("no way through the mesh")?;
    Ok(())
}
