//! Raw bytes over TCP, from a client that does as it likes.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// After this a connection counts as one that is never closed.
const LIMIT: Duration = Duration::from_secs(60);

/// Sends the file's bytes, one by one with pauses if there are any, and then nothing, keeping its
/// side open. Prints what came back before the other side closed, and after how many milliseconds
/// that was.
pub(crate) async fn run(address: &str, file: &str, pause: Option<&str>) -> Result<()> {
    let bytes = std::fs::read(file)?;
    let pause = pause.map(str::parse).transpose()?.map(Duration::from_millis);
    let begun = Instant::now();
    let stream = TcpStream::connect(address).await?;
    let (mut receiver, mut sender) = stream.into_split();
    let sending = async {
        // The other side may close in the middle; what it said is to be read all the same.
        match pause {
            None => drop(sender.write_all(&bytes).await),
            Some(pause) => {
                for byte in bytes {
                    if sender.write_all(&[byte]).await.is_err() {
                        break;
                    }
                    sleep(pause).await;
                }
            }
        }
        std::future::pending::<()>().await;
    };
    let mut answer = Vec::new();
    let receiving = async { drop(receiver.read_to_end(&mut answer).await) };
    let exchange = async {
        tokio::select! { () = sending => {}, () = receiving => {} }
    };
    timeout(LIMIT, exchange).await.context("never closed")?;
    let milliseconds = begun.elapsed().as_millis();
    println!("{}", json!({"answer": String::from_utf8_lossy(&answer), "ms": milliseconds}));
    Ok(())
}
