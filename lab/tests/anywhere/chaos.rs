//! A bad half hour: a request each second while routers restart and get other addresses, cables
//! are pulled, and relays and nodes of the DHT are killed. From a fixed seed, so that what happens
//! is the same each time; in the short form only the first disturbances of it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::{Scope, scope, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use hardline_lab::{DhtNetwork, Hardline, Host, Lab, Mapping, Router, is_long};

use crate::measure::{new_gateway, say};
use crate::relayed::Relay;
use crate::world::{TwoHomes, texts};

const SEED: u64 = 7009;

/// Between two requests.
const SECOND: Duration = Duration::from_secs(1);

/// From one disturbance to the next.
const CALM: Duration = Duration::from_secs(20);

/// After this time with a path no request fails.
const FOUND: Duration = Duration::from_secs(15);

/// Tasks and descriptors that a program may hold at the end beyond those at the beginning: idle
/// connections, which are kept for a while. What is lost with each disturbance, or with each
/// request, is more.
const SLACK: usize = 8;

/// Time in which everything else is to be gone.
const TIDY: Duration = Duration::from_secs(120);

#[derive(Debug, Clone, Copy)]
enum Disturbance {
    PublisherRouterRestarts,
    PublisherRouterMoves,
    ClientRouterRestarts,
    ClientRouterMoves,
    PublisherUnplugged,
    ClientUnplugged,
    RelayKilled,
    DhtNodeKilled,
}

const ALL: [Disturbance; 8] = [
    Disturbance::PublisherRouterMoves,
    Disturbance::RelayKilled,
    Disturbance::ClientUnplugged,
    Disturbance::DhtNodeKilled,
    Disturbance::PublisherRouterRestarts,
    Disturbance::ClientRouterMoves,
    Disturbance::PublisherUnplugged,
    Disturbance::ClientRouterRestarts,
];

/// Numbers by chance, the same each time (SplitMix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

/// A request, from when to when, and how it failed.
struct Request {
    began: Instant,
    ended: Instant,
    failure: Option<String>,
}

/// When the path was cut, by what, and when there was one again.
struct Cut {
    what: Disturbance,
    began: Instant,
    ended: Instant,
}

struct Chaos<'a> {
    dht: DhtNetwork,
    home: Router,
    away: Router,
    alice: &'a Host,
    bob: &'a Host,
    relays: [Relay; 2],
    chance: Chance,
    /// Last byte of the address that a router got last.
    address: u8,
}

impl Chaos<'_> {
    /// Does it. The path may be cut from before to after it.
    fn disturb(&mut self, what: Disturbance) -> Result<()> {
        let outage = Duration::from_millis(500 + self.chance.below(3000));
        match what {
            Disturbance::PublisherRouterRestarts | Disturbance::ClientRouterRestarts => {
                let is_home = matches!(what, Disturbance::PublisherRouterRestarts);
                let router = if is_home { &mut self.home } else { &mut self.away };
                router.power_off()?;
                sleep(outage);
                router.power_on()
            }
            Disturbance::PublisherRouterMoves => {
                let address = self.another_address();
                self.home.move_to(address)
            }
            Disturbance::ClientRouterMoves => {
                let address = self.another_address();
                self.away.move_to(address)
            }
            Disturbance::PublisherUnplugged => unplug(self.alice, outage, || self.home.lead(self.alice)),
            Disturbance::ClientUnplugged => unplug(self.bob, outage, || self.away.lead(self.bob)),
            Disturbance::RelayKilled => {
                let relay = &mut self.relays[self.chance.below(2) as usize];
                relay.kill()?;
                sleep(outage);
                relay.start_again()
            }
            Disturbance::DhtNodeKilled => {
                let node = self.chance.below(self.dht.size() as u64);
                self.dht.replace(node as usize)
            }
        }
    }

    /// One disturbance after the other. Returns when each cut the path.
    fn go_on(&mut self) -> Result<Vec<Cut>> {
        let (count, mut cuts) = (if is_long() { 90 } else { 5 }, Vec::new());
        for number in 0..count {
            sleep(CALM);
            // Each once, in order; then by chance.
            let by_chance = self.chance.below(ALL.len() as u64) as usize;
            let what = *ALL.get(number).unwrap_or(&ALL[by_chance]);
            let began = Instant::now();
            self.disturb(what).with_context(|| format!("{what:?}"))?;
            cuts.push(Cut { what, began, ended: Instant::now() });
        }
        sleep(CALM);
        Ok(cuts)
    }

    fn another_address(&mut self) -> u8 {
        self.address = if self.address == 99 { 30 } else { self.address + 1 };
        self.address
    }
}

fn unplug(host: &Host, outage: Duration, lead: impl Fn() -> Result<()>) -> Result<()> {
    host.set_link("eth0", false)?;
    sleep(outage);
    host.set_link("eth0", true)?;
    lead()
}

impl Disturbance {
    /// Whether the way between the two computers is cut, and not only one of those who help.
    fn cuts_the_path(self) -> bool {
        !matches!(self, Self::RelayKilled | Self::DhtNodeKilled)
    }
}

/// Makes a request each second until `is_over`, whatever became of those before.
fn ask<'a>(
    threads: &'a Scope<'a, '_>,
    (host, gateway, key): (&'a Host, &'a Hardline, &'a str),
    requests: &'a Mutex<Vec<Request>>,
    is_over: &AtomicBool,
) {
    while !is_over.load(Ordering::Relaxed) {
        threads.spawn(move || {
            let began = Instant::now();
            let failure = host.first_byte(gateway, key).err().map(|error| format!("{error:#}"));
            let request = Request { began, ended: Instant::now(), failure };
            requests.lock().unwrap_or_else(PoisonError::into_inner).push(request);
        });
        sleep(SECOND);
    }
}

/// Prints what became of the requests.
///
/// # Errors
/// If one failed although there had been a path for [`FOUND`].
fn judge(requests: &[Request], cuts: &[Cut]) -> Result<()> {
    let cuts: Vec<&Cut> = cuts.iter().filter(|cut| cut.what.cuts_the_path()).collect();
    let mut back = Vec::new();
    for cut in &cuts {
        let answered =
            requests.iter().filter(|it| it.failure.is_none() && it.began >= cut.began && it.ended >= cut.ended);
        let first = answered.map(|it| it.ended).min().context("no answer after it")?;
        back.push((first.duration_since(cut.ended), cut.what));
    }
    back.sort_unstable_by_key(|(time, _)| *time);
    let is_excused = |it: &&Request| cuts.iter().any(|cut| it.began < cut.ended + FOUND && it.ended > cut.began);
    let failed: Vec<&Request> = requests.iter().filter(|it| it.failure.is_some()).collect();
    let wrong: Vec<&str> = failed.iter().filter(|it| !is_excused(it)).filter_map(|it| it.failure.as_deref()).collect();
    let longest = requests.iter().map(|it| it.ended.duration_since(it.began)).max().unwrap_or_default();
    let [median, worst] = [back.len() / 2, back.len() - 1].map(|at| back[at]);
    say(&format!(
        "chaos, {} requests, {} cuts: {} failed, {} of them though there had been a path for {FOUND:?}; the longest took \
         {longest:.1?}; answered again after {:.2?} (median), {:.2?} (worst: {:?})",
        requests.len(),
        cuts.len(),
        failed.len(),
        wrong.len(),
        median.0,
        worst.0,
        worst.1
    ))?;
    ensure!(wrong.is_empty(), "{wrong:#?}");
    Ok(())
}

/// Tasks and descriptors of a program.
fn held(host: &Host, program: &Hardline) -> Result<[usize; 2]> {
    let tasks = host.status(program)?["tasks"].as_u64().context("tasks")?;
    let descriptors = std::fs::read_dir(format!("/proc/{}/fd", program.process.id()))?.count();
    Ok([tasks as usize, descriptors])
}

/// Waits until a program holds no more than `before`.
fn tidied(who: &str, host: &Host, program: &Hardline, before: [usize; 2]) -> Result<()> {
    let begun = Instant::now();
    loop {
        let now = held(host, program)?;
        if now[0] <= before[0] + SLACK && now[1] <= before[1] + SLACK {
            return say(&format!(
                "chaos, {who}: {now:?} tasks and descriptors at the end, {before:?} at the beginning"
            ));
        }
        ensure!(begun.elapsed() < TIDY, "{who}: {now:?} tasks and descriptors, {before:?} at the beginning");
        sleep(SECOND);
    }
}

#[test]
fn a_request_each_second_through_a_bad_half_hour() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let world = TwoHomes::new(&lab, Mapping::All)?;
    let relays = [20, 21].map(|number| Relay::start(&lab, &world.internet, &world.dht, number));
    let [first, second] = relays;
    let relays = [first?, second?];
    let flags: Vec<&str> = relays.iter().flat_map(|relay| ["--relay", &relay.url]).collect();
    let mut service = world.publish(&flags)?;
    let options = world.dht.options();
    let gateway = new_gateway(&world.bob, 0, &texts(&options))?;
    let TwoHomes { dht, home, away, alice, bob, internet: _internet } = world;
    bob.first_byte(&gateway, &service.key)?;
    let before = [held(&alice, &service.program)?, held(&bob, &gateway)?];

    let (requests, is_over) = (Mutex::default(), AtomicBool::new(false));
    let mut chaos = Chaos { dht, home, away, alice: &alice, bob: &bob, relays, chance: Chance(SEED), address: 30 };
    let cuts = scope(|threads| {
        threads.spawn(|| ask(threads, (&bob, &gateway, &service.key), &requests, &is_over));
        let cuts = chaos.go_on();
        is_over.store(true, Ordering::Relaxed);
        cuts
    })?;
    judge(&requests.into_inner().unwrap_or_else(PoisonError::into_inner), &cuts)?;

    tidied("the publisher", &alice, &service.program, before[0])?;
    tidied("the client", &bob, &gateway, before[1])?;
    service.program.process.terminate(Duration::from_secs(40))?;
    let mapped = chaos.home.mapped()?;
    ensure!(mapped.is_empty(), "left at the router: {mapped:?}");
    Ok(())
}
