//! Services that speak UDP, with the real programs: a DNS server, a game, WireGuard.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hardline_lab::{Backend, Game, Hardline, Host, Lab, Switch, hardline_program};
use serde_json::Value;

/// Seconds of a game.
const GAME: u32 = 5;

#[test]
fn a_dns_server_of_another_computer_answers_dig() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let (_switch, [alice, bob]) = lab.lan(["alice", "bob"])?;
    let long = "t".repeat(250);
    let records = ["--address=/printer.home/192.0.2.7", "--address=/printer.home/2001:db8::7"];
    let texts = (0..12).map(|number| format!("--txt-record=long.home,{number}{long}")).collect::<Vec<_>>();
    let knowledge: Vec<&str> = records.into_iter().chain(texts.iter().map(String::as_str)).collect();
    let _server = alice.dnsmasq(5300, &[&knowledge[..], &["--edns-packet-max=8192"]].concat())?;
    let (_sharing, key) = alice.share_udp(([127, 0, 0, 1], 5300).into(), &[])?;
    let pairs = [format!("{key}=udp:5353"), format!("{key}=udp:[::1]:5353")];
    let _forward = bob.hardline(&["forward", &pairs[0], &pairs[1]])?;

    let dig = |server: &str, words: &[&str]| -> Result<String> {
        Ok(bob.run("dig", &[&[server, "-p", "5353", "+tries=3", "+time=5"], words].concat())?.success()?.stdout)
    };
    ensure!(dig("@127.0.0.1", &["+short", "printer.home", "A"])? == "192.0.2.7\n", "A");
    ensure!(dig("@::1", &["+short", "printer.home", "AAAA"])? == "2001:db8::7\n", "AAAA");
    ensure!(dig("@127.0.0.1", &["absent.example", "A"])?.contains("status: REFUSED"), "what it does not know");
    // 3 KB in one datagram: longer than a packet of QUIC, so it goes through the stream.
    let long = dig("@127.0.0.1", &["+ignore", "+bufsize=8192", "long.home", "TXT"])?;
    ensure!(long.contains("ANSWER: 12") && !long.contains(" tc"), "{long}");
    for _ in 0..50 {
        ensure!(dig("@127.0.0.1", &["+short", "printer.home", "A"])? == "192.0.2.7\n", "again and again");
    }
    Ok(())
}

/// Two computers, this long a round trip apart, and a game between them through a `[[forward]]` of
/// the configuration.
struct World {
    _internet: Switch,
    _sharing: Hardline,
    _echo: Backend,
    alice: Host,
    bob: Host,
    gateway: Hardline,
}

impl World {
    fn new(lab: &Lab, round_trip: Duration, options: &[&str]) -> Result<Self> {
        let internet = lab.slow_internet(round_trip)?;
        let (alice, bob) = (lab.host("alice")?, lab.host("bob")?);
        alice.join(&internet, "eth0", 1)?;
        bob.join(&internet, "eth0", 2)?;
        let echo = alice.udp_echo("127.0.0.1:0")?;
        let (sharing, key) = alice.share_udp(echo.address, &[])?;
        let configuration = format!(
            "[[peer]]\nlink = \"{key}\"\naddresses = [\"203.0.113.1:7008\"]\n\
             [[forward]]\nlink = \"{key}\"\nlocal = \"udp:7777\"\n"
        );
        fs::write(bob.home().join("hardline.toml"), configuration)?;
        let gateway = bob.hardline(&[&["--config", "hardline.toml"], options].concat())?;
        Ok(Self { _internet: internet, _sharing: sharing, _echo: echo, alice, bob, gateway })
    }

    /// Plays with so many at once. Returns what the gateway tells of the forward, too.
    fn play(&self, players: u32) -> Result<(Vec<Game>, Value)> {
        let games = self.bob.play(([127, 0, 0, 1], 7777).into(), GAME, players)?;
        let status = self.bob.status(&self.gateway)?;
        let forward = status["forwards"].get(0).cloned().with_context(|| format!("a forward in {status}"))?;
        games.iter().for_each(|game| println!("{}: {}", forward["path"]["text"], game.told));
        Ok((games, forward))
    }
}

#[test]
fn a_game_over_quic_comes_back_whole_and_two_players_do_not_mix() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let (games, forward) = World::new(&lab, Duration::ZERO, &[])?.play(2)?;
    ensure!(games.iter().all(|game| game.is_whole && game.foreign == 0), "{games:?}");
    ensure!(forward["path"]["transport"] == "quic" && forward["is_udp_over_tcp"] == false, "{forward}");
    ensure!(forward["open"] == 2, "a flow for each player: {forward}");
    Ok(())
}

#[test]
fn a_game_over_tcp_comes_back_whole_and_it_is_said_that_it_is_tcp() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let (games, forward) = World::new(&lab, Duration::ZERO, &["--set", "p2p.quic=false"])?.play(2)?;
    ensure!(games.iter().all(|game| game.is_whole && game.foreign == 0), "{games:?}");
    ensure!(forward["path"]["transport"] == "tcp" && forward["is_udp_over_tcp"] == true, "{forward}");
    Ok(())
}

/// Over QUIC what is lost is lost, and nothing waits for it; over TCP it comes late, with all that
/// is behind it.
#[test]
fn a_lost_packet_holds_up_no_other_over_quic() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let play = |lab: &Lab, options: &[&str], transport: &str| -> Result<Vec<Game>> {
        let world = World::new(lab, Duration::from_millis(80), options)?;
        // The connection is there before: how it is made is not the question here.
        world.play(1)?;
        for host in [&world.alice, &world.bob] {
            host.lose_incoming("eth0", 3)?;
        }
        let (games, forward) = world.play(2)?;
        ensure!(forward["path"]["transport"] == transport, "{forward}");
        Ok(games)
    };
    let over_quic = play(&lab, &[], "quic")?;
    let over_tcp = play(&Lab::open()?.context("a lab")?, &["--set", "p2p.quic=false"], "tcp")?;
    ensure!(over_quic.iter().any(|game| game.lost > 0), "{over_quic:?}");
    ensure!(over_tcp.iter().all(|game| game.lost == 0 && game.out_of_order == 0), "{over_tcp:?}");
    let slow = |games: &[Game]| games.iter().map(|game| game.milliseconds.1).sum::<f64>();
    ensure!(slow(&over_quic) < slow(&over_tcp), "{over_quic:?} {over_tcp:?}");
    Ok(())
}

#[test]
fn wireguard_shakes_hands_and_carries_files_through_a_forward() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let (_switch, [alice, bob]) = lab.lan(["alice", "bob"])?;
    let [near, far] = ["b", "a"].map(|side| format!("hlwg{side}{}", std::process::id() % 100_000));
    let far_end = alice.wireguard(&far, "10.9.0.1/24")?;
    let near_end = bob.wireguard(&near, "10.9.0.2/24")?;
    alice
        .run("wg", &["set", &far, "listen-port", "51820", "peer", &near_end.public_key, "allowed-ips", "10.9.0.2/32"])?
        .success()?;
    let (_sharing, key) = alice.share_udp(([127, 0, 0, 1], 51820).into(), &[])?;
    let (_forward, at) = bob.forward_udp(&key, &[])?;
    let endpoint = at.to_string();
    let peer = ["peer", &far_end.public_key, "allowed-ips", "10.9.0.1/32", "endpoint", &endpoint];
    bob.run("wg", &[&["set", &near], &peer[..]].concat())?.success()?;

    let ping = bob.run("ping", &["-c", "5", "-i", "0.2", "-W", "20", "10.9.0.1"])?.success()?.stdout;
    println!("{ping}");
    ensure!(ping.contains(" 0% packet loss"), "{ping}");
    let backend = alice.backend("10.9.0.1:8080")?;
    bob.check_site(backend.address, "10.9.0.1", &["get:1000", "get:20000000", "post:5000000"])?;
    let shown = bob.run("wg", &["show", &near])?.success()?.stdout;
    println!("{shown}");
    ensure!(shown.contains("latest handshake"), "{shown}");
    Ok(())
}

#[test]
fn who_mistakes_udp_for_tcp_is_told_what_to_do() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let (_switch, [alice, bob]) = lab.lan(["alice", "bob"])?;
    let echo = alice.udp_echo("127.0.0.1:0")?;
    let (_sharing, key) = alice.share_udp(echo.address, &[])?;
    let connect = bob.run(hardline_program()?, &["connect", &key, "--data-dir", "connecting"])?;
    ensure!(connect.status.code() == Some(5) && connect.stderr.contains("speaks UDP"), "{}", connect.stderr);
    ensure!(connect.stderr.contains("hardline forward LINK=udp:PORT"), "{}", connect.stderr);

    let site = alice.service(&["--data-dir", "site"])?;
    let (forward, at) = bob.forward_udp(&site.key, &[])?;
    let port = at.port().to_string();
    let dig = bob.run("dig", &["@127.0.0.1", "-p", &port, "+tries=1", "+time=2", "name.example"])?;
    ensure!(!dig.status.success(), "nobody answers: {}", dig.stdout);
    forward.process.wait_for_line("forward it without udp:")?;
    Ok(())
}
