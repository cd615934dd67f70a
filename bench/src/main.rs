//! The comparison of Hardline with other tunnels, the attacks on it, and the programs that both
//! run.
//!
//! `cargo xtask bench peers` and `cargo xtask bench dos` build and install what this needs and
//! start it.

mod backend;
mod descriptors;
mod dos;
mod http;
mod load;
mod pattern;
mod peers;
mod relay;
mod soak;
mod usage;

use std::net::SocketAddr;

use anyhow::Result;
use clap::{Parser, Subcommand};
use tokio::runtime::Builder;
use tokio::task::LocalSet;

#[derive(Parser)]
#[command(name = "hardline-bench", about = "Hardline beside other tunnels, on this machine")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs all of them, one beside the other, and prints the table
    Peers(peers::Options),
    /// Serves one honest client while others attack, and prints what it feels
    #[command(alias = "siege")]
    Dos(dos::Options),
    /// Works for an hour and looks what grows
    Soak(soak::Options),
    /// An attack on a publisher or a gateway
    #[command(hide = true)]
    Attack(dos::AttackOptions),
    /// The web server behind the tunnels
    #[command(hide = true)]
    Backend { listen: String },
    /// A plain copying relay
    #[command(hide = true)]
    Relay { listen: SocketAddr, target: SocketAddr },
    /// Asks something of a tunnel
    #[command(hide = true, subcommand)]
    Load(load::Load),
}

fn main() -> Result<()> {
    match Arguments::parse().command {
        Command::Peers(options) => peers::run(&options),
        Command::Dos(options) => dos::run(&options),
        Command::Soak(options) => soak::run(&options),
        Command::Attack(options) => on_this_thread(dos::attack(options)),
        Command::Backend { listen } => on_this_thread(backend::serve(&listen)),
        Command::Relay { listen, target } => on_this_thread(relay::run(listen, target)),
        Command::Load(load) => on_this_thread(load::run(load)),
    }
}

/// One thread: what it uses is easily told from what the tunnels use.
fn on_this_thread(work: impl Future<Output = Result<()>>) -> Result<()> {
    LocalSet::new().block_on(&Builder::new_current_thread().enable_all().build()?, work)
}
