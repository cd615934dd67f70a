//! A way that dies without a word under a running tunnel, and a reader that takes a pause: the one
//! is told within seconds, the other is left alone.

use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use hardline_lab::{Hardline, Host, Lab, Process, Service, Switch, helper, is_long};
use serde_json::Value;

/// More than can cross in the time that its client has.
const ENDLESS: u64 = 1 << 40;

/// More than all buffers on the way take together.
const LARGE: u64 = 160 * 1024 * 1024;

/// How soon after its death a dead way must be told of, and how late.
const TOLD: std::ops::RangeInclusive<f64> = 9.5..=13.5;

/// Pause between two requests.
const QUARTER: Duration = Duration::from_millis(250);

const PATIENCE: Duration = Duration::from_secs(60);

const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Alice's service, opened by Bob.
struct World {
    alice: Host,
    bob: Host,
    service: Service,
    gateway: Hardline,
    switch: Switch,
}

#[test]
fn a_dead_way_ends_a_running_download_at_both_ends() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let world = World::new(&lab)?;
    let download = world.begin(&format!("get:{ENDLESS}:400"))?;
    let backend = &world.service.backend.process;
    world.until("bytes under way", || Ok(!world.is_idle()?))?;
    world.dies_under("a download", download, || Ok(backend.stdout().iter().any(|line| line == "download broken")))
}

#[test]
fn a_dead_way_ends_a_web_socket_with_pings_at_both_ends() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let world = World::new(&lab)?;
    let pings = world.begin("pings:300")?;
    pings.wait_for_line("ping")?;
    world.dies_under("a WebSocket with pings", pings, || world.is_idle())
}

/// Its window is closed for all the time, which looks like death to who only counts the seconds
/// that bytes wait.
#[test]
fn a_reader_that_takes_a_pause_gets_the_rest() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let world = World::new(&lab)?;
    let pause = if is_long() { 60 } else { 25 };
    let download = world.begin(&format!("paused:{LARGE}:{pause}"))?;
    let said = ended(download, PATIENCE + Duration::from_secs(pause))?;
    ensure!(said["ok"] == true, "{said}");
    for (host, program) in [(&world.bob, &world.gateway), (&world.alice, &world.service.program)] {
        let gone = &host.status(program)?["metrics"]["tunnels_peer_gone"];
        ensure!(*gone == 0, "{gone} tunnels counted as dead");
    }
    Ok(())
}

/// Alice's computer has another address from one moment to the next, and packets to the old one are
/// swallowed. A request each quarter of a second: what went to the old address goes to the new one
/// too.
#[test]
fn a_publisher_that_moves_costs_no_safe_request() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let world = World::new(&lab)?;
    let mut longest = Duration::ZERO;
    for round in 0..if is_long() { 20 } else { 3 } {
        let (old, new) = (1 + 10 * round, 11 + 10 * round);
        for _ in 0..4 {
            world.bob.first_byte(&world.gateway, &world.service.key)?;
            std::thread::sleep(QUARTER);
        }
        let hole = world.alice_moves(&lab, old, new)?;
        for _ in 0..12 {
            let took = world.bob.first_byte(&world.gateway, &world.service.key)?;
            longest = longest.max(took);
            std::thread::sleep(QUARTER);
        }
        hole.detach("eth0")?;
    }
    say(&format!("a publisher that moves: no request failed, the longest took {} ms", longest.as_millis()))?;
    ensure!(longest < Duration::from_secs(3), "{longest:?}");
    Ok(())
}

/// A download to somebody who only receives, so nothing is owed. The next request finds the service
/// at its new address, and the old way is asked at once.
#[test]
fn a_running_tunnel_ends_soon_when_its_service_is_found_elsewhere() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let world = World::new(&lab)?;
    let mut download = world.begin(&format!("get:{ENDLESS}:400"))?;
    std::thread::sleep(Duration::from_secs(3));
    let _hole = world.alice_moves(&lab, 1, 11)?;
    let moved = Instant::now();
    world.bob.first_byte(&world.gateway, &world.service.key)?;
    download.wait(PATIENCE)?;
    let told = moved.elapsed();
    let said = ended(download, PATIENCE)?;
    ensure!(said["ok"] == false, "it ended well: {said}");
    say(&format!("a download whose service is found elsewhere: told after {:.1} s", told.as_secs_f64()))?;
    ensure!(told < Duration::from_secs(7), "{told:?}");
    Ok(())
}

/// It has arrived, so it is not sent twice, however long the answer takes.
#[test]
fn a_slow_backend_is_asked_once() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let world = World::new(&lab)?;
    // Over an idle session that has just answered, and over one that is asked first.
    for pause in [Duration::ZERO, Duration::from_secs(3)] {
        world.bob.first_byte(&world.gateway, &world.service.key)?;
        std::thread::sleep(pause);
        let (header, url) = world.request("slow/4321")?;
        world.bob.curl(&["--fail", "--header", &header, &url])?.success()?;
    }
    let asked = world.service.backend.process.stdout().iter().filter(|line| *line == "slow 4321").count();
    ensure!(asked == 2, "asked {asked} times");
    Ok(())
}

/// Nobody can tell whether it has arrived.
#[test]
fn a_request_that_is_not_safe_is_never_sent_twice() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let world = World::new(&lab)?;
    world.bob.first_byte(&world.gateway, &world.service.key)?;
    // The answer is lost, and what was asked is not.
    world.bob.lose_incoming("eth0", 100)?;
    let begun = Instant::now();
    let (header, url) = world.request("hash")?;
    let said = world.bob.curl(&["--header", &header, "--data", "once", &url])?.success()?.stdout;
    ensure!(said.contains("went away without an answer"), "{said}");
    say(&format!("a POST whose answer is lost fails after {:.1} s", begun.elapsed().as_secs_f64()))?;
    world.bob.lose_nothing()?;
    world.bob.first_byte(&world.gateway, &world.service.key)?;
    let uploads = world.service.backend.process.stdout().iter().filter(|line| *line == "upload begun").count();
    ensure!(uploads <= 1, "sent {uploads} times");
    Ok(())
}

impl World {
    fn new(lab: &Lab) -> Result<Self> {
        let (switch, [alice, bob]) = lab.lan(["alice", "bob"])?;
        let service = alice.service(&["--set", "dht.enabled=false"])?;
        let gateway = bob.gateway("data", &["--set", "dht.enabled=false"])?;
        let world = Self { alice, bob, service, gateway, switch };
        world.service.opens_at(&world.gateway, &world.bob)?;
        Ok(world)
    }

    /// Gives Alice's computer the address 192.168.77.`new` in the place of `old`, where packets are
    /// swallowed from now on.
    fn alice_moves(&self, lab: &Lab, old: u8, new: u8) -> Result<Host> {
        self.alice.ip("address flush dev eth0 scope global")?;
        self.alice.ip(&format!("address add 192.168.77.{new}/24 dev eth0"))?;
        self.alice.ip("route replace default dev eth0")?;
        let hole = lab.host(&format!("hole{old}"))?;
        hole.attach(&self.switch, "eth0", &[&format!("192.168.77.{old}/24"), "fd77::1/64"])?;
        hole.nft("table inet hole { chain in { type filter hook input priority 0; policy drop;\n }\n }\n")?;
        Ok(hole)
    }

    /// Header and URL of a request to the service.
    fn request(&self, path: &str) -> Result<(String, String)> {
        let header = format!("Host: {}.localhost:7009", self.service.key);
        Ok((header, format!("http://{}/{path}", self.gateway.gateway()?)))
    }

    /// Begins one of the helper's checks.
    fn begin(&self, check: &str) -> Result<Process> {
        let (gateway, host) = (self.gateway.gateway()?.to_string(), format!("{}.localhost", self.service.key));
        self.bob.spawn(check, self.bob.command(helper()?).args(["client", &gateway, &host, check]))
    }

    /// Lets every packet be lost under `client`, and measures when it and the backend are told.
    fn dies_under(&self, what: &str, mut client: Process, backend_knows: impl Fn() -> Result<bool>) -> Result<()> {
        std::thread::sleep(Duration::from_secs(3));
        self.alice.lose_incoming("eth0", 100)?;
        self.bob.lose_incoming("eth0", 100)?;
        let begun = Instant::now();
        let (mut client_told, mut backend_told) = (None, None);
        self.until("both ends told", || {
            if client_told.is_none() && !client.stdout().is_empty() {
                client_told = Some(begun.elapsed().as_secs_f64());
            }
            if backend_told.is_none() && backend_knows()? {
                backend_told = Some(begun.elapsed().as_secs_f64());
            }
            Ok(client_told.is_some() && backend_told.is_some())
        })?;
        client.wait(PATIENCE)?;
        let said = ended(client, PATIENCE)?;
        ensure!(said["ok"] == false, "it ended well: {said}");
        let (client, backend) = (client_told.context("the client")?, backend_told.context("the backend")?);
        say(&format!("{what}, way dead: client told after {client:.1} s, backend after {backend:.1} s"))?;
        ensure!(TOLD.contains(&client) && TOLD.contains(&backend), "not within {TOLD:?} s");
        Ok(())
    }

    /// Whether the backend has no connection.
    fn is_idle(&self) -> Result<bool> {
        let port = format!(":{:04X}", self.service.backend.address.port());
        let table = std::fs::read_to_string(format!("/proc/{}/net/tcp", self.service.program.process.id()))?;
        let mut rows = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
        Ok(!rows.any(|words| words[3] == "01" && words[2].ends_with(&port)))
    }

    fn until(&self, what: &str, mut is_so: impl FnMut() -> Result<bool>) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !is_so()? {
            ensure!(Instant::now() < deadline, "{what}: not after {PATIENCE:?}");
            std::thread::sleep(LOOK_AGAIN);
        }
        Ok(())
    }
}

/// What a check came to.
fn ended(mut check: Process, limit: Duration) -> Result<Value> {
    check.wait(limit)?;
    let said = check.wait_for("its end", |line| serde_json::from_str(line).ok())?;
    check.discard();
    Ok(said)
}

/// Prints a line, also when the test passes.
fn say(line: &str) -> Result<()> {
    // Not `println!`: the test harness swallows that.
    Ok(std::io::stdout().write_all(format!("{line}\n").as_bytes())?)
}
