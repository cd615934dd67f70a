//! A publisher behind carrier-grade NAT, whom nobody can reach, and a relay that everybody can.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use hardline_lab::{
    DhtNetwork, EVERY_CHECK, Hardline, Host, Lab, Mapping, Release, Router, Service, Switch, hardline_program,
};
use hardline_node::proto::{KeyHash, dht_key};

use crate::measure::{first_tries, new_gateway, say};
use crate::world::{ROUND_TRIP, sealed_key, texts, today};

/// Time for everything that should take seconds.
const LIMIT: Duration = Duration::from_secs(30);

/// Alice's home is behind a provider's NAT; Bob is a guest behind a router that maps no ports.
struct Behind {
    dht: DhtNetwork,
    carrier: Router,
    away: Router,
    alice: Host,
    bob: Host,
    internet: Switch,
    _home: Router,
}

impl Behind {
    fn new(lab: &Lab) -> Result<Self> {
        let internet = lab.slow_internet(ROUND_TRIP)?;
        let dht = lab.dht(&internet, 3)?;
        let (carrier, away) = (lab.carrier(&internet, 7)?, lab.home(&internet, 6, Mapping::None)?);
        let home = lab.home_behind(&carrier, 5, Mapping::Upnp)?;
        let (alice, bob) = (lab.host("alice")?, lab.host("bob")?);
        home.connect(&alice, 2)?;
        away.connect(&bob, 2)?;
        Ok(Self { dht, carrier, away, alice, bob, internet, _home: home })
    }

    /// A computer on the internet that is a relay, with the address that it prints.
    fn relay(&self, lab: &Lab, number: u8) -> Result<Relay> {
        let host = lab.host(&format!("vps{number}"))?;
        host.join(&self.internet, "eth0", number)?;
        let at = format!("203.0.113.{number}:7008");
        let options = self.dht.options();
        let program = host.hardline(&[&["relay", "--public-address", &at], &texts(&options)[..]].concat())?;
        let url = program.ready["relay"].as_str().context("the relay's address")?.to_owned();
        ensure!(url.contains(&at), "{url}");
        Ok(Relay { host, program: Some(program), url, at, options })
    }

    /// Publishes at Alice's through `relays`, and waits until others can learn of it.
    fn publish(&self, relays: &[&Relay]) -> Result<Service> {
        let options = self.dht.options();
        let flags: Vec<&str> = relays.iter().flat_map(|relay| ["--relay", &relay.url]).collect();
        let service = self.alice.service(&[&flags[..], &texts(&options)].concat())?;
        for relay in relays {
            self.registered(&service, relay)?;
        }
        self.dht.wait_for_value(sealed_key(&service.key)?, |_| true)?;
        Ok(service)
    }

    /// Waits until the service is registered at the relay, and returns how long that took.
    fn registered(&self, service: &Service, relay: &Relay) -> Result<Duration> {
        let begun = Instant::now();
        loop {
            let status = self.alice.status(&service.program)?;
            let relays = status["relays"].as_array().context("relays")?;
            if relays.iter().any(|it| it["at"] == relay.at.as_str() && it["state"] == "registered") {
                return Ok(begun.elapsed());
            }
            ensure!(begun.elapsed() < LIMIT, "{status}");
        }
    }

    fn gateway(&self, number: usize) -> Result<Hardline> {
        let options = self.dht.options();
        new_gateway(&self.bob, number, &texts(&options))
    }
}

struct Relay {
    host: Host,
    program: Option<Hardline>,
    url: String,
    at: String,
    options: [String; 4],
}

impl Relay {
    fn kill(&mut self) -> Result<()> {
        let mut program = self.program.take().context("it runs")?;
        program.process.kill()?;
        Ok(())
    }

    fn start_again(&mut self) -> Result<()> {
        let arguments = [&["relay", "--public-address", &self.at], &texts(&self.options)[..]].concat();
        self.program = Some(self.host.hardline(&arguments)?);
        Ok(())
    }
}

#[test]
fn scenario_16_behind_carrier_nat_through_a_relay() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let world = Behind::new(&lab)?;
    let relay = world.relay(&lab, 20)?;
    let service = world.publish(&[&relay])?;
    first_tries("16, carrier NAT, relay, DHT", |number| {
        let gateway = world.gateway(number)?;
        world.bob.first_byte(&gateway, &service.key)
    })?;
    let gateway = world.gateway(99)?;
    world.bob.check_site(gateway.gateway()?, &format!("{}.localhost:7009", service.key), EVERY_CHECK)?;
    let status = relay.host.run(hardline_program()?, &["relay", "token", "list"])?.success()?.stdout;
    ensure!(status.starts_with("first"), "{status}");
    Ok(())
}

/// UDP is blocked, and so is everything but what the relay's port carries.
#[test]
fn scenario_16_a_network_that_lets_tcp_alone_through() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let world = Behind::new(&lab)?;
    let relay = world.relay(&lab, 20)?;
    let service = world.publish(&[&relay])?;
    world.away.host.nft("insert rule inet filter forward meta l4proto udp drop\n")?;
    let proxy = world.dht.proxy(1);
    let options = ["--dht-bootstrap", &world.dht.bootstrap(), "--dht-proxy", &proxy];
    first_tries("16, carrier NAT, relay, a client without UDP", |number| {
        let gateway = new_gateway(&world.bob, number, &options)?;
        world.bob.first_byte(&gateway, &service.key)
    })
}

#[test]
fn scenario_17_released_clients_open_a_service_behind_carrier_nat_through_a_relay() -> Result<()> {
    for release in Release::ALL {
        let Some(lab) = Lab::open()? else { return Ok(()) };
        let world = Behind::new(&lab)?;
        let relay = world.relay(&lab, 20)?;
        let service = world.publish(&[&relay])?;
        let key: KeyHash = service.key.parse()?;
        for at in [dht_key::plain(&key), dht_key::rolling(&key, today()?)] {
            let told = world.dht.wait_for_value(at, |_| true)?;
            ensure!(told.ends_with(relay.at.as_bytes()), "{}", String::from_utf8_lossy(&told));
        }
        world.bob.use_dht_proxy(&world.dht.proxy(1))?;
        let _client = world.bob.python_client(release)?;
        let gateway: SocketAddr = ([127, 0, 0, 1], 7009).into();
        let name = format!("{}.localhost:7009", service.key);
        world.bob.check_site(gateway, &name, &["get:1000", "get:1000000", "post:100000"])?;
    }
    Ok(())
}

#[test]
fn scenario_18_of_two_relays_one_dies_and_the_next_request_succeeds() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let world = Behind::new(&lab)?;
    let (mut first, second) = (world.relay(&lab, 20)?, world.relay(&lab, 21)?);
    let service = world.publish(&[&first, &second])?;
    let gateway = world.gateway(0)?;
    world.bob.first_byte(&gateway, &service.key)?;
    first.kill()?;
    let after = world.bob.first_byte(&gateway, &service.key).context("the first request after a relay's death")?;
    say(&format!("18, one of two relays killed: first byte after {} ms", after.as_millis()))
}

#[test]
fn scenario_19_a_relay_that_restarts_has_its_publishers_back_within_three_seconds() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let world = Behind::new(&lab)?;
    let mut relay = world.relay(&lab, 20)?;
    let service = world.publish(&[&relay])?;
    relay.kill()?;
    let begun = Instant::now();
    while world.alice.status(&service.program)?["relays"][0]["state"] == "registered" {
        ensure!(begun.elapsed() < LIMIT, "its end goes unnoticed");
    }
    relay.start_again()?;
    let back = world.registered(&service, &relay)?;
    say(&format!("19, relay restarted: registered again after {} ms", back.as_millis()))?;
    ensure!(back < Duration::from_secs(3), "{back:?}");
    let gateway = world.gateway(0)?;
    world.bob.first_byte(&gateway, &service.key)?;
    Ok(())
}

/// No FIN, no reset: the provider's router forgets everything.
#[test]
fn scenario_20_a_publisher_whose_connections_die_without_a_word_is_back() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let mut world = Behind::new(&lab)?;
    let relay = world.relay(&lab, 20)?;
    let service = world.publish(&[&relay])?;
    let gateway = world.gateway(0)?;
    world.bob.first_byte(&gateway, &service.key)?;
    world.carrier.move_to(30)?;
    let moved = Instant::now();
    let first = loop {
        match world.bob.first_byte(&gateway, &service.key) {
            Ok(time) => break time,
            Err(error) => ensure!(moved.elapsed() < 2 * LIMIT, "{error:#}"),
        }
    };
    say(&format!(
        "20, the publisher's provider changed its address: reached again after {:.1} s, first byte of that try {} ms",
        moved.elapsed().as_secs_f64(),
        first.as_millis()
    ))
}
