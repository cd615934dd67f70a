//! `hardline status`.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::TcpStream;
use std::time::Instant;

use serde_json::Value;

use crate::common::{PATIENCE, Program, echo_at_the_end, free_port, key_of, web_server};

#[test]
fn what_runs_here_is_told_in_sentences_and_no_password_with_it() {
    let program = Program::new();
    let port = web_server("x").to_string();
    let running = program.start(["share", &port, "--title", "Pictures", "--password", "sesame"]);
    let gateway = running.gateway().port().to_string();
    let outcome = program.run(["status", "--gateway-port", &gateway]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert!(outcome.stdout.contains("Pictures (localhost:"), "{}", outcome.stdout);
    assert!(outcome.stdout.contains("No tunnel is open."), "{}", outcome.stdout);
    let json = program.run(["status", "--json", "--gateway-port", &gateway]);
    let status: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!((&status["event"], &status["tunnels"]), (&"status".into(), &0.into()));
    assert_eq!(status["services"][0]["title"], "Pictures");
    assert!(status["tasks"].as_u64() > Some(0), "{status}");
    assert!(!json.stdout.contains("sesame") && !outcome.stdout.contains("sesame"));
}

#[test]
fn without_a_hardline_it_says_so() {
    let outcome = Program::new().run(["status", "--gateway-port", &free_port().to_string()]);
    assert_eq!(outcome.code, Some(5));
    assert!(outcome.stderr.contains("no hardline answers"), "{}", outcome.stderr);
}

#[test]
fn what_is_published_in_the_dht_is_told_by_status_and_doctor() {
    let program = Program::new();
    let nodes = Program::new();
    let first = nodes.start(["dht", "node", "--bind", "127.0.0.1", "--network", "7"]);
    let entrance = first.ready["bound"][0].as_str().unwrap().to_owned();
    let _others = [(); 3]
        .map(|()| nodes.start(["dht", "node", "--bind", "127.0.0.1", "--network", "7", "--bootstrap", &entrance]));
    let flags =
        ["--set", "dht.enabled=true", "--set", "dht.bind=127.0.0.1", "--set", "dht.network=7", "--dht-port", "0"];
    let target = web_server("x").to_string();
    let share = ["share", &target, "--dht-bootstrap", &entrance, "--dht-proxy", "none"];
    let running = program.start([&share[..], &flags, &["--public-address", "203.0.113.5:7008"]].concat());
    let gateway = running.gateway().port().to_string();
    let started = Instant::now();
    let status = loop {
        let outcome = program.run(["status", "--json", "--gateway-port", &gateway]);
        let status: Value = serde_json::from_str(&outcome.stdout).unwrap();
        if status["services"][0]["dht"]["state"] == "stored" {
            break status;
        }
        assert!(started.elapsed() < PATIENCE, "{status}");
    };
    let copies = status["services"][0]["dht"]["copies"].as_array().unwrap();
    // Around midnight UTC the dated keys are those of two days, hence kinds and not a number.
    let kinds: BTreeSet<_> = copies.iter().filter_map(|copy| copy["kind"].as_str()).collect();
    assert_eq!(kinds, BTreeSet::from(["plain", "rolling", "sealed"]), "{status}");
    assert!(copies.iter().all(|copy| copy["nodes"].as_u64() >= Some(4)), "{status}");
    let doctor = program.run([&["doctor", "--gateway-port", &gateway][..], &flags].concat());
    assert!(doctor.stdout.contains("Stored in the DHT on "), "{}", doctor.stdout);
}

#[test]
fn what_is_forwarded_and_where_names_are_looked_up_are_told() {
    let here = Program::new();
    let service = here.start(["share", &echo_at_the_end().to_string()]);
    let key = key_of(&service.link()).to_owned();
    let there = here.neighbour();
    let forward = |local: &str| format!("[[forward]]\nlink = \"secret-{key}\"\nlocal = {local}\n");
    let file = there.home().join("hardline.toml");
    let text = [forward("0"), forward("\"udp:0\""), forward("\"./db.sock\"")].concat();
    std::fs::write(&file, format!("[dns]\nenabled = true\nport = 0\n{text}")).unwrap();
    let gateway = there.start(["--config", file.to_str().unwrap()]);
    let port = gateway.gateway().port().to_string();
    let told = || {
        let json = there.run(["status", "--json", "--gateway-port", &port]).stdout;
        assert!(!json.contains("secret"), "{json}");
        serde_json::from_str::<Value>(&json).unwrap()
    };
    let before = told();
    let all = before["forwards"].as_array().unwrap();
    let kinds: Vec<_> = all.iter().map(|it| (it["kind"].as_str().unwrap(), it["open"].as_u64().unwrap())).collect();
    assert_eq!(kinds, [("tcp", 0), ("udp", 0), ("unix", 0)], "{before}");
    assert_eq!((&all[0]["key"], &all[0]["path"]), (&key.as_str().into(), &Value::Null));
    assert_eq!(before["dns"], gateway.ready["dns"]);

    let mut program = TcpStream::connect(all[0]["local"].as_str().unwrap()).unwrap();
    program.write_all(b"hello").unwrap();
    let started = Instant::now();
    let open = loop {
        let now = told();
        if now["forwards"][0]["path"]["kind"] == "this_computer" {
            break now;
        }
        assert!(started.elapsed() < PATIENCE, "{now}");
    };
    assert_eq!(open["forwards"][0]["open"], 1, "{open}");
    let said = there.run(["status", "--gateway-port", &port]).stdout;
    let local = all[0]["local"].as_str().unwrap();
    assert!(said.contains(&format!("{local} leads to {}: 1 connection is open.", &key[..8])), "{said}");
    assert!(said.contains("udp:127.0.0.1:") && said.contains("nobody uses it now"), "{said}");
    assert!(said.contains("Names below localhost are looked up at 127.0.0.1:"), "{said}");
}
