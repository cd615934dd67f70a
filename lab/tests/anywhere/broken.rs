//! Paths that break while they are used: a punched one, a relay, and a publisher that sleeps behind
//! one.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use hardline_lab::{Hardline, Host, Lab, Mapping, Process, Service, is_long};

use crate::measure::{new_gateway, say};
use crate::paths::path_to;
use crate::relayed::Behind;
use crate::world::{TwoHomes, texts};

/// Longest time until somebody who waits is told that there is none.
const TOLD: Duration = Duration::from_secs(30);

/// Time for everything that should take seconds.
const LIMIT: Duration = Duration::from_secs(30);

/// Longest time to the answer of the request after the publisher's router has moved.
const FOUND_AGAIN: Duration = Duration::from_secs(3);

/// After this time without a change the next one is published at once: addresses that change all
/// the time are told every five seconds.
const REST: Duration = Duration::from_secs(15);

/// The publisher's router gets another address, and nothing tells the publisher but nodes of the
/// DHT, one of which it asks every other second. The request that is made meanwhile waits for it.
#[test]
fn scenario_31_the_publisher_s_router_moves_under_a_punched_connection() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let mut world = TwoHomes::new(&lab, Mapping::None)?;
    let service = world.publish(&[])?;
    let options = world.dht.options();
    let gateway = new_gateway(&world.bob, 0, &texts(&options))?;
    let mut times = Vec::new();
    for number in 20..20 + rounds() {
        sleep(REST);
        world.bob.first_byte(&gateway, &service.key)?;
        let path = path_to(&world.bob, &gateway, &service.key)?;
        ensure!(path["kind"] == "punched", "{path}");
        world.home.move_to(number)?;
        let moved = Instant::now();
        world.bob.first_byte(&gateway, &service.key).context("the request after the move")?;
        times.push(moved.elapsed());
    }
    times.sort_unstable();
    let [.., slowest] = &times[..] else { bail!("no round") };
    say(&format!(
        "31, punched, the publisher's router moves: the next request answered after {:.1?} (median), {slowest:.1?} (slowest)",
        times[times.len() / 2],
    ))?;
    ensure!(*slowest < FOUND_AGAIN, "{times:.1?}");
    Ok(())
}

fn rounds() -> u8 {
    if is_long() { 20 } else { 3 }
}

/// The publisher's computer sleeps, with its cable in or pulled, and wakes.
#[test]
fn scenario_32_a_publisher_behind_a_relay_sleeps_and_wakes() -> Result<()> {
    for is_unplugged in [false, true] {
        let Some(lab) = Lab::open()? else { return Ok(()) };
        let world = Behind::new(&lab)?;
        let relay = world.relay(&lab, 20)?;
        let mut service = world.publish(&[&relay])?;
        let dht = world.dht.options();
        let options = [&texts(&dht)[..], &["--set", "p2p.punching=false"]].concat();
        let gateway = new_gateway(&world.bob, 0, &options)?;
        world.bob.first_byte(&gateway, &service.key)?;
        service.program.process.pause()?;
        if is_unplugged {
            world.alice.set_link("eth0", false)?;
        }
        for _ in 0..2 {
            let told = plain_failure(&world.bob, &gateway, &service.key)?;
            ensure!(told < TOLD, "told after {told:?}");
        }
        if is_unplugged {
            world.alice.set_link("eth0", true)?;
            world.plug_in_again()?;
        }
        service.program.process.resume()?;
        let first = world.bob.first_byte(&gateway, &service.key).context("the first request after waking")?;
        let cable = if is_unplugged { "cable out" } else { "cable in" };
        say(&format!(
            "32, a publisher behind a relay slept, {cable}: first byte {} ms after waking",
            first.as_millis()
        ))?;
    }
    Ok(())
}

/// Asks for the service, which is away, and returns how long it takes until that is told.
fn plain_failure(host: &Host, gateway: &Hardline, key: &str) -> Result<Duration> {
    let (header, url) = (format!("Host: {key}.localhost:7009"), format!("http://{}/slow/0", gateway.gateway()?));
    let begun = Instant::now();
    let said = host.curl(&["--header", &header, "--write-out", "\n%{http_code}", &url])?;
    let (page, code) = said.stdout.rsplit_once('\n').with_context(|| format!("no answer: {}", said.stderr))?;
    ensure!(["502", "503", "504"].contains(&code) && !page.trim().is_empty(), "{code}: {page}{}", said.stderr);
    Ok(begun.elapsed())
}

/// A download and an upload go through a relay that dies: both applications see that, and the next
/// request goes another way, the second relay's or through NATs.
#[test]
fn scenario_33_a_relay_dies_under_transfers() -> Result<()> {
    for is_punching in [false, true] {
        let Some(lab) = Lab::open()? else { return Ok(()) };
        let world = Behind::new(&lab)?;
        let mut relays = vec![world.relay(&lab, 20)?];
        if !is_punching {
            relays.push(world.relay(&lab, 21)?);
        }
        let service = world.publish(&relays.iter().collect::<Vec<_>>())?;
        // At first there is no way but the relay's.
        let is_blocked = is_punching.then(|| world.block_probes()).transpose()?.is_some();
        let punching = format!("p2p.punching={is_punching}");
        let dht = world.dht.options();
        let options = [&texts(&dht)[..], &["--set", &punching]].concat();
        let gateway = new_gateway(&world.bob, 0, &options)?;
        world.bob.first_byte(&gateway, &service.key)?;
        let path = path_to(&world.bob, &gateway, &service.key)?;
        ensure!(path["kind"] == "relay", "{path}");
        let used = usize::from(path["via"] == "203.0.113.21");
        let transfers = Transfers::begin(&world.bob, &gateway, &service)?;
        if is_blocked {
            world.let_probes_through()?;
        }
        relays[used].kill()?;
        transfers.are_broken(&service.backend.process)?;
        let next = world.bob.first_byte(&gateway, &service.key).context("the request after the relay's death")?;
        let path = path_to(&world.bob, &gateway, &service.key)?;
        ensure!(path["kind"] == if is_punching { "punched" } else { "relay" }, "{path}");
        say(&format!(
            "33, a relay died under transfers: both sides saw them break; next first byte after {} ms ({})",
            next.as_millis(),
            path["text"].as_str().unwrap_or_default()
        ))?;
    }
    Ok(())
}

/// Slow transfers of many bytes.
struct Transfers {
    download: Process,
    upload: Process,
}

impl Transfers {
    /// Begins them, and waits until both ends have some of what is sent to them.
    fn begin(host: &Host, gateway: &Hardline, service: &Service) -> Result<Self> {
        let (header, at) = (format!("Host: {}.localhost:7009", service.key), gateway.gateway()?);
        let down = format!("http://{at}/chunked/500000000");
        let up = format!("http://{at}/hash");
        let file = host.home().join("upload");
        std::fs::File::create(&file)?.set_len(500_000_000)?;
        let file = format!("@{}", file.display());
        let slow = ["--silent", "--show-error", "--max-time", "60", "--limit-rate", "10M", "--header", &header];
        let into = host.home().join("download");
        let mut download = host.command("curl");
        download.args(slow).args(["--output", into.to_str().context("a path")?, &down]);
        let mut upload = host.command("curl");
        upload.args(slow).args(["--fail", "--data-binary", &file, &up]);
        let (download, upload) = (host.spawn("download", &mut download)?, host.spawn("upload", &mut upload)?);
        service.backend.process.wait_for_line("upload begun")?;
        let begun = Instant::now();
        let come = || std::fs::metadata(&into).map_or(0, |file| file.len());
        while come() < 1_000_000 {
            ensure!(begun.elapsed() < LIMIT, "they do not begin");
            sleep(Duration::from_millis(50));
        }
        Ok(Self { download, upload })
    }

    /// Waits until the programs at both ends have seen that they broke off.
    fn are_broken(mut self, backend: &Process) -> Result<()> {
        for transfer in [&mut self.download, &mut self.upload] {
            let status = transfer.wait(LIMIT)?;
            ensure!(!status.success(), "{} ended as if it were whole", transfer.label());
        }
        backend.wait_for_line("upload broken")?;
        Ok(())
    }
}
