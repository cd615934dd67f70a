//! `hardline`: start, signals, the legacy flags.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::common::{PATIENCE, Program, Running, backend, free_port, get, web_server};

#[test]
fn every_service_of_the_configuration_is_published() {
    let program = Program::new();
    let (first, second) = (web_server("first"), web_server("second"));
    let file = program.home().join("hardline.toml");
    let text = format!("[[service]]\ntarget = {first}\n[[service]]\ntarget = {second}\ntitle = \"Second\"\n");
    std::fs::write(&file, text).unwrap();
    let running = program.start(["--config", file.to_str().unwrap()]);
    for (index, body) in ["first", "second"].into_iter().enumerate() {
        let link = running.ready["services"][index]["link"].as_str().unwrap();
        assert!(get(running.gateway(), link).ends_with(body));
    }
    assert_eq!(running.ready["services"][1]["title"], "Second");
}

#[test]
fn without_services_the_gateway_runs_alone_and_listens_for_no_other_computer() {
    let program = Program::new();
    let running = program.start::<_, &str>([]);
    assert_eq!(running.ready["p2p"].as_array().unwrap().len(), 0);
    assert_eq!(running.ready["services"].as_array().unwrap().len(), 0);
    assert!(get(running.gateway(), "http://localhost/").starts_with("HTTP/1.1 200 "));
}

/// As started by an init system that sets nothing.
#[test]
fn without_any_environment_it_serves_from_the_data_folder_that_it_is_given() {
    let program = Program::new();
    let folder = program.home().join("data");
    let mut command = program.command(["share", &web_server("bare").to_string(), "--json"]);
    command.env_remove("HOME").env_remove("PATH").env("HARDLINE_DATA_DIR", &folder);
    let running = Running::start(command);
    assert!(get(running.gateway(), &running.link()).ends_with("bare"));
    assert!(folder.is_dir());
}

#[cfg(target_os = "linux")]
#[test]
fn as_many_files_are_opened_as_the_system_allows() {
    let program = Program::new();
    let running = start_limited(&program, "-Sn 256", &[]);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", running.id())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let columns: Vec<_> = line.split_whitespace().collect();
    assert_eq!(columns[3], columns[4], "soft and hard limit: {line}");
}

#[cfg(target_os = "linux")]
#[test]
fn out_of_descriptors_it_waits_without_spinning_and_serves_again() {
    const DESCRIPTORS: usize = 64;
    const LOOK: Duration = Duration::from_secs(2);
    let program = Program::new();
    let running =
        start_limited(&program, &format!("-n {DESCRIPTORS}"), &["share", &web_server("still here").to_string()]);
    let crowd: Vec<_> = (0..4 * DESCRIPTORS).map(|_| TcpStream::connect(running.p2p()).unwrap()).collect();
    let open = || std::fs::read_dir(format!("/proc/{}/fd", running.id())).unwrap().count();
    let deadline = Instant::now() + PATIENCE;
    while open() < DESCRIPTORS {
        assert!(Instant::now() < deadline, "{} of {DESCRIPTORS} descriptors are used", open());
        std::thread::sleep(Duration::from_millis(10));
    }

    let before = cpu_time(running.id());
    std::thread::sleep(LOOK);
    let used = cpu_time(running.id()) - before;
    assert!(used < LOOK / 10, "{used:?} of CPU in {LOOK:?}");
    // What looks at the interfaces opens something for a moment now and then.
    assert!(open() > DESCRIPTORS / 2, "who is in stays");

    drop(crowd);
    assert!(get(running.gateway(), &running.link()).ends_with("still here"));
}

/// Starts the program behind a `ulimit` with these words.
#[cfg(target_os = "linux")]
fn start_limited(program: &Program, limit: &str, arguments: &[&str]) -> Running {
    let own = program.command([&["--json"], arguments].concat());
    let mut limited = Command::new("sh");
    let script = format!("ulimit {limit}; exec \"$0\" \"$@\"");
    limited.args(["-c", &script]).arg(own.get_program()).args(own.get_args());
    limited.envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))));
    limited.current_dir(program.home()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Running::start(limited)
}

/// CPU time of a process: fields 14 and 15 of proc(5), in hundredths of a second.
#[cfg(target_os = "linux")]
fn cpu_time(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let after_name = &stat[stat.rfind(')').unwrap() + 1..];
    let ticks: u64 = after_name.split_whitespace().skip(11).take(2).map(|word| word.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}

#[test]
fn the_gateway_asks_at_addresses_of_the_configuration() {
    let here = Program::new();
    let sharing = here.start(["share", &web_server("by hand").to_string(), "--set", "lan.enabled=false"]);
    let there = Program::new();
    let file = there.home().join("hardline.toml");
    std::fs::write(&file, format!("[[peer]]\nlink = \"{}\"\naddresses = [\"{}\"]\n", sharing.link(), sharing.p2p()))
        .unwrap();
    let gateway = there.start(["--config", file.to_str().unwrap(), "--set", "lan.enabled=false"]);
    assert!(get(gateway.gateway(), &sharing.link()).ends_with("by hand"));
}

#[test]
fn the_commands_of_the_first_readme_work() {
    let program = Program::new();
    let (port, local, p2p) = (web_server("seed").to_string(), free_port().to_string(), free_port().to_string());
    let flags = [
        "--service",
        "localhost",
        "--serviceport",
        &port,
        "--certfile",
        "foo.cert",
        "--localport",
        &local,
        "--p2pport",
        &p2p,
    ];
    let running = program.start(flags);
    assert_eq!(running.gateway().port().to_string(), local);
    assert!(running.p2p().ends_with(&format!(":{p2p}")));
    let hash = std::fs::read_to_string(program.home().join("foo.cert.hash")).unwrap();
    assert!(running.link().contains(hash.trim()));
    assert!(get(running.gateway(), &running.link()).ends_with("seed"));
    assert!(program.home().join("foo.cert.private").is_file());
}

#[test]
fn the_seeds_local_port_0_means_no_gateway() {
    let program = Program::new();
    let running = program.start(["--service", "127.0.0.1", "--certfile", "foo.cert", "--localport", "0"]);
    assert_eq!(running.ready["gateway"].as_array().unwrap().len(), 0);
    assert_eq!(running.ready["services"][0]["target"], "127.0.0.1:80");
}

#[test]
fn sigterm_and_ctrl_c_stop_with_0_and_free_the_ports() {
    for signal in [Signal::TERM, Signal::INT] {
        let program = Program::new();
        let running = program.start(["share", "8080"]);
        let (gateway, p2p) = (running.gateway(), running.p2p());
        running.signal(signal);
        let (status, rest, stderr) = running.end();
        assert_eq!(status.code(), Some(0), "{stderr}");
        assert_eq!(rest, [r#"{"event":"stopping"}"#, r#"{"event":"stopped"}"#]);
        assert!(TcpStream::connect(gateway).is_err());
        assert!(TcpStream::connect(p2p).is_err());
    }
}

#[test]
fn a_running_tunnel_gets_its_grace_and_no_more() {
    let program = Program::new();
    let sharing = program.start(["share", &slow_server().to_string(), "--set", "grace=300ms"]);
    let mut browser = answering(&sharing.link(), sharing.gateway());
    let asked = Instant::now();
    sharing.signal(Signal::TERM);
    let (status, ..) = sharing.end();
    assert_eq!(status.code(), Some(0));
    assert!(asked.elapsed() >= Duration::from_millis(300), "no grace");
    let ended = browser.read_to_end(&mut Vec::new());
    assert!(ended.is_err() || ended.is_ok_and(|count| count == 0));
}

#[test]
fn a_second_signal_ends_the_grace() {
    let program = Program::new();
    let sharing = program.start(["share", &slow_server().to_string(), "--set", "grace=1h"]);
    let _browser = answering(&sharing.link(), sharing.gateway());
    sharing.signal(Signal::TERM);
    sharing.event(|event| event["event"] == "stopping");
    sharing.signal(Signal::TERM);
    let (status, ..) = sharing.end();
    assert_eq!(status.code(), Some(0));
}

#[test]
fn systemd_is_told_of_the_start_and_of_the_stop() {
    let program = Program::new();
    let path = program.home().join("notify");
    let systemd = UnixDatagram::bind(&path).unwrap();
    systemd.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut command = program.command(["--json"]);
    command.env("NOTIFY_SOCKET", &path);
    let running = crate::common::Running::start(command);
    assert_eq!(receive(&systemd), "READY=1\n");
    running.signal(Signal::TERM);
    assert_eq!(receive(&systemd), "STOPPING=1\n");
    assert_eq!(running.end().0.code(), Some(0));
}

#[test]
fn without_a_gateway_and_without_services_there_is_nothing_to_run() {
    let outcome = Program::new().run(["--set", "gateway.enabled=false"]);
    assert_eq!(outcome.code, Some(3));
    assert!(outcome.stderr.contains("nothing to run"), "{}", outcome.stderr);
}

#[test]
fn a_data_folder_that_cannot_be_one_is_told_with_the_remedy() {
    let program = Program::new();
    let file = program.home().join("file");
    std::fs::write(&file, "").unwrap();
    let outcome = program.run(["--data-dir", file.to_str().unwrap()]);
    assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("help: "), "{}", outcome.stderr);
}

/// A web server whose answer never ends.
fn slow_server() -> u16 {
    backend(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nbeginning");
        // Ends with the connection.
        let _ = stream.read_to_end(&mut Vec::new());
    })
}

/// A browser that has read the beginning of an answer.
fn answering(link: &str, gateway: std::net::SocketAddr) -> TcpStream {
    let mut browser = TcpStream::connect(gateway).unwrap();
    browser.set_read_timeout(Some(PATIENCE)).unwrap();
    let host = link.trim_start_matches("http://").trim_end_matches('/');
    write!(browser, "GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(b"beginning") {
        let mut byte = [0];
        browser.read_exact(&mut byte).unwrap();
        seen.push(byte[0]);
    }
    browser
}

fn receive(socket: &UnixDatagram) -> String {
    let mut buffer = [0; 256];
    let length = socket.recv(&mut buffer).unwrap();
    String::from_utf8(buffer[..length].to_vec()).unwrap()
}
