//! Many strangers at once. Who is thrown out comes back.

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use anyhow::Result;
use serde_json::json;
use tokio::net::{TcpSocket, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, sleep, timeout};

use super::stranger::{Manner, Stranger};

/// Connections being opened at once: the victim's queue holds 1,024, and one beyond it would wait a
/// second.
const OPENING: usize = 128;

/// Rest of one who was thrown out.
const COME_BACK: Duration = Duration::from_millis(500);

/// Time for a connection to open.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// Time after which the attack counts as standing also when not everybody has come in.
const STAND_LIMIT: Duration = Duration::from_secs(60);

pub(super) struct Crowd {
    pub(super) target: SocketAddr,
    pub(super) size: usize,
    pub(super) sources: u16,
    pub(super) manner: Manner,
    pub(super) key: String,
}

/// What the crowd has met.
#[derive(Default)]
struct Met {
    opened: Cell<u64>,
    failed: Cell<u64>,
    ended: Cell<u64>,
    /// Strangers that have had their first turn.
    tried: Cell<usize>,
    standing: Cell<usize>,
    all_tried: Notify,
}

/// Attacks until SIGTERM.
pub(super) async fn run(crowd: Crowd) -> Result<()> {
    let stranger = Stranger::new(crowd.manner, &crowd.key)?;
    let met = Rc::new(Met::default());
    let opening = Rc::new(Semaphore::new(OPENING));
    let mut ended = signal(SignalKind::terminate())?;
    for number in 0..crowd.size {
        let (stranger, met, opening) = (stranger.clone(), Rc::clone(&met), Rc::clone(&opening));
        let source = source(number, crowd.sources);
        tokio::task::spawn_local(async move {
            for turn in 0.. {
                one_turn(&stranger, &met, &opening, source, crowd.target, turn == 0, crowd.size).await;
                sleep(COME_BACK).await;
            }
        });
    }
    let began = Instant::now();
    // Who cannot get in is part of the picture.
    let _ = timeout(STAND_LIMIT, met.all_tried.notified()).await;
    println!("ready");
    ended.recv().await;
    let seconds = began.elapsed().as_secs_f64();
    let standing = met.standing.get();
    let (opened, failed, ended) = (met.opened.get(), met.failed.get(), met.ended.get());
    println!(
        "{}",
        json!({ "opened": opened, "failed": failed, "ended": ended, "standing": standing, "seconds": seconds })
    );
    // The operating system closes what is open.
    std::process::exit(0);
}

async fn one_turn(
    stranger: &Stranger,
    met: &Met,
    opening: &Semaphore,
    source: IpAddr,
    target: SocketAddr,
    is_first: bool,
    size: usize,
) {
    let permit = opening.acquire().await;
    let opened = timeout(CONNECT_LIMIT, async { stranger.enter(connect(source, target).await?).await }).await;
    drop(permit);
    if is_first {
        met.tried.set(met.tried.get() + 1);
        if met.tried.get() == size {
            met.all_tried.notify_one();
        }
    }
    match opened {
        Ok(Ok(stream)) => {
            met.opened.set(met.opened.get() + 1);
            met.standing.set(met.standing.get() + 1);
            stranger.stay(stream).await;
            met.standing.set(met.standing.get() - 1);
            met.ended.set(met.ended.get() + 1);
        }
        _ => met.failed.set(met.failed.get() + 1),
    }
}

/// Connects from an address of this computer's own.
pub(super) async fn connect(source: IpAddr, target: SocketAddr) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(source, 0))?;
    let stream = socket.connect(target).await?;
    stream.set_nodelay(true)?;
    // A reset at the end: a closed connection must not keep its port for a minute.
    stream.set_zero_linger()?;
    Ok(stream)
}

/// The address of one of the crowd: never 127.0.0.1, where the honest client is.
pub(super) fn source(number: usize, sources: u16) -> IpAddr {
    let [high, low] = ((number % usize::from(sources)) as u16).to_be_bytes();
    Ipv4Addr::new(127, 77, high, low.saturating_add(1)).into()
}
