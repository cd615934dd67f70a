//! `hardline --mobile`, as an app on a phone runs it: no HOME, networks told on stdin.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Instant;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::common::{PATIENCE, Program, Running, get, web_server};

/// The only network of the tests, with multicast.
const LAN: &str = r#"{"v":1,"event":"networks","networks":[
    {"name":"lo","transport":"wifi","addresses":["127.0.0.1/8"],"multicast":true}]}"#;

#[track_caller]
fn start(program: &Program) -> Running {
    let mut command = program.command(["--mobile"]);
    command.env_remove("HOME").stdin(Stdio::piped());
    Running::start(command)
}

#[track_caller]
fn gateway(phone: &Running) -> SocketAddr {
    let port = phone.ready["port"].as_u64().unwrap();
    assert_eq!(
        phone.ready,
        json!({"v": 1, "event": "ready", "gateway": format!("http://localhost:{port}/"), "port": port})
    );
    SocketAddr::from(([127, 0, 0, 1], port.try_into().unwrap()))
}

fn tell(phone: &mut Running, line: &str) {
    phone.say(&line.replace('\n', ""));
}

/// The answer to `status`, which comes behind those to all lines before.
#[track_caller]
fn status(phone: &mut Running) -> Value {
    phone.say(r#"{"v":1,"event":"status"}"#);
    phone.event(|event| event["event"] == "status")
}

/// Asks until as many services are connected and no tunnel is open: one ends a moment behind its
/// answer. An idle session stays for longer than this waits.
#[track_caller]
fn at_rest(phone: &mut Running, services: u64) {
    let end = Instant::now() + PATIENCE;
    let wanted = json!({"v": 1, "event": "status", "services": services, "tunnels": 0});
    loop {
        let status = status(phone);
        if status == wanted {
            return;
        }
        assert!(Instant::now() < end, "{status}");
    }
}

#[test]
fn a_service_that_was_opened_at_home_is_remembered_when_the_program_was_killed() {
    let phone = Program::new();
    let home = phone.neighbour().start(["share", &web_server("at home").to_string()]);
    let mut running = start(&phone);
    tell(&mut running, LAN);
    assert_eq!(status(&mut running)["services"], 0);
    assert!(get(gateway(&running), &home.link()).ends_with("at home"));
    at_rest(&mut running, 1);
    // Told on the way to the page, and written behind it.
    let end = Instant::now() + PATIENCE;
    while phone.run(["peers", "--json"]).events().is_empty() {
        assert!(Instant::now() < end, "not remembered");
    }
    running.kill();
    let mut running = start(&phone);
    assert_eq!(status(&mut running)["services"], 0);
    let peers = phone.run(["peers", "--json"]).events();
    assert_eq!(peers[0]["addresses"][0]["address"], home.p2p());
}

#[test]
fn the_lan_is_listened_to_only_while_something_is_searched_for() {
    let phone = Program::new();
    let home = phone.neighbour().start(["share", &web_server("at home").to_string()]);
    let mut running = start(&phone);
    tell(&mut running, LAN);
    status(&mut running);
    assert!(get(gateway(&running), &home.link()).ends_with("at home"));
    for on in [true, false] {
        let event = running.event(|event| event["event"] == "searching");
        assert_eq!(event, json!({"v": 1, "event": "searching", "on": on}));
    }
}

#[test]
fn who_dozes_keeps_no_session_and_opens_one_when_asked() {
    let phone = Program::new();
    let home = phone.neighbour().start(["share", &web_server("at home").to_string()]);
    let mut running = start(&phone);
    tell(&mut running, LAN);
    status(&mut running);
    get(gateway(&running), &home.link());
    at_rest(&mut running, 1);
    running.say(r#"{"v":1,"event":"doze","on":true}"#);
    at_rest(&mut running, 0);
    assert!(get(gateway(&running), &home.link()).ends_with("at home"));
    at_rest(&mut running, 0);
    running.say(r#"{"v":1,"event":"doze","on":false}"#);
    get(gateway(&running), &home.link());
    at_rest(&mut running, 1);
}

#[test]
fn a_line_that_makes_no_sense_is_answered_and_the_next_one_is_read() {
    let phone = Program::new();
    let mut running = start(&phone);
    for (line, reason) in [
        ("nonsense".to_owned(), "not JSON"),
        (r#"{"v":1,"event":"dance"}"#.to_owned(), "unknown event"),
        (r#"{"v":9,"event":"stop"}"#.to_owned(), "\"v\""),
        ("x".repeat(70_000), "longer than 65536 bytes"),
    ] {
        running.say(&line);
        let error = running.event(|event| event["event"] == "error");
        assert!(error["message"].as_str().unwrap().contains(reason), "{error}");
    }
    running.say(r#"{"v":1,"event":"resolvers","servers":["192.0.2.1"]}"#);
    assert_eq!(status(&mut running)["tunnels"], 0);
}

#[test]
fn it_ends_when_told_to_or_when_nobody_is_left_to_tell_it_anything() {
    let phone = Program::new();
    let mut running = start(&phone);
    running.say(r#"{"v":1,"event":"stop"}"#);
    assert_eq!(running.end().0.code(), Some(0));
    let mut running = start(&phone);
    running.hang_up();
    assert_eq!(running.end().0.code(), Some(0));
    let running = start(&phone);
    running.signal(Signal::TERM);
    assert_eq!(running.end().0.code(), Some(0));
}

#[test]
fn what_is_in_the_way_of_a_start_is_told_to_the_app() {
    let phone = Program::new();
    let mut first = start(&phone);
    let port = gateway(&first).port().to_string();
    let outcome = phone.neighbour().run(["--mobile", "--gateway-port", &port]);
    assert_eq!(outcome.code, Some(4), "{}", outcome.stderr);
    let events = outcome.events();
    assert!(events.len() == 1 && events[0]["message"].as_str().unwrap().contains(&port), "{events:?}");
    assert_eq!(status(&mut first)["services"], 0);
}
