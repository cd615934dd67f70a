//! LAN discovery with the released Python programs, from datagrams they really sent
//! (`vectors/lan/README.md`).
#![allow(clippy::unwrap_used)]
#![allow(clippy::disallowed_methods, reason = "a test needs a first instant to count from")]

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use hardline_proto::KeyHash;
use hardline_proto::lan::*;
use hardline_proto::rolling::Day;

/// What was recorded of one version.
struct Recorded {
    key: &'static str,
    freetext: &'static str,
    search: &'static [u8],
    browse: &'static [u8],
    service: &'static [u8],
}

const RECORDED: [Recorded; 2] = [
    Recorded {
        key: "53bffdb539f185f26f3671ed26c0e86f40d3004f",
        freetext: "va4aih5sdcpn4",
        search: include_bytes!("vectors/lan/0.0.12-search.bin"),
        browse: include_bytes!("vectors/lan/0.0.12-browse.bin"),
        service: include_bytes!("vectors/lan/0.0.12-service.bin"),
    },
    Recorded {
        key: "b1e487c9e540e7b643d79331d5b3ba02db2bafa6",
        freetext: "tfvk4zijfytvi",
        search: include_bytes!("vectors/lan/0.21.1-search.bin"),
        browse: include_bytes!("vectors/lan/0.21.1-browse.bin"),
        service: include_bytes!("vectors/lan/0.21.1-service.bin"),
    },
];

const RECORDED_ON: Day = Day(20_779);
const PEER: SocketAddr = LanAddr::v4(Ipv4Addr::new(192, 168, 77, 2)).at(40_584);

#[test]
fn what_they_send_is_written_again_byte_for_byte() {
    for bytes in RECORDED.iter().flat_map(|recorded| [recorded.search, recorded.browse, recorded.service]) {
        assert_eq!(Datagram::parse(bytes).unwrap().to_bytes(), bytes);
    }
}

#[test]
fn their_searches_find_our_service_and_get_the_answer_they_recognise() {
    for recorded in &RECORDED {
        let mut host = discovery();
        host.set_services(Instant::now(), vec![service(recorded)]);
        while host.poll_transmit().is_some() {}
        host.handle_datagram(Instant::now(), PEER, recorded.search).unwrap();
        let answers: Vec<_> = std::iter::from_fn(|| host.poll_transmit()).filter(|sent| sent.to == PEER).collect();
        // They compare `Infohash` with the name the person typed, text included.
        let expected = format!("\r\nInfohash: {}-{}\r\n", recorded.freetext, recorded.key);
        assert_eq!(answers.len(), 1);
        assert!(String::from_utf8_lossy(&answers[0].payload).contains(&expected));
    }
}

#[test]
fn their_browsing_is_answered() {
    for recorded in &RECORDED {
        let mut host = discovery();
        host.set_services(Instant::now(), vec![service(recorded)]);
        while host.poll_transmit().is_some() {}
        host.handle_datagram(Instant::now(), PEER, recorded.browse).unwrap();
        assert_eq!(std::iter::from_fn(|| host.poll_transmit()).filter(|sent| sent.to == PEER).count(), 1);
    }
}

#[test]
fn their_answers_are_found_with_title_and_text() {
    for recorded in &RECORDED {
        let mut seeker = discovery();
        seeker.start_search(Instant::now(), key(recorded)).unwrap();
        seeker.handle_datagram(Instant::now(), PEER, recorded.service).unwrap();
        let addr = SocketAddr::new(PEER.ip(), 7008);
        assert_eq!(seeker.poll_event(), Some(Event::Found { key: key(recorded), addr }));
        let expected = Found {
            key: key(recorded),
            freetext: Freetext::new(recorded.freetext),
            addrs: vec![(addr, Title::clean("Käse: & more"))],
            v2: Vec::new(),
        };
        assert_eq!(seeker.found(), [expected]);
    }
}

#[test]
fn our_searches_go_by_a_name_that_each_of_them_answers() {
    let [old, new] = &RECORDED;
    assert_eq!(searched(new, true)[0], code(new.search), "the rolling code");
    assert_eq!(searched(old, true)[1], *key(old).as_bytes(), "the plain hash, which both versions answer too");
    assert_eq!(searched(old, false)[1], code(old.search), "the double hash");
}

/// The names a search asks for until older names have had their turn.
fn searched(recorded: &Recorded, plain_search: bool) -> Vec<[u8; 20]> {
    let settings = Settings { port: 6771, plain_search, rates: Rates::DEFAULT };
    let mut seeker = Discovery::new(settings, Cookie::from_random([1; 16]), RECORDED_ON);
    let start = Instant::now();
    assert!(seeker.interface_up(start, HOME));
    seeker.start_search(start, key(recorded)).unwrap();
    seeker.handle_timeout(start + Duration::from_millis(100));
    std::iter::from_fn(|| seeker.poll_transmit()).map(|sent| code(&sent.payload)).collect()
}

const HOME: Interface = Interface { addr: LanAddr::v4(Ipv4Addr::new(192, 168, 77, 1)), prefix_len: 24 };

/// A computer on the peers' network, on the day of the recording.
fn discovery() -> Discovery {
    let settings = Settings { port: 6771, plain_search: true, rates: Rates::DEFAULT };
    let mut discovery = Discovery::new(settings, Cookie::from_random([1; 16]), RECORDED_ON);
    assert!(discovery.interface_up(Instant::now(), HOME));
    discovery
}

fn key(recorded: &Recorded) -> KeyHash {
    recorded.key.parse().unwrap()
}

fn service(recorded: &Recorded) -> OwnService {
    let freetext = Freetext::new(recorded.freetext);
    OwnService { key: key(recorded), freetext, port: 7008, title: Title::default(), unlisted: false }
}

fn code(search: &[u8]) -> [u8; 20] {
    match Datagram::parse(search) {
        Ok(Datagram::Search(search)) => search.code.unwrap(),
        other => panic!("{other:?}"),
    }
}
