//! The configuration: files that are read, files that are refused with every problem and its line,
//! and who overrides whom.

use std::path::{Path, PathBuf};

use crate::common::{Program, expect_current, folder};
use hardline_cli::docs;
use hardline_cli::settings::schema::KEYS;
use hardline_cli::settings::{Origin, Settings, Sources, load};
use hardline_node::access::Access;
use hardline_node::config::{BackendCertificate, HostHeader, HttpSettings};

#[test]
fn every_valid_file_is_read() {
    for path in fixtures("valid") {
        let loaded = load(&from_file(&path)).unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!(loaded.file.as_deref(), Some(path.as_path()));
    }
}

#[test]
fn every_problem_of_an_invalid_file_is_reported_at_its_line() {
    for path in fixtures("invalid") {
        let text = std::fs::read_to_string(&path).unwrap();
        let expected: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# expect ")).collect();
        assert!(!expected.is_empty(), "{} expects nothing", path.display());
        let problems = load(&from_file(&path)).expect_err(&path.display().to_string());
        let lines: std::collections::BTreeSet<&str> =
            expected.iter().filter_map(|line| line.split(':').next()).collect();
        assert_eq!(problems.0.len(), lines.len(), "{problems}");
        for line in expected {
            let (number, message) = line.split_once(':').unwrap();
            let origin = Origin::File { path: path.clone(), line: number.parse().unwrap() };
            let found = problems.0.iter().any(|it| it.origin == origin && it.message.contains(message.trim()));
            assert!(found, "{}: no {line:?} among\n{problems}", path.display());
        }
    }
}

#[test]
fn every_setting_of_a_file_arrives() {
    let path = fixtures("valid").into_iter().find(|path| path.ends_with("everything.toml")).unwrap();
    let loaded = load(&from_file(&path)).unwrap();
    let here = path.parent().unwrap();
    let settings = loaded.settings;
    assert!(KEYS.iter().all(|key| loaded.origins.contains_key(key.name)), "a key is missing in everything.toml");
    assert_eq!(settings.data_dir.as_deref(), Some(here.join("data").as_path()));
    assert_eq!(settings.services[1].certfile.as_deref(), Some(here.join("nas.cert").as_path()));
    let config = settings.node_config().unwrap();
    let locals: Vec<_> = settings.forward_configs().iter().map(|it| it.local.to_string()).collect();
    let socket = format!("unix:{}", here.join("./db.sock").display());
    assert_eq!(locals, ["127.0.0.1:2222", &socket, "udp:[::1]:5353"]);
    assert_eq!((config.gateway_port, config.p2p.port, config.p2p.bind.len()), (None, 0, 2));
    assert_eq!(config.p2p.public_addresses, ["home.example.org:7008".parse().unwrap()]);
    assert_eq!(config.relays[0].at, Some("vps.example.org:7008".parse().unwrap()));
    let relay = config.relay.unwrap();
    assert_eq!((relay.bytes_per_second_per_token, relay.bytes_per_second), (1_000_000, 5_000_000));
    assert_eq!((relay.limits.registrations_per_token, relay.limits.waiting, relay.limits.joined), (3, 10, 100));
    assert_eq!((relay.limits.joined_per_name, relay.limits.joined_per_address), (50, 20));
    assert_eq!(relay.first_byte_timeout.as_secs(), 2);
    assert_eq!((config.lan.port, config.lan.plain_search, config.grace.as_secs()), (16771, false, 5));
    assert_eq!((config.dht.enabled, config.dht.port, config.dht.network), (true, Some(0), 7));
    assert_eq!((config.p2p.handshake_timeout.as_secs(), config.p2p.backend_timeout.as_secs()), (20, 7));
    assert_eq!(
        (config.idle_limits.time.as_secs(), config.idle_limits.sessions, config.idle_limits.sessions_each),
        (30, 64, 4)
    );
    let idle_limits = config.p2p.idle_limits;
    assert_eq!((idle_limits.time.as_secs(), idle_limits.sessions, idle_limits.sessions_each), (300, 1024, 32));
    let rates = config.dht.rates;
    assert_eq!((rates.datagrams, rates.datagrams_per_prefix), (10_000, 2000));
    assert_eq!((rates.requests, rates.requests_per_prefix), (4000, 400));
    let rates = config.lan.rates;
    assert_eq!((rates.datagrams, rates.datagrams_per_source), (1000, 100));
    assert_eq!((rates.answers, rates.answers_per_source), (128, 16));
    assert_eq!(config.dht.bootstrap, ["dht.example.org:4222"]);
    assert_eq!(config.dht.proxies, [] as [String; 0]);
    assert_eq!(config.services.iter().map(|service| service.dht).collect::<Vec<_>>(), [false, true, true, true]);
    expect_http(&config.services[3].http, here);
    assert_eq!(config.services[0].title, "Möbel");
    assert_eq!(config.services[0].access, Some(Access::Password("correcthorse".into())));
    assert_eq!(config.services[1].title, "192.168.1.5:80");
    assert_eq!(config.static_addresses.len(), 2);
}

#[track_caller]
fn expect_http(http: &HttpSettings, here: &Path) {
    assert_eq!(http.backend_certificate, Some(BackendCertificate::File(here.join("nas.pem"))));
    assert_eq!((&http.host_header, http.rewrite_redirects), (&Some(HostHeader::Target), Some(false)));
    assert_eq!((http.forwarded, http.app.map(|app| app.name)), (Some(true), Some("proxmox")));
    let headers: Vec<_> = http.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
    assert_eq!(headers, [("x-key", "correcthorse"), ("x-other", "2")]);
}

#[test]
fn flags_override_the_environment_which_overrides_the_file_which_overrides_the_defaults() {
    let data = folder();
    let file = data.path().join("hardline.toml");
    std::fs::write(&file, "gateway.port = 1\np2p.port = 1\nlan.port = 1\n").unwrap();
    let mut sources = from_file(&file);
    for name in ["HARDLINE_GATEWAY_PORT", "HARDLINE_P2P_PORT"] {
        sources.environment.insert(name.into(), "2".into());
    }
    sources.flags.push(("--gateway-port".into(), "gateway.port".into(), "3".into()));
    let settings = load(&sources).unwrap().settings;
    assert_eq!((settings.gateway_port, settings.node.p2p.port, settings.node.lan.port), (3, 2, 1));
    assert_eq!(settings.node.grace, Settings::default().node.grace);
}

#[test]
fn every_key_has_a_variable_of_its_own_that_sets_it() {
    let values = [
        ("data_dir", "/x"),
        ("grace", "1s"),
        ("relays", "relay://000102030405060708090a0b0c0d0e0f@/6fef58cb259ed9746e280ac7ca618aab93d3fe79"),
        ("gateway.enabled", "false"),
        ("gateway.port", "1"),
        ("dns.enabled", "true"),
        ("dns.port", "1"),
        ("p2p.port", "1"),
        ("p2p.bind", "127.0.0.1, ::1"),
        ("p2p.public_addresses", "203.0.113.5:7008, home.example.org:443"),
        ("p2p.port_mapping", "false"),
        ("p2p.quic", "false"),
        ("p2p.punching", "false"),
        ("p2p.own_records", "false"),
        ("relay.enabled", "true"),
        ("relay.registrations_per_token", "3"),
        ("relay.waiting", "10"),
        ("relay.joined", "100"),
        ("relay.joined_per_name", "50"),
        ("relay.joined_per_address", "20"),
        ("relay.bytes_per_second_per_token", "1000000"),
        ("relay.bytes_per_second", "5000000"),
        ("relay.first_byte_timeout", "2s"),
        ("lan.enabled", "no"),
        ("lan.plain_search", "0"),
        ("lan.port", "1"),
        ("lan.bind", "127.0.0.1"),
        ("dht.enabled", "no"),
        ("dht.node", "false"),
        ("dht.port", "0"),
        ("dht.bind", "127.0.0.1"),
        ("dht.bootstrap", "none"),
        ("dht.network", "7"),
        ("dht.proxies", "http://192.0.2.1:8080, https://proxy.example.org"),
        ("dht.publish_plain", "false"),
        ("limits.handshakes", "100"),
        ("limits.handshakes_per_address", "10"),
        ("limits.handshakes_per_second", "5"),
        ("limits.handshake_burst", "50"),
        ("limits.tunnels", "1000"),
        ("limits.tunnels_per_address", "200"),
        ("limits.tunnels_per_service", "800"),
        ("limits.tunnel_idle", "10m"),
        ("limits.handshake_timeout", "20s"),
        ("limits.backend_timeout", "7s"),
        ("limits.answer_timeout", "2m"),
        ("limits.parked_time", "30s"),
        ("limits.parked_links", "64"),
        ("limits.parked_links_per_service", "4"),
        ("limits.listener_parked_time", "5m"),
        ("limits.listener_parked_links", "1024"),
        ("limits.listener_parked_links_per_address", "32"),
        ("limits.dht_datagrams_per_second", "10000"),
        ("limits.dht_datagrams_per_second_per_address", "2000"),
        ("limits.dht_requests_per_second", "4000"),
        ("limits.dht_requests_per_second_per_address", "400"),
        ("limits.lan_datagrams_per_second", "1000"),
        ("limits.lan_datagrams_per_second_per_address", "100"),
        ("limits.lan_answers_per_second", "128"),
        ("limits.lan_answers_per_second_per_address", "16"),
        ("limits.gateway_connections", "500"),
        ("log.filter", "info"),
        ("log.format", "json"),
    ];
    assert_eq!(values.len(), KEYS.len());
    for (name, value) in values {
        let key = KEYS.iter().find(|key| key.name == name).unwrap();
        let variable = key.env().unwrap();
        let of_that_name = KEYS.iter().filter(|key| key.env().as_ref() == Some(&variable));
        assert!(variable.starts_with("HARDLINE_") && of_that_name.count() == 1);
        let environment = [(variable.clone(), value.to_owned())].into();
        let loaded = load(&Sources { environment, ..Sources::default() }).unwrap();
        assert_eq!(loaded.origins.get(name), Some(&Origin::Variable(variable.clone())));
        assert_ne!(loaded.settings, Settings::default(), "{variable}");
    }
}

#[test]
fn problems_of_file_environment_and_flags_are_reported_together() {
    let sources = Sources {
        file: Some("absent.toml".into()),
        environment: [("HARDLINE_GRACE".to_owned(), "soon".to_owned())].into(),
        flags: vec![("--set".into(), "lan.prot".into(), "1".into())],
        ..Sources::default()
    };
    let problems = load(&sources).unwrap_err().to_string();
    assert!(problems.contains("absent.toml:1: "), "{problems}");
    assert!(problems.contains("environment variable HARDLINE_GRACE: grace must be"), "{problems}");
    assert!(problems.contains("--set: unknown key \"lan.prot\"; did you mean \"lan.port\"?"), "{problems}");
}

#[test]
fn a_variable_that_looks_like_a_slip_is_mentioned_and_others_are_left_alone() {
    let environment =
        [("HARDLINE_GATEWAY_PROT".to_owned(), "1".to_owned()), ("HARDLINE_SOMETHING_ELSE".to_owned(), String::new())];
    let loaded = load(&Sources { environment: environment.into(), ..Sources::default() }).unwrap();
    assert_eq!(loaded.warnings.len(), 1);
    assert!(loaded.warnings[0].contains("HARDLINE_GATEWAY_PORT"), "{:?}", loaded.warnings);
}

#[test]
fn the_example_file_is_current_and_changes_nothing() {
    let path = repository().join("packaging/hardline.toml");
    expect_current(&path, &docs::example_file());
    assert_eq!(load(&from_file(&path)).unwrap().settings, Settings::default());
}

#[test]
fn the_example_files_keys_are_the_defaults_where_there_are_defaults() {
    let data = folder();
    let file = data.path().join("hardline.toml");
    let text = docs::example_file();
    let keys = text.split("\n# A service of this computer").next().unwrap();
    let uncommented: String = keys
        .lines()
        .map(|line| line.strip_prefix('#').filter(|it| !it.starts_with(' ')).unwrap_or(line).to_owned() + "\n")
        .collect();
    std::fs::write(&file, uncommented).unwrap();
    let loaded = load(&from_file(&file)).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(loaded.origins.len(), KEYS.len());
    assert_eq!(Settings { data_dir: None, ..loaded.settings }, Settings::default());
}

#[test]
fn check_names_every_problem_and_ends_with_3() {
    let file = fixtures("invalid").into_iter().find(|path| path.ends_with("unknown_keys.toml")).unwrap();
    let outcome = Program::new().run(["config", "check", file.to_str().unwrap()]);
    assert_eq!(outcome.code, Some(3));
    assert_eq!(outcome.stdout, "");
    assert!(outcome.stderr.contains("6 problems"), "{}", outcome.stderr);
    assert!(
        outcome.stderr.contains("unknown_keys.toml:13: unknown key \"gateway.prot\"; did you mean \"gateway.port\"?")
    );
}

#[test]
fn check_of_a_good_file_says_so() {
    let file = fixtures("valid").into_iter().find(|path| path.ends_with("everything.toml")).unwrap();
    let outcome = Program::new().run(["config", "check", file.to_str().unwrap()]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert!(outcome.stdout.contains("no problems; 4 services, 1 peers"), "{}", outcome.stdout);
}

#[test]
fn show_says_where_each_value_comes_from_and_hides_passwords() {
    let file = fixtures("valid").into_iter().find(|path| path.ends_with("everything.toml")).unwrap();
    let outcome = Program::new().run(["--config", file.to_str().unwrap(), "--set", "lan.port=16772", "config", "show"]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert!(outcome.stdout.contains("lan.port = 16772  # --set"), "{}", outcome.stdout);
    assert!(outcome.stdout.contains("everything.toml:2"), "{}", outcome.stdout);
    assert!(!outcome.stdout.contains("correcthorse"));
}

/// The fixtures of a kind; none would let a test pass silently.
fn fixtures(kind: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config").join(kind);
    let files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() >= 4);
    files
}

fn from_file(path: &Path) -> Sources {
    Sources { file: Some(path.into()), ..Sources::default() }
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
