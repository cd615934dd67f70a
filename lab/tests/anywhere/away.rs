//! Somebody's network is gone for a while, or the computer sleeps.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use hardline_lab::{DHT_PORT, Hardline, Host, Lab, Mapping, Process, helper, is_long};
use serde_json::Value;

use crate::measure::{new_gateway, say};
use crate::moves::{LIMIT, again};
use crate::world::{TwoHomes, texts};

/// Most packets that a computer may send within [`AFTER_WAKING`], however many of its timers have
/// lapsed: it asks the router, publishes anew and looks after its table of the DHT.
const MAX_PACKETS_AFTER_WAKING: u64 = 400;

/// Time for which the packets are counted.
const AFTER_WAKING: Duration = Duration::from_secs(5);

/// How long the network is gone, or the computer asleep.
fn while_away() -> Duration {
    Duration::from_secs(if is_long() { 60 } else { 10 })
}

#[test]
fn wifi_drops_for_a_while_and_the_next_request_succeeds() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let world = TwoHomes::new(&lab, Mapping::Upnp)?;
    let service = world.publish(&[])?;
    let options = world.dht.options();
    let gateway = new_gateway(&world.bob, 0, &texts(&options))?;
    world.bob.first_byte(&gateway, &service.key)?;
    let open = stay_open(&world.bob, &gateway, &service.key)?;
    world.bob.set_link("eth0", false)?;
    sleep(while_away());
    world.bob.set_link("eth0", true)?;
    world.away.lead(&world.bob)?;
    let first =
        world.bob.first_byte(&gateway, &service.key).context("the first request on the network that is back")?;
    say(&format!("Wi-Fi away for {:?}: first byte after {} ms", while_away(), first.as_millis()))?;
    say(&format!("a tunnel open meanwhile: {}", fate(open)?))
}

/// Alice's computer and Bob's sleep. Bob wakes in another network than his, and Alice behind
/// another public address.
#[test]
fn both_computers_sleep_and_wake_elsewhere() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let mut world = TwoHomes::new(&lab, Mapping::Upnp)?;
    let mut service = world.publish(&[])?;
    let options = world.dht.options();
    world.bob.detach("eth0")?;
    world.home.connect(&world.bob, 3)?;
    let mut gateway = new_gateway(&world.bob, 0, &texts(&options))?;
    world.bob.first_byte(&gateway, &service.key)?;
    world.alice.count_sent(DHT_PORT)?;

    let programs = [&mut service.program.process, &mut gateway.process];
    programs.into_iter().try_for_each(Process::pause)?;
    world.bob.detach("eth0")?;
    world.home.move_to(20)?;
    sleep(while_away());
    world.away.connect(&world.bob, 2)?;
    let before = world.alice.sent_in_all()?.packets;
    let woken = Instant::now();
    let programs = [&mut service.program.process, &mut gateway.process];
    programs.into_iter().try_for_each(Process::resume)?;

    again("both slept, and woke elsewhere", &world.bob, &gateway, &service.key)?;
    sleep(AFTER_WAKING.saturating_sub(woken.elapsed()));
    let sent = world.alice.sent_in_all()?.packets - before;
    say(&format!("sent by the publisher in {:.1} s after it woke: {sent} packets", woken.elapsed().as_secs_f64()))?;
    ensure!(woken.elapsed() > 2 * AFTER_WAKING || sent < MAX_PACKETS_AFTER_WAKING, "a stampede: {sent} packets");
    Ok(())
}

/// Begins a WebSocket that is silent while things happen, and then is used again.
fn stay_open(host: &Host, gateway: &Hardline, key: &str) -> Result<Process> {
    let (entry, name) = (gateway.gateway()?.to_string(), format!("{key}.localhost:7009"));
    let check = format!("idle:{}", while_away().as_secs() + 5);
    let client = host.spawn(&check, host.command(helper()?).args(["client", &entry, &name, &check]))?;
    client.wait_for_line("idle")?;
    Ok(client)
}

/// How that went: it lives on, or is seen as broken. Anything else is an error.
fn fate(mut client: Process) -> Result<String> {
    client.wait(LIMIT)?;
    let said: Value = client.wait_for("its end", |line| serde_json::from_str(line).ok())?;
    client.discard();
    if said["ok"] == true {
        return Ok("lives on".to_owned());
    }
    let error = said["error"].as_str().context("an error")?;
    ensure!(!error.contains("another echo"), "other bytes came: {error}");
    ensure!(!error.contains("out of time"), "nobody was told that it is broken");
    Ok(format!("seen as broken ({error})"))
}
