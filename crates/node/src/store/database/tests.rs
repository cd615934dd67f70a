use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 3600);

#[test]
fn an_address_that_worked_last_comes_first_then_those_told_last_in_their_order() {
    let mut sim = Sim::new();
    sim.worked(KEY, "192.168.1.5:7008", Origin::Lan);
    sim.wait(DAY);
    sim.worked(KEY, "10.0.0.5:7008", Origin::Static);
    sim.wait(DAY);
    sim.advertised(KEY, &["203.0.113.7:7008", "[200::1]:7008"]);

    assert_eq!(
        sim.addresses(KEY),
        ["10.0.0.5:7008 given", "192.168.1.5:7008 lan", "203.0.113.7:7008 told", "[200::1]:7008 told"]
    );
}

#[test]
fn a_told_list_replaces_the_one_told_before_and_nothing_else() {
    let mut sim = Sim::new();
    sim.worked(KEY, "192.168.1.5:7008", Origin::Lan);
    sim.advertised(KEY, &["203.0.113.7:7008", "[200::1]:7008"]);
    sim.advertised(OTHER, &["198.51.100.1:7008"]);
    sim.advertised(KEY, &["[200::1]:7008", "203.0.113.8:7008"]);

    assert_eq!(sim.addresses(KEY), ["192.168.1.5:7008 lan", "[200::1]:7008 told", "203.0.113.8:7008 told"]);
    assert_eq!(sim.addresses(OTHER), ["198.51.100.1:7008 told"]);
}

#[test]
fn a_list_told_anew_keeps_the_time_its_addresses_worked() {
    let mut sim = Sim::new();
    sim.advertised(KEY, &["203.0.113.7:7008", "[200::1]:7008"]);
    let worked_at = sim.now;
    sim.worked(KEY, "[200::1]:7008", Origin::Advertised);
    sim.wait(DAY);
    sim.advertised(KEY, &["203.0.113.7:7008", "[200::1]:7008"]);

    let best = sim.database.addresses(KEY).unwrap().swap_remove(0);
    assert_eq!(
        best,
        Remembered {
            at: at("[200::1]:7008"),
            origin: Origin::Advertised,
            told_at: sim.now,
            worked_at: Some(worked_at)
        }
    );
}

#[test]
fn an_empty_list_changes_nothing() {
    let mut sim = Sim::new();
    sim.advertised(KEY, &["203.0.113.7:7008"]);
    sim.wait(DAY);
    sim.advertised(KEY, &[]);
    sim.advertised(OTHER, &[]);
    assert_eq!(sim.addresses(KEY), ["203.0.113.7:7008 told"]);
    assert_eq!(sim.database.services().unwrap().len(), 1);
}

#[test]
fn an_address_that_works_is_there_once_and_keeps_where_it_came_from() {
    let mut sim = Sim::new();
    sim.advertised(KEY, &["203.0.113.7:7008"]);
    sim.worked(KEY, "203.0.113.7:7008", Origin::Lan);
    assert_eq!(sim.addresses(KEY), ["203.0.113.7:7008 told"]);
}

#[test]
fn an_address_without_news_is_dropped_after_its_lifetime() {
    let mut sim = Sim::new();
    sim.advertised(KEY, &["203.0.113.7:7008"]);
    sim.wait(DAY);
    sim.worked(KEY, "192.168.1.5:7008", Origin::Lan);
    sim.wait(ADDRESS_LIFETIME - DAY);
    sim.prune();
    assert_eq!(sim.addresses(KEY), ["192.168.1.5:7008 lan", "203.0.113.7:7008 told"]);

    sim.wait(SECOND);
    sim.prune();
    assert_eq!(sim.addresses(KEY), ["192.168.1.5:7008 lan"]);

    sim.wait(DAY);
    sim.prune();
    assert_eq!(sim.database.services().unwrap(), [], "a service goes with its last address");
}

#[test]
fn opening_drops_what_is_past_its_lifetime() {
    let mut sim = Sim::new();
    sim.advertised(KEY, &["203.0.113.7:7008"]);
    let later = sim.now + ADDRESS_LIFETIME + SECOND;
    let database = Database::new(sim.database.connection, Path::new("test"), later).unwrap();
    assert_eq!(database.services().unwrap(), []);
}

#[test]
fn the_services_used_longest_ago_are_forgotten_when_there_are_too_many() {
    let mut sim = Sim::new();
    for n in 0..=MAX_SERVICES {
        sim.advertised(key(n), &["203.0.113.7:7008"]);
        sim.wait(SECOND);
    }
    let services = sim.database.services().unwrap();
    assert_eq!(services.len(), MAX_SERVICES);
    assert_eq!(services[0].key, key(MAX_SERVICES), "the one used last comes first");
    assert_eq!(sim.addresses(key(0)), [""; 0]);
}

#[test]
fn the_addresses_with_the_oldest_news_are_dropped_when_there_are_too_many() {
    let mut sim = Sim::new();
    for n in 0..=MAX_ADDRESSES {
        sim.worked(KEY, &format!("192.168.1.5:{}", 1000 + n), Origin::Lan);
        sim.wait(SECOND);
    }
    let addresses = sim.addresses(KEY);
    assert_eq!(addresses.len(), MAX_ADDRESSES);
    assert!(!addresses.contains(&"192.168.1.5:1000 lan".to_owned()));
}

#[test]
fn a_list_told_now_stays_whole_however_much_worked_before() {
    let mut sim = Sim::new();
    for n in 0..MAX_ADDRESSES {
        sim.worked(KEY, &format!("192.168.1.5:{}", 1000 + n), Origin::Lan);
    }
    sim.wait(SECOND);
    let told: Vec<String> = (0..MAX_HOSTS).map(|n| format!("203.0.113.7:{}", 1000 + n)).collect();
    sim.advertised(KEY, &told.iter().map(String::as_str).collect::<Vec<_>>());
    let kept = sim.database.addresses(KEY).unwrap();
    assert_eq!(kept.iter().filter(|address| address.origin == Origin::Advertised).count(), MAX_HOSTS);
    assert_eq!(kept.len(), MAX_ADDRESSES);
}

#[test]
fn news_that_repeats_itself_at_once_is_not_written_again() {
    let mut sim = Sim::new();
    sim.advertised(KEY, &["203.0.113.7:7008"]);
    sim.worked(KEY, "203.0.113.7:7008", Origin::Advertised);
    let written = sim.changes();
    sim.wait(NEWS_RESOLUTION);
    sim.advertised(KEY, &["203.0.113.7:7008"]);
    sim.worked(KEY, "203.0.113.7:7008", Origin::Advertised);
    assert_eq!(sim.changes(), written);

    sim.wait(SECOND);
    sim.worked(KEY, "203.0.113.7:7008", Origin::Advertised);
    assert_ne!(sim.changes(), written);
}

#[test]
fn news_that_differs_is_written_at_once() {
    let mut sim = Sim::new();
    sim.advertised(KEY, &["203.0.113.7:7008", "203.0.113.8:7008"]);
    sim.advertised(KEY, &["203.0.113.8:7008", "203.0.113.7:7008"]);
    assert_eq!(sim.addresses(KEY), ["203.0.113.8:7008 told", "203.0.113.7:7008 told"]);
    sim.advertised(KEY, &["203.0.113.8:7008"]);
    assert_eq!(sim.addresses(KEY), ["203.0.113.8:7008 told"]);
}

#[test]
fn a_title_is_kept_until_another_is_seen() {
    let mut sim = Sim::new();
    sim.worked_with_title(KEY, "192.168.1.5:7008", "Pictures");
    assert_eq!(sim.title(KEY).as_deref(), Some("Pictures"));
    sim.worked(KEY, "192.168.1.5:7008", Origin::Lan);
    sim.advertised(KEY, &["203.0.113.7:7008"]);
    assert_eq!(sim.title(KEY).as_deref(), Some("Pictures"));
    sim.worked_with_title(KEY, "192.168.1.5:7008", "Photos");
    assert_eq!(sim.title(KEY).as_deref(), Some("Photos"));
}

#[test]
fn a_title_is_kept_short_and_without_control_characters() {
    let mut sim = Sim::new();
    sim.worked_with_title(KEY, "192.168.1.5:7008", &format!("a\u{1b}[31m\n{}", "ä".repeat(MAX_TITLE)));
    let title = sim.title(KEY).unwrap();
    assert!(title.starts_with("a[31mää"));
    assert!(title.len() <= MAX_TITLE && title.len() > MAX_TITLE - 2);
}

#[test]
fn a_forgotten_service_is_gone_with_its_addresses() {
    let mut sim = Sim::new();
    sim.advertised(KEY, &["203.0.113.7:7008"]);
    assert!(sim.database.forget(KEY).unwrap());
    assert!(!sim.database.forget(KEY).unwrap());
    assert_eq!(sim.addresses(KEY), [""; 0]);
    assert_eq!(sim.database.services().unwrap(), []);
}

#[test]
fn an_imported_list_gives_way_to_one_that_is_told() {
    let mut sim = Sim::new();
    assert_eq!(sim.import(&[(KEY, &["203.0.113.7:7008", "203.0.113.8:7008"])]), 1);
    assert_eq!(sim.addresses(KEY), ["203.0.113.7:7008 imported", "203.0.113.8:7008 imported"]);
    sim.advertised(KEY, &["203.0.113.8:7008"]);
    assert_eq!(sim.addresses(KEY), ["203.0.113.8:7008 told"]);
}

#[test]
fn an_import_leaves_known_services_as_they_are_and_is_noted() {
    let mut sim = Sim::new();
    sim.advertised(KEY, &["203.0.113.7:7008"]);
    assert!(!sim.database.was_imported("test").unwrap());
    assert_eq!(sim.import(&[(KEY, &["198.51.100.1:1"]), (OTHER, &["198.51.100.1:1"])]), 1);
    assert!(sim.database.was_imported("test").unwrap());
    assert_eq!(sim.addresses(KEY), ["203.0.113.7:7008 told"]);
}

#[test]
fn a_clock_set_back_or_gone_mad_loses_nothing_that_is_new() {
    let mut sim = Sim::new();
    for now in [SystemTime::UNIX_EPOCH + 10_000 * DAY, SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH - DAY] {
        sim.now = now;
        sim.worked(KEY, "192.168.1.5:7008", Origin::Lan);
        sim.advertised(KEY, &["203.0.113.7:7008"]);
        assert_eq!(sim.addresses(KEY).len(), 2);
    }
}

#[test]
fn a_full_disk_is_an_error_and_what_was_there_can_still_be_read() {
    let mut sim = Sim::new();
    sim.advertised(KEY, &["203.0.113.7:7008"]);
    let pages: i64 = sim.database.connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    // What SQLite reports then is what it reports on a full disk.
    sim.database.connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).unwrap();
    let error = (0..MAX_SERVICES)
        .find_map(|n| sim.database.advertised(sim.now, key(n), &hosts(&["203.0.113.9:7008"])).err())
        .unwrap();
    assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
    assert_eq!(sim.addresses(KEY), ["203.0.113.7:7008 told"]);
}

#[test]
fn a_row_that_this_version_does_not_understand_is_left_out() {
    let mut sim = Sim::new();
    sim.advertised(KEY, &["203.0.113.7:7008"]);
    sim.database
        .connection
        .execute_batch(&format!(
            "INSERT INTO addresses VALUES ('{KEY_TEXT}', 'a:1', 'sealed', 0, {0}, NULL), ('{KEY_TEXT}', '::', 'told', 0, {0}, -5);
             INSERT INTO services (key, title, used_at) VALUES ('no key', NULL, {0});
             INSERT INTO addresses VALUES ('no key', 'a:1', 'told', 0, {0}, NULL);",
            millis(sim.now)
        ))
        .unwrap();
    assert_eq!(sim.addresses(KEY), ["203.0.113.7:7008 told"]);
    assert_eq!(sim.database.services().unwrap().len(), 1);
}

#[test]
fn the_migrations_are_valid() {
    MIGRATIONS.validate().unwrap();
}

#[derive(Debug, Clone)]
enum Op {
    Told { service: usize, ports: Vec<u16> },
    Worked { service: usize, port: u16, origin: usize },
    Forget { service: usize },
    Wait { days: u32 },
    Reopen,
}

fn op() -> impl Strategy<Value = Op> {
    let service = || 0..4_usize;
    prop_oneof![
        (service(), prop::collection::vec(1..60_u16, 0..MAX_HOSTS))
            .prop_map(|(service, ports)| Op::Told { service, ports }),
        (service(), 1..60_u16, 0..4_usize).prop_map(|(service, port, origin)| Op::Worked { service, port, origin }),
        service().prop_map(|service| Op::Forget { service }),
        (0..300_u32).prop_map(|days| Op::Wait { days }),
        Just(Op::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_happens_the_bounds_hold_and_the_last_news_is_there(ops in prop::collection::vec(op(), 1..60)) {
        let mut sim = Sim::new();
        for op in ops {
            match &op {
                Op::Told { service, ports } => {
                    let list: HostList = ports.iter().map(|port| at(&format!("a:{port}"))).collect();
                    sim.database.advertised(sim.now, key(*service), &list).unwrap();
                    let kept: BTreeSet<HostPort> =
                        sim.database.addresses(key(*service)).unwrap().into_iter().map(|kept| kept.at).collect();
                    prop_assert!(list.as_slice().iter().all(|told| kept.contains(told)));
                }
                Op::Worked { service, port, origin } => {
                    let origin = [Origin::Advertised, Origin::Lan, Origin::Static, Origin::Imported][*origin];
                    let at = at(&format!("a:{port}"));
                    sim.database.worked(sim.now, key(*service), &at, origin, None).unwrap();
                    let kept = sim.database.addresses(key(*service)).unwrap();
                    prop_assert!(kept.iter().any(|kept| kept.at == at && kept.worked_at.is_some()));
                }
                Op::Forget { service } => {
                    sim.database.forget(key(*service)).unwrap();
                    prop_assert!(sim.database.addresses(key(*service)).unwrap().is_empty());
                }
                Op::Wait { days } => sim.wait(*days * DAY),
                Op::Reopen => sim.database = Database::new(sim.database.connection, Path::new("test"), sim.now).unwrap(),
            }
            for service in sim.database.services().unwrap() {
                let unique: BTreeSet<&HostPort> = service.addresses.iter().map(|address| &address.at).collect();
                prop_assert_eq!(unique.len(), service.addresses.len());
                prop_assert!((1..=MAX_ADDRESSES).contains(&service.addresses.len()));
                prop_assert_eq!(&service.addresses, &sim.database.addresses(service.key).unwrap());
            }
        }
    }
}

const KEY_TEXT: &str = "e868423731872b8235a0adc9102bb45bb9e8321e";
const KEY: KeyHash = KeyHash::from_bytes([
    0xe8, 0x68, 0x42, 0x37, 0x31, 0x87, 0x2b, 0x82, 0x35, 0xa0, 0xad, 0xc9, 0x10, 0x2b, 0xb4, 0x5b, 0xb9, 0xe8, 0x32,
    0x1e,
]);
const OTHER: KeyHash = KeyHash::from_bytes([7; 20]);

fn key(n: usize) -> KeyHash {
    KeyHash::of_certificate(&n.to_be_bytes())
}

fn at(text: &str) -> HostPort {
    text.parse().unwrap()
}

fn hosts(texts: &[&str]) -> HostList {
    texts.iter().map(|text| at(text)).collect()
}

/// A database in memory, and a clock that only the test moves.
struct Sim {
    database: Database,
    now: SystemTime,
}

impl Sim {
    fn new() -> Self {
        // Whole milliseconds, as the database keeps them.
        let now = SystemTime::UNIX_EPOCH + 20_000 * DAY + MINUTE;
        let connection = Connection::open_in_memory().unwrap();
        Self { database: Database::new(connection, Path::new("test"), now).unwrap(), now }
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
    }

    fn advertised(&mut self, key: KeyHash, list: &[&str]) {
        self.database.advertised(self.now, key, &hosts(list)).unwrap();
    }

    fn worked(&mut self, key: KeyHash, address: &str, origin: Origin) {
        self.database.worked(self.now, key, &at(address), origin, None).unwrap();
    }

    fn worked_with_title(&mut self, key: KeyHash, address: &str, title: &str) {
        self.database.worked(self.now, key, &at(address), Origin::Lan, Some(title)).unwrap();
    }

    fn import(&mut self, lists: &[(KeyHash, &[&str])]) -> usize {
        let lists: Vec<_> = lists.iter().map(|(key, list)| (*key, hosts(list))).collect();
        self.database.import(self.now, "test", &lists).unwrap()
    }

    fn prune(&mut self) {
        let now = self.now;
        self.database.write(|tx| prune(tx, now)).unwrap();
    }

    fn changes(&self) -> u64 {
        self.database.connection.total_changes()
    }

    fn title(&self, key: KeyHash) -> Option<String> {
        self.database.services().unwrap().into_iter().find(|service| service.key == key)?.title
    }

    /// `host:port origin`, best first.
    fn addresses(&self, key: KeyHash) -> Vec<String> {
        let addresses = self.database.addresses(key).unwrap();
        addresses.iter().map(|kept| format!("{} {}", kept.at, origin_name(kept.origin))).collect()
    }
}
