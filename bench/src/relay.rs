//! A plain copying relay: what a tunnel costs before any cryptography.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::{TcpListener, TcpStream};

/// Bytes copied at once in each direction.
const CHUNK: usize = 64 * 1024;

/// Carries each connection to `target`, until it is ended.
pub(crate) async fn run(listen: SocketAddr, target: SocketAddr) -> Result<()> {
    let listener = TcpListener::bind(listen).await.with_context(|| format!("listening at {listen}"))?;
    loop {
        let (near, _) = listener.accept().await?;
        tokio::task::spawn_local(async move {
            // A connection that breaks is the load's to tell.
            let _ = carry(near, target).await;
        });
    }
}

async fn carry(mut near: TcpStream, target: SocketAddr) -> Result<()> {
    let mut far = TcpStream::connect(target).await?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    copy_bidirectional_with_sizes(&mut near, &mut far, CHUNK, CHUNK).await?;
    Ok(())
}
