//! Datagrams both ways, as a game sends them, and somebody who sends them back.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures_util::future::try_join_all;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::net::UdpSocket;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

/// Between two datagrams: 60 a second.
const FRAME: Duration = Duration::from_nanos(1_000_000_000 / 60);

/// Bytes of each, as games have them.
const LENGTH: usize = 120;

/// Time for the last answers.
const STRAGGLERS: Duration = Duration::from_secs(2);

/// Sends back what comes.
pub(crate) async fn echo(listen: &str) -> Result<()> {
    let socket = UdpSocket::bind(listen).await?;
    println!("listening at {}", socket.local_addr()?);
    let mut bytes = [0; 65_536];
    loop {
        // An error tells that somebody who asked is gone.
        let Ok((length, from)) = socket.recv_from(&mut bytes).await else { continue };
        let _ = socket.send_to(&bytes[..length], from).await;
    }
}

/// Plays for so many seconds from so many ports at once, and prints what came of each.
pub(crate) async fn play(at: &str, seconds: u64, players: u32) -> Result<()> {
    let at: SocketAddr = at.parse()?;
    let games = (0..players).map(|player| Game::play(at, seconds * 60, player));
    for told in try_join_all(games).await? {
        println!("{told}");
    }
    Ok(())
}

/// What one port has heard.
struct Game {
    player: u32,
    began: Instant,
    heard: Vec<u64>,
    hash: Sha256,
    foreign: u64,
    late: Vec<f64>,
}

impl Game {
    async fn play(at: SocketAddr, frames: u64, player: u32) -> Result<Value> {
        let socket = UdpSocket::bind((if at.is_ipv4() { "127.0.0.1" } else { "::1" }, 0)).await?;
        socket.connect(at).await?;
        let mut game =
            Self { player, began: Instant::now(), heard: vec![], hash: Sha256::new(), foreign: 0, late: vec![] };
        game.greet(&socket).await?;
        let (mut ticks, mut sent, mut hash) = (interval(FRAME), 0, Sha256::new());
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        game.began = Instant::now();
        let mut bytes = [0; 2 * LENGTH];
        while sent < frames {
            tokio::select! {
                _ = ticks.tick() => {
                    let datagram = datagram(player, sent, game.began.elapsed());
                    hash.update(&datagram);
                    // Fails where nobody listens; that is lost too.
                    let _ = socket.send(&datagram).await;
                    sent += 1;
                }
                Ok(length) = socket.recv(&mut bytes) => game.hear(&bytes[..length]),
            }
        }
        while (game.heard.len() as u64) < frames {
            let Ok(Ok(length)) = timeout(STRAGGLERS, socket.recv(&mut bytes)).await else { break };
            game.hear(&bytes[..length]);
        }
        Ok(game.told(sent, &hash.finalize()))
    }

    /// Asks until the way is there: what is sent before may be lost.
    async fn greet(&self, socket: &UdpSocket) -> Result<()> {
        let (hello, mut bytes) = (datagram(self.player, u64::MAX, Duration::ZERO), [0; 2 * LENGTH]);
        for _ in 0..120 {
            let _ = socket.send(&hello).await;
            if let Ok(Ok(length)) = timeout(Duration::from_millis(500), socket.recv(&mut bytes)).await
                && bytes[..length] == hello
            {
                while timeout(Duration::from_millis(500), socket.recv(&mut bytes)).await.is_ok() {}
                return Ok(());
            }
        }
        None.context("nobody answers within a minute")
    }

    fn hear(&mut self, bytes: &[u8]) {
        let number = |at: usize| bytes.get(at..at + 8).and_then(|it| it.try_into().ok()).map(u64::from_be_bytes);
        let is_ours = bytes.len() == LENGTH && bytes[..4] == self.player.to_be_bytes();
        let (true, Some(sequence), Some(micros)) = (is_ours, number(4), number(12)) else {
            self.foreign += 1;
            return;
        };
        if sequence == u64::MAX {
            return; // of the greeting
        }
        self.heard.push(sequence);
        self.hash.update(bytes);
        self.late.push(self.began.elapsed().saturating_sub(Duration::from_micros(micros)).as_secs_f64() * 1e3);
    }

    fn told(mut self, sent: u64, hash: &[u8]) -> Value {
        let distinct: BTreeSet<u64> = self.heard.iter().copied().collect();
        let overtaken = self.heard.windows(2).filter(|pair| pair[1] < pair[0]).count();
        self.late.sort_by(f64::total_cmp);
        let at = |part: f64| self.late.get((self.late.len() as f64 * part) as usize).copied().unwrap_or_default();
        json!({
            "player": self.player,
            "sent": sent,
            "lost": sent - distinct.len() as u64,
            "twice": self.heard.len() - distinct.len(),
            "out_of_order": overtaken,
            "foreign": self.foreign,
            "same_hash": self.hash.finalize()[..] == *hash,
            "ms": {"half": at(0.5), "most": at(0.99), "longest": self.late.last()},
        })
    }
}

fn datagram(player: u32, sequence: u64, now: Duration) -> Vec<u8> {
    let micros = u64::try_from(now.as_micros()).unwrap_or(u64::MAX);
    let mut bytes = [&player.to_be_bytes()[..], &sequence.to_be_bytes(), &micros.to_be_bytes()].concat();
    let filling = (sequence as u8).wrapping_add(player as u8);
    bytes.resize(LENGTH, filling);
    bytes
}
