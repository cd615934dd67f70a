//! Time to first byte where the way is known already, and where nothing is in between.

use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, ensure};
use hardline_lab::{Hardline, Lab, Mapping, is_long};

use crate::measure::{knowing_gateway, so_many_first_tries};
use crate::paths::path_to;
use crate::relayed::Behind;
use crate::world::{ROUND_TRIP, TwoHomes, texts};

/// Longest time until a connection that nobody uses is let go.
const LIMIT: Duration = Duration::from_secs(60);

/// The program ran before, and remembers where the relay is.
#[test]
fn scenario_34_remembered_by_a_relay() -> Result<()> {
    // A relay half way between the two, and one as far from each as they would be from each other.
    for (each, words) in [(ROUND_TRIP / 2, "40 ms in all"), (ROUND_TRIP, "40 ms to the relay and 40 ms behind it")] {
        let Some(lab) = Lab::open()? else { return Ok(()) };
        let world = Behind::at(&lab, each)?;
        let relay = world.relay(&lab, 20)?;
        let service = world.publish(&[&relay])?;
        let dht = world.dht.options();
        let options = [&texts(&dht)[..], &["--set", "p2p.punching=false"]].concat();
        let mut gateway = world.bob.gateway("learned", &options)?;
        world.bob.first_byte(&gateway, &service.key)?;
        gateway.process.terminate(Duration::from_secs(40))?;
        so_many_first_tries(&format!("34, remembered, relay, {words}"), tries(), |number| {
            let gateway = knowing_gateway(&world.bob, "learned", number, &options)?;
            let first_byte = world.bob.first_byte(&gateway, &service.key)?;
            let path = path_to(&world.bob, &gateway, &service.key)?;
            ensure!(path["kind"] == "relay", "{path}");
            Ok(first_byte)
        })?;
    }
    Ok(())
}

/// The program has dialled through these NATs before, and has no connection left.
#[test]
fn scenario_34_remembered_punched() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let world = TwoHomes::new(&lab, Mapping::None)?;
    let service = world.publish(&[])?;
    let dht = world.dht.options();
    let options = [&texts(&dht)[..], &["--set", "limits.parked_time=2s"]].concat();
    let gateway = world.bob.gateway("new0", &options)?;
    world.bob.first_byte(&gateway, &service.key)?;
    so_many_first_tries("34, remembered, punched", tries(), |_| {
        let begun = Instant::now();
        while !world.bob.status(&gateway)?["peers"].as_array().context("peers")?.is_empty() {
            ensure!(begun.elapsed() < LIMIT, "the connection is kept");
            sleep(Duration::from_millis(100));
        }
        let first_byte = world.bob.first_byte(&gateway, &service.key)?;
        let path = path_to(&world.bob, &gateway, &service.key)?;
        ensure!(path["kind"] == "punched", "{path}");
        Ok(first_byte)
    })
}

/// From the publisher's hearing the call to the first byte at the client. No network in between
/// takes time.
#[test]
fn scenario_34_punched_after_the_call_was_delivered() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let world = TwoHomes::at(&lab, Mapping::None, Duration::ZERO)?;
    let service = world.publish(&["-vv", "--log-format", "json"])?;
    so_many_first_tries("34, without added delay, punched, from the call's delivery", tries(), |number| {
        let options = world.dht.options();
        let gateway = world.bob.gateway(&format!("new{number}"), &texts(&options))?;
        world.bob.first_byte(&gateway, &service.key)?;
        let there = SystemTime::now();
        let path = path_to(&world.bob, &gateway, &service.key)?;
        ensure!(path["kind"] == "punched", "{path}");
        there.duration_since(called(&service.program)?).context("the call was heard before")
    })
}

/// When the program heard the last call, as its log says.
fn called(program: &Hardline) -> Result<SystemTime> {
    let log = program.process.stderr();
    let line = log.iter().rev().find(|line| line.contains("\"called\"")).context("a call")?;
    let line: serde_json::Value = serde_json::from_str(line)?;
    let at = line["timestamp"].as_str().context("a time")?;
    Ok(humantime::parse_rfc3339(at)?)
}

fn tries() -> usize {
    if is_long() { 20 } else { 5 }
}
