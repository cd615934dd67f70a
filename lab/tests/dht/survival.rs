//! A value outlives three of the eight nodes that it was given to, whichever they are.

use anyhow::{Context as _, Result, ensure};
use hardline_node::dht::{InfoHash, Value, ValueType};
use hardline_node::drivers::dht::Dht;
use tokio_util::sync::CancellationToken;

use crate::real::{self, RealNode};
use crate::{LIMIT, TEXT, announced, config, start};

#[tokio::test(flavor = "multi_thread")]
async fn a_value_survives_when_the_three_nearest_of_those_that_store_it_stop() -> Result<()> {
    survives(|_| [0, 1, 2]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_survives_when_the_three_farthest_of_them_stop() -> Result<()> {
    survives(|holders| [holders - 3, holders - 2, holders - 1]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_survives_when_three_in_between_stop() -> Result<()> {
    survives(|holders| [1, holders / 2, holders - 2]).await
}

/// Ours puts a value once and stops; so do three of the released nodes that store it, chosen by
/// their rank: 0 is the nearest to the key, and the argument is their number. Those that are left
/// are asked, and newcomers.
async fn survives(victims: impl Fn(usize) -> [usize; 3]) -> Result<()> {
    let mut nodes = real::network(8)?;
    let stop = CancellationToken::new();
    let publisher = Dht::start(config(&[nodes[0].addr()]), None, stop.clone()).await?;
    tokio::time::timeout(LIMIT, publisher.connected()).await.context("not connected")?;
    let key = InfoHash::of(b"survivor");
    let mut put = publisher.put(key, Value::new(7, ValueType::USER_DATA, b"still here", TEXT)?, false);
    announced(&mut put).await?;

    nodes.sort_by(|a, b| key.cmp_distance(&a.id, &b.id));
    let (mut holders, mut left) = (Vec::new(), Vec::new());
    for mut node in nodes {
        if node.stores(key)? { holders.push(node) } else { left.push(node) }
    }
    println!("{} of eight store the value", holders.len());
    ensure!(holders.len() > 4, "only {} nodes store the value", holders.len());
    let victims = victims(holders.len());
    for (rank, node) in holders.into_iter().enumerate() {
        if victims.contains(&rank) { node.stop()? } else { left.push(node) }
    }
    stop.cancel();
    publisher.stopped().await;

    let (get, has_value) = (format!("g {key}"), |line: &str| line.contains("\"still here\"").then_some(()));
    for node in &mut left {
        node.ask(&get, has_value)?;
    }
    let newcomer = start(&[left[0].addr()]).await?;
    let (values, summary) = newcomer.get_all(key, LIMIT).await;
    ensure!(values.iter().any(|value| value.data() == b"still here"), "{values:?} {summary:?}");
    RealNode::start(Some(left[1].addr()))?.ask_until(&get, has_value)
}
