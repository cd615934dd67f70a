//! Somebody moves, and somebody's address changes.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use hardline_lab::{Hardline, Host, Lab, Mapping, is_long};

use crate::measure::{first_tries, knowing_gateway, learn, new_gateway, say, so_many_first_tries};
use crate::world::{TwoHomes, sealed_key, texts};

/// Longest time until a request succeeds; what is aimed at is much less, and printed.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);

/// Longest time to an answer once there is a way.
const BACK: Duration = Duration::from_secs(3);

/// Pause between two requests of many.
const QUARTER: Duration = Duration::from_millis(250);

/// Pause between two questions.
const PAUSE: Duration = Duration::from_millis(100);

/// Bob has opened the service at Alice's home, and goes home. No DHT is to be had.
#[test]
fn scenario_06_learned_on_the_lan_and_opened_from_outside() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let mut world = TwoHomes::new(&lab, Mapping::Upnp)?;
    let service = world.publish(&[])?;
    world.dht.stop()?;
    visit_and_learn(&world, &service.key)?;
    let options = world.dht.options();
    first_tries("6, learned on the LAN, opened from outside, no DHT", |number| {
        let gateway = knowing_gateway(&world.bob, "learned", number, &texts(&options))?;
        world.bob.first_byte(&gateway, &service.key)
    })
}

/// Nothing is asked of the router: its owner forwarded the port and told our program.
#[test]
fn scenario_06_an_address_set_by_hand_is_learned_on_the_lan() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let world = TwoHomes::new(&lab, Mapping::None)?;
    world.home.forward_by_hand(7008, 2, 7008)?;
    let service = world.alice.service(&["--public-address", "203.0.113.5:7008"])?;
    visit_and_learn(&world, &service.key)?;
    first_tries("6, learned on the LAN, set by hand, no DHT", |number| {
        let gateway = knowing_gateway(&world.bob, "learned", number, &[])?;
        world.bob.first_byte(&gateway, &service.key)
    })
}

/// The first address that Bob remembers swallows every packet.
#[test]
fn scenario_06_a_dead_address_stands_before_the_right_one() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let mut world = TwoHomes::new(&lab, Mapping::Upnp)?;
    let hole = lab.host("hole")?;
    hole.join(&world.internet, "eth0", 66)?;
    hole.nft("table ip hole { chain in { type filter hook input priority 0; policy drop;\n }\n }\n")?;
    let service = world.publish(&["--public-address", "203.0.113.66:7008"])?;
    world.dht.stop()?;
    visit_and_learn(&world, &service.key)?;
    let options = world.dht.options();
    first_tries("6, one dead address before the right one", |number| {
        let gateway = knowing_gateway(&world.bob, "learned", number, &texts(&options))?;
        world.bob.first_byte(&gateway, &service.key)
    })
}

#[test]
fn scenario_07_the_router_s_address_changes() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let mut world = TwoHomes::new(&lab, Mapping::Upnp)?;
    let service = world.publish(&[])?;
    let options = world.dht.options();
    let gateway = new_gateway(&world.bob, 0, &texts(&options))?;
    world.bob.first_byte(&gateway, &service.key)?;
    for number in 20..20 + rounds() {
        world.home.move_to(number)?;
        again("7, new public address", &world.bob, &gateway, &service.key)?;
    }
    Ok(())
}

/// A request each quarter of a second while the address changes: those that are under way when it
/// does are answered from the new one.
#[test]
fn scenario_07_no_request_fails_while_the_router_s_address_changes() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let mut world = TwoHomes::new(&lab, Mapping::Upnp)?;
    let service = world.publish(&[])?;
    let options = world.dht.options();
    let gateway = new_gateway(&world.bob, 0, &texts(&options))?;
    for number in 20..20 + rounds() {
        let mut requests = Requests::new(&world.bob, &gateway, &service.key);
        requests.go_on(|| false)?;
        world.home.move_to(number)?;
        let address = format!("203.0.113.{number}:7008");
        // From here on there is a way that a client can know of.
        let mut back = None;
        requests.go_on(|| {
            let is_back = is_told(&world.alice, &service.program, &address).unwrap_or_default();
            back = back.or_else(|| is_back.then(Instant::now));
            back.is_none()
        })?;
        let back = back.context("the new address told")?;
        let late = requests.latest_after(back);
        say(&format!(
            "7, a request each 250 ms while the address changes: none failed; told after {} ms, answered after {} ms more",
            back.duration_since(requests.middle).as_millis(),
            late.as_millis()
        ))?;
        ensure!(late < BACK, "{late:?} after the way was back");
    }
    Ok(())
}

/// Nodes of the DHT have come in by the port that the router opened. What leaves it for them goes
/// on leaving from the old address, so none of their answers arrives.
#[test]
fn scenario_07_the_router_keeps_the_flows_of_the_address_it_had() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let mut world = TwoHomes::new(&lab, Mapping::Upnp)?;
    let service = world.publish(&[])?;
    world.home.forget_flows()?;
    world.dht.have_all_ask(sealed_key(&service.key)?)?;
    let options = world.dht.options();
    world.home.move_and_keep_flows(20)?;
    // It remembers nothing, so all it can hear of the new address is what stands in the DHT.
    let gateway = new_gateway(&world.bob, 0, &texts(&options))?;
    again("7, new public address, flows kept", &world.bob, &gateway, &service.key)
}

#[test]
fn scenario_07_the_router_restarts_and_forgets_its_mappings() -> Result<()> {
    for mapping in [Mapping::Upnp, Mapping::NatPmp, Mapping::Pcp] {
        let Some(lab) = Lab::open()? else { return Ok(()) };
        let mut world = TwoHomes::new(&lab, mapping)?;
        let service = world.publish(&[])?;
        let options = world.dht.options();
        let gateway = new_gateway(&world.bob, 0, &texts(&options))?;
        world.bob.first_byte(&gateway, &service.key)?;
        for _ in 0..rounds() {
            world.home.power_off()?;
            world.home.power_on()?;
            again(&format!("7, {mapping:?} router restarted"), &world.bob, &gateway, &service.key)?;
        }
    }
    Ok(())
}

/// Alice's twin is at another home. One of the two loses its network, and packets to it are
/// swallowed.
#[test]
fn scenario_13_of_two_publishers_far_away_one_is_gone() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let world = TwoHomes::new(&lab, Mapping::Upnp)?;
    let second_home = lab.home(&world.internet, 8, Mapping::Upnp)?;
    let carol = lab.host("carol")?;
    second_home.connect(&carol, 2)?;
    let certificate = lab.dir().join("twins.cert");
    let service = world.publish_as(&certificate)?;
    let options = world.dht.options();
    let twin = carol.service_with_identity(&certificate, &texts(&options))?;
    wait_until_stored(&carol, &twin.program)?;
    so_many_first_tries("13, one of two publishers gone, the next request", 2 * usize::from(rounds()), |number| {
        let gateway = new_gateway(&world.bob, number, &texts(&options))?;
        world.bob.first_byte(&gateway, &service.key)?;
        let gone = [&world.home, &second_home][number % 2];
        gone.host.set_link("lan", false)?;
        let next = world.bob.first_byte(&gateway, &service.key);
        gone.host.set_link("lan", true)?;
        next
    })
}

/// Bob's laptop moves from his network to Alice's and back, with the same program running.
#[test]
fn a_laptop_that_moves_opens_the_same_link_everywhere() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let world = TwoHomes::new(&lab, Mapping::Upnp)?;
    let service = world.publish(&[])?;
    let options = world.dht.options();
    let gateway = new_gateway(&world.bob, 0, &texts(&options))?;
    world.bob.first_byte(&gateway, &service.key)?;
    for _ in 0..rounds() {
        world.bob.detach("eth0")?;
        world.home.connect(&world.bob, 3)?;
        again("moved to the service's LAN", &world.bob, &gateway, &service.key)?;
        world.bob.detach("eth0")?;
        world.away.connect(&world.bob, 2)?;
        again("moved away from the service's LAN", &world.bob, &gateway, &service.key)?;
    }
    Ok(())
}

/// Requests one after another, each of which must succeed.
struct Requests<'a> {
    host: &'a Host,
    gateway: &'a Hardline,
    key: &'a str,
    /// When the second row of them began.
    middle: Instant,
    /// When each began and ended.
    all: Vec<(Instant, Instant)>,
}

impl<'a> Requests<'a> {
    fn new(host: &'a Host, gateway: &'a Hardline, key: &'a str) -> Self {
        Self { host, gateway, key, middle: Instant::now(), all: Vec::new() }
    }

    /// Makes ten, and more while `is_more`.
    fn go_on(&mut self, mut is_more: impl FnMut() -> bool) -> Result<()> {
        self.middle = Instant::now();
        for number in 0.. {
            if !is_more() && number >= 10 {
                break;
            }
            ensure!(self.middle.elapsed() < LIMIT, "the address does not change");
            let begun = Instant::now();
            self.host.first_byte(self.gateway, self.key)?;
            self.all.push((begun, Instant::now()));
            sleep(QUARTER);
        }
        Ok(())
    }

    /// The longest time from `back`, or from its beginning, to the answer of one that was not
    /// answered before.
    fn latest_after(&self, back: Instant) -> Duration {
        let late = self.all.iter().filter(|(_, end)| *end > back);
        late.map(|(begun, end)| end.duration_since(back.max(*begun))).max().unwrap_or_default()
    }
}

/// Whether diallers are told to come to this address.
fn is_told(host: &Host, program: &Hardline, address: &str) -> Result<bool> {
    Ok(host.status(program)?["reach"].to_string().contains(address))
}

/// Waits until the program says that what it published stands in the DHT.
fn wait_until_stored(host: &Host, program: &Hardline) -> Result<()> {
    let begun = Instant::now();
    let url = format!("http://{}/status", program.gateway()?);
    loop {
        let said = host.curl(&[&url])?.success()?.stdout;
        if said.contains("Stored in the DHT") {
            return Ok(());
        }
        ensure!(begun.elapsed() < LIMIT, "not stored: {said}");
        sleep(PAUSE);
    }
}

fn rounds() -> u8 {
    if is_long() { 20 } else { 1 }
}

/// Bob opens the service at Alice's, and is home again.
fn visit_and_learn(world: &TwoHomes, key: &str) -> Result<()> {
    world.bob.detach("eth0")?;
    world.home.connect(&world.bob, 3)?;
    learn(&world.bob, "learned", key)?;
    world.bob.detach("eth0")?;
    world.away.connect(&world.bob, 2)
}

/// Asks until the service answers, and prints how long that took, and how often it was asked.
pub(crate) fn again(what: &str, host: &Host, gateway: &Hardline, key: &str) -> Result<()> {
    let begun = Instant::now();
    for number in 1.. {
        match host.first_byte(gateway, key) {
            Ok(_) => {
                let after = begun.elapsed().as_millis();
                return say(&format!("{what}: reached again after {after} ms, by request {number}"));
            }
            Err(err) if begun.elapsed() > LIMIT => bail!("{what}: not reached after {LIMIT:?}: {err:#}"),
            Err(_) => {}
        }
    }
    Ok(())
}
