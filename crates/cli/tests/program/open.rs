//! `hardline open`.

use std::os::unix::fs::PermissionsExt as _;

use crate::common::{Outcome, Program};

const KEY: &str = "6fef58cb259ed9746e280ac7ca618aab93d3fe79";

#[test]
#[cfg(target_os = "linux")]
fn the_browser_is_given_the_link_at_the_running_gateway() {
    let program = Program::new();
    let gateway = program.start::<_, &str>([]);
    let port = gateway.gateway().port();
    let opened = program.home().join("opened");
    let outcome = open(&program, port, &format!("#!/bin/sh\nprintf %s \"$1\" > {}\n", opened.display()));
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert_eq!(std::fs::read_to_string(opened).unwrap(), format!("http://{KEY}.localhost:{port}/"));
}

#[test]
#[cfg(target_os = "linux")]
fn where_no_browser_starts_the_link_is_said() {
    let program = Program::new();
    let gateway = program.start::<_, &str>([]);
    let outcome = open(&program, gateway.gateway().port(), "#!/bin/sh\nexit 3\n");
    assert_eq!(outcome.code, Some(1));
    assert!(outcome.stderr.contains(&format!("http://{KEY}.localhost:")), "{}", outcome.stderr);
}

#[test]
fn without_a_gateway_it_ends_with_5_and_says_what_to_run() {
    let port = crate::common::free_port().to_string();
    let outcome = Program::new().run(["open", KEY, "--gateway-port", &port]);
    assert_eq!(outcome.code, Some(5));
    assert!(outcome.stderr.contains("run `hardline` first"), "{}", outcome.stderr);
}

/// Runs `hardline open` where the only program is an opener of ours.
fn open(program: &Program, port: u16, opener: &str) -> Outcome {
    let bin = program.home().join("bin");
    std::fs::create_dir(&bin).unwrap();
    let path = bin.join("xdg-open");
    std::fs::write(&path, opener).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = program.command(["open", KEY, "--gateway-port", &port.to_string()]);
    let output = command.env("PATH", &bin).output().unwrap();
    Outcome {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}
