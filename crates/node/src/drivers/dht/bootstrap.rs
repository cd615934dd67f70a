//! Names of bootstrap hosts → addresses, for as long as it takes.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tracing::debug;

/// First pause after a name could not be resolved; it doubles. A computer that has just been woken
/// has no network yet.
const RETRY_MIN: Duration = Duration::from_secs(2);

/// Longest pause after a name could not be resolved.
const RETRY_MAX: Duration = Duration::from_secs(5 * 60);

/// Time after which names are resolved anew: hosts move.
const REFRESH: Duration = Duration::from_secs(3600);

/// Addresses taken from one name.
const MAX_ADDRESSES: usize = 8;

/// Resolves `hosts` and sends what it finds, until the receiver is gone.
pub(super) async fn resolve(hosts: Vec<String>, found: mpsc::Sender<Vec<SocketAddr>>) {
    let mut pause = RETRY_MIN;
    loop {
        let mut all = true;
        for host in &hosts {
            match lookup_host(host.as_str()).await {
                Ok(addrs) => {
                    if found.send(addrs.take(MAX_ADDRESSES).collect()).await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    debug!(%host, %error, "bootstrap host not resolved");
                    all = false;
                }
            }
        }
        let wait = if all { REFRESH } else { pause };
        pause = if all { RETRY_MIN } else { (pause * 2).min(RETRY_MAX) };
        tokio::select! {
            () = sleep(wait) => {}
            () = found.closed() => return,
        }
    }
}
