//! What is asked of a tunnel. Each kind prints one line of JSON, or a line that says how far it is.

mod bulk;
mod idle;
mod requests;
mod steady;

use std::net::SocketAddr;

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};
use tokio::net::TcpStream;

/// Where a tunnel begins.
#[derive(Args, Clone)]
pub(crate) struct Entry {
    /// Where clients connect
    address: SocketAddr,
    /// What they send as Host
    host: String,
}

#[derive(Subcommand)]
pub(crate) enum Load {
    /// Carries bytes in some streams at once
    Bulk {
        #[command(flatten)]
        entry: Entry,
        direction: Direction,
        streams: u64,
        /// Of each stream
        bytes: u64,
        /// Compares every byte
        #[arg(long)]
        check: bool,
    },
    /// Asks on a new connection each time, one after the other
    Connections {
        #[command(flatten)]
        entry: Entry,
        count: usize,
    },
    /// Asks again and again on connections that stay open
    KeepAlive {
        #[command(flatten)]
        entry: Entry,
        connections: usize,
        milliseconds: u64,
    },
    /// Opens connections, asks once on each and holds them; on SIGTERM asks on each again
    Idle {
        #[command(flatten)]
        entry: Entry,
        count: usize,
    },
    /// Asks now and then, on a new connection and on a kept one, and goes on when that fails
    Steady {
        #[command(flatten)]
        entry: Entry,
        milliseconds: u64,
    },
    /// Asks until the first answer
    First {
        #[command(flatten)]
        entry: Entry,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Direction {
    Down,
    Up,
}

/// Makes the load.
///
/// # Errors
/// If an answer is missing, late or another than it must be.
pub(crate) async fn run(load: Load) -> Result<()> {
    match load {
        Load::Bulk { entry, direction, streams, bytes, check } => {
            bulk::run(&entry, direction, streams, bytes, check).await
        }
        Load::Connections { entry, count } => requests::on_new_connections(&entry, count).await,
        Load::KeepAlive { entry, connections, milliseconds } => {
            requests::on_kept_connections(&entry, connections, milliseconds).await
        }
        Load::Idle { entry, count } => idle::hold(&entry, count).await,
        Load::Steady { entry, milliseconds } => steady::run(&entry, milliseconds).await,
        Load::First { entry } => requests::until_answered(&entry).await,
    }
}

impl Entry {
    async fn connect(&self) -> Result<TcpStream> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// The head of a request, whole.
    fn request(&self, method: &str, path: &str, more: &str) -> Vec<u8> {
        format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n{more}\r\n", self.host).into_bytes()
    }
}
