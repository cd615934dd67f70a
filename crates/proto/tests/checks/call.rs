//! Promises of calls, and of the attempts that follow them.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hardline_proto::KeyHash;
use hardline_proto::call::{
    Answer, CallId, MAX_ADDRESSES, NONCE_LEN, PLAINTEXT_LEN, RelayedAnswer, encrypt, open, seal,
};
use hardline_proto::punch::{
    Attempt, Attempts, Event, GIVE_UP, MAX_ATTEMPTS, MAX_OPENED, MAX_UNASKED, Plan, Probe, Role, is_probe,
};
use hardline_proto::rolling::Day;

const SERVICE: KeyHash = KeyHash::from_bytes([1; 20]);

/// The input is a call that somebody encrypted who knows the key hash, cut or filled up to its
/// length; and also a value as it comes from the DHT. What is read is bounded, and reads the same
/// when it is sealed again.
pub fn call(bytes: &[u8]) {
    assert!(open(bytes, &SERVICE, Day(0)).is_err(), "nobody guesses a tag of 128 bits");
    assert!(Answer::open(bytes, &SERVICE, Day(0)).is_err());
    assert!(RelayedAnswer::open(bytes, &SERVICE, Day(0)).is_err());
    if let Ok(answer) = RelayedAnswer::read(bytes) {
        assert!(answer.addresses.len() <= MAX_ADDRESSES);
        let sealed = answer.seal(&SERVICE, Day(0), [1; NONCE_LEN]);
        assert_eq!(RelayedAnswer::open(&sealed, &SERVICE, Day(0)), Ok(answer));
    }
    let mut plaintext = [0; PLAINTEXT_LEN];
    let len = bytes.len().min(PLAINTEXT_LEN);
    plaintext[..len].copy_from_slice(&bytes[..len]);
    let sealed = encrypt(&plaintext, &SERVICE, Day(0), [0; NONCE_LEN]);
    let Ok(call) = open(&sealed, &SERVICE, Day(0)) else { return };
    assert!(call.addresses.len() <= MAX_ADDRESSES);
    assert_eq!(open(&seal(&call, &SERVICE, Day(0), [1; NONCE_LEN]), &SERVICE, Day(0)), Ok(call));
}

/// The input is a datagram; then two bytes are one operation on a set of attempts: which, and with
/// what. A publisher answers with no more than it was asked, and no attempt lasts.
pub fn punch_ops(bytes: &[u8]) {
    assert_eq!(Probe::decode(bytes).map(|probe| probe.encode().to_vec()), Probe::decode(bytes).map(|_| bytes.to_vec()));
    assert!(is_probe(bytes) || Probe::decode(bytes).is_none());
    let mut run = Run::new();
    for operation in bytes.chunks_exact(2) {
        run.apply(operation[0], operation[1]);
    }
    run.finish();
}

struct Run {
    now: Instant,
    attempts: Attempts<u8>,
    /// Probes that were heard, and sent.
    heard: usize,
    sent: usize,
    begun: usize,
    opened: usize,
}

impl Run {
    fn new() -> Self {
        #[allow(clippy::disallowed_methods, reason = "a test needs a first instant to count from")]
        let now = Instant::now();
        Self { now, attempts: Attempts::default(), heard: 0, sent: 0, begun: 0, opened: 0 }
    }

    fn apply(&mut self, operation: u8, argument: u8) {
        match operation % 4 {
            0 => self.begin(argument),
            1 => self.hear(argument, operation >> 2),
            2 => self.pass(Duration::from_millis(u64::from(argument) * 10)),
            _ if argument < 16 => self.attempts.remove(|of| *of == argument),
            _ => assert!(!self.attempts.handle_datagram(0, address(0), &[argument; 18])),
        }
        self.drain();
    }

    fn begin(&mut self, number: u8) {
        let targets: Vec<_> = (0..=number % 4).map(address).collect();
        let attempt = Attempt::new(self.now, Role::Publisher, &id(number), &targets, Plan::Few, 0);
        let has_room = self.attempts.len() < MAX_ATTEMPTS;
        let begins = self.attempts.add(attempt, number).is_ok();
        assert!(has_room || !begins);
        self.begun += usize::from(begins);
    }

    fn hear(&mut self, number: u8, from: u8) {
        let datagram = Probe::of(&id(number), Role::Dialler).encode();
        if self.attempts.handle_datagram(0, address(from), &datagram) {
            self.heard += 1;
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.attempts.handle_timeout(self.now);
    }

    fn drain(&mut self) {
        while let Some((transmit, _)) = self.attempts.poll_transmit() {
            self.sent += 1;
            assert_eq!(transmit.socket, 0);
            assert!(is_probe(&transmit.datagram));
        }
        while let Some((event, _)) = self.attempts.poll_event() {
            self.opened += usize::from(matches!(event, Event::Open { .. }));
        }
        assert!(self.sent <= self.begun * MAX_UNASKED + self.heard, "{} for {}", self.sent, self.heard);
        assert!(self.opened <= self.begun * MAX_OPENED);
        assert!(self.attempts.poll_timeout().is_none_or(|at| at > self.now));
    }

    fn finish(mut self) {
        self.pass(GIVE_UP);
        self.drain();
        assert_eq!((self.attempts.len(), self.attempts.poll_timeout()), (0, None), "none lasts");
    }
}

fn id(number: u8) -> CallId {
    CallId::from_bytes([number; 16])
}

fn address(number: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, number], 7008))
}
