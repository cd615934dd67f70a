//! Networks of a hundred and of a thousand nodes, every node checked after each of its steps. Ten
//! thousand are in the benchmark `simulation`.

#![allow(clippy::unwrap_used, reason = "a test")]

mod sim;

use std::time::Duration;

use hardline_dht::message::{Body, Message, Reply, Request};
use hardline_dht::{Config, Family, InfoHash, Node, Time, Value, ValueType};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use sim::measure::{call, put_and_get, value_for};
use sim::{HostId, LONGEST_ROUND_TRIP, Sim, Weather};

/// Builds a network for each seed; in each, at least so much of what was put has to be found.
#[track_caller]
fn check(nodes: usize, seeds: std::ops::RangeInclusive<u64>, weather: Weather, at_least: f64) {
    for seed in seeds {
        let mut sim = Sim::network(nodes, seed, weather);
        let lookups = put_and_get(&mut sim, 400);
        let (found, median) = (lookups.share_found(), lookups.hops[200]);
        println!("{nodes} nodes, seed {seed}, {weather:?}: found {:.2} %, median {median} hops", found * 100.0);
        assert!(found >= at_least, "seed {seed}: found {found}");
    }
}

#[test]
fn a_hundred_nodes_find_everything_in_fair_weather() {
    check(100, 1..=8, Weather::FAIR, 1.0);
}

#[test]
fn a_hundred_nodes_find_nearly_everything_while_datagrams_are_lost() {
    check(100, 1..=8, Weather { loss: 0.05, ..Weather::FAIR }, 0.995);
    check(100, 1..=8, Weather { loss: 0.2, ..Weather::FAIR }, 0.98);
}

#[test]
fn a_hundred_nodes_find_what_was_put_with_loss_nats_and_liars() {
    check(100, 1..=8, Weather::ROUGH, 0.995);
}

#[test]
fn a_thousand_nodes_find_what_was_put_while_datagrams_are_lost() {
    check(1000, 1..=3, Weather { loss: 0.05, ..Weather::FAIR }, 0.995);
}

#[test]
fn a_thousand_nodes_find_what_was_put_with_loss_nats_and_liars() {
    check(1000, 1..=3, Weather::ROUGH, 0.995);
}

#[test]
fn a_value_is_kept_alive_for_an_hour_while_half_of_the_nodes_are_replaced() {
    let mut sim = Sim::network(100, 3, Weather { loss: 0.05, churn_per_hour: 0.5, ..Weather::FAIR });
    let (host, key) = (sim.anyone(), InfoHash::of(b"kept"));
    sim.watched.push(host);
    let op = sim.put(host, key, value_for(&key, 1), true);
    for _ in 0..12 {
        sim.run_for(Duration::from_secs(300));
        let reader = sim.anyone();
        sim.watched.push(reader);
        let get = sim.get(reader, key);
        sim.finish(reader, get);
        assert!(sim.found.contains_key(&(reader, get)), "lost at {:?}", sim.now());
    }
    assert!(sim.node(host).holders(sim.now(), op) >= 6);
}

#[test]
fn a_value_put_once_is_gone_after_its_ten_minutes_and_a_cancelled_one_too() {
    let mut sim = Sim::network(100, 4, Weather::FAIR);
    let (host, key) = (sim.anyone(), InfoHash::of(b"short"));
    let once = sim.put(host, key, value_for(&key, 1), false);
    sim.finish(host, once);
    let kept = sim.put(host, key, value_for(&key, 2), true);
    sim.run_for(Duration::from_secs(650));
    let reader = sim.anyone();
    let get = sim.get(reader, key);
    sim.finish(reader, get);
    assert_eq!(sim.found[&(reader, get)].iter().map(Value::id).collect::<Vec<_>>(), [2]);
    sim.cancel(host, kept);
    sim.run_for(Duration::from_secs(650));
    let get = sim.get(reader, key);
    sim.finish(reader, get);
    assert!(!sim.found.contains_key(&(reader, get)));
}

#[test]
fn a_large_value_is_refreshed_and_repaired_without_being_sent_again_each_time() {
    let mut sim = Sim::network(50, 5, Weather::FAIR);
    let (host, key) = (sim.anyone(), InfoHash::of(b"large"));
    let op = sim.put(host, key, Value::new(1, ValueType::USER_DATA, &[7; 30_000], "").unwrap(), true);
    sim.finish(host, op);
    let before = sim.node(host).counters().bytes_out;
    sim.run_for(Duration::from_secs(1200));
    let sent = sim.node(host).counters().bytes_out - before;
    assert!(sent < 8 * 30_000, "{sent} bytes");
    let reader = sim.anyone();
    let get = sim.get(reader, key);
    sim.finish(reader, get);
    assert_eq!(sim.found[&(reader, get)][0].data().len(), 30_000);
}

#[test]
fn a_listener_hears_of_what_comes_and_goes() {
    let mut sim = Sim::network(100, 6, Weather { loss: 0.05, ..Weather::FAIR });
    let (listener, publisher, key) = (sim.anyone(), sim.anyone(), InfoHash::of(b"news"));
    let listening = sim.listen(listener, key);
    sim.run_for(Duration::from_secs(10));
    let value = Value::new(9, ValueType::ICE_CANDIDATES, b"here", "").unwrap();
    sim.put(publisher, key, value.clone(), false);
    sim.run_for(Duration::from_secs(30));
    assert_eq!(sim.heard[&(listener, listening)], std::slice::from_ref(&value));
    sim.run_for(Duration::from_secs(60));
    assert_eq!(sim.expired[&(listener, listening)], [value]);
}

#[test]
fn a_call_is_heard_within_150_ms_and_three_round_trips_while_half_of_the_nodes_cannot_be_reached() {
    for (seed, fresh) in [(1, false), (2, false), (1, true)] {
        let mut sim = Sim::network(100, seed, Weather { nat: 0.5, ..Weather::FAIR });
        let calls = call(&mut sim, 100, fresh);
        println!("seed {seed}, fresh: {fresh}: {calls}");
        // A fresh caller needs one to enter the network, and one to leave the host it entered by.
        let round_trips = if fresh { 5 } else { 3 };
        let limit = Duration::from_millis(150) + round_trips * LONGEST_ROUND_TRIP;
        assert_eq!(calls.lost, 0);
        assert!(calls.heard.iter().all(|time| *time <= limit), "{calls}");
        // Eight each, less those that know eight nearer nodes, which cannot be reached, and refuse.
        assert!(calls.stored >= 640, "{calls}");
    }
}

/// Nothing tells it but what nodes answer to what it sends anyway: it renews what it listens at
/// each 20 to 25 seconds.
#[test]
fn a_listener_whose_router_moves_knows_it_soon_and_hears_what_was_said_meanwhile() {
    let times = heard_after_moves(None);
    println!("heard after the move: median {:.1?}, last {:.1?}", times[10], times[19]);
    // Without a doubt it would hear of it from one node after the other, within 25 s.
    assert!(times[10] < Duration::from_secs(10) && times[19] < Duration::from_secs(15), "{times:.1?}");
}

#[test]
fn a_listener_that_asks_where_it_is_hears_within_two_seconds_of_a_move() {
    let times = heard_after_moves(Some(Duration::from_millis(1500)));
    println!("heard after the move: median {:.1?}, last {:.1?}", times[10], times[19]);
    assert!(times[10] < Duration::from_millis(1200) && times[19] < Duration::from_secs(2), "{times:.1?}");
}

/// How long it takes, in order, until a listener whose router has moved hears what was said just
/// then. It asks where it is so often.
fn heard_after_moves(checks: Option<Duration>) -> Vec<Duration> {
    let mut times: Vec<_> = (1..=20).map(|seed| heard_after_a_move(seed, checks)).collect();
    times.sort_unstable();
    times
}

fn heard_after_a_move(seed: u64, checks: Option<Duration>) -> Duration {
    let mut sim = Sim::network(100, seed, Weather { nat: 0.3, ..Weather::FAIR });
    let (listener, caller, key) = (sim.join(Config::default()), sim.anyone(), InfoHash::of(b"calls"));
    sim.run_for(Duration::from_secs(60));
    let listening = sim.listen(listener, key);
    // Visitors have been there for a while, and it moves at any moment between two questions.
    let (every, count) = (checks.unwrap_or(Duration::from_secs(3)), 40);
    for _ in 0..count {
        sim.run_for(every);
        check_address(&mut sim, listener, checks);
    }
    sim.run_for(every * seed as u32 / 20);
    sim.move_host(listener);
    let moved = sim.now();
    sim.put(caller, key, Value::new(9, ValueType::USER_DATA, b"call", "").unwrap(), false);
    let mut rest = every - every * seed as u32 / 20;
    let heard = loop {
        if sim.hear(listener, listening, rest).is_some() {
            break sim.heard_at[&(listener, listening)].since(moved);
        }
        assert!(sim.now().since(moved) < Duration::from_secs(60), "seed {seed}: it does not hear");
        check_address(&mut sim, listener, checks);
        rest = every;
    };
    sim.run_for(Duration::from_secs(2));
    let (knows, is) = (sim.node(listener).public_address(Family::V4), sim.addr(listener).ip());
    assert_eq!(knows, Some(is), "seed {seed}");
    heard
}

fn check_address(sim: &mut Sim, listener: HostId, checks: Option<Duration>) {
    if checks.is_some() {
        sim.check_address(listener);
    }
}

#[test]
fn what_is_asked_before_the_first_address_is_known_waits_for_it() {
    for follows in [false, true] {
        let config = Config { bootstrap_follows: follows, ..Config::default() };
        let mut node = Node::new(Time::ZERO, config, StdRng::seed_from_u64(1));
        let op = node.get(Time::ZERO, InfoHash::of(b"early")).unwrap();
        for second in 1..=20 {
            node.handle_timeout(Time::from_secs(second));
        }
        assert_eq!(node.is_running(op), follows);
    }
}

#[test]
fn what_waited_for_an_address_goes_on_when_a_node_answers_there() {
    let config = Config { bootstrap_follows: true, ..Config::default() };
    let mut node = Node::new(Time::ZERO, config, StdRng::seed_from_u64(1));
    let op = node.get(Time::ZERO, InfoHash::of(b"early")).unwrap();
    node.handle_timeout(Time::from_secs(1));
    let entrance = ([192, 0, 2, 1], 4222).into();
    node.bootstrap(Time::from_secs(1), &[entrance]);
    let ping = node.poll_transmit().unwrap();
    assert_eq!(ping.to, entrance);
    let reply = Body::Reply(Reply { id: InfoHash::of(b"entrance"), ..Reply::default() });
    let mut datagram = Vec::new();
    let tid = Message::decode(&ping.payload).unwrap().tid;
    Message { tid, network: 0, client: false, agent: None, body: reply }.encode(&mut datagram);
    node.handle_datagram(Time::from_secs(1), entrance, &datagram);
    let asked = std::iter::from_fn(|| node.poll_transmit());
    let asks_for_it = |payload: &[u8]| {
        matches!(Message::decode(payload).unwrap().body, Body::Request { request: Request::Get { .. }, .. })
    };
    assert!(asked.into_iter().any(|transmit| asks_for_it(&transmit.payload)));
    assert!(node.is_running(op));
}

#[test]
fn a_newcomer_hears_of_many_large_values_one_push_after_the_other() {
    let mut sim = Sim::network(12, 12, Weather { loss: 0.05, ..Weather::FAIR });
    let (publisher, key) = (sim.anyone(), InfoHash::of(b"many and large"));
    for id in 1..=40 {
        sim.put(publisher, key, Value::new(id, ValueType::USER_DATA, &[id as u8; 20_000], "").unwrap(), true);
    }
    sim.run_for(Duration::from_secs(60));
    let listener = std::iter::repeat_with(|| sim.anyone()).find(|host| *host != publisher).unwrap();
    let listening = sim.listen(listener, key);
    sim.run_for(Duration::from_secs(60));
    let mut heard: Vec<_> = sim.heard[&(listener, listening)].iter().map(Value::id).collect();
    heard.sort_unstable();
    assert_eq!(heard, (1..=40).collect::<Vec<_>>());
}

#[test]
fn a_client_reads_and_writes_but_is_named_to_nobody() {
    let mut sim = Sim::network(50, 8, Weather::FAIR);
    let client = sim.join(Config { client: true, ..Config::default() });
    sim.run_for(Duration::from_secs(30));
    let key = InfoHash::of(b"from a phone");
    let op = sim.put(client, key, value_for(&key, 1), true);
    assert_eq!(sim.finish(client, op).1, 8);
    sim.run_for(Duration::from_secs(700));
    assert_eq!(sim.node(client).stored(), (0, 0));
    let id = sim.node(client).id();
    let others: Vec<_> = sim.alive().iter().copied().filter(|host| *host != client).collect();
    for host in others {
        assert!(sim.node(host).export_nodes(sim.now()).iter().all(|node| node.id != id));
    }
    let reader = sim.anyone();
    let get = sim.get(reader, key);
    sim.finish(reader, get);
    assert!(sim.found.contains_key(&(reader, get)));
}

#[test]
fn a_node_that_lost_its_network_comes_back_by_itself() {
    let mut sim = Sim::network(20, 9, Weather::FAIR);
    let host = sim.anyone();
    let others: Vec<_> = sim.alive().iter().copied().filter(|other| *other != host).collect();
    for other in others {
        sim.leave(other);
    }
    sim.run_for(Duration::from_secs(1500));
    assert!(!sim.node(host).is_connected(Family::V4));
    for _ in 0..5 {
        sim.join(Config::default());
    }
    sim.run_for(Duration::from_secs(60));
    assert!(sim.node(host).is_connected(Family::V4));
}

#[test]
fn others_tell_a_node_at_which_port_they_see_it_and_tell_a_client_nothing() {
    let mut sim = Sim::network(50, 11, Weather { loss: 0.05, ..Weather::FAIR });
    let newcomer = sim.join(Config::default());
    let client = sim.join(Config { client: true, ..Config::default() });
    sim.run_for(Duration::from_secs(60));
    let seen = sim.node(newcomer).sightings(sim.now(), Family::V4);
    assert!(seen.len() >= 3, "{seen:?}");
    assert!(seen.iter().all(|(_, addr)| *addr == sim.addr(newcomer)), "{seen:?}");
    assert_eq!(sim.node(client).sightings(sim.now(), Family::V4), []);
}

#[test]
fn one_seed_is_one_history() {
    let history = |seed| {
        let mut sim = Sim::network(60, seed, Weather { loss: 0.1, nat: 0.1, liars: 0.05, churn_per_hour: 1.0 });
        sim.run_for(Duration::from_secs(300));
        (sim.delivered, sim.counters())
    };
    assert_eq!(history(1), history(1));
    assert_ne!(history(1), history(2));
}
