//! Calls: what passes, what does not, and what they make a service send.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test needs a first instant to count from")]

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use hardline_proto::KeyHash;
use hardline_proto::call::{
    Admitted, CALL_LEN, Call, CallError, CallGate, CallId, CookieSecret, MAX_SKEW_MS, Refused, Surroundings, open, seal,
};
use hardline_proto::candidate::DialPolicy;
use hardline_proto::network::{InterfaceAddr, NetworkState};
use hardline_proto::punch::{Attempt, MAX_UNASKED, Mapping, PROBE_LEN, Plan, Role};
use hardline_proto::rolling::Day;
use proptest::prelude::*;

const SERVICE: KeyHash = KeyHash::from_bytes([1; 20]);
const DAY: Day = Day(20_779);
const NOW: u64 = 1_795_370_400_000;
const NONCE: [u8; 24] = [9; 24];
/// What an IPv6 header and a UDP header add to each datagram.
const HEADERS: usize = 48;

#[test]
fn a_call_is_read_as_it_was_written_by_who_knows_the_key_hash_and_that_day() {
    let call = call(1, &["203.0.113.5:7008", "[2001:db8::1]:7008"]);
    let sealed = seal(&call, &SERVICE, DAY, NONCE);
    assert_eq!(sealed.len(), CALL_LEN);
    assert_eq!(open(&sealed, &SERVICE, DAY), Ok(call));
    assert_eq!(open(&sealed, &KeyHash::from_bytes([2; 20]), DAY), Err(CallError::NotDecryptable));
    for day in [DAY.0 - 1, DAY.0 + 1] {
        assert_eq!(open(&sealed, &SERVICE, Day(day)), Err(CallError::NotDecryptable));
    }
}

#[test]
fn every_call_has_the_same_length() {
    for addresses in [&[][..], &["203.0.113.5:7008"], &["[2001:db8::1]:1"; 9]] {
        assert_eq!(seal(&call(1, addresses), &SERVICE, DAY, NONCE).len(), CALL_LEN);
    }
    let many = seal(&call(1, &["[2001:db8::1]:1"; 9]), &SERVICE, DAY, NONCE);
    assert_eq!(open(&many, &SERVICE, DAY).unwrap().addresses.len(), 4);
}

#[test]
fn a_call_is_followed_once() {
    let mut run = Run::new();
    let call = call(1, &["203.0.113.5:7008"]);
    assert_eq!(run.admit(&call).unwrap().targets, ["203.0.113.5:7008".parse().unwrap()]);
    assert_eq!(run.admit(&call), Err(Refused::Seen));
    run.pass(Duration::from_millis(MAX_SKEW_MS));
    assert_eq!(run.admit(&call), Err(Refused::Seen), "as long as it could be taken for a new one");
    run.pass(Duration::from_millis(1));
    assert_eq!(run.admit(&call), Err(Refused::Time));
}

#[test]
fn a_call_from_another_time_is_not_followed() {
    let at = |issued_ms| Run::new().admit(&Call { issued_ms, ..call(1, &["203.0.113.5:7008"]) }).map(drop);
    assert_eq!(at(NOW + MAX_SKEW_MS), Ok(()));
    assert_eq!(at(NOW + MAX_SKEW_MS + 1), Err(Refused::Time));
    assert_eq!(at(NOW - 30_001), Err(Refused::Time), "what the DHT still had at the start");
    assert_eq!(at(NOW - 30_000), Ok(()));
    assert_eq!(at(u64::MAX), Err(Refused::Time));
}

#[test]
fn probes_go_to_single_hosts_on_the_internet_and_in_ones_own_home() {
    check(&["203.0.113.5:7008", "[2001:db8::1]:7008"], &["203.0.113.5:7008", "[2001:db8::1]:7008"]);
    check(&["203.0.113.5:53", "203.0.113.5:1023", "203.0.113.5:0", "203.0.113.5:1024"], &["203.0.113.5:1024"]);
    check(&["127.0.0.1:7008", "224.0.0.1:7008", "[fe80::1]:7008", "0.0.0.0:7008"], &[]);
    check(&["192.168.1.9:7008", "203.0.113.5:7008"], &["203.0.113.5:7008"]); // another home's
    check(&["192.168.1.9:7008", "203.0.113.99:7008"], &["192.168.1.9:7008", "203.0.113.99:7008"]);
    check(&["10.0.0.9:7008", "203.0.113.99:7008"], &["203.0.113.99:7008"]); // the same home, another range
    check(&["203.0.113.5:7008", "203.0.113.5:7008"], &["203.0.113.5:7008"]);
}

#[test]
fn a_symmetric_nat_needs_a_second_call_with_the_cookie_that_the_first_was_answered_with() {
    let mut run = Run::new();
    let symmetric = Call { mapping: Mapping::Symmetric, ..call(1, &["203.0.113.5:7008"]) };
    let first = run.admit(&symmetric).unwrap();
    assert_eq!(first.plan, Plan::Few);
    let cookie = first.cookie;
    assert!(cookie.is_some());
    let again = |id, at: &str| Call { cookie, mapping: Mapping::Symmetric, ..call(id, &[at]) };
    assert_eq!(run.admit(&again(2, "198.51.100.5:7008")), Err(Refused::UnknownCookie), "another address");
    let followed = run.admit(&again(3, "203.0.113.5:7008")).unwrap();
    assert_eq!((followed.plan, followed.cookie), (Plan::ManyPorts(512), None));
    assert_eq!(run.admit(&again(4, "203.0.113.5:7008")), Err(Refused::TooMany), "once a minute");
    run.pass(Duration::from_secs(60));
    assert!(run.admit(&again(5, "203.0.113.5:7008")).is_ok());
    run.mapping = Mapping::Symmetric;
    let told = run.admit(&again(6, "203.0.113.5:7008")).unwrap();
    assert_eq!(
        (told.plan, told.targets, told.cookie.is_some()),
        (Plan::Hopeless, vec![], true),
        "told, and sent nothing"
    );
}

/// Who has links of many services, and victims in many networks, is limited all the same.
#[test]
fn rounds_of_many_datagrams_are_few_in_all() {
    let mut run = Run::new();
    let followed = (1..=50).filter(|n| {
        let at = format!("203.0.{n}.5:7008");
        let symmetric = Call { mapping: Mapping::Symmetric, ..call(*n, &[&at]) };
        run.pass(Duration::from_millis(600));
        let cookie = run.admit(&symmetric).unwrap().cookie;
        run.pass(Duration::from_millis(600));
        run.admit(&Call { id: CallId::from_bytes([n + 100; 16]), cookie, ..symmetric }).is_ok()
    });
    assert_eq!(followed.count(), 4, "within a minute");
}

#[test]
fn a_call_makes_a_service_send_fewer_bytes_than_it_had() {
    let victims = ["[2001:db8::1]:7008", "[2001:db8:1::1]:7008", "[2001:db8:2::1]:7008", "[2001:db8:3::1]:7008"];
    for addresses in 1..=4 {
        let call = call(1, &victims[..addresses]);
        let admitted = Run::new().admit(&call).unwrap();
        let (datagrams, bytes) = sent_unasked(&call, &admitted);
        println!(
            "{addresses} addresses: {CALL_LEN} bytes in, {datagrams} datagrams of {bytes} bytes out, with headers"
        );
        assert!(datagrams <= MAX_UNASKED && bytes <= CALL_LEN + HEADERS, "{datagrams} datagrams, {bytes} bytes");
    }
}

#[test]
fn what_a_stranger_repeats_or_forges_makes_a_service_send_nothing() {
    let sealed = seal(&call(1, &["203.0.113.5:7008"]), &SERVICE, DAY, NONCE);
    let mut run = Run::new();
    run.admit(&open(&sealed, &SERVICE, DAY).unwrap()).unwrap();
    let again = (0..1000).filter(|_| run.admit(&open(&sealed, &SERVICE, DAY).unwrap()).is_ok());
    assert_eq!(again.count(), 0);
    for at in 0..CALL_LEN {
        let mut forged = sealed.clone();
        forged[at] ^= 1;
        assert!(open(&forged, &SERVICE, DAY).is_err());
    }
}

/// Ten minutes of a hundred calls a second, by who knows the links of a hundred services, all for
/// one victim.
#[test]
fn a_flood_of_calls_for_one_victim_is_followed_once_a_second() {
    let mut run = Run::new();
    let (mut bytes_in, mut bytes_out, mut seconds) = (0, 0, 0);
    for n in 0..60_000_u32 {
        let service = KeyHash::from_bytes([(n % 100) as u8; 20]);
        let mut id = [0; 16];
        id[..4].copy_from_slice(&n.to_be_bytes());
        let call = Call { id: CallId::from_bytes(id), issued_ms: run.now_ms, ..call(1, &["203.0.113.5:7008"]) };
        bytes_in += CALL_LEN + HEADERS;
        if let Ok(admitted) = run.admit_for(&service, &call) {
            bytes_out += sent_unasked(&call, &admitted).1;
        }
        run.pass(Duration::from_millis(10));
        seconds = n / 100 + 1;
    }
    println!("{bytes_in} bytes in, {bytes_out} bytes to the victim in {seconds} s, with headers");
    assert!(bytes_out <= (8 + seconds as usize) * MAX_UNASKED * (PROBE_LEN + HEADERS));
    assert!(bytes_out * 50 < bytes_in);
}

#[test]
fn a_service_that_is_called_too_often_serves_others_callers_again_later() {
    let mut run = Run::new();
    let flood = (1..=200).filter(|n| run.admit(&call(*n, &[&format!("203.0.{n}.5:7008")])).is_ok()).count();
    assert_eq!(flood, 16);
    let other = KeyHash::from_bytes([2; 20]);
    assert!(run.admit_for(&other, &call(250, &["198.51.100.5:7008"])).is_ok(), "another service");
    run.pass(Duration::from_secs(1));
    assert!(run.admit(&call(251, &["198.51.100.6:7008"])).is_ok());
}

proptest! {
    #[test]
    fn any_call_is_read_as_it_was_written(
        id: [u8; 16],
        issued_ms: u64,
        addresses in prop::collection::vec(any::<(IpAddr, u16)>(), 0..=4),
        mapping in prop::sample::select(vec![Mapping::Unknown, Mapping::OneForAll, Mapping::Symmetric]),
        cookie in prop::option::of(any::<[u8; 16]>()),
        nonce: [u8; 24],
    ) {
        let addresses = addresses.into_iter().map(|(ip, port)| SocketAddr::new(ip.to_canonical(), port)).collect();
        let cookie = cookie.map(hardline_proto::call::Cookie::from_bytes);
        let call = Call { id: CallId::from_bytes(id), issued_ms, mapping, addresses, cookie };
        prop_assert_eq!(open(&seal(&call, &SERVICE, DAY, nonce), &SERVICE, DAY), Ok(call));
    }

    #[test]
    fn no_changed_and_no_shortened_call_passes(at in 0..CALL_LEN, bit in 0..8_u8) {
        let mut sealed = seal(&call(1, &["203.0.113.5:7008"]), &SERVICE, DAY, NONCE);
        prop_assert_eq!(open(&sealed[..at], &SERVICE, DAY), Err(CallError::Length { len: at }));
        sealed[at] ^= 1 << bit;
        let expected = if at == 0 { CallError::UnknownVersion } else { CallError::NotDecryptable };
        prop_assert_eq!(open(&sealed, &SERVICE, DAY), Err(expected));
    }
}

/// The addresses of `named` that are sent to, in a home at 192.168.1.2 behind 203.0.113.99.
#[track_caller]
fn check(named: &[&str], expected: &[&str]) {
    let targets = Run::new().admit(&call(1, named)).map_or_else(
        |refused| {
            assert_eq!(refused, Refused::NoTarget);
            Vec::new()
        },
        |admitted| admitted.targets,
    );
    assert_eq!(targets.iter().map(ToString::to_string).collect::<Vec<_>>(), expected);
}

/// What is sent for a call whose caller is never heard: datagrams, and bytes with headers.
fn sent_unasked(call: &Call, admitted: &Admitted) -> (usize, usize) {
    let now = Instant::now();
    let mut attempt = Attempt::new(now, Role::Publisher, &call.id, &admitted.targets, admitted.plan, 1);
    let mut datagrams = 0;
    loop {
        while attempt.poll_transmit().is_some() {
            datagrams += 1;
        }
        let Some(at) = attempt.poll_timeout() else { return (datagrams, datagrams * (PROBE_LEN + HEADERS)) };
        attempt.handle_timeout(at);
    }
}

fn call(id: u8, addresses: &[&str]) -> Call {
    let addresses = addresses.iter().map(|at| at.parse().unwrap()).collect();
    Call { id: CallId::from_bytes([id; 16]), issued_ms: NOW, mapping: Mapping::OneForAll, addresses, cookie: None }
}

/// A gate and its time.
struct Run {
    gate: CallGate,
    now: Instant,
    now_ms: u64,
    mapping: Mapping,
}

impl Run {
    fn new() -> Self {
        let gate = CallGate::new(NOW, CookieSecret::from_bytes([5; 32]));
        Self { gate, now: Instant::now(), now_ms: NOW, mapping: Mapping::OneForAll }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.now_ms += u64::try_from(time.as_millis()).unwrap();
    }

    fn admit(&mut self, call: &Call) -> Result<Admitted, Refused> {
        self.admit_for(&SERVICE, call)
    }

    fn admit_for(&mut self, service: &KeyHash, call: &Call) -> Result<Admitted, Refused> {
        let interface = |ip: &str| InterfaceAddr {
            ip: ip.parse().unwrap(),
            prefix_len: 24,
            interface: String::new(),
            is_up: true,
            is_short_lived: false,
            may_multicast: true,
        };
        let network = NetworkState { addrs: vec![interface("192.168.1.2")], ..NetworkState::default() };
        let public = ["203.0.113.99".parse().unwrap()];
        let policy = DialPolicy::default();
        let around = Surroundings { policy: &policy, network: &network, public: &public, mapping: self.mapping };
        self.gate.admit(self.now, self.now_ms, service, call, &around)
    }
}
