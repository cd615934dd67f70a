//! What LAN discovery promises, in simulated time.
#![allow(clippy::unwrap_used)]
#![allow(clippy::disallowed_methods, reason = "a test needs a first instant to count from")]

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use hardline_proto::KeyHash;
use hardline_proto::lan::*;
use hardline_proto::rolling::{Day, RollingCode};

const KEY: KeyHash = KeyHash::from_bytes([0xa1; 20]);
const OTHER_KEY: KeyHash = KeyHash::from_bytes([0xb2; 20]);
const TODAY: Day = Day(20_000);
const PORT: u16 = 6771;
const GROUP_ADDR: SocketAddr = LanAddr::v4(GROUP).at(PORT);
const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

// --- answering
// ---------------------------------------------------------------------------------------------------------

#[test]
fn a_search_by_any_name_of_a_service_is_answered_to_the_group_and_to_the_sender() {
    let double = *KeyHash::of_certificate(KEY.as_bytes()).as_bytes(); // the same construction
    let [yesterday, today, tomorrow] = TODAY.with_neighbours().map(|day| *RollingCode::of(&KEY, day).as_bytes());
    for code in [*KEY.as_bytes(), double, yesterday, today, tomorrow] {
        let mut host = Sim::with_services(vec![service(KEY)]);
        host.receive(NEIGHBOUR, &search(Some(code)));
        assert_eq!(host.sent(), [(GROUP_ADDR, announced(KEY, "")), (NEIGHBOUR, announced(KEY, ""))]);
    }
}

#[test]
fn a_peer_of_version_2_that_asks_by_a_rolling_code_is_answered_by_that_code_alone_and_to_nobody_else() {
    let v2 =
        |code| Datagram::Search(Search { code: Some(code), cookie: Cookie::from_random([9; 16]), speaks_v2: true });
    for day in TODAY.with_neighbours() {
        let code = RollingCode::of(&KEY, day);
        let mut host = Sim::with_services(vec![service(KEY)]);
        host.receive(NEIGHBOUR, &v2(*code.as_bytes()).to_bytes());
        assert_eq!(host.sent(), [(NEIGHBOUR, announced(KEY, "").replace(&KEY.to_string(), &code.to_string()))]);
    }
    let mut host = Sim::with_services(vec![service(KEY)]);
    host.receive(NEIGHBOUR, &v2(*KEY.as_bytes()).to_bytes());
    assert_eq!(host.sent().len(), 2, "the plain hash is no secret any more");
}

#[test]
fn a_search_for_another_service_is_not_answered() {
    let mut host = Sim::with_services(vec![service(KEY)]);
    host.receive(NEIGHBOUR, &search(Some(*OTHER_KEY.as_bytes())));
    host.receive(NEIGHBOUR, &search(Some(*RollingCode::of(&KEY, Day(TODAY.0 + 2)).as_bytes())));
    assert_eq!(host.sent(), []);
}

#[test]
fn the_rolling_codes_follow_the_day() {
    let mut host = Sim::with_services(vec![service(KEY)]);
    host.lan.set_day(Day(TODAY.0 + 2));
    host.receive(NEIGHBOUR, &search(Some(*RollingCode::of(&KEY, TODAY).as_bytes())));
    assert_eq!(host.sent(), []);
    host.receive(NEIGHBOUR, &search(Some(*RollingCode::of(&KEY, Day(TODAY.0 + 2)).as_bytes())));
    assert_eq!(host.sent().len(), 2);
}

#[test]
fn browsing_is_answered_for_every_listed_service() {
    let unlisted = OwnService { unlisted: true, ..service(OTHER_KEY) };
    let mut host = Sim::with_services(vec![service(KEY), unlisted]);
    host.receive(NEIGHBOUR, &search(None));
    assert_eq!(host.sent(), [(GROUP_ADDR, announced(KEY, "")), (NEIGHBOUR, announced(KEY, ""))]);
}

#[test]
fn an_unlisted_service_answers_nobody_but_who_asks_for_it() {
    let mut host = Sim::with_services(vec![OwnService { unlisted: true, ..service(KEY) }]);
    host.advance(120 * SECOND);
    assert_eq!(host.sent(), []);
    host.receive(NEIGHBOUR, &search(Some(*RollingCode::of(&KEY, TODAY).as_bytes())));
    assert_eq!(host.sent(), [(NEIGHBOUR, announced(KEY, ""))]);
}

#[test]
fn the_text_of_an_address_is_told_to_who_asks_by_name_and_to_nobody_else() {
    let mut host = Sim::with_services(vec![OwnService { freetext: Freetext::new("secret"), ..service(KEY) }]);
    host.receive(NEIGHBOUR, &search(None));
    host.receive(NEIGHBOUR, &search(Some(*KEY.as_bytes())));
    let public = announced(KEY, "");
    let private = announced(KEY, "secret-");
    assert_eq!(
        host.sent(),
        [(GROUP_ADDR, public.clone()), (NEIGHBOUR, public.clone()), (GROUP_ADDR, public), (NEIGHBOUR, private)]
    );
}

#[test]
fn a_sender_beyond_the_connected_networks_is_neither_answered_nor_believed() {
    let stranger = LanAddr::v4(Ipv4Addr::new(203, 0, 113, 9)).at(5000);
    let mut host = Sim::with_services(vec![service(KEY)]);
    host.receive(stranger, &search(None));
    host.receive(stranger, &claim(OTHER_KEY, 7008, "far away"));
    assert_eq!(host.sent(), []);
    assert_eq!(host.lan.found(), []);
}

#[test]
fn an_answer_leaves_by_the_interface_of_the_nearest_network() {
    let mut host = Sim::with_services(vec![service(KEY)]);
    host.lan.interface_up(host.now, Interface { addr: LanAddr::v4(Ipv4Addr::new(192, 168, 0, 1)), prefix_len: 16 });
    host.sent();
    for (from, interface) in
        [(NEIGHBOUR, HOME.addr), ("192.168.9.9:1".parse().unwrap(), LanAddr::v4(Ipv4Addr::new(192, 168, 0, 1)))]
    {
        host.receive(from, &search(None));
        assert_eq!(host.transmits().iter().map(|sent| sent.interface).collect::<Vec<_>>(), [interface; 2]);
    }
}

#[test]
fn one_greedy_neighbour_gets_a_bounded_number_of_answers_and_others_still_get_theirs() {
    let mut host = Sim::with_services(vec![service(KEY)]);
    for _ in 0..10_000 {
        host.receive(NEIGHBOUR, &search(None));
    }
    assert_eq!(host.sent().len(), 256);
    host.receive(OTHER_NEIGHBOUR, &search(None));
    assert_eq!(host.sent().len(), 2);
    host.advance(SECOND);
    host.sent();
    host.receive(NEIGHBOUR, &search(None));
    assert_eq!(host.sent().len(), 2, "the neighbour is forgiven with time");
}

#[test]
fn all_neighbours_together_get_a_bounded_number_of_answers() {
    let mut host = Sim::with_services(vec![service(KEY)]);
    for asker in 0..10_000u32 {
        let addr = Ipv4Addr::from_bits(Ipv4Addr::new(192, 168, 1, 20).to_bits() & !0xff | (asker % 250 + 2));
        host.receive(LanAddr::v4(addr).at(5000), &search(None));
    }
    assert_eq!(host.sent().len(), 1024);
}

// --- announcing
// --------------------------------------------------------------------------------------------------------

#[test]
fn one_loud_neighbour_is_read_up_to_an_allowance_and_others_still_are() {
    let rates = Rates { datagrams: 100, datagrams_per_source: 10, ..Rates::DEFAULT };
    let mut sim = Sim::with_settings(Settings { port: PORT, plain_search: true, rates });
    for port in 1..=1000 {
        // What is dropped is not even read: rubbish is no error any more.
        let heard = sim.lan.handle_datagram(sim.now, NEIGHBOUR, b"rubbish");
        assert_eq!(heard.is_err(), port <= 80, "{port}");
    }
    assert_eq!(sim.lan.take_dropped().datagrams, 1000 - 80);
    sim.receive(OTHER_NEIGHBOUR, &claim(KEY, 7008, "heard"));
    assert_eq!(sim.lan.found().len(), 1);
    sim.advance(SECOND);
    sim.receive(NEIGHBOUR, &claim(OTHER_KEY, 7008, "heard, a second later"));
    assert_eq!(sim.lan.found().len(), 2);
}

#[test]
fn all_neighbours_together_are_read_up_to_an_allowance() {
    let rates = Rates { datagrams: 100, datagrams_per_source: 10, ..Rates::DEFAULT };
    let mut sim = Sim::with_settings(Settings { port: PORT, plain_search: true, rates });
    for n in 0..10_000u16 {
        let neighbour = LanAddr::v4(Ipv4Addr::new(192, 168, 1, (n % 200) as u8 + 20)).at(40_000);
        sim.receive(neighbour, &claim(key(n), 7008, "flood"));
    }
    assert_eq!(sim.lan.take_dropped().datagrams, 10_000 - 400);
}

#[test]
fn a_listed_service_is_announced_at_once_a_second_later_and_every_30_seconds() {
    let mut host = Sim::new();
    host.lan.set_services(host.now, vec![service(KEY)]);
    assert_eq!(host.sent(), [(GROUP_ADDR, announced(KEY, ""))]);
    assert_eq!(host.times_of_sending(92 * SECOND), [SECOND, 31 * SECOND, 61 * SECOND, 91 * SECOND]);
}

#[test]
fn services_set_again_unchanged_are_not_announced_again() {
    let mut host = Sim::with_services(vec![service(KEY)]);
    host.lan.set_services(host.now, vec![service(KEY)]);
    assert_eq!(host.sent(), []);
    host.advance(5 * SECOND);
    host.sent();
    host.lan.set_services(host.now, vec![service(KEY), service(OTHER_KEY)]);
    assert_eq!(host.sent().len(), 2);
}

#[test]
fn services_that_change_all_the_time_are_announced_once_a_second() {
    let mut host = Sim::new();
    for number in 1..=1000 {
        let title = Title::clean(&number.to_string());
        host.lan.set_services(host.now, vec![OwnService { title, ..service(KEY) }]);
        host.advance(10 * MS);
    }
    assert!((10..=12).contains(&host.sent().len()));
}

#[test]
fn an_interface_that_comes_up_later_hears_of_services_and_searches_at_once() {
    let mut host = Sim::with_services(vec![service(KEY)]);
    host.lan.start_search(host.now, OTHER_KEY).unwrap();
    host.advance(10 * SECOND);
    host.sent();
    let late = Interface { addr: LanAddr::v4(Ipv4Addr::new(10, 0, 0, 1)), prefix_len: 8 };
    assert!(host.lan.interface_up(host.now, late));
    let sent = host.transmits();
    let on_the_new_one: Vec<_> = sent.iter().filter(|sent| sent.interface == late.addr).map(text).collect();
    assert_eq!(on_the_new_one, [announced(KEY, ""), searched(RollingCode::of(&OTHER_KEY, TODAY))]);
}

#[test]
fn an_interface_that_went_away_is_not_used_and_what_was_heard_there_is_forgotten() {
    let mut host = Sim::with_services(vec![service(KEY)]);
    host.receive(NEIGHBOUR, &claim(OTHER_KEY, 7008, "there"));
    assert_eq!(host.lan.found().len(), 1);
    host.lan.interface_down(HOME.addr);
    assert_eq!(host.lan.found(), []);
    assert_eq!(host.events().last(), Some(&Event::ListChanged));
    host.advance(60 * SECOND);
    assert_eq!(host.sent(), []);
}

#[test]
fn an_interface_whose_network_shrinks_forgets_what_was_heard_beyond_it() {
    let mut host = Sim::new();
    host.receive(NEIGHBOUR, &claim(OTHER_KEY, 7008, "there"));
    assert!(host.lan.interface_up(host.now, Interface { prefix_len: 32, ..HOME }));
    assert_eq!(host.lan.found(), []);
    assert_eq!(host.events().last(), Some(&Event::ListChanged));
}

#[test]
fn interfaces_are_bounded() {
    let mut host = Sim::new();
    let taken = (0..=255).filter(|&last| {
        host.lan.interface_up(host.now, Interface { addr: LanAddr::v4(Ipv4Addr::new(10, 0, last, 1)), prefix_len: 24 })
    });
    assert_eq!(taken.count(), 63);
}

// --- searching
// ---------------------------------------------------------------------------------------------------------

#[test]
fn a_search_goes_by_the_rolling_code_first_and_by_the_plain_hash_100_ms_later() {
    let mut seeker = Sim::new();
    seeker.lan.start_search(seeker.now, KEY).unwrap();
    assert_eq!(seeker.sent(), [(GROUP_ADDR, searched(RollingCode::of(&KEY, TODAY)))]);
    seeker.advance(99 * MS);
    assert_eq!(seeker.sent(), []);
    seeker.advance(MS);
    assert_eq!(seeker.sent(), [(GROUP_ADDR, searched(KEY))]);
}

#[test]
fn with_plain_searches_off_the_key_hash_is_never_sent() {
    let mut seeker = Sim::with_settings(Settings { port: PORT, plain_search: false, rates: Rates::DEFAULT });
    seeker.lan.start_search(seeker.now, KEY).unwrap();
    seeker.advance(3600 * SECOND);
    let sent: Vec<_> = seeker.sent().into_iter().map(|(_, text)| text).collect();
    assert!(sent.contains(&searched(KeyHash::of_certificate(KEY.as_bytes()))), "the double hash is");
    assert!(!sent.contains(&searched(KEY)));
}

#[test]
fn an_answer_to_the_rolling_code_spares_the_plain_search() {
    let mut seeker = Sim::new();
    seeker.lan.start_search(seeker.now, KEY).unwrap();
    seeker.receive(NEIGHBOUR, &claim(KEY, 7008, ""));
    seeker.sent();
    seeker.advance(240 * MS);
    assert_eq!(seeker.sent(), []);
}

#[test]
fn whoever_still_waits_after_an_answer_gets_a_plain_search_all_the_same() {
    let mut seeker = Sim::new();
    seeker.lan.start_search(seeker.now, KEY).unwrap();
    seeker.receive(NEIGHBOUR, &claim(KEY, 1, "hostile: answers everything"));
    seeker.advance(SECOND);
    assert!(seeker.sent().contains(&(GROUP_ADDR, searched(KEY))));
}

#[test]
fn a_search_is_repeated_with_growing_pauses_until_it_is_stopped() {
    let mut seeker = Sim::with_settings(Settings { port: PORT, plain_search: true, rates: Rates::DEFAULT });
    seeker.lan.start_search(seeker.now, KEY).unwrap();
    seeker.sent();
    let rolling = searched(RollingCode::of(&KEY, TODAY));
    let times = seeker.times_of_sending_text(&rolling, 33 * SECOND);
    assert_eq!(times, [250, 750, 1750, 3750, 7750, 15750, 23750, 31750].map(Duration::from_millis));
    seeker.lan.stop_search(KEY);
    seeker.advance(60 * SECOND);
    assert_eq!(seeker.sent(), []);
    assert_eq!(seeker.lan.poll_timeout(), None);
}

#[test]
fn an_answer_may_carry_the_plain_hash_text_in_front_of_it_or_a_code() {
    let code = KeyHash::from_bytes(*RollingCode::of(&KEY, TODAY).as_bytes());
    let texts = [KEY.to_string(), KEY.to_string().to_uppercase(), format!("some-text-{KEY}"), code.to_string()];
    for (index, infohash) in texts.iter().enumerate() {
        let mut seeker = Sim::new();
        seeker.lan.start_search(seeker.now, KEY).unwrap();
        seeker.receive(
            NEIGHBOUR,
            format!("HARDLINE-SERVICE * HTTP/1.1\r\nPort: 7008\r\nInfohash: {infohash}\r\n\r\n").as_bytes(),
        );
        let addr = SocketAddr::new(NEIGHBOUR.ip(), 7008);
        assert_eq!(seeker.events(), [Event::Found { key: KEY, addr }, Event::ListChanged], "{index}");
    }
}

#[test]
fn all_who_claim_a_key_are_candidates_in_the_order_heard() {
    let mut seeker = Sim::new();
    seeker.lan.start_search(seeker.now, KEY).unwrap();
    seeker.receive(OTHER_NEIGHBOUR, &claim(KEY, 1, "hostile"));
    seeker.receive(NEIGHBOUR, &claim(KEY, 7008, "the right one"));
    seeker.receive(OTHER_NEIGHBOUR, &claim(KEY, 1, "hostile"));
    let heard = [SocketAddr::new(OTHER_NEIGHBOUR.ip(), 1), SocketAddr::new(NEIGHBOUR.ip(), 7008)];
    assert_eq!(seeker.found_events(), heard);
    assert_eq!(seeker.lan.start_search(seeker.now, KEY), Ok(heard.to_vec()));
}

#[test]
fn a_service_heard_of_already_is_known_at_once_and_asked_for_only_if_that_is_not_enough() {
    let mut seeker = Sim::new();
    seeker.receive(NEIGHBOUR, &claim(KEY, 7008, ""));
    let known = seeker.lan.start_search(seeker.now, KEY).unwrap();
    assert_eq!(known, [SocketAddr::new(NEIGHBOUR.ip(), 7008)]);
    seeker.advance(99 * MS);
    assert_eq!(seeker.sent(), []);
    seeker.advance(MS);
    assert_eq!(seeker.sent(), [(GROUP_ADDR, searched(RollingCode::of(&KEY, TODAY)))]);
}

#[test]
fn searches_are_bounded_in_number_and_in_questions_sent() {
    let mut seeker = Sim::new();
    let started = (0..1000u16).filter(|&n| seeker.lan.start_search(seeker.now, key(n)).is_ok()).count();
    assert_eq!(started, MAX_SEARCHES);
    assert_eq!(seeker.lan.start_search(seeker.now, KEY), Err(TooManySearches));
    seeker.advance(10 * SECOND);
    assert!(seeker.sent().len() <= 200 + 10 * 50);
}

// --- browsing
// ----------------------------------------------------------------------------------------------------------

#[test]
fn browsing_asks_at_once_a_second_later_and_every_20_seconds() {
    let mut seeker = Sim::new();
    seeker.lan.start_browsing(seeker.now);
    assert_eq!(seeker.sent(), [(GROUP_ADDR, searched(""))]);
    assert_eq!(seeker.times_of_sending(45 * SECOND), [SECOND, 21 * SECOND, 41 * SECOND]);
    seeker.lan.stop_browsing();
    seeker.advance(60 * SECOND);
    assert_eq!(seeker.sent(), []);
}

#[test]
fn who_browses_again_and_again_asks_once_a_second() {
    let mut seeker = Sim::new();
    for _ in 0..100 {
        seeker.lan.start_browsing(seeker.now);
        seeker.advance(100 * MS);
    }
    assert!((10..=11).contains(&seeker.sent().len()));
}

#[test]
fn what_is_heard_is_listed_with_text_addresses_and_titles_in_the_order_heard() {
    let mut seeker = Sim::new();
    seeker.receive(NEIGHBOUR, &claim_as(&format!("text-{KEY}"), 7008, "A wiki"));
    seeker.advance(SECOND);
    seeker.receive(OTHER_NEIGHBOUR, &claim(KEY, 7009, "Renamed by another"));
    seeker.receive(NEIGHBOUR, &claim(KEY, 7008, "A wiki"));
    let found = seeker.lan.found();
    let expected = Found {
        key: KEY,
        freetext: Freetext::new("text"),
        addrs: vec![
            (SocketAddr::new(NEIGHBOUR.ip(), 7008), Title::clean("A wiki")),
            (SocketAddr::new(OTHER_NEIGHBOUR.ip(), 7009), Title::clean("Renamed by another")),
        ],
        v2: Vec::new(),
    };
    assert_eq!(found, [expected]);
}

#[test]
fn who_says_to_know_version_2_is_listed_as_such_until_it_says_otherwise() {
    let mut seeker = Sim::new();
    let old = String::from_utf8(claim(KEY, 7008, "A wiki")).unwrap();
    let new = old.replace("title:", "version: 2\r\ntitle:");
    seeker.receive(NEIGHBOUR, new.as_bytes());
    seeker.receive(OTHER_NEIGHBOUR, old.as_bytes());
    assert_eq!(seeker.lan.found()[0].v2, [SocketAddr::new(NEIGHBOUR.ip(), 7008)]);
    seeker.events();
    seeker.receive(NEIGHBOUR, old.as_bytes());
    assert_eq!(seeker.lan.found()[0].v2, []);
    assert_eq!(seeker.events(), [Event::ListChanged]);
}

#[test]
fn a_service_may_rename_itself() {
    let mut seeker = Sim::new();
    seeker.receive(NEIGHBOUR, &claim(KEY, 7008, "Old"));
    seeker.receive(NEIGHBOUR, &claim(KEY, 7008, "New"));
    seeker.receive(NEIGHBOUR, &claim(KEY, 7008, "New"));
    assert_eq!(seeker.lan.found()[0].addrs[0].1.as_str(), "New");
    assert_eq!(seeker.events(), [Event::ListChanged, Event::ListChanged], "no event when nothing changed");
}

#[test]
fn a_service_that_goes_silent_is_forgotten_after_its_lifetime() {
    let mut seeker = Sim::new();
    seeker.receive(NEIGHBOUR, &claim(KEY, 7008, ""));
    seeker.advance(60 * SECOND);
    seeker.receive(NEIGHBOUR, &claim(KEY, 7008, ""));
    seeker.events();
    seeker.advance(SERVICE_LIFETIME - MS);
    assert_eq!(seeker.lan.found().len(), 1);
    assert_eq!(seeker.events(), []);
    seeker.advance(MS);
    assert_eq!(seeker.lan.found(), []);
    assert_eq!(seeker.events(), [Event::ListChanged]);
    assert_eq!(seeker.lan.poll_timeout(), None);
}

#[test]
fn two_peers_that_announce_never_expire_each_other() {
    let mut seeker = Sim::new();
    let mut host = Sim::with_services(vec![service(KEY)]);
    for _ in 0..3600 {
        host.advance(SECOND);
        seeker.advance(SECOND);
        for (_, text) in host.sent() {
            seeker.receive(NEIGHBOUR, text.replace(&"07".repeat(16), "theirs").as_bytes());
        }
        assert!(seeker.now < seeker.start + 30 * SECOND || seeker.lan.found().len() == 1);
    }
}

// --- goodbyes
// ----------------------------------------------------------------------------------------------------------

#[test]
fn a_service_that_is_removed_or_moves_or_is_not_listed_any_more_is_taken_back_at_once() {
    for services in [
        vec![],
        vec![OwnService { port: 7009, ..service(KEY) }],
        vec![OwnService { unlisted: true, ..service(KEY) }],
        vec![service(OTHER_KEY)],
    ] {
        let mut host = Sim::with_services(vec![service(KEY)]);
        host.lan.set_services(host.now, services);
        assert_eq!(host.sent()[0], (GROUP_ADDR, text_of(&goodbye(KEY, 7008, [7; 16]))));
        host.advance(100 * SECOND);
        let again = host.sent().iter().filter(|(_, text)| text.starts_with("HARDLINE-GOODBYE")).count();
        assert_eq!(again, 0, "once");
    }
}

#[test]
fn what_stays_and_what_was_never_announced_is_not_taken_back() {
    let unlisted = OwnService { unlisted: true, ..service(OTHER_KEY) };
    let mut host = Sim::with_services(vec![service(KEY), unlisted]);
    host.lan.set_services(host.now, vec![OwnService { title: Title::clean("new"), ..service(KEY) }]);
    host.advance(SECOND);
    assert!(host.sent().iter().all(|(_, text)| text.starts_with("HARDLINE-SERVICE")));
}

#[test]
fn goodbyes_are_limited_as_all_that_is_sent() {
    let mut host = Sim::new();
    for port in 1..=1000 {
        host.lan.set_services(host.now, vec![OwnService { port, ..service(KEY) }]);
        host.advance(MS);
    }
    let goodbyes = host.sent().iter().filter(|(_, text)| text.starts_with("HARDLINE-GOODBYE")).count();
    assert!((64..=64 + 8).contains(&goodbyes), "{goodbyes}");
}

#[test]
fn a_service_that_says_goodbye_is_forgotten_at_once_and_found_again_when_it_comes_back() {
    let mut seeker = Sim::new();
    let mut host = Sim::new();
    seeker.lan.start_search(seeker.now, KEY).unwrap();
    for times in 1..=3 {
        host.lan.set_services(host.now, vec![service(KEY)]);
        host.advance(2 * SECOND);
        tell(&mut host, &mut seeker);
        assert_eq!((seeker.lan.found().len(), seeker.found_events().len()), (1, 1), "{times}");
        host.lan.set_services(host.now, vec![]);
        tell(&mut host, &mut seeker);
        assert_eq!(seeker.events(), [Event::ListChanged]);
        assert_eq!(seeker.lan.found(), []);
    }
}

/// Hands `seeker` what `host` sent, as from [`NEIGHBOUR`].
fn tell(host: &mut Sim, seeker: &mut Sim) {
    for (_, text) in host.sent() {
        seeker.receive(NEIGHBOUR, text.replace(&"07".repeat(16), &"09".repeat(16)).as_bytes());
    }
}

#[test]
fn nobody_takes_back_what_another_address_announced() {
    let mut seeker = Sim::new();
    seeker.receive(NEIGHBOUR, &announcement(KEY, [9; 16]));
    let honest = seeker.lan.found();
    for (from, bytes) in [
        (OTHER_NEIGHBOUR, goodbye(KEY, 7008, [9; 16])), // of another address
        (NEIGHBOUR, goodbye(KEY, 7009, [9; 16])),       // of another port
        (NEIGHBOUR, goodbye(OTHER_KEY, 7008, [9; 16])), // of another service
        (NEIGHBOUR, goodbye(KEY, 7008, [8; 16])),       // of who has not heard the announcement
        ("203.0.113.9:1".parse().unwrap(), goodbye(KEY, 7008, [9; 16])), // from far away
    ] {
        seeker.receive(from, &bytes);
        assert_eq!(seeker.lan.found(), honest);
    }
    seeker.receive(NEIGHBOUR, &goodbye(KEY, 7008, [9; 16]));
    assert_eq!(seeker.lan.found(), []);
}

#[test]
fn a_goodbye_that_comes_late_does_not_end_the_program_that_took_over() {
    let mut seeker = Sim::new();
    seeker.receive(NEIGHBOUR, &announcement(KEY, [9; 16]));
    seeker.receive(NEIGHBOUR, &announcement(KEY, [10; 16])); // restarted, at the same port
    seeker.receive(NEIGHBOUR, &goodbye(KEY, 7008, [9; 16]));
    assert_eq!(seeker.lan.found().len(), 1);
}

#[test]
fn goodbyes_count_as_datagrams_of_their_sender() {
    let rates = Rates { datagrams: 100, datagrams_per_source: 10, ..Rates::DEFAULT };
    let mut seeker = Sim::with_settings(Settings { port: PORT, plain_search: true, rates });
    for _ in 0..80 {
        seeker.receive(NEIGHBOUR, &goodbye(OTHER_KEY, 7008, [9; 16]));
    }
    seeker.receive(NEIGHBOUR, &announcement(KEY, [9; 16]));
    assert_eq!((seeker.lan.found().len(), seeker.lan.take_dropped().datagrams), (0, 1));
}

fn announcement(key: KeyHash, cookie: [u8; 16]) -> Vec<u8> {
    let infohash = Infohash { freetext: None, hash: *key.as_bytes() };
    let (cookie, title) = (Cookie::from_random(cookie), Title::default());
    Datagram::Service(Announcement { port: 7008, infohash, cookie, title, speaks_v2: true }).to_bytes()
}

fn goodbye(key: KeyHash, port: u16, cookie: [u8; 16]) -> Vec<u8> {
    Datagram::Goodbye(Goodbye { port, key, cookie: Cookie::from_random(cookie) }).to_bytes()
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

// --- strangers
// ---------------------------------------------------------------------------------------------------------

#[test]
fn ones_own_datagrams_are_dropped() {
    let mut host = Sim::with_services(vec![service(KEY)]);
    host.lan.start_browsing(host.now);
    host.lan.set_services(host.now, vec![service(OTHER_KEY)]);
    host.advance(2 * SECOND);
    for (_, text) in host.sent() {
        host.receive(HOME.addr.at(5000), text.as_bytes());
    }
    assert_eq!(host.sent(), []);
    assert_eq!(host.lan.found(), []);
}

#[test]
fn a_flood_by_one_source_pushes_out_nothing_that_others_announced() {
    let mut seeker = Sim::new();
    seeker.receive(NEIGHBOUR, &claim(KEY, 7008, "honest"));
    for n in 0..10_000 {
        seeker.receive(OTHER_NEIGHBOUR, &claim(key(n % 5000), n % 7 + 1, "flood"));
    }
    let found = seeker.lan.found();
    assert!(found.iter().any(|service| service.key == KEY));
    assert_eq!(found.len(), MAX_SERVICES_PER_SOURCE + 1);
}

#[test]
fn a_flood_for_one_service_by_one_source_leaves_room_for_the_right_address() {
    let mut seeker = Sim::new();
    seeker.receive(NEIGHBOUR, &claim(KEY, 7008, "honest"));
    for port in 1..=6_000 {
        seeker.receive(OTHER_NEIGHBOUR, &claim(KEY, port, "flood"));
    }
    let addrs = seeker.lan.found().remove(0).addrs;
    assert_eq!(addrs.len(), 3);
    assert!(addrs.iter().any(|(addr, _)| addr.ip() == NEIGHBOUR.ip()));
}

#[test]
fn a_flood_from_many_sources_is_bounded_and_a_quiet_source_survives_it() {
    let mut seeker = Sim::new();
    seeker.receive(NEIGHBOUR, &claim(KEY, 7008, "honest"));
    for n in 0..3_000u16 {
        let source = LanAddr::v4(Ipv4Addr::from_bits(
            Ipv4Addr::new(192, 168, 1, 20).to_bits() & !0xff | (u32::from(n % 100) + 100),
        ))
        .at(1);
        seeker.receive(source, &claim(key(n), 7008, "flood"));
        seeker.receive(source, &claim(OTHER_KEY, 7008, "flood"));
    }
    let found = seeker.lan.found();
    assert!(found.len() <= 512);
    assert!(found.iter().any(|service| service.key == KEY));
    assert!(found.iter().all(|service| service.addrs.len() <= MAX_ADDRS_PER_SERVICE));
}

// --- helpers
// -----------------------------------------------------------------------------------------------------------

const HOME: Interface = Interface { addr: LanAddr::v4(Ipv4Addr::new(192, 168, 1, 1)), prefix_len: 24 };
const NEIGHBOUR: SocketAddr = LanAddr::v4(Ipv4Addr::new(192, 168, 1, 20)).at(40_000);
const OTHER_NEIGHBOUR: SocketAddr = LanAddr::v4(Ipv4Addr::new(192, 168, 1, 66)).at(40_000);

/// One computer on the network [`HOME`], with the time under the test's control.
struct Sim {
    lan: Discovery,
    start: Instant,
    now: Instant,
}

impl Sim {
    fn new() -> Self {
        Self::with_settings(Settings { port: PORT, plain_search: true, rates: Rates::DEFAULT })
    }

    fn with_settings(settings: Settings) -> Self {
        let start = Instant::now();
        let mut lan = Discovery::new(settings, Cookie::from_random([7; 16]), TODAY);
        assert!(lan.interface_up(start, HOME));
        Self { lan, start, now: start }
    }

    /// A computer whose first announcements are over.
    fn with_services(services: Vec<OwnService>) -> Self {
        let mut sim = Self::new();
        sim.lan.set_services(sim.now, services);
        sim.advance(2 * SECOND);
        sim.sent();
        sim
    }

    fn receive(&mut self, from: SocketAddr, bytes: &[u8]) {
        self.lan.handle_datagram(self.now, from, bytes).unwrap();
    }

    /// Lets time pass, stopping at every deadline.
    fn advance(&mut self, by: Duration) {
        let end = self.now + by;
        while let Some(at) = self.lan.poll_timeout().filter(|&at| at <= end) {
            self.now = self.now.max(at);
            self.lan.handle_timeout(self.now);
            assert!(
                self.lan.poll_timeout().is_none_or(|next| next > self.now),
                "a deadline that stays due is a busy loop"
            );
        }
        self.now = end;
    }

    fn transmits(&mut self) -> Vec<Transmit> {
        std::iter::from_fn(|| self.lan.poll_transmit()).collect()
    }

    fn sent(&mut self) -> Vec<(SocketAddr, String)> {
        self.transmits().iter().map(|sent| (sent.to, text(sent))).collect()
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.lan.poll_event()).collect()
    }

    fn found_events(&mut self) -> Vec<SocketAddr> {
        let addr = |event| if let Event::Found { addr, .. } = event { Some(addr) } else { None };
        self.events().into_iter().filter_map(addr).collect()
    }

    /// When anything was sent within `span` from now, counted from now.
    fn times_of_sending(&mut self, span: Duration) -> Vec<Duration> {
        self.times(span, |_| true)
    }

    fn times_of_sending_text(&mut self, wanted: &str, span: Duration) -> Vec<Duration> {
        self.times(span, |sent| sent == wanted)
    }

    fn times(&mut self, span: Duration, wanted: impl Fn(&str) -> bool) -> Vec<Duration> {
        let (begin, mut times) = (self.now, Vec::new());
        while let Some(at) = self.lan.poll_timeout().filter(|&at| at <= begin + span) {
            self.advance(at - self.now);
            if self.sent().iter().any(|(_, text)| wanted(text)) {
                times.push(self.now - begin);
            }
        }
        times
    }
}

fn service(key: KeyHash) -> OwnService {
    OwnService { key, freetext: None, port: 7008, title: Title::clean("A title"), unlisted: false }
}

fn key(n: u16) -> KeyHash {
    let mut bytes = [0x33; 20];
    bytes[..2].copy_from_slice(&n.to_be_bytes());
    KeyHash::from_bytes(bytes)
}

fn text(sent: &Transmit) -> String {
    String::from_utf8(sent.payload.clone()).unwrap()
}

/// The exact text of our announcement.
fn announced(key: KeyHash, freetext: &str) -> String {
    let cookie = "07".repeat(16);
    format!(
        "HARDLINE-SERVICE * HTTP/1.1\r\nPort: 7008\r\nInfohash: {freetext}{key}\r\ncookie: {cookie}\r\ntitle: A title\r\nversion: 2\r\n\r\n\r\n"
    )
}

/// The exact text of our search.
fn searched(infohash: impl std::fmt::Display) -> String {
    format!(
        "HARDLINE-SEARCH * HTTP/1.1\r\nInfohash: {infohash}\r\ncookie: {}\r\nversion: 2\r\n\r\n\r\n",
        "07".repeat(16)
    )
}

/// A search by a neighbour that knows version 1 alone.
fn search(code: Option<[u8; 20]>) -> Vec<u8> {
    Datagram::Search(Search { code, cookie: Cookie::from_random([9; 16]), speaks_v2: false }).to_bytes()
}

/// A neighbour's announcement.
fn claim(key: KeyHash, port: u16, title: &str) -> Vec<u8> {
    claim_as(&key.to_string(), port, title)
}

fn claim_as(infohash: &str, port: u16, title: &str) -> Vec<u8> {
    format!("HARDLINE-SERVICE * HTTP/1.1\r\nPort: {port}\r\nInfohash: {infohash}\r\ncookie: theirs\r\ntitle: {title}\r\n\r\n\r\n")
        .into_bytes()
}
