//! Options of sockets that only tune. Each is tried, and the socket works without: WSL 1, gVisor,
//! Wine and some sandboxes refuse one or the other.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};

use tracing::debug;

/// An option that only tunes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tunable {
    /// Segments leave at once.
    NoDelay,
    /// The system asks now and then whether the other computer is still there: with the three that
    /// follow.
    Keepalive,
    /// After which silence it asks first.
    KeepaliveTime,
    /// How soon it asks again.
    KeepaliveInterval,
    /// How often it asks.
    KeepaliveRetries,
    /// A restart need not wait until old connections are forgotten.
    ReuseAddress,
    /// Other programs of this computer may hear the same group.
    ReusePort,
    ReceiveBuffer,
    SendBuffer,
    /// They hear what this one sends to the group.
    MulticastLoop,
    /// No router passes it on. None does by itself.
    MulticastTtl,
}

/// Those that were refused, a bit each: that is told once.
static REFUSED: AtomicU32 = AtomicU32::new(0);

impl Tunable {
    /// Sets the option by `set`, if the system has it. Returns whether it has.
    pub(crate) fn try_set(self, set: impl FnOnce() -> io::Result<()>) -> bool {
        #[cfg(test)]
        let set = || if tests::is_refused(self) { Err(io::ErrorKind::Unsupported.into()) } else { set() };
        let Err(error) = set() else { return true };
        let bit = 1 << self as u32;
        if REFUSED.fetch_or(bit, Ordering::Relaxed) & bit == 0 {
            debug!(%error, option = ?self, "an option of sockets is not to be had here");
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::transport::{self, Asking, ByteStream, tcp};

    thread_local! {
        static REFUSING: Cell<Option<Tunable>> = const { Cell::new(None) };
    }

    const ALL: [Tunable; 11] = [
        Tunable::NoDelay,
        Tunable::Keepalive,
        Tunable::KeepaliveTime,
        Tunable::KeepaliveInterval,
        Tunable::KeepaliveRetries,
        Tunable::ReuseAddress,
        Tunable::ReusePort,
        Tunable::ReceiveBuffer,
        Tunable::SendBuffer,
        Tunable::MulticastLoop,
        Tunable::MulticastTtl,
    ];

    pub(super) fn is_refused(option: Tunable) -> bool {
        use Tunable::{Keepalive, KeepaliveInterval, KeepaliveRetries, KeepaliveTime};
        let part = matches!(REFUSING.get(), Some(KeepaliveTime | KeepaliveInterval | KeepaliveRetries));
        REFUSING.get() == Some(option) || (option == Keepalive && part)
    }

    /// Where this thread's system does not have `option`.
    fn without(option: Tunable, check: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        REFUSING.set(Some(option));
        runtime.block_on(check);
        REFUSING.set(None);
        assert_ne!(REFUSED.load(Ordering::Relaxed) & 1 << option as u32, 0, "{option:?} was not tried");
    }

    async fn a_connection_works() {
        let listening = tcp::listen::bind(&[], 0).unwrap();
        let at = format!("127.0.0.1:{}", listening.port).parse().unwrap();
        let mut near = tcp::connect(&at, Duration::from_secs(5)).await.unwrap();
        let (mut far, _) = listening.listeners[0].accept().await.unwrap();
        tcp::tune(&far);
        near.write_all(b"on").await.unwrap();
        far.read_exact(&mut [0; 2]).await.unwrap();
        near.ask(Asking::Soon);
        far.write_all(b"and on").await.unwrap();
        near.read_exact(&mut [0; 6]).await.unwrap();
    }

    #[test]
    fn each_option_that_only_tunes_may_be_refused_and_connections_work() {
        for option in ALL {
            without(option, async {
                a_connection_works().await;
                let gateway = crate::gateway::bind(0).unwrap();
                transport::open_stream(gateway[0].local_addr().unwrap()).await.unwrap();
                crate::drivers::dht::opens_sockets().unwrap();
                crate::drivers::lan::opens_sockets(Ipv4Addr::LOCALHOST).unwrap();
            });
        }
    }
}
