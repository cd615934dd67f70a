//! LAN discovery between drivers of one computer, over loopback alone.
#![allow(clippy::unwrap_used)]

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use hardline_node::config::LanConfig;
use hardline_node::drivers::lan::{FoundService, Lan, LanService};
use hardline_node::network::NetworkMonitor;
use hardline_node::proto::KeyHash;
use hardline_node::proto::lan::{Freetext, GROUP};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const KEY: KeyHash = KeyHash::from_bytes([0xa1; 20]);
const OTHER_KEY: KeyHash = KeyHash::from_bytes([0xb2; 20]);

/// A test that waits longer has failed. A service that says nothing is forgotten only after 90 s.
const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_service_is_found_by_its_name_alone() {
    let lan = Network::new();
    let host = lan.start().await;
    host.set_services(vec![unlisted(KEY, 7008)]);
    let seeker = lan.start().await;
    assert_eq!(first(&mut seeker.search(KEY)).await, "127.0.0.1:7008".parse().unwrap());
}

#[tokio::test]
async fn a_service_that_comes_later_is_found_by_who_waits() {
    let lan = Network::new();
    let (host, seeker) = (lan.start().await, lan.start().await);
    let mut search = seeker.search(KEY);
    let mut second_search = seeker.search(KEY);
    host.set_services(vec![service(KEY, 7008)]);
    assert_eq!(first(&mut search).await.port(), 7008);
    assert_eq!(first(&mut second_search).await.port(), 7008);
    assert_eq!(first(&mut seeker.search(KEY)).await.port(), 7008, "and known at once afterwards");
}

#[tokio::test]
async fn browsing_shows_listed_services_and_not_the_others() {
    let lan = Network::new();
    let host = lan.start().await;
    host.set_services(vec![service(KEY, 7008), unlisted(OTHER_KEY, 7008)]);
    let seeker = lan.start().await;
    let found = listed(&mut seeker.browse(), |found| !found.is_empty()).await;
    let expected = FoundService {
        key: KEY,
        password: None,
        title: "A title".into(),
        addrs: vec!["127.0.0.1:7008".parse().unwrap()],
        titles: vec!["A title".into()],
        v2: vec!["127.0.0.1:7008".parse().unwrap()],
    };
    assert_eq!(found, [expected]);
    assert_eq!(seeker.heard(), found);
    assert_eq!(host.heard(), [], "one's own services are not heard");
}

#[tokio::test]
async fn a_service_that_is_removed_or_whose_program_stops_is_forgotten_at_once() {
    let lan = Network::new();
    let (shutdown, seeker) = (CancellationToken::new(), lan.start().await);
    let host = Lan::start(lan.config(), &monitor(), shutdown.clone()).await.unwrap();
    let mut list = seeker.browse();
    for end in [&|| host.set_services(vec![]), &|| shutdown.cancel()] as [&dyn Fn(); 2] {
        host.set_services(vec![service(KEY, 7008)]);
        listed(&mut list, |found| found.len() == 1).await;
        end();
        listed(&mut list, |found| found.is_empty()).await;
    }
    host.stopped().await;
}

#[tokio::test]
async fn who_searches_by_name_learns_the_text_in_front_of_it() {
    let lan = Network::new();
    let host = lan.start().await;
    host.set_services(vec![LanService { freetext: Freetext::new("pass"), ..service(KEY, 7008) }]);
    let seeker = lan.start().await;
    let mut list = seeker.browse();
    let _search = seeker.search(KEY);
    let found = listed(&mut list, |found| found.iter().any(|service| service.password.is_some())).await;
    assert_eq!(found[0].password.as_ref().map(Freetext::as_str), Some("pass"));
}

#[tokio::test]
async fn all_who_claim_a_name_are_told_of() {
    let lan = Network::new();
    let (one, other, seeker) = (lan.start().await, lan.start().await, lan.start().await);
    one.set_services(vec![service(KEY, 1001)]);
    other.set_services(vec![service(KEY, 1002)]);
    let mut search = seeker.search(KEY);
    let mut ports = [first(&mut search).await.port(), first(&mut search).await.port()];
    ports.sort_unstable();
    assert_eq!(ports, [1001, 1002]);
}

/// As the released listeners do: one socket for everything, on the group's port, and an answer by
/// unicast.
#[tokio::test]
async fn an_answer_by_unicast_alone_is_heard() {
    let lan = Network::new();
    let seeker = lan.start().await;
    let mut search = seeker.search(KEY);
    let peer = lan.raw_peer();
    let answer = tokio::task::spawn_blocking(move || {
        let mut buffer = [0; 4096];
        loop {
            let (len, from) = peer.recv_from(&mut buffer).unwrap();
            if buffer[..len].starts_with(b"HARDLINE-SEARCH * HTTP/1.1\r\nInfohash: ") {
                let answer = format!(
                    "HARDLINE-SERVICE * HTTP/1.1\r\nPort: 77\r\nInfohash: pw-{KEY}\r\ncookie: x\r\ntitle: \r\n\r\n\r\n"
                );
                peer.send_to(answer.as_bytes(), from).unwrap();
                return;
            }
        }
    });
    assert_eq!(first(&mut search).await.port(), 77);
    answer.await.unwrap();
}

#[tokio::test]
async fn hostile_datagrams_change_nothing() {
    let lan = Network::new();
    let (host, seeker) = (lan.start().await, lan.start().await);
    let peer = lan.raw_peer();
    let huge = vec![b'x'; 60_000];
    let not_utf8 = b"HARDLINE-SERVICE * HTTP/1.1\r\nPort: 1\r\nInfohash: \xff\xfe\r\n\r\n\r\n".to_vec();
    for hostile in [vec![], huge, not_utf8, b"HARDLINE-SEARCH * HTTP/1.1\r\n\r\n".to_vec(), vec![0xff; 1000]] {
        peer.send_to(&hostile, (GROUP, lan.port)).unwrap();
    }
    host.set_services(vec![service(KEY, 7008)]);
    let found = listed(&mut seeker.browse(), |found| !found.is_empty()).await;
    assert_eq!(found.len(), 1);
}

#[tokio::test]
async fn the_interfaces_in_use_are_shown() {
    let lan = Network::new().start().await;
    let interfaces = lan.interfaces();
    assert_eq!(interfaces.iter().map(|interface| interface.addr).collect::<Vec<_>>(), [Ipv4Addr::LOCALHOST]);
    assert_eq!(interfaces[0].error, None);
}

#[tokio::test]
async fn a_stopped_driver_closes_its_sockets_and_its_searches() {
    let network = Network::new();
    let shutdown = CancellationToken::new();
    let lan = Lan::start(network.config(), &monitor(), shutdown.clone()).await.unwrap();
    let mut search = lan.search(KEY);
    shutdown.cancel();
    timeout(PATIENCE, lan.stopped()).await.unwrap();
    assert_eq!(timeout(PATIENCE, search.recv()).await.unwrap(), None);
    assert_eq!(timeout(PATIENCE, lan.search(KEY).recv()).await.unwrap(), None, "later ones too");
    // Without address reuse, this succeeds only when nobody else has the port.
    UdpSocket::bind(("0.0.0.0", network.port)).unwrap();
}

#[tokio::test]
async fn a_driver_whose_handle_is_dropped_ends() {
    let network = Network::new();
    drop(network.start().await);
    let freed = async {
        while UdpSocket::bind(("0.0.0.0", network.port)).is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, freed).await.unwrap();
}

#[tokio::test]
async fn a_port_that_another_program_holds_for_itself_is_an_error() {
    let network = Network::new();
    let _holder = UdpSocket::bind(("0.0.0.0", network.port)).unwrap();
    let error = Lan::start(network.config(), &monitor(), CancellationToken::new()).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
}

/// Of the networks of this host.
fn monitor() -> NetworkMonitor {
    NetworkMonitor::start(CancellationToken::new(), &TaskTracker::new())
}

/// A multicast group on loopback, with a port of its own.
struct Network {
    port: u16,
}

impl Network {
    fn new() -> Self {
        Self { port: UdpSocket::bind("0.0.0.0:0").unwrap().local_addr().unwrap().port() }
    }

    fn config(&self) -> LanConfig {
        LanConfig { port: self.port, bind: vec![Ipv4Addr::LOCALHOST], ..LanConfig::default() }
    }

    async fn start(&self) -> Arc<Lan> {
        Lan::start(self.config(), &monitor(), CancellationToken::new()).await.unwrap()
    }

    /// A member of the group that is not ours.
    fn raw_peer(&self) -> UdpSocket {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, self.port)).into()).unwrap();
        socket.join_multicast_v4(&GROUP, &Ipv4Addr::LOCALHOST).unwrap();
        socket.set_multicast_if_v4(&Ipv4Addr::LOCALHOST).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.into()
    }
}

fn service(key: KeyHash, port: u16) -> LanService {
    LanService { key, port, title: "A title".into(), freetext: None, unlisted: false }
}

fn unlisted(key: KeyHash, port: u16) -> LanService {
    LanService { unlisted: true, ..service(key, port) }
}

async fn first(search: &mut tokio::sync::mpsc::Receiver<SocketAddr>) -> SocketAddr {
    timeout(PATIENCE, search.recv()).await.unwrap().unwrap()
}

async fn listed(
    list: &mut watch::Receiver<Vec<FoundService>>,
    wanted: impl FnMut(&Vec<FoundService>) -> bool,
) -> Vec<FoundService> {
    timeout(PATIENCE, list.wait_for(wanted)).await.unwrap().unwrap().clone()
}
