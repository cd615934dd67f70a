//! Whatever happens to LAN discovery, in whatever order: it stays within its bounds and makes
//! progress.

#![allow(clippy::disallowed_methods, reason = "a test needs a first instant to count from")]

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use hardline_proto::KeyHash;
use hardline_proto::lan::*;
use hardline_proto::rolling::Day;
use proptest::prelude::*;

/// One thing that may happen.
#[derive(Debug, Clone)]
enum Operation {
    Wait(u64),
    Day(u64),
    InterfaceUp(u8),
    InterfaceDown(u8),
    Services(Vec<(u8, bool)>),
    Search(u8),
    StopSearch(u8),
    Browse(bool),
    HearSearch { from: u8, key: Option<u8> },
    HearService { from: u8, port: u16, key: u8, title: String },
    HearGoodbye { from: u8, port: u16, key: u8 },
    HearGarbage { from: u8, bytes: Vec<u8> },
}

proptest! {
    #[test]
    fn any_sequence_of_operations_keeps_the_bounds(operations in prop::collection::vec(operation(), 1..120)) {
        let start = Instant::now();
        let mut now = start;
        let mut lan = Discovery::new(Settings { port: 1, plain_search: true, rates: Rates::DEFAULT }, Cookie::from_random([1; 16]), Day(9));
        for operation in operations {
            if let Operation::Wait(ms) = operation {
                now = wait(&mut lan, now, Duration::from_millis(ms));
            } else {
                apply(&mut lan, now, operation);
            }
            let sent = std::iter::from_fn(|| lan.poll_transmit()).inspect(|sent| {
                assert!(Datagram::parse(&sent.payload).is_ok(), "what is sent can be read");
            });
            prop_assert!(sent.count() <= 4096);
            while lan.poll_event().is_some() {}
            let found = lan.found();
            prop_assert!(found.iter().all(|found| (1..=MAX_ADDRS_PER_SERVICE).contains(&found.addrs.len())));
            prop_assert!(found.is_sorted_by_key(|found| found.key));
        }
        // Left alone, everything heard is forgotten.
        now = wait(&mut lan, now, SERVICE_LIFETIME);
        prop_assert_eq!(lan.found(), []);
        prop_assert!(lan.poll_timeout().is_none_or(|at| at > now));
    }
}

fn apply(lan: &mut Discovery, now: Instant, operation: Operation) {
    match operation {
        Operation::Wait(_) => {}
        Operation::Day(day) => lan.set_day(Day(day)),
        Operation::InterfaceUp(net) => assert!(lan.interface_up(now, Interface { addr: addr(net, 1), prefix_len: 24 })),
        Operation::InterfaceDown(net) => lan.interface_down(addr(net, 1)),
        Operation::Services(services) => {
            let own = |(number, unlisted)| OwnService {
                key: key(number),
                freetext: Freetext::new("text"),
                port: 7008,
                title: Title::clean("title"),
                unlisted,
            };
            lan.set_services(now, services.into_iter().map(own).collect());
        }
        Operation::Search(number) => assert!(lan.start_search(now, key(number)).is_ok()),
        Operation::StopSearch(number) => lan.stop_search(key(number)),
        Operation::Browse(true) => lan.start_browsing(now),
        Operation::Browse(false) => lan.stop_browsing(),
        Operation::HearSearch { from, key: number } => {
            let code = number.map(|number| *key(number).as_bytes());
            hear(
                lan,
                now,
                from,
                &Datagram::Search(Search { code, cookie: Cookie::from_random([2; 16]), speaks_v2: from % 2 == 0 })
                    .to_bytes(),
            );
        }
        Operation::HearService { from, port, key: number, title } => {
            let infohash = Infohash { freetext: None, hash: *key(number).as_bytes() };
            let cookie = Cookie::from_random([2; 16]);
            let announcement = Announcement { port, infohash, cookie, title: Title::clean(&title), speaks_v2: false };
            hear(lan, now, from, &Datagram::Service(announcement).to_bytes());
        }
        Operation::HearGoodbye { from, port, key: number } => {
            let goodbye = Goodbye { port, key: key(number), cookie: Cookie::from_random([2; 16]) };
            hear(lan, now, from, &Datagram::Goodbye(goodbye).to_bytes());
        }
        Operation::HearGarbage { from, bytes } => hear(lan, now, from, &bytes),
    }
}

fn hear(lan: &mut Discovery, now: Instant, from: u8, bytes: &[u8]) {
    let _ = lan.handle_datagram(now, addr(from % 4, from).at(5000), bytes);
}

/// Lets time pass, stopping at every deadline; each must move on.
fn wait(lan: &mut Discovery, start: Instant, span: Duration) -> Instant {
    let end = start + span;
    let mut now = start;
    while let Some(at) = lan.poll_timeout().filter(|&at| at <= end) {
        now = now.max(at);
        lan.handle_timeout(now);
        assert!(lan.poll_timeout().is_none_or(|next| next > now), "a deadline that stays due is a busy loop");
        while lan.poll_transmit().is_some() {}
    }
    end
}

fn addr(net: u8, host: u8) -> LanAddr {
    LanAddr::v4(Ipv4Addr::new(10, 0, net, host))
}

fn key(number: u8) -> KeyHash {
    KeyHash::from_bytes([number; 20])
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        (0..100_000u64).prop_map(Operation::Wait),
        (0..20u64).prop_map(Operation::Day),
        (0..4u8).prop_map(Operation::InterfaceUp),
        (0..4u8).prop_map(Operation::InterfaceDown),
        prop::collection::vec((0..5u8, any::<bool>()), 0..5).prop_map(Operation::Services),
        (0..8u8).prop_map(Operation::Search),
        (0..8u8).prop_map(Operation::StopSearch),
        any::<bool>().prop_map(Operation::Browse),
        (any::<u8>(), prop::option::of(0..8u8)).prop_map(|(from, key)| Operation::HearSearch { from, key }),
        (any::<u8>(), 1..=u16::MAX, 0..8u8, "[a-z]{0,3}").prop_map(|(from, port, key, title)| Operation::HearService {
            from,
            port,
            key,
            title
        }),
        (any::<u8>(), 1..=u16::MAX, 0..8u8).prop_map(|(from, port, key)| Operation::HearGoodbye { from, port, key }),
        (any::<u8>(), prop::collection::vec(any::<u8>(), 0..200))
            .prop_map(|(from, bytes)| Operation::HearGarbage { from, bytes }),
    ]
}
