//! How soon a listener hears while half of the nodes are gone, and the others still name them.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use hardline_node::dht::{InfoHash, Value, ValueType};
use hardline_node::drivers::dht::{Dht, DhtConfig};
use tokio_util::sync::CancellationToken;

use crate::real::{self, RealNode};
use crate::{TEXT, announced, config, heard, start};

/// Callers, one after the other.
const CALLS: usize = 7;

/// Time in which the middle one has to be heard: 150 ms and three round trips, which take no time
/// here, and as much again for a machine that does other things as well. A node that is waited for
/// takes a second.
const IN_TIME: Duration = Duration::from_millis(300);

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_heard_at_once_while_half_of_the_nodes_are_gone() -> Result<()> {
    let mut nodes = real::network(16)?;
    let listener = start(&[nodes[0].addr()]).await?;
    for node in nodes.split_off(8) {
        node.stop()?;
    }
    let mut times = Vec::new();
    for number in 0..CALLS {
        times.push(call(&listener, &nodes, number).await?);
    }
    times.sort_unstable();
    println!("heard after {times:.0?}, eight of sixteen nodes gone");
    ensure!(times[CALLS / 2] <= IN_TIME, "heard after {times:?}");
    Ok(())
}

/// Calls the listener from a node of ours that comes for it; tells how long after its start that is
/// heard.
async fn call(listener: &Dht, nodes: &[RealNode], number: usize) -> Result<Duration> {
    let key = InfoHash::of(format!("call {number}").as_bytes());
    let mut listening = listener.listen(key);
    // When the nearest know of the listener, it hears of this one.
    let first = Value::new(1, ValueType::USER_DATA, b"settled", TEXT)?;
    announced(&mut listener.put(key, first, false)).await?;
    ensure!(heard(&mut listening).await? == b"settled");

    let begun = Instant::now();
    let client = DhtConfig { client: true, ..config(&[nodes[number % nodes.len()].addr()]) };
    let caller = Dht::start(client, None, CancellationToken::new()).await?;
    let mut put = caller.put(key, Value::new(2, ValueType::USER_DATA, b"call", TEXT)?, false);
    ensure!(heard(&mut listening).await? == b"call");
    let time = begun.elapsed();
    announced(&mut put).await.context("the call")?;
    Ok(time)
}
