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
pub(crate) struct Behind {
    pub(crate) dht: DhtNetwork,
    carrier: Router,
    pub(crate) away: Router,
    pub(crate) alice: Host,
    pub(crate) bob: Host,
    pub(crate) internet: Switch,
    home: Router,
}

impl Behind {
    pub(crate) fn new(lab: &Lab) -> Result<Self> {
        Self::at(lab, ROUND_TRIP)
    }

    /// The same, with this round trip between any two computers on the internet.
    pub(crate) fn at(lab: &Lab, round_trip: Duration) -> Result<Self> {
        let internet = lab.slow_internet(round_trip)?;
        let dht = lab.dht(&internet, 3)?;
        let (carrier, away) = (lab.carrier(&internet, 7)?, lab.home(&internet, 6, Mapping::None)?);
        let home = lab.home_behind(&carrier, 5, Mapping::Upnp)?;
        let (alice, bob) = (lab.host("alice")?, lab.host("bob")?);
        home.connect(&alice, 2)?;
        away.connect(&bob, 2)?;
        Ok(Self { dht, carrier, away, alice, bob, internet, home })
    }

    /// Lets no UDP through between the two, until [`Self::let_probes_through`].
    pub(crate) fn block_probes(&self) -> Result<()> {
        self.away.host.nft(
            "add table inet block\n\
             add chain inet block forward { type filter hook forward priority -10; }\n\
             add rule inet block forward ip daddr 203.0.113.7 meta l4proto udp drop\n\
             add rule inet block forward ip saddr 203.0.113.7 meta l4proto udp drop\n",
        )
    }

    pub(crate) fn let_probes_through(&self) -> Result<()> {
        self.away.host.nft("delete table inet block\n")
    }

    /// Alice's computer has its default route again, after its cable was out.
    pub(crate) fn plug_in_again(&self) -> Result<()> {
        self.home.lead(&self.alice)
    }

    /// A computer on the internet that is a relay, with the address that it prints.
    pub(crate) fn relay(&self, lab: &Lab, number: u8) -> Result<Relay> {
        Relay::start(lab, &self.internet, &self.dht, number)
    }

    fn gateway(&self, number: usize) -> Result<Hardline> {
        let options = self.dht.options();
        new_gateway(&self.bob, number, &texts(&options))
    }

    /// Publishes at Alice's through `relays`, and waits until others can learn of it.
    pub(crate) fn publish(&self, relays: &[&Relay]) -> Result<Service> {
        let options = self.dht.options();
        let flags: Vec<&str> = relays.iter().flat_map(|relay| ["--relay", &relay.url]).collect();
        let service = self.alice.service(&[&flags[..], &texts(&options)].concat())?;
        for relay in relays {
            relay.registered(&self.alice, &service)?;
        }
        self.dht.wait_for_value(sealed_key(&service.key)?, |_| true)?;
        Ok(service)
    }
}

pub(crate) struct Relay {
    host: Host,
    program: Option<Hardline>,
    pub(crate) url: String,
    at: String,
    options: [String; 4],
}

impl Relay {
    /// Starts one on the internet.
    pub(crate) fn start(lab: &Lab, internet: &Switch, dht: &DhtNetwork, number: u8) -> Result<Self> {
        let host = lab.host(&format!("vps{number}"))?;
        host.join(internet, "eth0", number)?;
        let at = format!("203.0.113.{number}:7008");
        let options = dht.options();
        let program = host.hardline(&[&["relay", "--public-address", &at], &texts(&options)[..]].concat())?;
        let url = program.ready["relay"].as_str().context("the relay's address")?.to_owned();
        ensure!(url.contains(&at), "{url}");
        Ok(Self { host, program: Some(program), url, at, options })
    }

    /// Waits until the service is registered here, and returns how long that took.
    pub(crate) fn registered(&self, alice: &Host, service: &Service) -> Result<Duration> {
        let begun = Instant::now();
        loop {
            let status = alice.status(&service.program)?;
            let relays = status["relays"].as_array().context("relays")?;
            if relays.iter().any(|it| it["at"] == self.at.as_str() && it["state"] == "registered") {
                return Ok(begun.elapsed());
            }
            ensure!(begun.elapsed() < LIMIT, "{status}");
        }
    }

    pub(crate) fn kill(&mut self) -> Result<()> {
        let mut program = self.program.take().context("it runs")?;
        program.process.kill()?;
        Ok(())
    }

    pub(crate) fn start_again(&mut self) -> Result<()> {
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
    let back = relay.registered(&world.alice, &service)?;
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

/// What the owner is told is what somebody outside has tried, and `doctor` says the same.
#[test]
fn an_address_is_verified_by_a_relay_that_opened_it_or_said_to_be_closed() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let world = Behind::new(&lab)?;
    let relay = world.relay(&lab, 20)?;
    // A home whose router opens the port, and one whose router does not.
    for (number, mapping, outlook, state) in
        [(8, Mapping::Upnp, "verified", "verified"), (9, Mapping::None, "relayed", "closed")]
    {
        let home = lab.home(&world.internet, number, mapping)?;
        let carol = lab.host(&format!("carol{number}"))?;
        home.connect(&carol, 2)?;
        let options = world.dht.options();
        let alone = carol.service(&texts(&options))?;
        let status = told(&carol, &alone, |reach| reach["addresses"].as_array().is_some_and(|all| !all.is_empty()))?;
        ensure!(!status.to_string().contains("From outside you are"), "nobody has tried: {status}");
        ensure!(status["addresses"][0]["state"] == "assumed", "{status}");
        doctor(&carol, &alone, &options, 0)?;
        drop(alone);
        let service = carol.service(&[&["--relay", &relay.url], &texts(&options)[..]].concat())?;
        let begun = Instant::now();
        let status = told(&carol, &service, |reach| reach["addresses"][0]["state"] == state)?;
        say(&format!("{mapping:?}: {state} after {:?}", begun.elapsed()))?;
        ensure!(status["outlook"]["state"] == outlook, "{status}");
        let at = format!("From outside you are 203.0.113.{number}:7008: a relay has opened it.");
        ensure!((status["outlook"]["sentence"] == at.as_str()) == (state == "verified"), "{status}");
        doctor(&carol, &service, &options, 0)?;
    }
    Ok(())
}

/// Behind carrier NAT and without a relay, the owner of a service is told of hole punching, and
/// without that what to do.
#[test]
fn a_publisher_behind_carrier_nat_is_told_what_is_left_and_doctor_ends_with_8_if_nothing_is() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let world = Behind::new(&lab)?;
    let options = world.dht.options();
    let service = world.alice.service(&texts(&options))?;
    told(&world.alice, &service, |reach| reach["outlook"]["state"] == "callable")?;
    let said = doctor(&world.alice, &service, &options, 0)?;
    ensure!(said.contains("(carrier-grade NAT). Others reach you by hole punching"), "{said}");
    drop(service);
    let without = [&texts(&options)[..], &["--set", "p2p.punching=false"]].concat();
    let service = world.alice.service(&without)?;
    let status = told(&world.alice, &service, |reach| reach["router"]["state"] == "not_public")?;
    ensure!(status["outlook"]["state"] == "nobody", "{status}");
    let said = doctor(&world.alice, &service, &options, 8)?;
    ensure!(
        said.contains("Others reach you by a relay: run `hardline relay` on any computer with an open port."),
        "{said}"
    );
    let relay = world.relay(&lab, 20)?;
    drop(service);
    let service = world.publish(&[&relay])?;
    told(&world.alice, &service, |reach| reach["outlook"]["state"] == "relayed")?;
    doctor(&world.alice, &service, &options, 0)?;
    Ok(())
}

/// A computer that came in from outside has proven the address as well.
#[test]
fn an_address_is_verified_by_a_peer_that_came_in() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let world = crate::world::TwoHomes::new(&lab, Mapping::NatPmp)?;
    let service = world.publish(&[])?;
    let status = told(&world.alice, &service, |reach| reach["router"]["state"] == "open")?;
    ensure!(status["outlook"]["state"] == "assumed", "{status}");
    let options = world.dht.options();
    let gateway = new_gateway(&world.bob, 1, &texts(&options))?;
    world.bob.first_byte(&gateway, &service.key)?;
    let status = told(&world.alice, &service, |reach| reach["outlook"]["state"] == "verified")?;
    ensure!(status["addresses"][0]["by"] == "peer", "{status}");
    doctor(&world.alice, &service, &options, 0)?;
    Ok(())
}

/// Waits until `host` says of its reach what is wanted, and returns all that it says of it.
fn told(host: &Host, service: &Service, is_so: impl Fn(&serde_json::Value) -> bool) -> Result<serde_json::Value> {
    let begun = Instant::now();
    loop {
        let reach = host.status(&service.program)?["reach"].clone();
        if is_so(&reach) {
            return Ok(reach);
        }
        ensure!(begun.elapsed() < LIMIT, "{reach}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// What `doctor` says, which ends with `code` and never says another thing than `status`.
fn doctor(host: &Host, service: &Service, options: &[String], code: i32) -> Result<String> {
    let port = service.program.gateway()?.port().to_string();
    let all = [&["doctor", "--gateway-port", &port], &texts(options)[..]].concat();
    let said = host.run(hardline_program()?, &all)?;
    ensure!(said.status.code() == Some(code), "{:?}: {}", said.status, said.stdout);
    let status = host.status(&service.program)?;
    let sentence = status["reach"]["outlook"]["sentence"].as_str().context("a sentence")?;
    ensure!(said.stdout.contains(sentence), "{sentence} is not in {}", said.stdout);
    Ok(said.stdout)
}
