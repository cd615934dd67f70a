//! LAN discovery over IPv6, whose link-local addresses mean something on one link only.
#![allow(clippy::unwrap_used)]
#![allow(clippy::disallowed_methods, reason = "a test needs a first instant to count from")]

use std::net::SocketAddr;
use std::time::Instant;

use hardline_proto::KeyHash;
use hardline_proto::lan::*;
use hardline_proto::rolling::{Day, RollingCode};

const PORT: u16 = 6771;
const TODAY: Day = Day(20_000);
const KEY: KeyHash = KeyHash::from_bytes([0xa1; 20]);

/// A computer with a cable at its interface 2 and a Wi-Fi at its interface 3; on both it is
/// `fe80::1`.
struct Computer {
    lan: Discovery,
    now: Instant,
}

impl Computer {
    fn new(services: Vec<OwnService>) -> Self {
        let settings = Settings { port: PORT, plain_search: true, rates: Rates::DEFAULT };
        let (mut lan, now) = (Discovery::new(settings, Cookie::from_random([7; 16]), TODAY), Instant::now());
        for scope in [2, 3] {
            assert!(lan.interface_up(now, Interface { addr: own(scope), prefix_len: 64 }));
        }
        lan.set_services(now, services);
        let mut computer = Self { lan, now };
        computer.sent();
        computer
    }

    fn hear(&mut self, from: SocketAddr, datagram: &Datagram) {
        self.lan.handle_datagram(self.now, from, &datagram.to_bytes()).unwrap();
    }

    fn sent(&mut self) -> Vec<(LanAddr, SocketAddr)> {
        std::iter::from_fn(|| self.lan.poll_transmit()).map(|sent| (sent.interface, sent.to)).collect()
    }

    fn found(&mut self) -> Vec<SocketAddr> {
        let events = std::iter::from_fn(|| self.lan.poll_event());
        events.filter_map(|event| if let Event::Found { addr, .. } = event { Some(addr) } else { None }).collect()
    }
}

fn own(scope: u32) -> LanAddr {
    LanAddr::v6("fe80::1".parse().unwrap(), scope)
}

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn service() -> OwnService {
    OwnService { key: KEY, freetext: None, port: 7008, title: Title::clean("A title"), unlisted: true }
}

fn question() -> Datagram {
    let code = Some(*RollingCode::of(&KEY, TODAY).as_bytes());
    Datagram::Search(Search { code, cookie: Cookie::from_random([1; 16]), speaks_v2: true })
}

fn answer() -> Datagram {
    Datagram::Service(Announcement {
        port: 7008,
        infohash: Infohash { freetext: None, hash: *RollingCode::of(&KEY, TODAY).as_bytes() },
        cookie: Cookie::from_random([1; 16]),
        title: Title::default(),
        speaks_v2: true,
    })
}

#[test]
fn a_search_goes_to_the_group_of_every_link_and_an_answer_keeps_its_zone() {
    let mut seeker = Computer::new(Vec::new());
    seeker.lan.start_search(seeker.now, KEY).unwrap();
    let groups = [2, 3].map(|scope| (own(scope), at(&format!("[ff12::efc0:988f%{scope}]:6771"))));
    assert_eq!(seeker.sent(), groups);
    seeker.hear(at("[fe80::9%3]:40000"), &answer());
    assert_eq!(seeker.found(), [at("[fe80::9%3]:7008")]);
    // The same address on another link is another computer.
    seeker.hear(at("[fe80::9%2]:40000"), &answer());
    assert_eq!(seeker.found(), [at("[fe80::9%2]:7008")]);
    seeker.lan.interface_down(own(3));
    assert_eq!(seeker.lan.found()[0].addrs.len(), 1, "what was heard on a link goes with it");
}

#[test]
fn a_question_is_answered_on_the_link_it_came_from() {
    let mut host = Computer::new(vec![service()]);
    host.hear(at("[fe80::9%3]:40000"), &question());
    assert_eq!(host.sent(), [(own(3), at("[fe80::9%3]:40000"))]);
}

#[test]
fn over_ipv6_a_sender_beyond_the_link_is_neither_answered_nor_believed() {
    let mut host = Computer::new(vec![service()]);
    let mut seeker = Computer::new(Vec::new());
    seeker.lan.start_search(seeker.now, KEY).unwrap();
    seeker.sent();
    for stranger in ["[2001:db8::9]:40000", "[fe80::9%4]:40000", "[fe80::9]:40000", "[fe80:0:0:1::9%3]:40000"] {
        host.hear(at(stranger), &question());
        seeker.hear(at(stranger), &answer());
        assert_eq!((host.sent(), seeker.found()), (vec![], vec![]), "{stranger}");
    }
    assert_eq!(seeker.lan.found(), []);
}

#[test]
fn over_ipv6_one_greedy_neighbour_gets_a_bounded_number_of_answers_and_so_do_all_its_addresses() {
    let mut host = Computer::new(vec![service()]);
    (0..10_000).for_each(|_| host.hear(at("[fe80::9%3]:40000"), &question()));
    assert_eq!(host.sent().len(), 256);
    for number in 0..10_000 {
        host.hear(at(&format!("[fe80::1:{number:x}%3]:40000")), &question());
    }
    assert!(host.sent().len() < 2_000);
    let dropped = host.lan.take_dropped();
    assert!(dropped.datagrams + dropped.answers > 15_000, "{dropped:?}");
}
