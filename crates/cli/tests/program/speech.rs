//! What the program says: stdout for results, stderr for everything else, and never a password.

use std::io::{BufRead as _, BufReader};
use std::os::unix::net::UnixDatagram;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::common::{PATIENCE, Program, get, web_server};

#[test]
fn with_json_every_line_of_stdout_is_one_object_and_the_first_is_ready() {
    let program = Program::new();
    let running = program.start(["share", "8080"]);
    let ready = running.ready.clone();
    assert_eq!(ready["gateway"].as_array().unwrap().len(), 2, "{ready}");
    let service = &ready["services"][0];
    let key = service["key"].as_str().unwrap();
    assert_eq!(service["link"], format!("http://{key}.localhost:{}/", running.gateway().port()));
    assert_eq!(service["link_elsewhere"], format!("http://{key}.localhost:7009/"));
    let (_, rest, _) = running.stop();
    assert!(rest.iter().all(|line| serde_json::from_str::<Value>(line).unwrap().is_object()));
}

#[test]
fn people_read_the_link_on_stdout_and_remarks_on_stderr() {
    let program = Program::new();
    let said = until(&program, &["share", "8080", "--title", "My page"], "Ctrl-C");
    assert!(said.contains("Publishing localhost:8080 as \"My page\""), "{said}");
    assert!(said.contains("On other computers:"), "{said}");
    assert!(said.contains(".localhost:7009/"), "{said}");
    assert!(!said.contains('█'), "a QR code where there is no terminal");
    assert!(until(&program, &["share", "8080", "--qr"], "Ctrl-C").contains('█'));
    let quiet = until(&program, &["share", "8080", "--quiet"], "http://");
    assert_eq!(quiet.lines().count(), 1, "{quiet}");
    assert!(until(&program, &[], "No services").contains("Gateway: http://localhost:"));
}

#[test]
fn passwords_appear_in_no_log_however_much_is_logged() {
    let program = Program::new();
    let port = web_server("treasure").to_string();
    let sharing = program.start(["share", &port, "--password", "opensesame", "-vvv"]);
    let there = program.neighbour();
    let gateway = there.start(["-vvv"]);
    for browser in [sharing.gateway(), gateway.gateway()] {
        assert!(get(browser, &sharing.link()).ends_with("treasure"));
        assert!(get(browser, &sharing.link().replace("opensesame", "closedsesame")).starts_with("HTTP/1.1 403"));
    }
    for (status, _, log) in [sharing.stop(), gateway.stop()] {
        assert_eq!(status.code(), Some(0));
        assert!(log.contains("DEBUG"), "nothing was logged");
        assert!(!log.contains("sesame"), "{log}");
        assert!(!log.contains('\x1b'), "colours where there is no terminal");
    }
}

#[test]
fn with_json_logs_every_line_of_stderr_is_one_object() {
    let program = Program::new();
    let running = program.start(["-v", "--log-format", "json"]);
    let (_, _, log) = running.stop();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.iter().any(|line| line["level"] == "INFO"), "{log}");
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let program = Program::new();
    let mut child = program.command(["config", "example"]).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_daemon_goes_on_when_nobody_reads_its_stdout() {
    let program = Program::new();
    let path = program.home().join("notify");
    let systemd = UnixDatagram::bind(&path).unwrap();
    systemd.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut child = program.command(["share", "8080"]).env("NOTIFY_SOCKET", &path).spawn().unwrap();
    drop(child.stdout.take());
    systemd.recv(&mut [0; 64]).unwrap();
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn help_teaches_with_examples_and_the_exit_codes() {
    let help = Program::new().run(["--help"]).stdout;
    assert!(help.contains("hardline share 8080") && help.contains("Exit codes:"), "{help}");
    for command in ["share", "browse", "connect", "forward", "completions"] {
        let help = Program::new().run([command, "--help"]).stdout;
        assert!(help.contains("Examples:"), "{command}");
    }
}

#[test]
fn the_help_of_a_command_names_its_own_options_and_the_global_ones_in_one_line() {
    for command in [&["share"][..], &["peers"], &["peers", "forget"], &["dht", "get"]] {
        for flag in ["-h", "--help"] {
            let help = Program::new().run([command, &[flag]].concat()).stdout;
            let mentions = |text: &str| help.matches(text).count();
            assert!(mentions("--data-dir") == 1 && mentions("--gateway-port") == 0, "{command:?} {flag}: {help}");
        }
    }
    let top = Program::new().run(["--help"]).stdout;
    assert!(top.contains("--data-dir <FOLDER>") && top.contains("--gateway-port <PORT>"), "{top}");
}

#[test]
fn global_options_work_before_and_behind_every_level_of_a_command() {
    for arguments in [["--json", "config", "show"], ["config", "--json", "show"], ["config", "show", "--json"]] {
        let outcome = Program::new().run(arguments);
        assert_eq!(outcome.code, Some(0), "{arguments:?}: {}", outcome.stderr);
        assert!(outcome.stdout.starts_with('{'), "{arguments:?}: {}", outcome.stdout);
    }
}

#[test]
fn a_command_line_that_means_nothing_ends_with_2() {
    for arguments in [
        &["shar", "8080"][..],
        &["--prot", "1"],
        &["share"],
        &["--service", "a", "browse"],
        &["share", "1", "--password", "Not allowed"],
    ] {
        let outcome = Program::new().run(arguments);
        assert_eq!(outcome.code, Some(2), "{arguments:?}");
        assert_eq!(outcome.stdout, "");
    }
}

/// What a run says on stdout up to the line with `end`; then it is stopped.
fn until(program: &Program, arguments: &[&str], end: &str) -> String {
    let mut child = program.command(arguments).stderr(Stdio::null()).spawn().unwrap();
    let mut said = String::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        said.push_str(&line);
        said.push('\n');
        if line.contains(end) {
            break;
        }
    }
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    said
}
