//! A publisher whose clock is wrong.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use hardline_lab::{Lab, Mapping};

use crate::measure::{new_gateway, say};
use crate::world::{TwoHomes, sealed_key, texts};

/// Longest time until a service is found once its computer knows the time.
const FOUND: Duration = Duration::from_secs(20);

/// A computer without a battery for its clock, until NTP has told it the time. Nothing but the
/// sealed record is published, whose key in the DHT is another one each day.
#[test]
fn a_publisher_whose_clock_says_1970_is_found_when_it_is_set() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let world = TwoHomes::new(&lab, Mapping::Upnp)?;
    let clock = world.alice.wrong_clock("@1970-01-01 00:10:00")?;
    let dht = world.dht.options();
    let options = [&texts(&dht)[..], &["--set", "dht.publish_plain=false"]].concat();
    let service = world.alice.service_by(clock.program(), &options)?;
    let begun = Instant::now();
    while world.alice.status(&service.program)?["services"][0]["dht"]["state"] != "stored" {
        ensure!(begun.elapsed() < FOUND, "not published under the day's key of 1970");
    }
    clock.set("+0")?;
    let set = Instant::now();
    world.dht.wait_for_value(sealed_key(&service.key)?, |_| true)?;
    let gateway = new_gateway(&world.bob, 0, &texts(&dht))?;
    world.bob.first_byte(&gateway, &service.key)?;
    say(&format!("a publisher's clock is set: found after {:.1} s", set.elapsed().as_secs_f64()))?;
    ensure!(set.elapsed() < FOUND, "{:?}", set.elapsed());
    Ok(())
}

/// It is found by what it publishes for releases that ask for a service by its name alone.
#[test]
fn a_publisher_whose_clock_is_two_days_ahead_is_found() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let world = TwoHomes::new(&lab, Mapping::Upnp)?;
    let clock = world.alice.wrong_clock("+2d")?;
    let dht = world.dht.options();
    let service = world.alice.service_by(clock.program(), &texts(&dht))?;
    let gateway = new_gateway(&world.bob, 0, &texts(&dht))?;
    let took = world.bob.first_byte(&gateway, &service.key)?;
    say(&format!("a publisher's clock is two days ahead: found, {} ms", took.as_millis()))
}
