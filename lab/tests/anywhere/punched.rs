//! Two homes whose routers open no port, and no relay: both send at the same time.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use hardline_lab::{DhtNetwork, Host, Lab, Mapping, Router, Service, Switch};
use serde_json::Value;

use crate::measure::{first_tries, new_gateway, so_many_first_tries};
use crate::world::{ROUND_TRIP, sealed_key, texts};

/// First tries of each pair, with a client that remembers nothing.
const TRIES: usize = 20;

/// Pause before each: a service follows the calls of one network once a second, in the long run.
const PAUSE: Duration = Duration::from_secs(1);

/// What stands between a computer and the internet.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Access {
    /// Nothing.
    Open,
    /// A home's router.
    Nat,
    /// That, behind a provider's.
    DoubleNat,
    /// A home's router that gives each destination another port.
    Symmetric,
    /// One that lets no UDP through.
    NoUdp,
}

/// One pair, and the DHT.
pub(crate) struct Pair {
    pub(crate) dht: DhtNetwork,
    pub(crate) alice: Host,
    pub(crate) bob: Host,
    pub(crate) internet: Switch,
    routers: Vec<Router>,
}

impl Pair {
    pub(crate) fn new(lab: &Lab, publisher: Access, client: Access) -> Result<Self> {
        let internet = lab.slow_internet(ROUND_TRIP)?;
        let dht = lab.dht(&internet, 6)?;
        let (alice, bob) = (lab.host("alice")?, lab.host("bob")?);
        let mut routers = Vec::new();
        for (host, access, number) in [(&alice, publisher, 5), (&bob, client, 7)] {
            match access {
                Access::Open => host.join(&internet, "eth0", number)?,
                Access::Nat | Access::Symmetric | Access::NoUdp => {
                    let home = lab.home(&internet, number, Mapping::None)?;
                    match access {
                        Access::Symmetric => home.make_symmetric()?,
                        Access::NoUdp => home.block_udp()?,
                        _ => {}
                    }
                    home.connect(host, 2)?;
                    routers.push(home);
                }
                Access::DoubleNat => {
                    let carrier = lab.carrier(&internet, number + 1)?;
                    let home = lab.home_behind(&carrier, number, Mapping::None)?;
                    home.connect(host, 2)?;
                    routers.extend([carrier, home]);
                }
            }
        }
        Ok(Self { dht, alice, bob, internet, routers })
    }

    pub(crate) fn publish(&self, options: &[&str]) -> Result<Service> {
        let service = self.alice.service(&[&texts(&self.dht.options()), options].concat())?;
        self.dht.wait_for_value(sealed_key(&service.key)?, |_| true)?;
        Ok(service)
    }

    /// Waits until nodes of the DHT have told the publisher where they see it, as is wanted.
    pub(crate) fn wait_until_seen(&self, service: &Service, is_wanted: impl Fn(&Value) -> bool) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            self.dht.have_all_ask(sealed_key(&service.key)?)?;
            let status = self.alice.status(&service.program)?;
            if is_wanted(&status["dht"]) {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "{}", status["dht"]);
        }
    }
}

#[test]
fn scenario_21_two_homes_without_an_open_port() -> Result<()> {
    opens("21, NAT, NAT, punched", Access::Nat, Access::Nat)
}

#[test]
fn scenario_21_carrier_nat_from_a_home() -> Result<()> {
    opens("21, double NAT, NAT, punched", Access::DoubleNat, Access::Nat)
}

#[test]
fn scenario_21_carrier_nat_on_both_sides() -> Result<()> {
    opens("21, double NAT, double NAT, punched", Access::DoubleNat, Access::DoubleNat)
}

#[test]
fn scenario_21_from_a_home_behind_carrier_nat() -> Result<()> {
    opens("21, NAT, double NAT, punched", Access::Nat, Access::DoubleNat)
}

#[test]
fn scenario_21_carrier_nat_from_an_open_computer() -> Result<()> {
    opens("21, double NAT, open, punched", Access::DoubleNat, Access::Open)
}

#[test]
fn scenario_21_a_home_from_an_open_computer() -> Result<()> {
    opens("21, NAT, open, punched", Access::Nat, Access::Open)
}

/// The setting turns it off on either side; then nobody gets through, as before.
#[test]
fn scenario_21_without_punching_nobody_gets_through() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let pair = Pair::new(&lab, Access::Nat, Access::Nat)?;
    let service = pair.publish(&["--set", "p2p.punching=false"])?;
    let options = pair.dht.options();
    let gateway = new_gateway(&pair.bob, 0, &texts(&options))?;
    let begun = Instant::now();
    ensure!(pair.bob.first_byte(&gateway, &service.key).is_err());
    ensure!(begun.elapsed() > Duration::from_secs(1), "it was tried");
    Ok(())
}

/// Others are told the port that nodes of the DHT see.
#[test]
fn scenario_21_a_router_that_lets_it_out_at_another_port() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let pair = Pair::new(&lab, Access::Nat, Access::Nat)?;
    pair.routers[0].move_udp_port(7008, 31_000)?;
    let service = pair.publish(&[])?;
    pair.wait_until_seen(&service, |dht| dht["seen_at"][0] == "203.0.113.5:31000")?;
    let options = pair.dht.options();
    first_tries("21, NAT that moves the port, NAT, punched", |number| {
        let gateway = new_gateway(&pair.bob, number, &texts(&options))?;
        pair.bob.first_byte(&gateway, &service.key)
    })
}

fn opens(scenario: &str, publisher: Access, client: Access) -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let pair = Pair::new(&lab, publisher, client)?;
    let service = pair.publish(&[])?;
    let options = pair.dht.options();
    so_many_first_tries(scenario, TRIES, |number| {
        sleep(PAUSE);
        let gateway = new_gateway(&pair.bob, number, &texts(&options))?;
        pair.bob.first_byte(&gateway, &service.key)
    })
}
