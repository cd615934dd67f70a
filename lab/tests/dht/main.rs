//! Our DHT node among released ones, on loopback.

mod bootstrap; // names that are not known yet
mod calls; // how soon a listener hears
mod expiry; // values that end, and those who listen to them
mod publish; // what our program publishes
mod real; // released nodes
mod survival; // values that outlive nodes

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use hardline_node::dht::{Event, InfoHash, Value, ValueType};
use hardline_node::drivers::dht::proxy::client::ProxyClient;
use hardline_node::drivers::dht::{Dht, DhtConfig, Operation};
use hardline_node::store::Store;
use real::{RealNode, is_good_in};
use tokio_util::sync::CancellationToken;

/// User type whose data the released console prints as they are.
const TEXT: &str = "text/plain";

/// Time for which released nodes are watched: twice that after which they give up a node that does
/// not answer.
const WATCHED: Duration = Duration::from_secs(20);

/// Pause between looks at their tables.
const PAUSE: Duration = Duration::from_millis(500);

/// Longer than anything here may take, dead nodes and a busy machine included.
const LIMIT: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn values_put_by_either_side_are_got_by_the_other_and_ours_stays_in_their_tables() -> Result<()> {
    let mut nodes = real::network(8)?;
    let ours = start(&[nodes[0].addr()]).await?;
    let id = ours.status().id;
    let key = InfoHash::of(b"put by ours");
    put(&ours, key, 1, b"from Rust").await?;
    for node in &mut nodes {
        node.ask(&format!("g {key}"), |line| line.contains("\"from Rust\"").then_some(()))?;
    }
    for node in &mut nodes {
        node.has_in_table(id)?;
    }

    let (since, asked_before) = (Instant::now(), ours.status().counters.requests_in);
    let mut rounds = 0;
    while rounds < nodes.len() || since.elapsed() < WATCHED {
        let (key, text) = (InfoHash::of(text(rounds).as_bytes()), text(rounds));
        let publisher = rounds % nodes.len();
        nodes[publisher].ask(&format!("p {key} {text}"), |line| line.contains("Put: success").then_some(()))?;
        let (values, summary) = ours.get_all(key, LIMIT).await;
        ensure!(values.iter().any(|value| value.data() == text.as_bytes()), "{text}: {values:?} {summary:?}");
        for node in &mut nodes {
            let table = node.table()?;
            ensure!(is_good_in(&table, id), "round {rounds}: not, or not good, in the table: {table:?}");
        }
        rounds += 1;
        tokio::time::sleep(PAUSE).await;
    }
    let asked = ours.status().counters.requests_in - asked_before;
    println!("in all tables during {rounds} rounds of {:?}, asked {asked} times meanwhile", since.elapsed());
    ensure!(asked > 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_of_30_kb_goes_both_ways_also_through_the_released_proxy() -> Result<()> {
    let nodes = real::network(8)?;
    let ours = start(&[nodes[0].addr()]).await?;
    let large: Vec<u8> = (0..30_000_u32).map(|n| (n % 251) as u8).collect();

    let key = InfoHash::of(b"large, put by ours");
    put(&ours, key, 1, &large).await?;
    for node in [&nodes[0], &nodes[7]] {
        let url = format!("http://127.0.0.1:{}/key/{key}", node.proxy_port);
        let answer = curl(&[&url])?;
        let value: serde_json::Value = serde_json::from_str(answer.lines().next().context("no value")?)?;
        ensure!(value["data"] == base64(&large), "another value came back");
    }

    let key = InfoHash::of(b"large, put by the proxy");
    let body = format!("{{\"data\":\"{}\",\"id\":\"5\"}}", base64(&large));
    let url = format!("http://127.0.0.1:{}/key/{key}", nodes[3].proxy_port);
    curl(&["--data", &body, &url])?;
    let (values, summary) = ours.get_all(key, LIMIT).await;
    ensure!(values.len() == 1 && values[0].data() == large, "{values:?} {summary:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn our_proxy_client_asks_and_publishes_through_a_released_proxy() -> Result<()> {
    let nodes = real::network(4)?;
    let ours = start(&[nodes[0].addr()]).await?;
    let client = ProxyClient::new(&[format!("http://127.0.0.1:{}", nodes[1].proxy_port)])?;
    let key = InfoHash::of(b"put by ours, asked of a proxy");
    put(&ours, key, 3, b"by UDP").await?;
    let found = client.ask([1; 20], &[InfoHash::of(b"nothing"), key], LIMIT, |value| value.id() == 3).await?;
    ensure!(found.as_ref().is_some_and(|value| value.data() == b"by UDP"), "{found:?}");

    let key = InfoHash::of(b"put by a proxy");
    let value = Value::with_priority(u64::MAX, ValueType::USER_DATA, b"by HTTP", TEXT, 7)?;
    client.put(key, &value, true).await?;
    let (values, summary) = ours.get_all(key, LIMIT).await;
    ensure!(values == [value], "{values:?} {summary:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_hear_of_values_they_listen_for() -> Result<()> {
    let mut nodes = real::network(8)?;
    let ours = start(&[nodes[0].addr()]).await?;

    let key = InfoHash::of(b"listened to by ours");
    put(&ours, key, 1, b"there before").await?;
    let mut listening = ours.listen(key);
    ensure!(heard(&mut listening).await? == b"there before");
    nodes[5].ask(&format!("p {key} later"), |line| line.contains("Put: success").then_some(()))?;
    ensure!(heard(&mut listening).await? == b"later");

    let key = InfoHash::of(b"listened to by theirs");
    let from = nodes[6].type_in(&format!("l {key}"))?;
    nodes[6].wait_for(from, |line| line.contains("Listening").then_some(()))?;
    put(&ours, key, 2, b"news").await?;
    nodes[6].wait_for(from, |line| line.contains("\"news\"").then_some(()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_released_node_enters_the_network_through_ours() -> Result<()> {
    let nodes = real::network(4)?;
    let ours = start(&[nodes[0].addr()]).await?;
    let mut newcomer = RealNode::start(Some(own_addr(&ours)?))?;
    newcomer.wait_for_good_nodes(2)?;
    newcomer.has_in_table(ours.status().id)
}

#[tokio::test(flavor = "multi_thread")]
async fn released_nodes_tell_ours_at_which_port_they_see_it() -> Result<()> {
    let mut nodes = real::network(4)?;
    let ours = start(&[nodes[0].addr()]).await?;
    let own = own_addr(&ours)?;
    // A released node names only who has answered it. By itself it may ask ours minutes later.
    let (id, key) = (ours.status().id, InfoHash::of(b"put to be known"));
    put(&ours, key, 1, b"from Rust").await?;
    for node in &mut nodes {
        node.ask(&format!("g {key}"), |line| line.contains("\"from Rust\"").then_some(()))?;
        node.has_in_table(id)?;
    }
    // On loopback every node is a voter; those that listen at one address count as one host.
    let mut status = ours.watch();
    let seen = tokio::time::timeout(LIMIT, status.wait_for(|status| status.seen_v4.len() >= 2)).await;
    let seen = seen.context("nobody names ours")??.seen_v4.clone();
    ensure!(seen.iter().all(|(_, addr)| *addr == own), "{seen:?}, not {own}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_needs_no_bootstrap_host() -> Result<()> {
    let mut nodes = real::network(4)?;
    let folder = tempfile::tempdir()?;
    let (store, _) = Store::open(folder.path(), None).await?;
    let stop = CancellationToken::new();
    let first = Dht::start(config(&[nodes[0].addr()]), Some(store.clone()), stop.clone()).await?;
    let mut status = first.watch();
    let known = tokio::time::timeout(LIMIT, status.wait_for(|status| status.table_v4.good >= 3)).await;
    let good = first.status().table_v4.good;
    known.with_context(|| format!("the first of ours knows {good} good nodes, not 3"))??;
    stop.cancel();
    first.stopped().await;

    nodes.swap_remove(0).stop()?;
    let second = Dht::start(config(&[]), Some(store), CancellationToken::new()).await?;
    tokio::time::timeout(LIMIT, second.connected()).await.context("no node of those kept answers")?;
    let key = InfoHash::of(b"put after the restart");
    put(&second, key, 1, b"x").await.context("by the second of ours")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_binding_reads_our_value_and_we_read_its() -> Result<()> {
    let nodes = real::network(4)?;
    let ours = start(&[nodes[0].addr()]).await?;
    let key = InfoHash::of(b"put for python");
    put(&ours, key, 1, b"from Rust").await?;
    let reply_key = InfoHash::of(b"put by python");
    let script = format!(
        "import opendht as dht, os
node = dht.DhtRunner()
node.run(ipv4='127.0.0.1', port=0)
node.bootstrap('127.0.0.1', '{}')
values = node.get(dht.InfoHash(b'{key}'))
assert [value.data for value in values] == [b'from Rust'], values
assert node.put(dht.InfoHash(b'{reply_key}'), dht.Value(b'from Python'))
os._exit(0) # the binding hangs in node.join() now and then",
        nodes[1].port
    );
    // Debian builds the binding for its own Python only.
    let python = tokio::process::Command::new("/usr/bin/python3").args(["-c", &script]).output();
    let output = tokio::time::timeout(LIMIT, python).await.context("the script does not end")??;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (values, summary) = ours.get_all(reply_key, LIMIT).await;
    ensure!(values.iter().any(|value| value.data() == b"from Python"), "{values:?} {summary:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn ipv6_works_like_ipv4() -> Result<()> {
    let mut nodes = real::network(4)?;
    let bootstrap = SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], nodes[0].port));
    for node in &mut nodes[1..] {
        node.type_in(&format!("b [::1]:{}", bootstrap.port()))?;
    }
    let config = DhtConfig { bind: vec!["::1".parse()?], ..config(&[bootstrap]) };
    let ours = Dht::start(config, None, CancellationToken::new()).await?;
    tokio::time::timeout(LIMIT, ours.connected()).await.context("not connected by IPv6")?;
    ensure!(ours.status().connected_v6 && !ours.status().connected_v4);
    let key = InfoHash::of(b"over IPv6");
    put(&ours, key, 1, b"six").await?;
    nodes[0].ask(&format!("g {key}"), |line| line.contains("\"six\"").then_some(()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cold_lookup_among_eight_nodes_takes_milliseconds() -> Result<()> {
    const LOOKUPS: usize = 21;
    let nodes = real::network(7)?;
    let mut times = Vec::new();
    for number in 0..LOOKUPS {
        let key = InfoHash::of(text(number).as_bytes());
        let ours = start(&[nodes[number % 7].addr()]).await?;
        let (_, summary) = ours.get_all(key, LIMIT).await;
        times.push(summary.context("the lookup did not end")?.elapsed);
    }
    times.sort_unstable();
    println!("cold lookup, 8 nodes: median {:?}, slowest {:?}", times[LOOKUPS / 2], times[LOOKUPS - 1]);
    Ok(())
}

fn config(bootstrap: &[SocketAddr]) -> DhtConfig {
    DhtConfig {
        port: 0,
        bind: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
        bootstrap: bootstrap.iter().map(SocketAddr::to_string).collect(),
        rates: hardline_node::dht::Rates::UNLIMITED,
        ..DhtConfig::default()
    }
}

/// A node of ours that knows the network.
async fn start(bootstrap: &[SocketAddr]) -> Result<Arc<Dht>> {
    let ours = Dht::start(config(bootstrap), None, CancellationToken::new()).await?;
    tokio::time::timeout(LIMIT, ours.connected()).await.context("not connected")?;
    Ok(ours)
}

fn own_addr(ours: &Dht) -> Result<SocketAddr> {
    ours.status().bound.first().copied().context("no socket")
}

async fn put(ours: &Dht, key: InfoHash, id: u64, data: &[u8]) -> Result<()> {
    let mut operation = ours.put(key, Value::new(id, ValueType::USER_DATA, data, TEXT)?, false);
    announced(&mut operation).await
}

async fn announced(operation: &mut Operation) -> Result<()> {
    match tokio::time::timeout(LIMIT, operation.next()).await.context("a put does not end")? {
        Some(Event::PutDone { acknowledged: 1.., .. }) => Ok(()),
        other => bail!("not stored: {other:?}"),
    }
}

async fn heard(operation: &mut Operation) -> Result<Vec<u8>> {
    match tokio::time::timeout(LIMIT, operation.next()).await.context("nothing is heard")? {
        Some(Event::Heard { value, .. }) => Ok(value.data().to_vec()),
        other => bail!("not heard: {other:?}"),
    }
}

fn text(number: usize) -> String {
    format!("value-{number}")
}

fn curl(arguments: &[&str]) -> Result<String> {
    let output =
        std::process::Command::new("curl").args(["--silent", "--fail", "--max-time", "30"]).args(arguments).output()?;
    ensure!(output.status.success(), "curl {arguments:.200?}: {}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |bits: u32| char::from(DIGITS[(bits & 63) as usize]);
    let groups = bytes.chunks(3).map(|group| {
        let bits = group.iter().fold(0, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        let digits = [digit(bits >> 18), digit(bits >> 12), digit(bits >> 6), digit(bits)];
        let padding = "==".chars().take(3 - group.len());
        digits.into_iter().take(group.len() + 1).chain(padding).collect::<String>()
    });
    groups.collect()
}
