//! A service comes, changes and goes while 16 tunnels to others carry bytes, and nothing is left
//! behind. Alone in its program, whose descriptors it counts.
#![allow(clippy::unwrap_used)]

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use common::wire::first_answer;
use common::{TestNode, backend, greeting, service};
use hardline_node::access::Access;
use hardline_node::config::{IdentityConfig, IdleLimits, ServiceConfig, StaticAddress, Target};
use hardline_node::node::{Cause, TunnelStream};
use hardline_node::proto::KeyHash;
use hardline_node::proto::host::ServiceName;
use hardline_node::proto::rolling::{Day, RollingCode};
use hardline_node::tls::identity::Identity;
use ring::digest::{Context, SHA256};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// A test that waits longer has failed.
const LIMIT: Duration = Duration::from_secs(30);

const ROUNDS: u64 = 40;

/// Tunnels to other services that are under way in each round.
const TUNNELS: u64 = 16;

const PASSWORD: &str = "sesame";

/// TLS's alert `unrecognized_name`, fatal, before any encryption.
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_lose_no_byte_while_a_service_comes_and_changes_and_goes_and_nothing_is_left() {
    let greeters = [greeting(b'1').await, greeting(b'2').await];
    let (sender, sums) = unbounded_channel();
    let summing = summing(sender).await;
    let nothing = Left::now();
    let mut world = World::new(greeters, summing, sums).await;
    let idle = Left::now();
    for round in 0..ROUNDS {
        world.round(round).await;
    }
    assert_eq!(world.cause(world.key).await, world.cause(never_there(1)).await, "and the dialler says the same");

    // Sessions end when nobody uses them for a second.
    idle.is_reached("tunnels leave nothing behind").await;
    let metrics = world.listener.node.status().metrics;
    assert_eq!(metrics["tunnels_clean"], TUNNELS * ROUNDS);
    assert_eq!(metrics["tunnels_removed"], 2 * ROUNDS);
    let World { listener, dialler, .. } = world;
    timeout(LIMIT, async { tokio::join!(listener.node.shutdown(), dialler.node.shutdown()) }).await.unwrap();
    nothing.is_reached("nor do the nodes").await;
}

/// A listener with two services that stay, and a dialler.
struct World {
    listener: TestNode,
    dialler: TestNode,
    staying: [KeyHash; 2],
    /// The service that comes and goes, always with the same identity.
    key: KeyHash,
    config: ServiceConfig,
    /// Who greets with `1`, and who greets with `2`.
    greeters: [SocketAddr; 2],
    /// What the backend of those that stay read and wrote.
    sums: UnboundedReceiver<Sums>,
    _dir: TempDir,
}

impl World {
    async fn new(greeters: [SocketAddr; 2], summing: SocketAddr, sums: UnboundedReceiver<Sums>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("comes-and-goes");
        let key = Identity::load_or_create(&path).unwrap().0.key;
        let config = ServiceConfig { identity: IdentityConfig::File(path), ..service(greeters[0]) };
        let listener = TestNode::start(|config| {
            config.gateway_port = None;
            config.services = vec![service(summing), service(summing)];
        })
        .await;
        let services = listener.node.status().services;
        let staying = [services[0].key, services[1].key];
        let dialler = TestNode::start(|config| {
            config.static_addresses = [staying[0], staying[1], key, never_there(1)]
                .map(|key| StaticAddress { key, at: listener.p2p().into() })
                .into();
            config.idle_limits = IdleLimits { time: Duration::from_secs(1), ..IdleLimits::DIALLER };
        })
        .await;
        Self { listener, dialler, staying, key, config, greeters, sums, _dir: dir }
    }

    /// The service comes, changes and goes, with every tunnel moving in between.
    async fn round(&mut self, round: u64) {
        let mut transfers = Transfers::begin(self, round).await;
        let mut first = self.add().await;
        transfers.move_on().await;
        let mut second = self.change(round, &mut first).await;
        transfers.move_on().await;
        self.remove(round, [&mut first, &mut second]).await;
        transfers.move_on().await;
        let ended = transfers.end().await;
        let mut summed = Vec::new();
        while summed.len() < ended.len() {
            summed.push(timeout(LIMIT, self.sums.recv()).await.unwrap().unwrap());
        }
        summed.sort();
        assert_eq!(ended, summed, "both ends hash the same, in both directions");
    }

    /// A service that was added answers.
    async fn add(&self) -> TunnelStream {
        assert_eq!(self.listener.node.add_service(self.config.clone()).unwrap().0, self.key);
        assert_eq!(first_answer(self.listener.p2p(), self.key).await[0], 22, "TLS goes on");
        let mut first = self.connect(None).await;
        assert_eq!(greeted(&mut first).await, b'1');
        first
    }

    /// Another title, another access, another target: all at once, and for new tunnels alone.
    async fn change(&self, round: u64, first: &mut TunnelStream) -> TunnelStream {
        let (title, access) = (format!("round {round}"), Access::Password(PASSWORD.into()));
        self.listener
            .node
            .change_service(&self.key, |config| {
                config.title.clone_from(&title);
                config.access = Some(access.clone());
                config.target = Target::Tcp(self.greeters[1].into());
            })
            .unwrap();
        let services = self.listener.node.status().services;
        let shown = services.iter().find(|service| service.key == self.key).unwrap();
        assert_eq!((&shown.title, &shown.access), (&title, &access));
        let refused = self.cause(self.key).await;
        assert!(matches!(refused, Cause::Refused { with_password: false, .. }), "{refused:?}");
        let mut second = self.connect(Some(PASSWORD)).await;
        assert_eq!(greeted(&mut second).await, b'2');
        first.write_all(b"x").await.unwrap();
        assert_eq!(greeted(first).await, b'x', "a tunnel that runs is left alone");
        second
    }

    /// Whoever asks for a service that was removed, by whichever name, hears what is said of one
    /// that was never there.
    async fn remove(&self, round: u64, tunnels: [&mut TunnelStream; 2]) {
        self.listener.node.remove_service(&self.key).unwrap();
        for tunnel in tunnels {
            assert!(timeout(LIMIT, tunnel.read_u8()).await.unwrap().is_err(), "its tunnels end");
        }
        let codes = today().with_neighbours().map(|day| *RollingCode::of(&self.key, day).as_bytes());
        let names = codes.map(KeyHash::from_bytes);
        for name in [never_there(round), self.key].into_iter().chain(names) {
            assert_eq!(first_answer(self.listener.p2p(), name).await, UNRECOGNIZED_NAME, "{name}");
        }
    }

    async fn connect(&self, password: Option<&str>) -> TunnelStream {
        let name = ServiceName { key: self.key, password: password.map(str::to_owned) };
        timeout(LIMIT, self.dialler.node.connect(&name)).await.unwrap().unwrap()
    }

    /// Why `key` is not reached without a password.
    async fn cause(&self, key: KeyHash) -> Cause {
        let name = ServiceName { key, password: None };
        timeout(LIMIT, self.dialler.node.connect(&name)).await.unwrap().unwrap_err().cause
    }
}

/// The tunnels of one round.
struct Transfers {
    running: Vec<JoinHandle<Sums>>,
    carried: Vec<watch::Receiver<u64>>,
    ends: CancellationToken,
}

impl Transfers {
    async fn begin(world: &World, round: u64) -> Self {
        let mut it = Self { running: Vec::new(), carried: Vec::new(), ends: CancellationToken::new() };
        for number in 0..TUNNELS {
            let name = ServiceName { key: world.staying[number as usize % 2], password: None };
            let tunnel = timeout(LIMIT, world.dialler.node.connect(&name)).await.unwrap().unwrap();
            let (sender, carried) = watch::channel(0);
            it.running.push(tokio::spawn(transfer(tunnel, round * TUNNELS + number, it.ends.clone(), sender)));
            it.carried.push(carried);
        }
        it.move_on().await;
        it
    }

    /// Waits until each has carried another block.
    async fn move_on(&mut self) {
        for carried in &mut self.carried {
            let before = *carried.borrow_and_update();
            timeout(LIMIT, carried.wait_for(|now| *now > before)).await.unwrap().unwrap();
        }
    }

    /// Ends them, and tells what they carried.
    async fn end(self) -> Vec<Sums> {
        self.ends.cancel();
        let mut ended = Vec::new();
        for running in self.running {
            ended.push(timeout(LIMIT, running).await.unwrap().unwrap());
        }
        ended.sort();
        ended
    }
}

/// What one end of a tunnel hashed: the tunnel's number, all that went towards the service, and
/// all that came from it.
type Sums = (u64, Vec<u8>, Vec<u8>);

/// Sends blocks through a tunnel and reads as much back, until told to end; then to the clean end.
async fn transfer(tunnel: TunnelStream, id: u64, ends: CancellationToken, carried: watch::Sender<u64>) -> Sums {
    let (mut from, mut to) = tokio::io::split(tunnel);
    let (mut there, mut back) = (Context::new(&SHA256), Context::new(&SHA256));
    let (mut noise, mut block, mut answer) = (Noise(id), vec![0; 4096], vec![0; 4096]);
    while !ends.is_cancelled() {
        noise.fill(&mut block);
        if *carried.borrow() == 0 {
            block[..8].copy_from_slice(&id.to_be_bytes());
        }
        let (sent, read) = tokio::join!(to.write_all(&block), from.read_exact(&mut answer));
        sent.unwrap();
        read.unwrap();
        there.update(&block);
        back.update(&answer);
        carried.send_modify(|carried| *carried += 1);
    }
    to.shutdown().await.unwrap();
    assert_eq!(from.read_to_end(&mut Vec::new()).await.unwrap(), 0);
    (id, there.finish().as_ref().to_vec(), back.finish().as_ref().to_vec())
}

/// A backend that answers every byte with one of its own, and tells at the end what it read and
/// wrote. The first eight bytes say for which tunnel.
async fn summing(sums: UnboundedSender<Sums>) -> SocketAddr {
    backend(move |mut stream| {
        let sums = sums.clone();
        async move {
            let (mut from, mut to) = stream.split();
            let (mut there, mut back) = (Context::new(&SHA256), Context::new(&SHA256));
            let (mut id, mut buffer) = ([0; 8], vec![0; 16 * 1024]);
            if from.read_exact(&mut id).await.is_err() {
                return;
            }
            let mut noise = Noise(!u64::from_be_bytes(id));
            buffer[..8].copy_from_slice(&id);
            let mut length = 8;
            while length > 0 {
                there.update(&buffer[..length]);
                noise.fill(&mut buffer[..length]);
                back.update(&buffer[..length]);
                if to.write_all(&buffer[..length]).await.is_err() {
                    return;
                }
                let Ok(next) = from.read(&mut buffer).await else { return };
                length = next;
            }
            let _ = to.shutdown().await;
            let (there, back) = (there.finish().as_ref().to_vec(), back.finish().as_ref().to_vec());
            let _ = sums.send((u64::from_be_bytes(id), there, back));
        }
    })
    .await
}

async fn greeted(tunnel: &mut TunnelStream) -> u8 {
    timeout(LIMIT, tunnel.read_u8()).await.unwrap().unwrap()
}

/// Bytes that repeat nowhere, from a seed (Knuth's MMIX generator).
struct Noise(u64);

impl Noise {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = (self.0 >> 56) as u8;
        }
    }
}

/// Tasks and descriptors that there are.
#[derive(Debug, Clone, Copy)]
struct Left {
    tasks: usize,
    /// On Linux; elsewhere 0.
    descriptors: usize,
}

impl Left {
    fn now() -> Self {
        let descriptors = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
        assert!(descriptors > 0 || !cfg!(target_os = "linux"));
        Self { tasks: Handle::current().metrics().num_alive_tasks(), descriptors }
    }

    /// Waits until there are no more than these. What a round leaves behind would be there as many
    /// times as there were rounds.
    async fn is_reached(self, promise: &str) {
        let reached = async {
            loop {
                let now = Self::now();
                if now.tasks <= self.tasks && now.descriptors <= self.descriptors {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        assert!(timeout(LIMIT, reached).await.is_ok(), "{promise}: {:?}, and were {self:?}", Self::now());
    }
}

/// A name of nobody.
fn never_there(number: u64) -> KeyHash {
    let mut bytes = [0xee; KeyHash::LEN];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    KeyHash::from_bytes(bytes)
}

fn today() -> Day {
    Day::from_unix_seconds(std::time::UNIX_EPOCH.elapsed().unwrap().as_secs())
}
