//! Attempts through simulated NATs: how many get through, and how fast.
//!
//! `cargo test -p hardline-proto --test punch -- --nocapture` prints the table.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test needs a first instant to count from")]

mod nats;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hardline_proto::call::CallId;
use hardline_proto::punch::{Attempt, Event, MAX_OPENED, Mapping, PROBE_LEN, Plan, Probe, Role};

use nats::{Nat, Outcome, World};

/// One way between two homes.
const LATENCY: Duration = Duration::from_millis(20);
/// From the call to its arrival.
const DELIVERY: Duration = Duration::from_millis(150);

const KEEPS: &[Nat] = &[Nat::PortKeeping];
const ONE: &[Nat] = &[Nat::EndpointIndependent];
const DOUBLE: &[Nat] = &[Nat::EndpointIndependent, Nat::EndpointIndependent];
const SYMMETRIC: &[Nat] = &[Nat::Symmetric];
const CARRIER: &[Nat] = &[Nat::PortKeeping, Nat::Symmetric];
const OPEN: &[Nat] = &[];

/// What came of many attempts with the same NATs.
struct Cell {
    share: f64,
    median: Duration,
    slowest: Duration,
}

#[test]
fn every_pair_without_a_symmetric_nat_gets_through_within_a_round_trip_and_a_half() {
    for publisher in [OPEN, KEEPS, ONE, DOUBLE] {
        for dialler in [OPEN, KEEPS, ONE, DOUBLE] {
            let cell = run(publisher, dialler, 0.0, 100);
            assert_eq!(cell.share, 1.0, "{publisher:?} {dialler:?}");
            assert!(cell.slowest <= DELIVERY + 3 * LATENCY, "{publisher:?} {dialler:?}: {:?}", cell.slowest);
        }
    }
}

#[test]
fn they_get_through_when_a_fifth_of_the_datagrams_is_lost() {
    for (publisher, dialler) in [(KEEPS, ONE), (ONE, DOUBLE), (DOUBLE, DOUBLE)] {
        let cell = run(publisher, dialler, 0.2, 500);
        assert!(cell.share >= 0.995, "{publisher:?} {dialler:?}: {}", cell.share);
        assert!(cell.median <= DELIVERY + 3 * LATENCY, "{:?}", cell.median);
    }
}

#[test]
fn one_symmetric_nat_is_found_a_way_through_by_chance() {
    for (publisher, dialler) in [(ONE, SYMMETRIC), (SYMMETRIC, ONE), (DOUBLE, CARRIER), (CARRIER, KEEPS)] {
        for (loss, least) in [(0.0, 0.95), (0.05, 0.9), (0.2, 0.8)] {
            let cell = run(publisher, dialler, loss, 100);
            assert!(cell.share >= least, "{publisher:?} {dialler:?} at {loss}: {}", cell.share);
            assert!(cell.slowest <= Duration::from_secs(10));
        }
    }
}

#[test]
fn with_two_symmetric_nats_nothing_is_sent() {
    let outcome = World::new(1, SYMMETRIC, CARRIER, 0.0, LATENCY).attempt(DELIVERY);
    assert_eq!((outcome.opened, outcome.from_publisher, outcome.from_dialler), (None, 0, 0));
}

/// A dialler whose call is late goes on, and one whose call is lost stops.
#[test]
fn a_late_call_is_not_too_late() {
    let late = World::new(1, ONE, ONE, 0.0, LATENCY).attempt(Duration::from_millis(3500));
    assert_eq!(late.opened, Some(Duration::from_millis(3500) + LATENCY));
    let lost = World::new(1, ONE, ONE, 0.0, LATENCY).attempt(Duration::from_secs(3600));
    assert_eq!(lost.opened, None);
    assert!(lost.from_dialler <= 100, "{} probes", lost.from_dialler);
}

#[test]
fn the_table_holds() {
    println!("| publisher | dialler | loss | through | median | slowest | bytes from publisher | from dialler |");
    println!("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |");
    for (publisher, dialler) in
        [(KEEPS, KEEPS), (ONE, ONE), (DOUBLE, DOUBLE), (ONE, SYMMETRIC), (SYMMETRIC, ONE), (DOUBLE, CARRIER)]
    {
        for loss in [0.0, 0.05, 0.1, 0.2] {
            let least = if publisher == SYMMETRIC || dialler != publisher && dialler != ONE { 0.8 } else { 0.995 };
            let share = print_row(publisher, dialler, loss);
            assert!(share >= least, "{share}");
        }
    }
}

fn print_row(publisher: &[Nat], dialler: &[Nat], loss: f64) -> f64 {
    let outcomes: Vec<_> =
        (0..200).map(|seed| World::new(seed, publisher, dialler, loss, LATENCY).attempt(DELIVERY)).collect();
    let most = |of: fn(&Outcome) -> usize| outcomes.iter().map(of).max().unwrap() * (PROBE_LEN + 28);
    let cell = Cell::of(&outcomes);
    println!(
        "| {publisher:?} | {dialler:?} | {loss} | {:.1} % | {} ms | {} ms | {} | {} |",
        cell.share * 100.0,
        cell.median.as_millis(),
        cell.slowest.as_millis(),
        most(|outcome| outcome.from_publisher),
        most(|outcome| outcome.from_dialler),
    );
    cell.share
}

fn run(publisher: &[Nat], dialler: &[Nat], loss: f64, times: u64) -> Cell {
    let attempt = |seed| World::new(seed, publisher, dialler, loss, LATENCY).attempt(DELIVERY);
    Cell::of(&(0..times).map(attempt).collect::<Vec<_>>())
}

impl Cell {
    fn of(outcomes: &[Outcome]) -> Self {
        let mut times: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.opened).collect();
        times.sort();
        let median = times.get(times.len() / 2).copied().unwrap_or_default();
        let slowest = times.last().copied().unwrap_or_default();
        Self { share: times.len() as f64 / outcomes.len() as f64, median, slowest }
    }
}

/// Whoever sees a probe can send it from elsewhere, and first; the dialler hears of both.
#[test]
fn a_probe_that_somebody_repeats_hides_the_right_one_from_nobody() {
    let (now, id) = (Instant::now(), CallId::from_bytes([7; 16]));
    let [right, wrong] = ["203.0.113.5:7008", "198.51.100.6:9"].map(|at| at.parse::<SocketAddr>().unwrap());
    let mut attempt = Attempt::new(now, Role::Dialler, &id, &[right], Plan::Few, 1);
    let probe = Probe::of(&id, Role::Publisher).encode();
    for from in [wrong, right, wrong, right] {
        assert!(attempt.handle_datagram(0, from, &probe));
    }
    let events: Vec<_> = std::iter::from_fn(|| attempt.poll_event()).collect();
    assert_eq!(events, [wrong, right].map(|remote| Event::Open { socket: 0, remote }));
    assert!(!attempt.handle_datagram(0, right, &Probe::of(&id, Role::Dialler).encode()), "its own, sent back");
    for port in 1..100 {
        attempt.handle_datagram(0, SocketAddr::new(wrong.ip(), port), &probe);
    }
    assert_eq!(std::iter::from_fn(|| attempt.poll_event()).count(), MAX_OPENED - 2, "a bounded number");
}

#[test]
fn the_simulated_nats_are_told_by_what_others_see() {
    assert_eq!(nats::mapping_of(OPEN), Mapping::OneForAll);
    assert_eq!(nats::mapping_of(DOUBLE), Mapping::OneForAll);
    assert_eq!(nats::mapping_of(CARRIER), Mapping::Symmetric);
}
