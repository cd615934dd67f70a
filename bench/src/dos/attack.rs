//! The kinds of attack.

use std::net::SocketAddr;

use anyhow::Result;
use clap::{Args, ValueEnum};
use rustix::process::{Resource, getrlimit};
use serde::Serialize;

use super::crowd::{self, Crowd};
use super::flood;
use super::stranger::Manner;

/// Connections of an attack that stand.
const STANDING: usize = 2_000;

/// Addresses that they come from, unless they come from one: so many that no limit by address keeps
/// them out.
const SOURCES: u16 = 64;

/// Idle tunnels.
const IDLE: usize = 10_000;

/// Descriptors that a publisher keeps for others than tunnels, and those of the honest client's
/// tunnels, with room.
const OTHER_DESCRIPTORS: u64 = 1_500;

/// Connections a second of a flood, if the attacker's side of the machine has so much to give.
const FLOOD: u64 = 20_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Attack {
    /// 2,000 connections to the publisher that say nothing
    Silent,
    /// The same from one address
    SilentOneAddress,
    /// 2,000 connections to the gateway that say nothing
    SilentGateway,
    /// 2,000 that send a byte of their TLS ClientHello every 5 s
    SlowHandshake,
    /// 2,000 that finish the TLS handshake and send a byte of the preamble every 5 s
    SlowOpening,
    /// 2,000 that send the gateway a byte of a request's head every 5 s
    SlowHead,
    /// 20,000 connections a second, from many addresses, with what is no TLS
    Garbage,
    /// The same from one address
    GarbageOneAddress,
    /// 10,000 tunnels that stay open and say nothing
    Idle,
}

/// Words of the attacking program.
#[derive(Args)]
pub(crate) struct AttackOptions {
    kind: Attack,
    /// Where the publisher listens
    publisher: SocketAddr,
    /// Where the gateway listens
    gateway: SocketAddr,
    /// The publisher's service
    key: String,
}

/// Attacks until SIGTERM. Says `ready` when it stands, and at the end how it went, as JSON.
pub(crate) async fn run(options: AttackOptions) -> Result<()> {
    let AttackOptions { kind, publisher, gateway, key } = options;
    let crowd = |target, size, sources, manner| crowd::run(Crowd { target, size, sources, manner, key: key.clone() });
    match kind {
        Attack::Silent => crowd(publisher, STANDING, SOURCES, Manner::Silent).await,
        Attack::SilentOneAddress => crowd(publisher, STANDING, 1, Manner::Silent).await,
        Attack::SilentGateway => crowd(gateway, STANDING, SOURCES, Manner::Silent).await,
        Attack::SlowHandshake => crowd(publisher, STANDING, SOURCES, Manner::SlowHandshake).await,
        Attack::SlowOpening => crowd(publisher, STANDING, SOURCES, Manner::SlowOpening).await,
        Attack::SlowHead => crowd(gateway, STANDING, SOURCES, Manner::SlowHead).await,
        Attack::Garbage => flood::run(publisher, SOURCES, FLOOD).await,
        Attack::GarbageOneAddress => flood::run(publisher, 1, FLOOD).await,
        Attack::Idle => crowd(publisher, idle_tunnels(), SOURCES, Manner::Idle).await,
    }
}

/// As many as wanted, or as a publisher has descriptors for.
pub(super) fn idle_tunnels() -> usize {
    let allowed = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    IDLE.min((allowed.saturating_sub(OTHER_DESCRIPTORS) / 2) as usize)
}

impl Attack {
    pub(super) fn title(self) -> String {
        let value = self.to_possible_value();
        value.and_then(|value| value.get_help().map(ToString::to_string)).unwrap_or_default()
    }

    /// Whom it is aimed at.
    pub(super) fn is_on_gateway(self) -> bool {
        matches!(self, Self::SilentGateway | Self::SlowHead)
    }
}
