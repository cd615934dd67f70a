//! Races in simulated time: what is tried when, and what wins.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::time::{Duration, Instant};

use hardline_proto::candidate::{Candidate, SourceInfo, Tier, TransportAddr, Trust, Way};
use hardline_proto::dial::{AttemptId, CONNECTION_ATTEMPT_DELAY, DialSchedule};

const STORE: SourceInfo = info(Tier::Lan, Trust::Service, "store");
const SIGNED: SourceInfo = info(Tier::Wan, Trust::Service, "signed");
const TEXT: SourceInfo = info(Tier::Wan, Trust::Stranger, "text");

const fn info(tier: Tier, trust: Trust, name: &'static str) -> SourceInfo {
    SourceInfo { tier, trust, name, label: name }
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const DIRECT: &str = "203.0.113.5:7008";
const QUIC: &str = "quic://203.0.113.5:7008";
const RELAY: &str = "198.51.100.20:7008";
const MESH: &str = "[200:1::2]:7008";
const PUNCHED: &str = "quic://203.0.113.5:31000";

/// What becomes of an attempt.
#[derive(Clone, Copy)]
enum End {
    /// A connection, so long after its start.
    Up(u64),
    /// A refusal.
    Refused(u64),
    /// Nothing.
    Silent,
}

/// Something that happens in milliseconds from the beginning.
enum Happens {
    Named(Candidate, End),
    Callable,
    Ended(AttemptId, Candidate, End),
}

/// A race, its clock, and what has happened.
#[derive(Default)]
struct Race {
    schedule: DialSchedule,
    to_come: Vec<(u64, Happens)>,
    ends: Vec<(TransportAddr, End)>,
    /// Time from a call to the way that it opens, if it does.
    call_takes: Option<u64>,
    /// What was started when.
    started: Vec<(u64, String)>,
    called: Option<u64>,
}

impl Race {
    fn named(mut self, at: u64, source: SourceInfo, way: Way, addr: &str, end: End) -> Self {
        let candidate = Candidate { addr: addr.parse().unwrap(), source, version: None, way };
        self.to_come.push((at, Happens::Named(candidate, end)));
        self
    }

    fn direct(self, at: u64, addr: &str, end: End) -> Self {
        self.named(at, SIGNED, Way::Straight, addr, end)
    }

    fn relay(self, at: u64, end: End) -> Self {
        self.named(at, SIGNED, Way::Relayed, RELAY, end)
    }

    fn callable(mut self, at: u64, takes: Option<u64>) -> Self {
        self.to_come.push((at, Happens::Callable));
        self.call_takes = takes;
        self
    }

    /// Runs for ten seconds, or until there is a connection: returns where, and when.
    fn run(&mut self) -> Option<(u64, String)> {
        #[allow(clippy::disallowed_methods, reason = "a test needs a first instant to count from")]
        let start = Instant::now();
        let since = |at: Instant| u64::try_from(at.duration_since(start).as_millis()).unwrap();
        let mut now = 0;
        while now < 10_000 {
            while let Some(place) = self.to_come.iter().position(|(at, _)| *at <= now) {
                let (_, happens) = self.to_come.remove(place);
                if let Some(addr) = self.happens(start + ms(now), happens) {
                    return Some((now, addr));
                }
            }
            self.start(start + ms(now), now);
            let next = self.to_come.iter().map(|(at, _)| *at).min();
            let timeout = self.schedule.poll_timeout().map(|at| since(at).max(now + 1));
            now = next.into_iter().chain(timeout).min()?;
        }
        None
    }

    fn happens(&mut self, now: Instant, happens: Happens) -> Option<String> {
        match happens {
            Happens::Named(candidate, end) => {
                self.ends.push((candidate.addr.clone(), end));
                self.schedule.add(now, candidate);
            }
            Happens::Callable => self.schedule.callable(now),
            Happens::Ended(_, candidate, End::Up(_)) => return Some(candidate.addr.to_string()),
            Happens::Ended(id, ..) => self.schedule.failed(now, id),
        }
        None
    }

    fn start(&mut self, instant: Instant, now: u64) {
        while let Some((id, candidate)) = self.schedule.poll_start(instant) {
            self.started.push((now, candidate.addr.to_string()));
            let end = self.ends.iter().find(|(addr, _)| *addr == candidate.addr).unwrap().1;
            if let End::Up(after) | End::Refused(after) = end {
                self.to_come.push((now + after, Happens::Ended(id, candidate, end)));
            }
        }
        if self.schedule.poll_call(instant) {
            assert_eq!(self.called.replace(now), None, "called once");
            if let Some(takes) = self.call_takes {
                let (addr, version) = (PUNCHED.parse().unwrap(), Some(2));
                let punched = Candidate { addr, source: SIGNED, version, way: Way::Punched };
                self.to_come.push((now + takes, Happens::Named(punched, End::Up(80))));
            }
        }
    }

    /// When an address was tried.
    fn at(&self, addr: &str) -> Option<u64> {
        self.started.iter().find(|(_, started)| started == addr).map(|(at, _)| *at)
    }
}

fn won(addr: &str, at: u64) -> Option<(u64, String)> {
    Some((at, addr.to_owned()))
}

#[test]
fn a_direct_way_that_answers_is_all_that_is_tried() {
    let mut race = Race::default().direct(0, DIRECT, End::Up(160)).relay(0, End::Up(100)).callable(0, Some(100));
    assert_eq!(race.run(), won(DIRECT, 160));
    assert_eq!((race.at(RELAY), race.called), (None, None));
}

#[test]
fn where_direct_ways_are_silent_the_call_comes_200_ms_later_and_relays_300_ms_later() {
    let mut race = Race::default().direct(0, DIRECT, End::Silent).relay(0, End::Up(160)).callable(0, Some(400));
    assert_eq!(race.run(), won(RELAY, 460));
    assert_eq!((race.called, race.at(RELAY)), (Some(200), Some(300)));
}

#[test]
fn many_silent_direct_ways_hold_relays_up_no_longer_than_one() {
    let mut race = Race::default().relay(0, End::Up(160));
    for last in 1..8 {
        race = race.direct(0, &format!("192.0.2.{last}:7008"), End::Silent);
    }
    assert_eq!(race.run(), won(RELAY, 460));
    let direct: Vec<_> = race.started.iter().filter(|(_, addr)| addr != RELAY).map(|(at, _)| *at).collect();
    let delay = u64::try_from(CONNECTION_ATTEMPT_DELAY.as_millis()).unwrap();
    assert_eq!(direct, [0, delay, 2 * delay, 3 * delay], "they keep their own pace");
}

#[test]
fn when_direct_ways_have_failed_nothing_waits_for_them_any_longer() {
    let mut race = Race::default().direct(0, DIRECT, End::Refused(40)).direct(0, QUIC, End::Refused(40));
    race = race.relay(0, End::Up(160)).callable(0, None);
    assert_eq!(race.run(), won(RELAY, 240));
    assert_eq!((race.called, race.at(RELAY)), (Some(80), Some(80)));
}

#[test]
fn without_a_direct_way_nothing_waits() {
    let mut race = Race::default().relay(700, End::Up(160)).callable(700, Some(400));
    assert_eq!(race.run(), won(RELAY, 860));
    assert_eq!((race.called, race.at(RELAY)), (Some(700), Some(700)));
    let mut race = Race::default().direct(700, MESH, End::Up(160));
    assert_eq!(race.run(), won(MESH, 860));
}

#[test]
fn a_relay_that_worked_last_is_tried_at_once_beside_direct_ways() {
    let mut race = Race::default().named(0, STORE, Way::Relayed, RELAY, End::Up(100)).direct(0, DIRECT, End::Silent);
    assert_eq!(race.run(), won(RELAY, 100));
}

/// A remembered address that is dead has had its head start when the record comes.
#[test]
fn what_was_tried_long_ago_holds_up_nothing() {
    let mut race = Race::default().named(0, STORE, Way::Straight, DIRECT, End::Silent);
    race = race.relay(600, End::Up(160)).callable(600, None);
    assert_eq!(race.run(), won(RELAY, 760));
    assert_eq!(race.called, Some(600));
    // The part of it that is left counts.
    let mut race = Race::default().named(0, STORE, Way::Straight, DIRECT, End::Silent).relay(100, End::Up(160));
    assert_eq!(race.run(), won(RELAY, 460));
}

#[test]
fn what_a_call_has_opened_is_tried_at_once() {
    let mut race = Race::default().callable(0, Some(200));
    for (at, last) in [(0, 1), (190, 2), (190, 3)] {
        race = race.direct(at, &format!("192.0.2.{last}:7008"), End::Silent);
    }
    let (at, addr) = race.run().unwrap();
    assert_eq!((race.called, race.at(PUNCHED)), (Some(200), Some(400)));
    assert_eq!((at, addr.as_str()), (480, PUNCHED));
}

#[test]
fn the_mesh_comes_last_whoever_names_it_first() {
    let mut race = Race::default().direct(0, MESH, End::Up(40)).relay(0, End::Silent);
    race = race.named(0, TEXT, Way::Straight, DIRECT, End::Silent);
    assert_eq!(race.run(), won(MESH, 440));
    assert_eq!((race.at(DIRECT), race.at(RELAY)), (Some(0), Some(300)));
    let mut race = Race::default().direct(0, MESH, End::Up(40)).relay(0, End::Refused(30));
    assert_eq!(race.run(), won(MESH, 70), "and waits for nobody when the others have failed");
}
