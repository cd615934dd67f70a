//! The comparison of Hardline with other tunnels, and the programs that it runs for it.
//!
//! `cargo xtask bench peers` builds and installs what this needs and starts it.

mod backend;
mod http;
mod load;
mod pattern;
mod peers;
mod relay;

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
        Command::Backend { listen } => on_this_thread(backend::serve(&listen)),
        Command::Relay { listen, target } => on_this_thread(relay::run(listen, target)),
        Command::Load(load) => on_this_thread(load::run(load)),
    }
}

/// One thread: what it uses is easily told from what the tunnels use.
fn on_this_thread(work: impl Future<Output = Result<()>>) -> Result<()> {
    LocalSet::new().block_on(&Builder::new_current_thread().enable_all().build()?, work)
}
