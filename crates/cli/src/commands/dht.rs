//! `hardline dht`: the network by which services are found from anywhere, by hand.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hardline_node::dht::{Event, InfoHash, Summary, Value, ValueType};
use hardline_node::drivers::dht::proxy::server::ProxyServer;
use hardline_node::drivers::dht::{Dht, DhtConfig, DhtStatus, Operation};
use hardline_node::store::Store;
use serde_json::json;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::dht_args::{DhtArgs, DhtCommand, DhtNetworkArgs};
use crate::failure::{Exit, Failure};
use crate::output::{Output, printable};
use crate::settings::Loaded;
use crate::system::signals::Signals;

/// Time between lines about the node's state.
const STATE_INTERVAL: Duration = Duration::from_secs(10);

/// User type of texts; released programs print such values as they are.
const TEXT: &str = "text/plain";

pub(super) async fn run(loaded: Loaded, args: DhtArgs, output: Output) -> Result<(), Failure> {
    let mut signals = Signals::catch().map_err(|err| Failure::of(Exit::Failed, "cannot catch signals", &err))?;
    let session = Session::start(&loaded, &args.network, output).await?;
    let work = session.work(args.command);
    let outcome = tokio::select! {
        outcome = work => outcome,
        () = signals.next() => Ok(()),
    };
    session.stop().await;
    outcome
}

/// A node, for as long as the command runs.
struct Session {
    dht: Arc<Dht>,
    store: Option<Store>,
    shutdown: CancellationToken,
    limit: Duration,
    output: Output,
    begun: Instant,
}

impl Session {
    async fn start(loaded: &Loaded, args: &DhtNetworkArgs, output: Output) -> Result<Self, Failure> {
        let begun = Instant::now();
        // Nodes of a network of one's own are not remembered among those of the public one.
        let configured = &loaded.settings.node.dht.bootstrap;
        let store =
            if args.is_own(configured) { None } else { Some(Store::open(&loaded.settings.data_dir()?, None).await?.0) };
        let config = DhtConfig {
            port: args.port,
            bind: args.bind.clone(),
            bootstrap: args.entrances(configured),
            network: args.network,
            client: args.client,
            rates: loaded.settings.node.dht.rates,
        };
        let shutdown = CancellationToken::new();
        let dht = Dht::start(config, store.clone(), shutdown.clone())
            .await
            .map_err(|err| Failure::of(Exit::Failed, "cannot open a UDP socket", &err))?;
        Ok(Self { dht, store, shutdown, limit: Duration::from_secs(args.limit), output, begun })
    }

    async fn work(&self, command: DhtCommand) -> Result<(), Failure> {
        match command {
            DhtCommand::Node => self.node().await,
            DhtCommand::Get { key } => self.get(key_of(&key)).await,
            DhtCommand::Put { key, text, keep, id } => self.put(key_of(&key), &text, keep, id).await,
            DhtCommand::Listen { key } => self.listen(key_of(&key)).await,
            DhtCommand::Ping { addr } => self.ping(addr).await,
            DhtCommand::Proxy { listen } => self.proxy(listen).await,
        }
    }

    async fn stop(&self) {
        self.shutdown.cancel();
        self.dht.stopped().await;
        if let Some(store) = &self.store {
            store.close().await;
        }
    }

    async fn node(&self) -> Result<(), Failure> {
        self.ready(&json!({}))?;
        let mut status = self.dht.watch();
        loop {
            self.show_state(&status.borrow_and_update().clone())?;
            let connected = status.borrow().is_connected();
            tokio::select! {
                () = tokio::time::sleep(STATE_INTERVAL) => {}
                // The first good nodes are worth a line at once.
                Ok(_) = status.wait_for(|status| status.is_connected() != connected) => {}
            }
        }
    }

    async fn get(&self, key: InfoHash) -> Result<(), Failure> {
        self.connected().await?;
        let mut operation = self.dht.get(key);
        let mut found = 0;
        loop {
            match self.next(&mut operation).await? {
                Event::Found { value, .. } => {
                    found += 1;
                    self.show_value("value", &value)?;
                }
                Event::GetDone { summary, .. } => {
                    self.output.remark(format_args!("{found} values; {}", in_words(&summary)));
                    return self.output.event(&json!({"event": "done", "values": found, "summary": as_json(&summary)}));
                }
                _ => {}
            }
        }
    }

    async fn put(&self, key: InfoHash, text: &str, keep: bool, id: Option<u64>) -> Result<(), Failure> {
        let id = id.unwrap_or_else(random_id);
        let value = Value::new(id, ValueType::USER_DATA, text.as_bytes(), TEXT)
            .map_err(|err| Failure::of(Exit::Usage, "this cannot be stored", &err))?;
        self.connected().await?;
        if keep {
            self.ready(&json!({"key": key.to_string()}))?;
        }
        let mut operation = self.dht.put(key, value, keep);
        match self.next(&mut operation).await? {
            Event::PutDone { acknowledged, summary, .. } if acknowledged > 0 => {
                self.output.line(format_args!("{id:016x} stored at {acknowledged} nodes"))?;
                self.output.remark(in_words(&summary));
                let summary = as_json(&summary);
                let event = json!({"event": "stored", "id": id.to_string(), "nodes": acknowledged, "summary": summary});
                self.output.event(&event)?;
            }
            _ => return Err(Failure::new(Exit::NotReached, "no node took the value")),
        }
        if keep {
            std::future::pending::<()>().await;
        }
        self.output.event(&json!({"event": "done"}))
    }

    async fn listen(&self, key: InfoHash) -> Result<(), Failure> {
        self.connected().await?;
        let mut operation = self.dht.listen(key);
        self.ready(&json!({"key": key.to_string()}))?;
        while let Some(event) = operation.next().await {
            match event {
                Event::Heard { value, .. } => self.show_value("value", &value)?,
                Event::Expired { value, .. } => self.show_value("expired", &value)?,
                _ => {}
            }
        }
        Ok(())
    }

    async fn ping(&self, addr: SocketAddr) -> Result<(), Failure> {
        let answer = timeout(self.limit, self.dht.ping(addr)).await.unwrap_or(None);
        let Some((id, round_trip)) = answer else {
            return Err(Failure::new(Exit::NotReached, format_args!("no DHT node answers at {addr}")));
        };
        let millis = round_trip.as_secs_f64() * 1000.0;
        self.output.line(format_args!("{id} at {addr} answered after {millis:.1} ms"))?;
        self.output.event(&json!({"event": "pong", "id": id.to_string(), "addr": addr, "ms": millis}))
    }

    async fn proxy(&self, listen: SocketAddr) -> Result<(), Failure> {
        let proxy = ProxyServer::start(listen, Arc::clone(&self.dht), self.shutdown.clone()).await.map_err(|err| {
            let exit = if err.kind() == io::ErrorKind::AddrInUse { Exit::InUse } else { Exit::Failed };
            Failure::of(exit, &format!("cannot listen at {listen}"), &err).remedy("name another with --listen")
        })?;
        self.output.line(format_args!("proxy at http://{}", proxy.addr()))?;
        self.ready(&json!({"proxy": proxy.addr()}))?;
        std::future::pending().await
    }

    /// Waits until somebody is there to be asked.
    async fn connected(&self) -> Result<(), Failure> {
        timeout(self.limit, self.dht.connected()).await.map_err(|_| {
            Failure::new(Exit::NotReached, "no DHT node answers")
                .remedy("check that UDP is let through, or name a node with --bootstrap")
        })
    }

    async fn next(&self, operation: &mut Operation) -> Result<Event, Failure> {
        let event = timeout(self.limit, operation.next()).await.unwrap_or(None);
        event.ok_or_else(|| Failure::new(Exit::NotReached, "the nodes did not answer in time"))
    }

    fn ready(&self, more: &serde_json::Value) -> Result<(), Failure> {
        let status = self.dht.status();
        let mut event = json!({"event": "ready", "id": status.id.to_string(), "bound": status.bound});
        if let (Some(event), Some(more)) = (event.as_object_mut(), more.as_object()) {
            event.extend(more.clone());
        }
        self.output.event(&event)
    }

    fn show_state(&self, status: &DhtStatus) -> Result<(), Failure> {
        let counters = &status.counters;
        self.output.line(format_args!(
            "{:.0} s: IPv4 {} good and {} other nodes, IPv6 {} and {}; {} values stored; {} datagrams in, {} out",
            self.begun.elapsed().as_secs_f64(),
            status.table_v4.good,
            status.table_v4.dubious,
            status.table_v6.good,
            status.table_v6.dubious,
            status.stored_values,
            counters.datagrams_in,
            counters.datagrams_out,
        ))?;
        self.output.event(&json!({
            "event": "state",
            "id": status.id.to_string(),
            "connected": status.is_connected(),
            "ipv4": {"good": status.table_v4.good, "dubious": status.table_v4.dubious},
            "ipv6": {"good": status.table_v6.good, "dubious": status.table_v6.dubious},
            "network_size": status.table_v4.network_size.max(status.table_v6.network_size),
            "public": status.public,
            "stored": {"values": status.stored_values, "bytes": status.stored_bytes},
            "datagrams": {"in": counters.datagrams_in, "out": counters.datagrams_out},
            "bytes": {"in": counters.bytes_in, "out": counters.bytes_out},
            "dropped": {
                "malformed": counters.dropped_malformed,
                "rate": counters.dropped_rate,
                "unsolicited": counters.dropped_unsolicited,
                "blacklisted": counters.dropped_blacklisted,
                "foreign": counters.dropped_foreign,
            },
        }))
    }

    fn show_value(&self, event: &str, value: &Value) -> Result<(), Failure> {
        let text = String::from_utf8_lossy(value.data());
        let mark = if event == "expired" { "gone " } else { "" };
        self.output.line(format_args!("{mark}{:016x}  {}", value.id(), printable(&text)))?;
        self.output.event(&json!({
            "event": event,
            "id": value.id().to_string(),
            "type": value.kind().0,
            "text": text,
            "hex": value.data().iter().map(|byte| format!("{byte:02x}")).collect::<String>(),
        }))
    }
}

/// 40 hexadecimal digits are a key, anything else is the name of one.
fn key_of(text: &str) -> InfoHash {
    text.parse().unwrap_or_else(|_| InfoHash::of(text.as_bytes()))
}

/// A value's number. Two texts under one key must differ in it, no more; the time in nanoseconds
/// does, and is not 0.
fn random_id() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    (since.as_nanos() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).max(1)
}

fn in_words(summary: &Summary) -> String {
    let millis = summary.elapsed.as_secs_f64() * 1000.0;
    let Summary { requests, answers, hops, .. } = summary;
    format!("{requests} requests, {answers} answers, {hops} hops, {millis:.1} ms")
}

fn as_json(summary: &Summary) -> serde_json::Value {
    json!({
        "ms": summary.elapsed.as_secs_f64() * 1000.0,
        "requests": summary.requests,
        "answers": summary.answers,
        "hops": summary.hops,
        "timed_out": summary.timed_out,
    })
}
