//! What our program sends while nothing is asked of it.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, ensure};
use hardline_lab::{DHT_PORT, Lab, Mapping, is_long};

use crate::measure::{new_gateway, say};
use crate::world::{TwoHomes, texts};

/// Most bytes a publisher sends in a minute, beside what it does for others as a node of the DHT.
const MAX_BYTES_A_MINUTE: u64 = 10_000;

fn watched() -> Duration {
    Duration::from_secs(if is_long() { 300 } else { 15 })
}

#[test]
fn a_client_with_nothing_open_sends_nothing_to_the_internet() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let world = TwoHomes::new(&lab, Mapping::Upnp)?;
    world.bob.count_sent(DHT_PORT)?;
    let options = world.dht.options();
    let _gateway = new_gateway(&world.bob, 0, &texts(&options))?;
    // Long enough for every timer that a start may set; nothing tells that nothing happens.
    sleep(watched());
    let sent = [world.bob.sent_to_internet()?, world.bob.sent_to_dht()?];
    ensure!(sent.iter().all(|sent| sent.packets == 0), "sent to the internet, and to the DHT: {sent:?}");
    say(&format!("a client with nothing open: nothing sent to the internet in {} s", watched().as_secs()))
}

#[test]
fn a_publisher_at_rest_sends_little() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let world = TwoHomes::new(&lab, Mapping::All)?;
    let _service = world.publish(&[])?;
    world.alice.count_sent(DHT_PORT)?;
    sleep(watched());
    let (all, dht) = (world.alice.sent_in_all()?.bytes, world.alice.sent_to_dht()?.bytes);
    let a_minute = |bytes: u64| bytes * 60 / watched().as_secs();
    let rest = a_minute(all - dht);
    say(&format!("a publisher at rest: {rest} bytes a minute, and {} for the DHT", a_minute(dht)))?;
    ensure!(rest < MAX_BYTES_A_MINUTE, "{rest} bytes a minute");
    Ok(())
}
