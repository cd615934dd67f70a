//! LAN discovery under any datagram and any row of operations.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use hardline_proto::KeyHash;
use hardline_proto::lan::Announcement;
use hardline_proto::lan::{
    Cookie, Datagram, Discovery, Event, Freetext, Goodbye, Infohash, Interface, LanAddr, MAX_ADDRS_PER_SERVICE,
    MAX_DATAGRAM, MAX_SERVICES_PER_SOURCE, MAX_TITLE, OwnService, Rates, Search, Settings, Title,
};
use hardline_proto::rolling::{Day, RollingCode};

/// Operations of one run; more would only make the fuzzer slow.
const MAX_OPERATIONS: usize = 500;

const PORT: u16 = 6771;
const TODAY: Day = Day(20_000);
const SETTINGS: Settings = Settings { port: PORT, plain_search: true, rates: Rates::DEFAULT };

/// What was read can be written, and reads the same again.
pub fn lan_datagram(bytes: &[u8]) {
    let Ok(datagram) = Datagram::parse(bytes) else { return };
    assert!(bytes.len() <= MAX_DATAGRAM);
    if let Datagram::Service(announcement) = &datagram {
        assert_ne!(announcement.port, 0);
        assert!(announcement.title.as_str().len() <= MAX_TITLE);
        assert!(!announcement.title.as_str().contains(char::is_control));
    }
    if let Datagram::Goodbye(goodbye) = &datagram {
        assert_ne!(goodbye.port, 0);
    }
    let written = datagram.to_bytes();
    assert!(written.len() <= MAX_DATAGRAM);
    assert_eq!(Datagram::parse(&written), Ok(datagram));
}

/// Three bytes are one operation: which, and with what. Checks the promises of [`Discovery`] after
/// each.
pub fn lan_ops(bytes: &[u8]) {
    let mut run = Run::new();
    for operation in bytes.chunks_exact(3).take(MAX_OPERATIONS) {
        run.operate(operation[0], operation[1], operation[2]);
        run.check();
    }
}

/// A machine, and what it was told.
struct Run {
    lan: Discovery,
    now: Instant,
    day: u64,
    interfaces: Vec<Interface>,
    services: Vec<OwnService>,
    searches: Vec<KeyHash>,
}

impl Run {
    fn new() -> Self {
        #[allow(clippy::disallowed_methods, reason = "a test needs a first instant to count from")]
        let now = Instant::now();
        let lan = Discovery::new(SETTINGS, Cookie::from_random([7; 16]), TODAY);
        Self { lan, now, day: TODAY.0, interfaces: Vec::new(), services: Vec::new(), searches: Vec::new() }
    }

    fn operate(&mut self, kind: u8, a: u8, b: u8) {
        match kind % 13 {
            0 => self.interface_up(a, b),
            1 => self.interface_down(a),
            2 => self.add_service(a, b),
            3 => self.clear_services(),
            4 => self.start_search(a),
            5 => self.stop_search(a),
            6 => self.lan.start_browsing(self.now),
            7 => self.lan.stop_browsing(),
            8 => self.receive_search(a, b),
            9 => self.receive_announcement(a, b),
            10 => self.now += Duration::from_millis(u64::from(a) * u64::from(b)),
            11 => self.sleep(a),
            _ => self.receive_goodbye(a, b),
        }
    }

    fn interface_up(&mut self, a: u8, b: u8) {
        let interface = Interface { addr: lan_addr(a % 4, 1), prefix_len: b % 34 };
        self.interfaces.retain(|known| known.addr != interface.addr);
        assert!(self.lan.interface_up(self.now, interface), "there is room for a few");
        self.interfaces.push(interface);
    }

    fn interface_down(&mut self, a: u8) {
        let addr = lan_addr(a % 4, 1);
        self.interfaces.retain(|known| known.addr != addr);
        self.lan.interface_down(addr);
    }

    fn add_service(&mut self, a: u8, b: u8) {
        let service = OwnService {
            key: key(a),
            freetext: Freetext::new("pw").filter(|_| b & 1 == 1),
            port: 7008,
            title: Title::clean(&"title ".repeat(b.into())),
            unlisted: b & 2 == 2,
        };
        self.services.push(service);
        self.lan.set_services(self.now, self.services.clone());
    }

    fn clear_services(&mut self) {
        self.services.clear();
        self.lan.set_services(self.now, Vec::new());
    }

    fn start_search(&mut self, a: u8) {
        if self.lan.start_search(self.now, key(a)).is_ok() {
            self.searches.push(key(a));
        }
    }

    fn stop_search(&mut self, a: u8) {
        self.searches.retain(|known| *known != key(a));
        self.lan.stop_search(key(a));
    }

    fn receive_search(&mut self, a: u8, b: u8) {
        let code = (b & 1 == 1).then(|| code(a, b));
        let search = Search { code, cookie: Cookie::from_random([b & 2; 16]), speaks_v2: a & 1 == 1 };
        self.receive(a, b, Datagram::Search(search));
    }

    fn receive_announcement(&mut self, a: u8, b: u8) {
        let announcement = Announcement {
            port: u16::from(b) + 1,
            infohash: Infohash { freetext: Freetext::new("pw").filter(|_| b & 1 == 1), hash: code(a, b) },
            cookie: Cookie::from_random([b & 2; 16]),
            title: Title::clean("a stranger's"),
            speaks_v2: a & 1 == 1,
        };
        self.receive(b, a, Datagram::Service(announcement));
    }

    /// Takes back at most what the same source said.
    fn receive_goodbye(&mut self, a: u8, b: u8) {
        let key = KeyHash::from_bytes(code(a, b));
        let (port, cookie) = (u16::from(b) + 1, Cookie::from_random([b & 2; 16]));
        let source = lan_addr(b % 8, a);
        let of_others = |lan: &Discovery| {
            let addrs = lan.found().into_iter().flat_map(|found| found.addrs);
            addrs.filter(|(addr, _)| *addr != source.at(port)).collect::<Vec<_>>()
        };
        let before = of_others(&self.lan);
        self.receive(b, a, Datagram::Goodbye(Goodbye { port, key, cookie }));
        assert_eq!(of_others(&self.lan), before);
    }

    fn receive(&mut self, a: u8, b: u8, datagram: Datagram) {
        let from = lan_addr(a % 8, b).at(PORT);
        assert_eq!(self.lan.handle_datagram(self.now, from, &datagram.to_bytes()), Ok(()));
    }

    /// Waits as long as the machine says; then nothing more may be due, or its driver would spin.
    fn sleep(&mut self, a: u8) {
        if let Some(timeout) = self.lan.poll_timeout() {
            self.now = self.now.max(timeout);
            self.day += u64::from(a == 0);
            self.lan.set_day(Day(self.day));
            self.lan.handle_timeout(self.now);
            assert!(self.lan.poll_timeout().is_none_or(|next| next > self.now), "still due");
        }
    }

    fn check(&mut self) {
        while let Some(transmit) = self.lan.poll_transmit() {
            let interface = self.interfaces.iter().find(|known| known.addr == transmit.interface);
            let interface = interface.expect("sent from an interface in use");
            let is_group = transmit.to == interface.addr.group(PORT);
            assert!(is_group || interface.contains(transmit.to.into()), "sent to a stranger: {}", transmit.to);
            assert!(Datagram::parse(&transmit.payload).is_ok());
        }
        while let Some(event) = self.lan.poll_event() {
            if let Event::Found { key, addr } = event {
                assert!(self.searches.contains(&key), "never asked for");
                assert!(self.is_neighbour(addr.into()));
            }
        }
        let found = self.lan.found();
        for service in &found {
            assert!((1..=MAX_ADDRS_PER_SERVICE).contains(&service.addrs.len()));
            assert!(
                service.addrs.iter().all(|(addr, _)| self.is_neighbour((*addr).into())),
                "heard on a network that is gone"
            );
        }
        let mut sources: Vec<_> =
            found.iter().flat_map(|service| &service.addrs).map(|(addr, _)| LanAddr::from(*addr)).collect();
        sources.sort_unstable();
        assert!(sources.chunk_by(|one, other| one == other).all(|claims| claims.len() <= MAX_SERVICES_PER_SOURCE));
    }

    fn is_neighbour(&self, addr: LanAddr) -> bool {
        self.interfaces.iter().any(|interface| interface.contains(addr))
    }
}

/// Of IPv4 on even networks, of IPv6 on odd ones.
fn lan_addr(net: u8, host: u8) -> LanAddr {
    match net % 2 {
        0 => LanAddr::v4(Ipv4Addr::new(10, 0, net, host)),
        _ => LanAddr::v6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, host.into()), net.into()),
    }
}

fn key(a: u8) -> KeyHash {
    KeyHash::from_bytes([a % 8; KeyHash::LEN])
}

/// A name of a service that is ours, searched for, or neither.
fn code(a: u8, b: u8) -> [u8; KeyHash::LEN] {
    match b % 5 {
        0 => [b; KeyHash::LEN],
        1 | 2 => *key(a).as_bytes(),
        _ => *RollingCode::of(&key(a), Day(TODAY.0 + u64::from(b % 3) - 1)).as_bytes(),
    }
}
