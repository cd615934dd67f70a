//! `hardline dht`, in a network of its own on loopback.

use std::io::{Read as _, Write as _};

use crate::common::{Program, Running, free_port};

/// Another number than the public network's: these nodes cannot stray.
const NETWORK: [&str; 4] = ["--network", "7", "--bind", "127.0.0.1"];

/// Runs `hardline dht …` in the network that `entrance` is part of.
fn dht(program: &Program, entrance: &str, words: &[&str]) -> crate::common::Outcome {
    let arguments = [&["--json", "dht"], words, &NETWORK, &["--bootstrap", entrance]].concat();
    program.run(arguments)
}

fn start(program: &Program, words: &[&str]) -> Running {
    program.start([&["dht"], words, &NETWORK[..]].concat())
}

fn addr_of(node: &Running) -> String {
    node.ready["bound"][0].as_str().unwrap().to_owned()
}

#[test]
fn a_value_is_put_and_got_by_its_name_with_counts_and_times() {
    let program = Program::new();
    let node = start(&program, &["node"]);
    let entrance = addr_of(&node);
    let put = dht(&program, &entrance, &["put", "greeting", "hello", "--id", "5"]);
    assert_eq!(put.code, Some(0), "{}", put.stderr);
    assert_eq!((&put.events()[0]["event"], &put.events()[0]["id"]), (&"stored".into(), &"5".into()));
    // The key by its digits: SHA-1 of "greeting".
    for key in ["greeting", "a0f7e779f9247566c84036f07f7bdf4a40a869bd"] {
        let get = dht(&program, &entrance, &["get", key]);
        assert_eq!(get.code, Some(0), "{}", get.stderr);
        let (value, done) = (&get.events()[0], &get.events()[1]);
        assert_eq!((&value["event"], &value["text"], &value["id"]), (&"value".into(), &"hello".into(), &"5".into()));
        assert_eq!((&done["event"], &done["values"]), (&"done".into(), &1.into()));
        assert!(done["summary"]["requests"].as_u64().unwrap() >= 1 && done["summary"]["ms"].as_f64().unwrap() > 0.0);
    }
}

#[test]
fn a_node_answers_a_ping_and_an_empty_port_does_not() {
    let program = Program::new();
    let node = start(&program, &["node"]);
    let entrance = addr_of(&node);
    let pong = dht(&program, &entrance, &["ping", &entrance]);
    assert_eq!(pong.events()[0]["id"], node.ready["id"]);
    let empty = format!("127.0.0.1:{}", free_port());
    let silence = dht(&program, &entrance, &["ping", &empty, "--limit", "1"]);
    assert_eq!(silence.code, Some(5));
    assert!(silence.stderr.contains("no DHT node answers at"), "{}", silence.stderr);
}

#[test]
fn a_network_that_is_not_there_is_said_to_be() {
    let program = Program::new();
    let empty = format!("127.0.0.1:{}", free_port());
    let get = dht(&program, &empty, &["get", "x", "--limit", "1"]);
    assert_eq!((get.code, get.stdout.as_str()), (Some(5), ""));
    assert!(get.stderr.contains("help: check that UDP is let through"), "{}", get.stderr);
}

#[test]
fn a_listener_is_told_and_a_proxy_answers_over_http() {
    let program = Program::new();
    let node = start(&program, &["node"]);
    let entrance = addr_of(&node);
    let listener = start(&program, &["listen", "news", "--bootstrap", &entrance]);
    let proxy = start(&program, &["proxy", "--listen", "127.0.0.1:0", "--bootstrap", &entrance]);
    let kept = start(&program, &["put", "news", "it works", "--keep", "--bootstrap", &entrance]);
    kept.event(|event| event["event"] == "stored");
    let heard = listener.event(|event| event["event"] == "value");
    assert_eq!(heard["text"], "it works");
    let answer = http_get(proxy.ready["proxy"].as_str().unwrap(), "/key/news");
    assert!(answer.contains("\"data\":\"aXQgd29ya3M=\""), "{answer}");
    let (status, ..) = proxy.stop();
    assert!(status.success());
}

fn http_get(addr: &str, path: &str) -> String {
    let mut stream = std::net::TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(crate::common::PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
