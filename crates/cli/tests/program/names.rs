//! `hardline run` and `hardline env`.

use rustix::process::Signal;

use crate::common::{Program, Running, key_of, web_server};

/// What a program of `hardline run` prints and ends with.
fn run_shell(program: &Program, gateway: u16, script: &str) -> (Option<i32>, String) {
    let port = gateway.to_string();
    let outcome = program.run(["run", "--gateway-port", &port, "--", "sh", "-c", script]);
    (outcome.code, outcome.stdout)
}

#[test]
fn a_program_is_run_with_the_gateway_for_its_proxy_and_its_status_is_the_command_s() {
    let here = Program::new();
    let sharing = here.start(["share", &web_server("hello").to_string()]);
    let port = sharing.gateway().port();
    let there = here.neighbour();
    let script = "echo $http_proxy $HTTP_PROXY ${https_proxy-none} $no_proxy; exit 42";
    let printed = format!("http://127.0.0.1:{port} http://127.0.0.1:{port} none 127.0.0.1,::1\n");
    assert_eq!(run_shell(&there, port, script), (Some(42), printed));
    assert_eq!(run_shell(&there, port, "kill -KILL $$").0, Some(128 + 9));
    assert_eq!(run_shell(&there, port, "exit 0").0, Some(0));
}

#[test]
fn without_a_gateway_there_is_one_for_as_long_as_the_program_runs() {
    let here = Program::new();
    let sharing = here.start(["share", &web_server("hello").to_string()]);
    let key = key_of(&sharing.link()).to_owned();
    let url = format!("http://{key}.localhost/");
    let there = here.neighbour();
    let outcome = there.run(["run", "--", "curl", "--silent", "--show-error", &url]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(0), "hello"), "{}", outcome.stderr);
    let outcome = there.run(["run", "--all", "--", "sh", "-c", &format!("curl -s --proxytunnel {url}")]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(0), "hello"), "{}", outcome.stderr);
    let refused = there.run(["run", "--", "curl", "--silent", "--fail", "http://example.org/"]);
    assert_eq!(refused.code, Some(22), "curl's status for an answer of 403: {}", refused.stderr);
}

#[test]
fn a_program_that_cannot_be_run_ends_as_in_a_shell() {
    let program = Program::new();
    let missing = program.run(["run", "--", "no-such-program"]);
    assert_eq!(missing.code, Some(127), "{}", missing.stderr);
    assert!(missing.stderr.contains("cannot run no-such-program"), "{}", missing.stderr);
    assert_eq!(program.run(["run", "--", "/"]).code, Some(126));
    assert_eq!(program.run(["run"]).code, Some(2));
}

#[test]
fn a_request_to_stop_is_passed_on_to_the_program() {
    let program = Program::new();
    let script = "trap 'exit 7' TERM; echo '{\"event\":\"ready\"}'; while :; do sleep 0.05; done";
    let running = Running::start(program.command(["run", "--", "sh", "-c", script]));
    running.signal(Signal::TERM);
    assert_eq!(running.end().0.code(), Some(7));
}

#[test]
fn env_prints_what_a_shell_reads() {
    let program = Program::new();
    let printed = |arguments: &[&str]| {
        let mut command = program.command(["env", "--gateway-port", "7111", "--quiet"]);
        let output = command.args(arguments).env("NO_PROXY", "localhost,it's").env_remove("no_proxy").output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let script = format!("{}echo $http_proxy $NO_PROXY", printed(&["--shell", "sh"]));
    let read = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&read.stdout), "http://127.0.0.1:7111 it's,127.0.0.1,::1\n");
    assert!(printed(&["--shell", "fish", "--all"]).contains("set -gx ALL_PROXY 'socks5h://127.0.0.1:7111'\n"));
    let json: serde_json::Value = serde_json::from_str(&printed(&["--json"])).unwrap();
    assert_eq!(json["http_proxy"], "http://127.0.0.1:7111");
    assert_eq!(program.run(["env"]).code, Some(3), "its port is 0, any free one");
}
