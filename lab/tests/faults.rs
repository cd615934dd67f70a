//! Transfers and what can happen to them. Every one either arrives equal, byte for byte, or is seen
//! as broken by both applications; and nothing is left behind.

use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use hardline_lab::{Hardline, Host, Lab, Process, Service, Switch, hardline_program, helper, is_long};
use hardline_node::store::Store;
use serde_json::Value;

/// Bytes of a transfer that is to be disturbed.
const LARGE: u64 = 96 * 1024 * 1024;

/// More than can cross in the time that its client has.
const ENDLESS: u64 = 1 << 40;

/// How soon a program hears that its computer has moved.
const MOVED: Duration = Duration::from_secs(30);

/// Bytes that have crossed the cable when the disturbance comes.
const MIDDLE: u64 = 4 * 1024 * 1024;

/// Sessions that may stay idle between two programs: see `MAX_IDLE_PER_SERVICE`.
const IDLE: usize = 16;

/// How long anything that has to happen may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// The kernel's longest pause before it sends a lost packet again (Linux: `TCP_RTO_MAX`). Who lost
/// many waits for so long also when no more are lost.
const LONGEST_RTO: Duration = Duration::from_secs(120);

const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Alice's service, opened by Bob.
struct World {
    alice: Host,
    bob: Host,
    service: Service,
    gateway: Hardline,
    switch: Switch,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Down,
    Up,
}

/// How a transfer went, as its client sees it.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Equal,
    Broken,
    /// Its client's time was up.
    GivenUp,
}

struct Transfer {
    way: Way,
    process: Process,
    /// How many transfers the backend had seen the end of before.
    ended_before: usize,
}

#[test]
fn a_killed_end_is_seen_by_both_applications() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let mut world = World::new(&lab)?;
    let rounds = if is_long() { 500 } else { 3 };
    let mut broken = 0;
    for _ in 0..rounds {
        for way in [Way::Down, Way::Up] {
            let transfer = world.begin(way, LARGE, 0)?;
            world.wait_for_middle(&transfer)?;
            world.service.program.process.kill()?;
            broken += usize::from(world.end(transfer)? == Fate::Broken);
            world.publish_again()?;
            world.opens()?;

            let transfer = world.begin(way, LARGE, 0)?;
            world.wait_for_middle(&transfer)?;
            world.gateway.process.kill()?;
            broken += usize::from(world.end(transfer)? == Fate::Broken);
            world.gateway = start_gateway(&world.bob, &[])?;
            world.opens()?;
        }
    }
    ensure!(broken > rounds, "of {} transfers only {broken} were met in the middle", 4 * rounds);
    world.leaves_nothing()
}

#[test]
fn transfers_outlive_a_cable_that_is_out_for_a_while() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let mut world = World::new(&lab)?;
    for seconds in if is_long() { &[5, 5, 5, 90, 90][..] } else { &[5][..] } {
        let transfers = [world.begin(Way::Down, LARGE, 400)?, world.begin(Way::Up, LARGE, 400)?];
        world.wait_for_middle(&transfers[0])?;
        world.lose(100)?;
        std::thread::sleep(Duration::from_secs(*seconds));
        world.lose_nothing()?;
        for transfer in transfers {
            let way = transfer.way;
            let fate = world.end(transfer)?;
            // Longer than what programs wait for each other, either is right; which it is, the
            // other side sees too.
            ensure!(*seconds > 60 || fate == Fate::Equal, "{way:?} is {fate:?} after {seconds} s");
        }
        world.opens()?;
    }
    world.leaves_nothing()
}

/// Bob's computer, or Alice's, is in another network from one moment to the next: its old address
/// is gone.
#[test]
fn a_transfer_under_which_its_computer_moves_is_told_to_be_broken() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let mut world = World::new(&lab)?;
    for way in [Way::Down, Way::Up] {
        let transfer = world.begin(way, ENDLESS, 0)?;
        world.wait_for_middle(&transfer)?;
        move_to(&world.bob, "192.168.77.2/24", "192.168.77.22/24")?;
        let moved = Instant::now();
        ensure!(world.end_unseen(transfer)? == Fate::Broken, "{way:?} arrived where nobody was");
        say(&format!("{way:?}, moved under way: told after {:.1} s", moved.elapsed().as_secs_f64()))?;
        move_to(&world.bob, "192.168.77.22/24", "192.168.77.2/24")?;
        world.opens()?;
    }
    let transfer = world.begin(Way::Down, ENDLESS, 0)?;
    world.wait_for_middle(&transfer)?;
    move_to(&world.alice, "192.168.77.1/24", "192.168.77.11/24")?;
    let moved = Instant::now();
    until_within(MOVED, "the backend's connections closed", || world.is_idle())?;
    say(&format!("the publisher moved under way: its backend was told after {:.1} s", moved.elapsed().as_secs_f64()))?;
    world.gateway.process.kill()?;
    ensure!(world.end_unseen(transfer)? == Fate::Broken, "arrived from where nobody was");
    world.gateway = start_gateway(&world.bob, &[])?;
    world.leaves_nothing()
}

/// Over QUIC the same is no end: the connection goes on from the new address, or from the other
/// cable's.
#[test]
fn a_transfer_over_quic_goes_on_when_its_computer_moves() -> Result<()> {
    const MUCH: u64 = 160 * 1024 * 1024;
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let mut world = World::new(&lab)?;
    world.gateway.process.kill()?;
    let file = world.bob.home().join("quic.toml");
    let peer = format!(
        "[[peer]]\nlink = \"http://{}.localhost:7009/\"\naddresses = [\"quic://192.168.77.1:7008\"]\n",
        world.service.key
    );
    std::fs::write(&file, peer)?;
    std::fs::remove_dir_all(world.bob.home().join("data"))?;
    let options = ["--config", &file.to_string_lossy(), "--set", "lan.enabled=false"];
    world.gateway = start_gateway(&world.bob, &options)?;
    for way in [Way::Down, Way::Up] {
        let transfer = world.begin(way, MUCH, 60)?;
        world.wait_for_middle(&transfer)?;
        move_to(&world.bob, "192.168.77.2/24", "192.168.77.22/24")?;
        let (moved, left) = (Instant::now(), world.crossed()?);
        until("bytes at the new address", || Ok(world.crossed()? > left + MIDDLE))?;
        say(&format!("{way:?} over QUIC, another address: on after {} ms", moved.elapsed().as_millis()))?;
        ensure!(transfer.process.stdout().is_empty(), "{way:?} had ended before its computer moved");
        ensure!(world.end(transfer)? == Fate::Equal, "{way:?} is not whole");
        move_to(&world.bob, "192.168.77.22/24", "192.168.77.2/24")?;
    }
    let transfer = world.begin(Way::Down, MUCH, 60)?;
    world.wait_for_middle(&transfer)?;
    // The laptop leaves its Wi-Fi for a cable.
    world.bob.attach(&world.switch, "eth1", &["192.168.77.33/24"])?;
    world.bob.set_link("eth0", false)?;
    ensure!(world.end(transfer)? == Fate::Equal, "not whole over another interface");
    world.opens()
}

/// Somebody's ssh, say: it hears why it ends, and not when the kernel has given up.
#[test]
fn a_program_that_is_connected_hears_that_its_computer_has_moved() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let world = World::new(&lab)?;
    // The first look at the service is over.
    until("the backend's connections closed", || world.is_idle())?;
    let script = format!(
        "{} connect {} --address 192.168.77.1:7008 --set dht.enabled=false < <(sleep 300); echo ended with $?",
        hardline_program()?.display(),
        world.service.key
    );
    let mut connected = world.bob.spawn("connect", world.bob.command("bash").args(["-c", &script]))?;
    until("a connection to the backend", || Ok(!world.is_idle()?))?;
    move_to(&world.bob, "192.168.77.2/24", "192.168.77.22/24")?;
    connected.wait(MOVED)?;
    connected.wait_for_line("ended with 1")?;
    let said = connected.stderr().concat();
    ensure!(said.contains("moved to another network"), "{said}");
    connected.discard();
    Ok(())
}

#[test]
fn a_lossy_network_changes_no_byte() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let mut world = World::new(&lab)?;
    let (groups, group) = if is_long() { (5, 80) } else { (1, 8) };
    let all = groups * group;
    for host in [&world.alice, &world.bob] {
        // Dozens of them would be lost together, as one.
        host.ip("link set eth0 gso_max_segs 1")?;
    }
    for (percent, bytes) in [(5, 1024 * 1024), (20, 64 * 1024)] {
        world.lose(percent)?;
        let begun = Instant::now();
        let (mut equal, mut given_up) = (0, 0);
        for _ in 0..groups {
            let fates = world.at_once(group, bytes)?;
            equal += fates.iter().filter(|fate| **fate == Fate::Equal).count();
            given_up += fates.iter().filter(|fate| **fate == Fate::GivenUp).count();
        }
        world.lose_nothing()?;
        say(&format!(
            "{percent} % lost: of {all} transfers {equal} are equal, {} broken, {given_up} given up; {:.0} s",
            all - equal - given_up,
            begun.elapsed().as_secs_f64()
        ))?;
        ensure!(equal >= all / 2, "{percent} % lost: only {equal} of {all} transfers came through");
        // Those that were given up are seen as broken by the backend too.
        until_within(LONGEST_RTO + PATIENCE, "the backend's connections closed", || world.is_idle())?;
    }
    world.opens()?;
    world.leaves_nothing()
}

#[test]
fn idle_sessions_of_a_listener_that_was_started_again_cost_no_error() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let mut world = World::new(&lab)?;
    for _ in 0..if is_long() { 200 } else { 3 } {
        world.check(&["parallel:8:1000"])?;
        world.service.program.process.kill()?;
        world.publish_again()?;
        world.check(&["get:1000", "post:1000", "parallel:8:1000"])?;
    }
    world.leaves_nothing()
}

/// Whether a request on such a session has reached the service nobody can tell. One that is safe is
/// sent again, over a new connection; of another the person is told, and the next try works as soon
/// as every such session is used up.
#[test]
fn sessions_that_died_unheard_of_cost_a_safe_request_nothing_and_are_used_up() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let mut world = World::new(&lab)?;
    for _ in 0..if is_long() { 200 } else { 2 } {
        world.check(&["parallel:8:1000"])?;
        world.lose(100)?;
        world.service.program.process.kill()?;
        world.lose_nothing()?;
        world.publish_again()?;
        world.check(&["get:1000"])?;
        world.check(&["parallel:8:1000"])?;
        world.lose(100)?;
        world.service.program.process.kill()?;
        world.lose_nothing()?;
        world.publish_again()?;
        let mut tries = 0;
        while let Err(error) = world.check(&["post:1000"]) {
            ensure!(format!("{error:#}").contains("went away without an answer"), "{error:#}");
            tries += 1;
            ensure!(tries <= IDLE, "still no answer after {tries} tries");
        }
    }
    world.leaves_nothing()
}

#[test]
fn an_address_that_takes_connections_and_never_speaks_does_not_hinder() -> Result<()> {
    const DEAF: &str =
        "import socket, time; s = socket.create_server(('', 7555)); print('deaf', flush=True); time.sleep(1e6)";
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let mut world = World::new(&lab)?;
    let deaf = world.alice.spawn("deaf", world.alice.command("python3").args(["-c", DEAF]))?;
    deaf.wait_for_line("deaf")?;
    let file = world.bob.home().join("peer.toml");
    let peer = format!(
        "[[peer]]\nlink = \"http://{}.localhost:7009/\"\naddresses = [\"192.168.77.1:7555\"]\n",
        world.service.key
    );
    std::fs::write(&file, peer)?;
    for _ in 0..if is_long() { 50 } else { 3 } {
        world.gateway.process.kill()?;
        // Nothing is remembered: the deaf address is the only one known until the LAN answers.
        std::fs::remove_dir_all(world.bob.home().join("data"))?;
        world.gateway = start_gateway(&world.bob, &["--config", &file.to_string_lossy()])?;
        world.opens()?;
        world.leaves_nothing()?;
    }
    Ok(())
}

impl World {
    fn new(lab: &Lab) -> Result<Self> {
        let (switch, [alice, bob]) = lab.lan(["alice", "bob"])?;
        let service = alice.service(&["--set", "dht.enabled=false"])?;
        let gateway = start_gateway(&bob, &[])?;
        let world = Self { alice, bob, service, gateway, switch };
        world.opens()?;
        Ok(world)
    }

    /// Starts the publisher anew, with the same identity and the same backend.
    fn publish_again(&mut self) -> Result<()> {
        let target = self.service.backend.address.port().to_string();
        self.service.program = self.alice.hardline(&["share", &target, "--set", "dht.enabled=false"])?;
        Ok(())
    }

    fn opens(&self) -> Result<()> {
        self.service.opens_at(&self.gateway, &self.bob)
    }

    fn check(&self, checks: &[&str]) -> Result<()> {
        self.bob.check_site(self.gateway.gateway()?, &format!("{}.localhost", self.service.key), checks)
    }

    /// Begins a transfer, which has `seconds` more than a minute.
    fn begin(&self, way: Way, bytes: u64, seconds: u64) -> Result<Transfer> {
        let (gateway, host) = (self.gateway.gateway()?.to_string(), format!("{}.localhost", self.service.key));
        let check = format!("{}:{bytes}:{seconds}", if way == Way::Down { "get" } else { "post" });
        let mut command = self.bob.command(helper()?);
        let ended_before = self.ended(way).len();
        let process = self.bob.spawn(&check, command.args(["client", &gateway, &host, &check]))?;
        Ok(Transfer { way, process, ended_before })
    }

    /// How so many transfers go that run at the same time, each for a minute at most.
    fn at_once(&self, count: usize, bytes: u64) -> Result<Vec<Fate>> {
        let ended_before = [Way::Down, Way::Up].map(|way| self.ended(way).len());
        // Different lengths, so that no answer can be taken for another.
        let transfers: Vec<_> = (0..count)
            .map(|number| self.begin(if number % 2 == 0 { Way::Down } else { Way::Up }, bytes + number as u64, 0))
            .collect::<Result<_>>()?;
        let fates: Vec<_> =
            transfers.into_iter().map(|transfer| self.end_of_any_kind(transfer)).collect::<Result<_>>()?;
        for (way, (ended_before, first)) in [(Way::Down, (ended_before[0], 0)), (Way::Up, (ended_before[1], 1))] {
            let equal = fates.iter().skip(first).step_by(2).filter(|fate| **fate == Fate::Equal).count();
            let whole = || self.ended(way)[ended_before..].iter().filter(|line| line.contains("whole")).count();
            until("what is equal is whole at the backend", || Ok(whole() >= equal))?;
        }
        Ok(fates)
    }

    /// Waits until a good part of a transfer has crossed the cable, or it has ended.
    fn wait_for_middle(&self, transfer: &Transfer) -> Result<()> {
        let begun = self.crossed()?;
        until("bytes on the cable", || Ok(self.crossed()? > begun + MIDDLE || !transfer.process.stdout().is_empty()))
    }

    /// Bytes that Bob's cable has carried.
    fn crossed(&self) -> Result<u64> {
        let text = std::fs::read_to_string(format!("/proc/{}/net/dev", self.service.backend.process.id()))?;
        let line = text.lines().find_map(|line| line.trim().strip_prefix("eth0:")).context("eth0")?;
        let numbers: Vec<u64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        Ok(numbers.first().context("received")? + numbers.get(8).context("sent")?)
    }

    /// How a transfer ended, for the client and for the backend.
    fn end(&self, transfer: Transfer) -> Result<Fate> {
        let (way, ended_before) = (transfer.way, transfer.ended_before);
        let fate = self.end_unseen(transfer)?;
        until("the end at the backend", || Ok(self.ended(way).len() > ended_before))?;
        let at_backend = self.ended(way)[ended_before..].concat();
        match fate {
            // The other way round it cannot be told: what is broken here may have left there as a
            // whole.
            Fate::Equal => ensure!(at_backend.contains("whole"), "equal, but the backend says {at_backend}"),
            Fate::Broken if way == Way::Up => ensure!(at_backend.contains("broken"), "broken, but not at the backend"),
            Fate::Broken | Fate::GivenUp => {}
        }
        Ok(fate)
    }

    /// How a transfer ended, for the client alone.
    fn end_unseen(&self, transfer: Transfer) -> Result<Fate> {
        let fate = self.end_of_any_kind(transfer)?;
        ensure!(fate != Fate::GivenUp, "nobody was told that the transfer is broken");
        Ok(fate)
    }

    fn end_of_any_kind(&self, mut transfer: Transfer) -> Result<Fate> {
        transfer.process.wait(PATIENCE + Duration::from_secs(400))?;
        let said: Value = transfer.process.wait_for("its end", |line| serde_json::from_str(line).ok())?;
        transfer.process.discard();
        if said["ok"] == true {
            return Ok(Fate::Equal);
        }
        let error = said["error"].as_str().context("an error")?;
        ensure!(!error.contains("expected"), "other bytes arrived and looked whole: {error}");
        Ok(if error.contains("out of time") { Fate::GivenUp } else { Fate::Broken })
    }

    /// What the backend has said of transfers that ended.
    fn ended(&self, way: Way) -> Vec<String> {
        let kind = if way == Way::Down { "download " } else { "upload " };
        self.service.backend.process.stdout().into_iter().filter(|line| line.starts_with(kind)).collect()
    }

    fn lose(&self, percent: u32) -> Result<()> {
        self.alice.lose_incoming("eth0", percent)?;
        self.bob.lose_incoming("eth0", percent)
    }

    fn lose_nothing(&self) -> Result<()> {
        self.alice.lose_nothing()?;
        self.bob.lose_nothing()
    }

    /// Checks that both programs hold nothing of what is over, and end at once when told to.
    fn leaves_nothing(&mut self) -> Result<()> {
        let backend = self.service.backend.address.port();
        let (gateway, publisher) = (self.gateway.process.id(), self.service.program.process.id());
        until("the browser's connections closed", || Ok(established(gateway, 7009)? == 0))?;
        until("the backend's connections closed", || self.is_idle())?;
        let other_end = self.gateway.process.terminate(Duration::from_secs(20))?;
        ensure!(other_end.code() == Some(0), "the gateway ended with {other_end}");
        // The other end of the links is gone, so every descriptor of theirs has to be.
        let fresh = self.alice.hardline(&["share", &backend.to_string(), "--data-dir", "fresh", "--set", "p2p.port=0"]);
        let mut fresh = fresh.context("a program to compare with")?;
        until("as few descriptors as at the start", || {
            Ok(descriptors(publisher)? <= descriptors(fresh.process.id())? + IDLE)
        })?;
        fresh.process.kill()?;
        self.remembers_little()?;
        self.gateway = start_gateway(&self.bob, &[])?;
        Ok(())
    }

    /// Whether the backend has no connection.
    fn is_idle(&self) -> Result<bool> {
        Ok(established(self.service.program.process.id(), self.service.backend.address.port())? == 0)
    }

    /// One service, at the addresses that this LAN gives it.
    fn remembers_little(&self) -> Result<()> {
        let folder = self.bob.home().join("data");
        let key = self.service.key.parse().ok().context("a key hash")?;
        tokio::runtime::Runtime::new()?.block_on(async {
            let (store, _) = Store::open(&folder, None).await?;
            let (services, addresses) = (store.services().await?.len(), store.addresses(key).await?.len());
            store.close().await;
            ensure!(services == 1 && addresses <= 8, "{services} services, {addresses} addresses");
            Ok(())
        })
    }
}

fn start_gateway(bob: &Host, options: &[&str]) -> Result<Hardline> {
    bob.gateway("data", &[&["--set", "dht.enabled=false"], options].concat())
}

/// Takes an IPv4 address from a computer and gives it another.
fn move_to(host: &Host, from: &str, to: &str) -> Result<()> {
    host.ip(&format!("address delete {from} dev eth0"))?;
    host.ip(&format!("address add {to} dev eth0"))?;
    host.ip("route replace default dev eth0")
}

fn descriptors(pid: u32) -> Result<usize> {
    Ok(std::fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}

/// Established connections with this port at either end, in the computer where `pid` runs.
fn established(pid: u32, port: u16) -> Result<usize> {
    const ESTABLISHED: &str = "01";
    let suffix = format!(":{port:04X}");
    let mut count = 0;
    for family in ["tcp", "tcp6"] {
        let table = std::fs::read_to_string(format!("/proc/{pid}/net/{family}"))?;
        count += table
            .lines()
            .skip(1)
            .filter(|line| {
                let words: Vec<&str> = line.split_whitespace().collect();
                words[3] == ESTABLISHED && (words[1].ends_with(&suffix) || words[2].ends_with(&suffix))
            })
            .count();
    }
    Ok(count)
}

/// Prints a line, also when the test passes.
fn say(line: &str) -> Result<()> {
    // Not `println!`: the test harness swallows that.
    Ok(std::io::stdout().write_all(format!("{line}\n").as_bytes())?)
}

fn until(what: &str, is_so: impl Fn() -> Result<bool>) -> Result<()> {
    until_within(PATIENCE, what, is_so)
}

fn until_within(limit: Duration, what: &str, is_so: impl Fn() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + limit;
    while !is_so()? {
        if Instant::now() > deadline {
            bail!("{what}: not after {limit:?}");
        }
        std::thread::sleep(LOOK_AGAIN);
    }
    Ok(())
}
