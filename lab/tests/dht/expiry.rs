//! What listeners hear of values that end, and of many at once.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail, ensure};
use hardline_node::dht::message::{Body, Message, Request, ValueEntry};
use hardline_node::dht::{Event, InfoHash, Value, ValueType};
use hardline_node::drivers::dht::Dht;
use tokio_util::sync::CancellationToken;

use crate::real::RealNode;
use crate::{LIMIT, TEXT, config, heard, own_addr, start};

/// Age of a value when it is put, of the minute that its type lives. It ends at the node that
/// stores it well before the listener, who does not learn its age, would take it for over.
const AGE: Duration = Duration::from_secs(40);

#[tokio::test(flavor = "multi_thread")]
async fn ours_hears_from_a_released_node_that_a_value_is_over() -> Result<()> {
    let node = RealNode::start(None)?;
    let ours = start(&[node.addr()]).await?;
    let key = InfoHash::of(b"ends at theirs");
    put_aged(node.addr(), key, &Value::new(3, ValueType::ICE_CANDIDATES, b"short", TEXT)?)?;
    let mut listening = ours.listen(key);
    ensure!(heard(&mut listening).await? == b"short");
    match tokio::time::timeout(LIMIT, listening.next()).await.context("nothing is heard of the end")? {
        Some(Event::Expired { value, .. }) if value.id() == 3 => Ok(()),
        other => bail!("not told: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_released_node_hears_from_ours_that_a_value_is_over() -> Result<()> {
    let mut node = RealNode::start(None)?;
    let ours = start(&[node.addr()]).await?;
    let key = InfoHash::of(b"ends at ours");
    node.has_in_table(ours.status().id)?;
    put_aged(own_addr(&ours)?, key, &Value::new(3, ValueType::ICE_CANDIDATES, b"short", TEXT)?)?;
    let from = node.type_in(&format!("l {key}"))?;
    node.wait_for(from, |line| line.starts_with("Listen: found 1 values").then_some(()))?;
    node.wait_for(from, |line| line.contains("expired").then_some(()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_released_listener_hears_of_more_values_than_one_push_carries() -> Result<()> {
    const VALUES: u64 = 12;
    let ours = Dht::start(config(&[]), None, CancellationToken::new()).await?;
    let key = InfoHash::of(b"many and large");
    // Nobody else is there yet: what the listener hears, it hears from ours.
    for id in 1..=VALUES {
        let mut put = ours.put(key, Value::new(id, ValueType::USER_DATA, &[b'a'; 30_000], TEXT)?, false);
        ensure!(matches!(put.next().await, Some(Event::PutDone { acknowledged: 0, .. })));
    }
    let mut node = RealNode::start(Some(own_addr(&ours)?))?;
    node.has_in_table(ours.status().id)?;
    let from = node.type_in(&format!("l {key}"))?;
    for id in 1..=VALUES {
        let id = format!("Value[id:{id:x} ");
        node.wait_for(from, |line| line.contains(&id).then_some(()))?;
    }
    Ok(())
}

/// Stores a value that says it is [`AGE`] old, which nodes do not do of themselves.
fn put_aged(node: SocketAddr, key: InfoHash, value: &Value) -> Result<()> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.set_read_timeout(Some(LIMIT))?;
    let token = ask(&socket, node, 1, Request::Find { target: key, want: None })?;
    let created = SystemTime::now().duration_since(UNIX_EPOCH)?.saturating_sub(AGE).as_secs();
    let values = vec![ValueEntry::Inline(value.packed().into())];
    ask(&socket, node, 2, Request::Put { hash: Some(key), values, created: Some(created), token: token.into() })?;
    Ok(())
}

/// Sends a request and gives the token of its answer.
fn ask(socket: &UdpSocket, node: SocketAddr, tid: u32, request: Request<'_>) -> Result<Vec<u8>> {
    let body = Body::Request { id: InfoHash::of(b"a publisher by hand"), request };
    let mut datagram = Vec::new();
    Message { tid, network: 0, client: true, agent: None, body }.encode(&mut datagram);
    socket.send_to(&datagram, node)?;
    let mut buffer = [0; 2048];
    loop {
        let length = socket.recv(&mut buffer)?;
        // The node may also ask who we are.
        match Message::decode(&buffer[..length]).context("an answer")? {
            Message { tid: answered, body: Body::Reply(reply), .. } if answered == tid => {
                return Ok(reply.token.to_vec());
            }
            Message { body: Body::Error { code, .. }, .. } => bail!("error {code}"),
            _ => {}
        }
    }
}
