//! Services that speak UDP, away from home.

use anyhow::{Context as _, Result, ensure};
use hardline_lab::{Game, Host, Lab, Mapping};
use serde_json::Value;

use crate::relayed::Behind;
use crate::world::{TwoHomes, sealed_key, texts};

/// Seconds of a game.
const GAME: u32 = 5;

/// Plays through a forward of a gateway on `host`. Returns what that tells of the forward, too.
fn play(host: &Host, key: &str, options: &[&str]) -> Result<(Vec<Game>, Value)> {
    std::fs::write(
        host.home().join("hardline.toml"),
        format!("[[forward]]\nlink = \"{key}\"\nlocal = \"udp:7777\"\n"),
    )?;
    let gateway = host.hardline(&[&["--config", "hardline.toml"], options].concat())?;
    let games = host.play(([127, 0, 0, 1], 7777).into(), GAME, 2)?;
    let status = host.status(&gateway)?;
    let forward = status["forwards"].get(0).cloned().context("a forward")?;
    games.iter().for_each(|game| println!("{}", game.told));
    println!("{forward}");
    Ok((games, forward))
}

#[test]
fn a_game_through_a_relay_comes_back_whole_over_tcp() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let world = Behind::new(&lab)?;
    let relay = world.relay(&lab, 20)?;
    let echo = world.alice.udp_echo("127.0.0.1:0")?;
    let options = world.dht.options();
    let share = [&["--relay", &relay.url], &texts(&options)[..]].concat();
    let (_sharing, key) = world.alice.share_udp(echo.address, &share)?;
    world.dht.wait_for_value(sealed_key(&key)?, |_| true)?;
    let (games, forward) = play(&world.bob, &key, &[&texts(&options)[..], &["--set", "p2p.punching=false"]].concat())?;
    ensure!(games.iter().all(|game| game.is_whole && game.foreign == 0), "{games:?}");
    ensure!(forward["path"]["kind"] == "relay" && forward["is_udp_over_tcp"] == true, "{forward}");
    Ok(())
}

#[test]
fn a_game_through_two_nats_goes_over_quic() -> Result<()> {
    let Some(lab) = Lab::open()? else { return Ok(()) };
    let world = TwoHomes::new(&lab, Mapping::None)?;
    let echo = world.alice.udp_echo("127.0.0.1:0")?;
    let options = world.dht.options();
    let (_sharing, key) = world.alice.share_udp(echo.address, &texts(&options))?;
    world.dht.wait_for_value(sealed_key(&key)?, |_| true)?;
    let (games, forward) = play(&world.bob, &key, &texts(&options))?;
    ensure!(games.iter().all(|game| game.foreign == 0 && game.lost * 20 < 300), "{games:?}");
    ensure!(forward["path"]["kind"] == "punched" && forward["path"]["transport"] == "quic", "{forward}");
    ensure!(forward["is_udp_over_tcp"] == false, "{forward}");
    Ok(())
}
