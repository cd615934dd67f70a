//! `hardline connect` and `hardline forward`.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::sync::Arc;

use hardline_node::session::v1;
use hardline_node::tls::identity::Identity;

use crate::common::{PATIENCE, Program, Running, backend, echo_at_the_end, key_of, web_server};

#[test]
fn connect_carries_bytes_both_ways_and_the_end_of_stdin_is_a_half_close() {
    let (_here, sharing, there) = sharing(echo_at_the_end());
    let payload: Vec<u8> = (0..1_000_000_u32).map(|number| (number % 251) as u8).collect();
    let mut command = there.command(["connect", &sharing.link()]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let sent = payload.clone();
    let sender = std::thread::spawn(move || stdin.write_all(&sent).unwrap());
    let output = child.wait_with_output().unwrap();
    sender.join().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.stdout.strip_suffix(b"1000000 bytes"), Some(payload.as_slice()));
}

#[test]
fn connect_closes_stdout_when_the_service_ends_although_stdin_is_open() {
    let port = backend(|mut stream| {
        stream.write_all(b"goodbye").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let (_here, sharing, there) = sharing(port);
    let mut child = there.command(["connect", &sharing.link()]).stdin(Stdio::piped()).spawn().unwrap();
    let stdin = child.stdin.take().unwrap();
    let mut received = String::new();
    child.stdout.take().unwrap().read_to_string(&mut received).unwrap();
    assert_eq!(received, "goodbye");
    drop(stdin);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn connect_asks_at_an_address_given_by_hand() {
    let here = Program::new();
    let sharing = here.start(["share", &echo_at_the_end().to_string(), "--set", "lan.enabled=false"]);
    let there = Program::new();
    let (link, at) = (sharing.link(), sharing.p2p());
    let arguments = ["connect", key_of(&link), "--address", &at, "--set", "lan.enabled=false"];
    let outcome = there.run(arguments);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(0), "0 bytes"), "{}", outcome.stderr);
}

#[test]
fn a_service_nobody_knows_ends_with_5_and_says_what_to_do() {
    let outcome = Program::new().run(["connect", UNKNOWN, "--set", "lan.enabled=false"]);
    assert_eq!(outcome.code, Some(5));
    assert_eq!(outcome.stdout, "");
    assert!(outcome.stderr.contains("no address found") && outcome.stderr.contains("--address"), "{}", outcome.stderr);
}

#[test]
fn a_backend_that_is_down_ends_with_5_and_says_so() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (_here, sharing, there) = sharing(port);
    let outcome = there.run(["connect", &sharing.link()]);
    assert_eq!(outcome.code, Some(5));
    assert!(outcome.stderr.contains("the program behind the service does not answer"), "{}", outcome.stderr);
}

#[test]
fn somebody_elses_certificate_ends_with_6_and_gets_no_byte() {
    let impostor = impostor();
    let arguments = ["connect", UNKNOWN, "--address", &impostor.0, "--set", "lan.enabled=false"];
    let outcome = Program::new().run(arguments);
    assert_eq!(outcome.code, Some(6), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("somebody else"), "{}", outcome.stderr);
    assert_eq!(impostor.1.join().unwrap(), 0);
}

#[test]
fn what_is_no_link_ends_with_2() {
    for arguments in [["connect", "example.org"], ["open", "example.org"]] {
        assert_eq!(Program::new().run(arguments).code, Some(2));
    }
    let outcome = Program::new().run(["connect", UNKNOWN, "--address", "nowhere"]);
    assert_eq!(outcome.code, Some(2), "{}", outcome.stderr);
}

#[test]
fn forward_takes_a_free_port_and_carries_connections_with_half_close() {
    let (_here, sharing, there) = sharing(echo_at_the_end());
    let forwarding = there.start(["forward", &sharing.link(), "--local", "0"]);
    let local = forwarding.ready["local"].as_str().unwrap();
    assert!(local.starts_with("127.0.0.1:"), "{local}");
    for _ in 0..3 {
        let mut stream = TcpStream::connect(local).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"over the wire").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "over the wire13 bytes");
    }
    let (status, _, stderr) = forwarding.stop();
    assert_eq!(status.code(), Some(0), "{stderr}");
}

/// Sends a text that comes back with its length.
#[track_caller]
fn check_echo(mut stream: impl std::io::Read + std::io::Write, close: impl FnOnce()) {
    stream.write_all(b"over the wire").unwrap();
    close();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "over the wire13 bytes");
}

#[track_caller]
fn check_echo_at(local: &str) {
    if let Some(path) = local.strip_prefix("unix:") {
        let stream = UnixStream::connect(path).unwrap();
        let end = stream.try_clone().unwrap();
        check_echo(stream, || end.shutdown(Shutdown::Write).unwrap());
    } else {
        let stream = TcpStream::connect(local).unwrap();
        let end = stream.try_clone().unwrap();
        check_echo(stream, || end.shutdown(Shutdown::Write).unwrap());
    }
}

#[test]
fn forward_carries_several_services_to_ports_and_sockets_at_once() {
    let (here, sharing, there) = sharing(echo_at_the_end());
    let third = here.neighbour();
    let other = third.start(["share", &web_server("hello").to_string()]);
    let socket = there.home().join("app.sock");
    let links = [
        format!("{}=0", sharing.link()),
        format!("{}={}", key_of(&sharing.link()), socket.display()),
        format!("{}=[::1]:0", other.link()),
    ];
    let forwarding = there.start([&["forward".to_owned()], &links[..]].concat());
    let local = |index: usize| forwarding.ready["forwards"][index]["local"].as_str().unwrap().to_owned();
    check_echo_at(&local(0));
    check_echo_at(&local(1));
    let mut web = TcpStream::connect(local(2)).unwrap();
    web.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let mut answer = String::new();
    web.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("hello"), "{answer}");
    assert_eq!(forwarding.stop().0.code(), Some(0));
    assert!(!socket.exists(), "the socket is gone with the command");
}

#[test]
fn what_the_configuration_forwards_is_there_as_long_as_hardline_runs() {
    let (_here, sharing, there) = sharing(echo_at_the_end());
    let key = key_of(&sharing.link()).to_owned();
    let toml =
        format!("[[forward]]\nlink = \"{key}\"\nlocal = 0\n[[forward]]\nlink = \"{key}\"\nlocal = \"./app.sock\"\n");
    std::fs::write(there.home().join("forward.toml"), toml).unwrap();
    let running = there.start(["--config", "forward.toml"]);
    let local = |index: usize| running.ready["forwards"][index]["local"].as_str().unwrap().to_owned();
    check_echo_at(&local(0));
    check_echo_at(&local(1));
    let taken = there.run(["--config", "forward.toml"]);
    assert_eq!(taken.code, Some(4), "the socket is in use: {}", taken.stderr);
}

#[test]
fn forward_says_what_is_missing() {
    let program = Program::new();
    let two = [format!("{UNKNOWN}=0"), format!("{UNKNOWN}=0")];
    for arguments in [
        vec!["forward", UNKNOWN],
        vec!["forward", UNKNOWN, UNKNOWN, "--local", "0"],
        vec!["forward", &two[0], &two[1], "--address", "127.0.0.1:1"],
        vec!["forward", "example.org=0"],
    ] {
        let outcome = program.run(&arguments);
        assert_eq!(outcome.code, Some(2), "{arguments:?}: {}", outcome.stderr);
    }
}

#[test]
fn forward_resets_a_connection_whose_service_is_not_reached() {
    let program = Program::new();
    let forwarding = program.start(["forward", UNKNOWN, "--local", "[::1]:0", "--set", "lan.enabled=false"]);
    let mut stream = TcpStream::connect(forwarding.ready["local"].as_str().unwrap()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let error = stream.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[test]
fn forward_to_a_port_that_is_taken_ends_with_4() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let outcome = Program::new().run(["forward", UNKNOWN, "--local", &taken.local_addr().unwrap().to_string()]);
    assert_eq!(outcome.code, Some(4), "{}", outcome.stderr);
}

const UNKNOWN: &str = "6fef58cb259ed9746e280ac7ca618aab93d3fe79";

/// A service on one computer, and another computer on the same LAN.
fn sharing(port: u16) -> (Program, Running, Program) {
    let here = Program::new();
    let there = here.neighbour();
    let sharing = here.start(["share", &port.to_string()]);
    (here, sharing, there)
}

/// A TLS server that answers to every name with a certificate of its own. Its thread returns the
/// bytes it was sent.
fn impostor() -> (String, std::thread::JoinHandle<usize>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let at = listener.local_addr().unwrap().to_string();
    let config = v1::server_tls(&Identity::ephemeral().unwrap());
    let thread = std::thread::spawn(move || {
        runtime.block_on(async {
            let (stream, _) = listener.accept().await.unwrap();
            match tokio_rustls::TlsAcceptor::from(Arc::clone(&config)).accept(stream).await {
                Ok(mut stream) => {
                    let mut received = Vec::new();
                    let _ = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut received).await;
                    received.len()
                }
                Err(_) => 0,
            }
        })
    });
    (at, thread)
}

#[test]
fn connect_carries_http_as_it_is() {
    let (_here, sharing, there) = sharing(web_server("plain"));
    let mut child = there.command(["connect", &sharing.link()]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.stdout.ends_with(b"plain"));
}
