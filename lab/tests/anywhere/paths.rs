//! Over what a service is reached, as the program tells it.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use hardline_lab::{Hardline, Host, Lab, Mapping, Service, hardline_program};
use serde_json::Value;

use crate::measure::{new_gateway, say};
use crate::relayed::Behind;
use crate::world::{ROUND_TRIP, TwoHomes, sealed_key, texts};

/// Over what `gateway` on `host` is connected to the service.
pub(crate) fn path_to(host: &Host, gateway: &Hardline, key: &str) -> Result<Value> {
    let status = host.status(gateway)?;
    let peers = status["peers"].as_array().context("peers")?;
    let peer = peers.iter().find(|peer| peer["key"] == key).with_context(|| format!("not connected: {status}"))?;
    Ok(peer["path"].clone())
}

/// What is told of a path.
struct Told<'a> {
    kind: &'a str,
    words: &'a str,
    via: Option<&'a str>,
    transport: &'a str,
    /// The round trip of the network in between.
    round_trip: Duration,
}

impl Told<'_> {
    /// Opens the service and reads of its path in the JSON, in the status's sentences, on the page
    /// and in the list of peers; and in what the `publisher` says of its visitor.
    fn check(&self, host: &Host, options: &[&str], (publisher, service): (&Host, &Service)) -> Result<()> {
        let (gateway, key) = (new_gateway(host, 0, options)?, &service.key);
        host.first_byte(&gateway, key)?;
        self.check_visitor(publisher, service)?;
        let path = path_to(host, &gateway, key)?;
        let told = (path["kind"].as_str(), path["via"].as_str(), path["transport"].as_str());
        ensure!(told == (Some(self.kind), self.via, Some(self.transport)), "{path}");
        let took = Duration::from_secs_f64(path["rtt_ms"].as_f64().context("a round trip")? / 1e3);
        // A busy machine may take its time beside the network's.
        ensure!(self.round_trip <= took && took < self.round_trip + Duration::from_millis(200), "{path}");
        let text = path["text"].as_str().context("words")?;
        let is_timed =
            text.strip_prefix(self.words).is_some_and(|rest| rest.starts_with(", ") && rest.ends_with(" ms"));
        ensure!(is_timed, "{text}");

        let port = gateway.gateway()?.port().to_string();
        let status = host.run(hardline_program()?, &["status", "--gateway-port", &port])?.success()?.stdout;
        let page = host.curl(&[&format!("http://{}/status", gateway.gateway()?)])?.success()?.stdout;
        let peers = ["peers", "--data-dir", "new0", "--gateway-port", &port];
        let peers = host.run(hardline_program()?, &peers)?.success()?.stdout;
        let sentence = format!("Connected to {}: {}, ", &key[..8], self.words);
        ensure!(status.contains(&sentence) && page.contains(&sentence), "{status}{page}");
        ensure!(peers.contains(&format!("connected: {}, ", self.words)), "{peers}");
        Ok(())
    }
}

#[test]
fn scenario_22_a_path_on_the_lan_is_named() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let (_switch, [alice, bob]) = lab.lan(["alice", "bob"])?;
    let service = alice.service(&[])?;
    let told = Told { kind: "lan", words: "LAN", via: None, transport: "tcp", round_trip: Duration::ZERO };
    told.check(&bob, &[], (&alice, &service))
}

#[test]
fn scenario_22_a_direct_path_over_the_internet_is_named() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let world = TwoHomes::new(&lab, Mapping::Upnp)?;
    let service = world.publish(&[])?;
    let words = "direct over the internet";
    let told = Told { kind: "direct", words, via: None, transport: "tcp", round_trip: ROUND_TRIP };
    told.check(&world.bob, &texts(&world.dht.options()), (&world.alice, &service))
}

#[test]
fn scenario_22_a_punched_path_is_named() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let world = TwoHomes::new(&lab, Mapping::None)?;
    let service = world.publish(&[])?;
    let told = Told { kind: "punched", words: "punched (UDP)", via: None, transport: "quic", round_trip: ROUND_TRIP };
    told.check(&world.bob, &texts(&world.dht.options()), (&world.alice, &service))
}

/// The round trip is the whole one and not that to the relay, which is all that TCP sees.
#[test]
fn scenario_22_a_path_through_a_relay_is_named() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let world = Behind::new(&lab)?;
    let relay = world.relay(&lab, 20)?;
    let service = world.publish(&[&relay])?;
    let options = world.dht.options();
    let told = Told {
        kind: "relay",
        words: "relay 203.0.113.20",
        via: Some("203.0.113.20"),
        transport: "tcp",
        round_trip: 2 * ROUND_TRIP,
    };
    told.check(&world.bob, &[&texts(&options)[..], &["--set", "p2p.punching=false"]].concat(), (&world.alice, &service))
}

impl Told<'_> {
    /// The same path, as the other end tells of it. Behind a relay TCP sees that and no further.
    fn check_visitor(&self, publisher: &Host, service: &Service) -> Result<()> {
        let status = publisher.status(&service.program)?;
        let visitors = status["visitors"].as_array().context("visitors")?;
        let [visitor] = &visitors[..] else { bail!("not one visitor: {status}") };
        let path = &visitor["path"];
        ensure!(visitor["service"] == service.key.as_str() && visitor["tunnels"].is_u64(), "{visitor}");
        let told = (path["kind"].as_str(), path["via"].as_str(), path["transport"].as_str());
        ensure!(told == (Some(self.kind), self.via, Some(self.transport)), "{path}");
        let is_timed = path["rtt_ms"].as_f64().is_some_and(|ms| ms >= self.round_trip.as_secs_f64() * 1e3);
        ensure!(is_timed == (self.kind != "relay"), "{path}");
        let sentence = format!("A visitor of {}: {}", &service.key[..8], self.words);
        ensure!(status["sentences"].to_string().contains(&sentence), "{status}");
        Ok(())
    }
}

/// A running tunnel's round trip is followed at both ends: a network that becomes slower shows.
#[test]
fn scenario_22_the_round_trip_of_a_running_tunnel_is_followed() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let world = TwoHomes::new(&lab, Mapping::Upnp)?;
    let service = world.publish(&[])?;
    let gateway = new_gateway(&world.bob, 0, &texts(&world.dht.options()))?;
    world.bob.first_byte(&gateway, &service.key)?;
    let header = format!("Host: {}.localhost:7009", service.key);
    let at = gateway.gateway()?;
    let file = world.bob.home().join("upload");
    std::fs::File::create(&file)?.set_len(500_000_000)?;
    let (down, up, file) =
        (format!("http://{at}/chunked/500000000"), format!("http://{at}/hash"), format!("@{}", file.display()));
    // A queue in front of a slow link makes the round trip long, as soon as somebody fills it.
    for router in [&world.home, &world.away] {
        router.host.run("tc", &QUEUE)?.success()?;
    }
    let mut transfers = Vec::new();
    for transfer in [&["--output", "/dev/null", &down][..], &["--data-binary", &file, &up]] {
        let mut curl = world.bob.command("curl");
        curl.args(["--silent", "--max-time", "60", "--header", &header]).args(transfer);
        transfers.push(world.bob.spawn("transfer", &mut curl)?);
    }
    let slow = 2 * ROUND_TRIP;
    let begun = Instant::now();
    loop {
        let near = running(&world.bob.status(&gateway)?["peers"]);
        let far = running(&world.alice.status(&service.program)?["visitors"]);
        if near.min(far) > slow.as_secs_f64() * 1e3 {
            say(&format!("22, a running tunnel: {near:.0} ms at the client, {far:.0} ms at the service"))?;
            break;
        }
        ensure!(begun.elapsed() < SOON, "{near} ms, {far} ms");
        std::thread::sleep(Duration::from_millis(200));
    }
    for transfer in &mut transfers {
        transfer.kill()?;
    }
    Ok(())
}

/// The round trip, in ms, of whom tunnels are open to; beside these stand sessions that wait.
fn running(all: &Value) -> f64 {
    let open = all.as_array().into_iter().flatten().filter(|it| it["tunnels"] != 0);
    open.filter_map(|it| it["path"]["rtt_ms"].as_f64()).fold(0.0, f64::max)
}

/// A link of 1 Mbit/s whose queue holds half a second.
const QUEUE: [&str; 12] =
    ["qdisc", "add", "dev", "wan", "root", "tbf", "rate", "1000kbit", "burst", "5000", "latency", "500ms"];

/// Time for a better path to be found by who opens the service again and again.
const SOON: Duration = Duration::from_secs(40);

/// Opens the service again and again until new tunnels take another kind of path; then nothing but
/// that is kept, and nothing was refused meanwhile.
pub(crate) fn until_moved(host: &Host, gateway: &Hardline, key: &str, kind: &str) -> Result<Duration> {
    let begun = Instant::now();
    loop {
        host.first_byte(gateway, key)?;
        let status = host.status(gateway)?;
        let peers = status["peers"].as_array().context("peers")?;
        let kinds: Vec<_> = peers.iter().filter(|peer| peer["key"] == key).map(|peer| &peer["path"]["kind"]).collect();
        if kinds == [kind] {
            return Ok(begun.elapsed());
        }
        ensure!(begun.elapsed() < SOON, "{status}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Nobody can be reached at first but through the relay; then a port is opened by hand.
#[test]
fn scenario_23_new_tunnels_move_from_a_relay_to_a_port_that_is_opened() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let world = Behind::new(&lab)?;
    let relay = world.relay(&lab, 20)?;
    let home = lab.home(&world.internet, 8, Mapping::None)?;
    let carol = lab.host("carol")?;
    home.connect(&carol, 2)?;
    let options = world.dht.options();
    let service = carol.service(&[&["--relay", &relay.url], &texts(&options)[..]].concat())?;
    world.dht.wait_for_value(sealed_key(&service.key)?, |_| true)?;
    let gateway = new_gateway(&world.bob, 0, &[&texts(&options)[..], &["--set", "p2p.punching=false"]].concat())?;
    world.bob.first_byte(&gateway, &service.key)?;
    let path = path_to(&world.bob, &gateway, &service.key)?;
    ensure!(path["kind"] == "relay", "{path}");
    home.forward_by_hand(7008, 2, 7008)?;
    let after = until_moved(&world.bob, &gateway, &service.key, "direct")?;
    say(&format!("23, relayed, then a port is opened: new tunnels are direct after {:.1} s", after.as_secs_f64()))
}

/// Probes do not get through at first; then they do.
#[test]
fn scenario_23_new_tunnels_move_from_a_relay_to_a_punched_path() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let world = Behind::new(&lab)?;
    let relay = world.relay(&lab, 20)?;
    let service = world.publish(&[&relay])?;
    world.block_probes()?;
    let options = world.dht.options();
    let gateway = new_gateway(&world.bob, 0, &texts(&options))?;
    world.bob.first_byte(&gateway, &service.key)?;
    let path = path_to(&world.bob, &gateway, &service.key)?;
    ensure!(path["kind"] == "relay", "{path}");
    world.let_probes_through()?;
    let after = until_moved(&world.bob, &gateway, &service.key, "punched")?;
    say(&format!("23, relayed, then probes get through: new tunnels are punched after {:.1} s", after.as_secs_f64()))
}
